"""Checks of layers, heads, positions and tokens, before a forward pass is spent on them.

Shapes: B batch, T positions.
"""

from __future__ import annotations

import torch

from minigpt.errors import InputError, TokenizerError
from minigpt.model.transformer import Transformer


def check_layer(model: Transformer, layer: int, head: int | None = None) -> None:
    """Refuse a layer or a head that the model does not have.

    Raises:
        InputError: There is no such layer or head; both are counted from 0.
    """
    config = model.config
    for what, given, number in (("layer", layer, config.num_layers), ("head", head, config.num_heads)):
        if given is not None and not 0 <= given < number:
            raise InputError(
                f"There is no {what} {given}; this model has {number}, counted from 0.",
                mend=f"Take one from 0 to {number - 1}.",
            )


def check_position(ids: torch.Tensor, position: int) -> None:
    """Refuse a position that a text does not have.

    Raises:
        InputError: `ids` (B, T) has no such position, counted from 0.
    """
    if not 0 <= position < ids.shape[-1]:
        raise InputError(
            f"There is no position {position}; the text has {ids.shape[-1]} tokens, counted from 0.",
            mend=f"Take one from 0 to {ids.shape[-1] - 1}.",
        )


def check_token(model: Transformer, token_id: int) -> None:
    """Refuse a token that the model does not know.

    Raises:
        TokenizerError: The id is outside the vocabulary.
    """
    if not 0 <= token_id < model.vocab_size:
        raise TokenizerError(
            f"There is no token {token_id}; the model knows {model.vocab_size}, ids 0 to {model.vocab_size - 1}.",
            mend="Encode the text with the tokenizer that the model was trained with.",
        )
