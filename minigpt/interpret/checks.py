"""Checks of texts, layers, heads, positions and tokens, before a forward pass is spent on them.

Shapes: B batch, T positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from minigpt.arguments import check_count, is_whole
from minigpt.errors import InputError, ShapeError, TokenizerError
from minigpt.model.transformer import Transformer


def check_ids(ids: object, name: str = "ids", *, one_text: bool = True) -> None:
    """Refuse what is no tensor of token ids; the model checks the ids themselves and the length.

    Args:
        ids: What was given.
        name: The argument's name.
        one_text: Whether it must be a single row.

    Raises:
        ShapeError: It is no tensor, or has another shape or type.
    """
    given = f"shape {tuple(ids.shape)} and dtype {ids.dtype}" if isinstance(ids, torch.Tensor) else type(ids).__name__
    fits = isinstance(ids, torch.Tensor) and ids.ndim == 2 and ids.numel() > 0 and ids.dtype == torch.int64
    if not fits or (one_text and isinstance(ids, torch.Tensor) and ids.shape[0] != 1):
        wanted = "one text, (1, T)" if one_text else "(N, T)"
        raise ShapeError(
            f"{name} has {given}; it must be {wanted}, at least one token, and torch.int64.",
            mend="Give token ids, for example torch.tensor([tokenizer.encode(text)]).",
        )


def check_place(trace: Mapping[str, torch.Tensor], layer: int, head: int) -> None:
    """Refuse a layer or a head that a trace does not have.

    Raises:
        InputError: There is no such layer or head; both are counted from 0.
    """
    num_layers = sum(name.endswith(".resid_pre") for name in trace)
    check_count("layer", layer, least=0, most=num_layers - 1)
    check_count("head", head, least=0, most=trace[f"blocks.{layer}.z"].shape[1] - 1)


def check_layer(model: Transformer, layer: int, head: int | None = None) -> None:
    """Refuse a layer or a head that the model does not have.

    Raises:
        InputError: There is no such layer or head; both are counted from 0.
    """
    config = model.config
    for what, given, number in (("layer", layer, config.num_layers), ("head", head, config.num_heads)):
        if not (what == "head" and given is None) and not (is_whole(given) and 0 <= given < number):  # type: ignore[operator]
            raise InputError(
                f"There is no {what} {given}; this model has {number}, counted from 0.",
                mend=f"Take one from 0 to {number - 1}.",
            )


def check_feedforward(model: Transformer) -> None:
    """Refuse a model without feed-forward layers, where one is needed.

    Raises:
        InputError: It has none.
    """
    if not model.config.has_feedforward:
        raise InputError(
            "This model has no feed-forward layers: its d_ff is 0.", mend="Take a model that was trained with them."
        )


def check_position(ids: torch.Tensor, position: int) -> None:
    """Refuse a position that a text does not have.

    Raises:
        ShapeError: `ids` is no single text, (1, T).
        InputError: It has no such position, counted from 0.
    """
    check_ids(ids)
    if not is_whole(position) or not 0 <= position < ids.shape[-1]:
        raise InputError(
            f"There is no position {position}; the text has {ids.shape[-1]} tokens, counted from 0.",
            mend=f"Take one from 0 to {ids.shape[-1] - 1}.",
        )


def check_token(model: Transformer, token_id: int) -> None:
    """Refuse a token that the model does not know.

    Raises:
        TokenizerError: The id is outside the vocabulary.
    """
    if not is_whole(token_id) or not 0 <= token_id < model.vocab_size:
        raise TokenizerError(
            f"There is no token {token_id}; the model knows {model.vocab_size}, ids 0 to {model.vocab_size - 1}.",
            mend="Encode the text with the tokenizer that the model was trained with.",
        )
