"""Experiments with the causal mask: which positions a changed token reaches, and what a head does without the mask.

Shapes: B rows, T query positions, S key positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.checks import check_ids, check_layer, check_position, check_token
from minigpt.interpret.heads import HeadStages, head_stages
from minigpt.interpret.trace import to_numpy, trace_forward
from minigpt.model.points import Probe
from minigpt.model.transformer import Transformer


def change_effect(model: Transformer, ids: torch.Tensor, position: int, new_id: int) -> np.ndarray:
    """Replace the token at one position and measure how much the logits change at every position.

    With a causal mask, the logits before that position stay exactly the same.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        position: Position of the token to replace.
        new_id: Id of the new token.

    Returns:
        The largest absolute change of a logit at each position, (T,).

    Raises:
        InputError: There is no such position or token.
    """
    check_position(ids, position)
    check_token(model, new_id)
    changed = ids.clone()
    changed[0, position] = new_id
    with evaluation_mode(model):  # one text at a time: two rows of a batch may be rounded differently
        change = model(changed) - model(ids)
    return to_numpy(change[0].abs().amax(dim=-1))


def unmasked_probe(heads: Collection[tuple[int, int]] | None = None) -> Probe:
    """Return a probe that removes the causal mask: it puts the unmasked scores back in place of the masked ones.

    A model that was trained with the mask has never seen later tokens. So the result does not show what the model would
    have learned without the mask.

    Args:
        heads: (layer, head) of the heads without a mask; None means all heads.
    """
    scores: dict[str, torch.Tensor] = {}

    def probe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        point = name.rpartition(".")[2]
        if point == "attn_scores":
            scores[name] = tensor  # (B, H, T, S)
        if point != "attn_scores_masked":
            return tensor
        unmasked = scores.pop(name.removesuffix("_masked"))
        if heads is None:
            return unmasked
        selected = [head for layer, head in heads if name.startswith(f"blocks.{layer}.")]
        edited = tensor.clone()
        edited[:, selected] = unmasked[:, selected]
        return edited

    return probe


def unmasked_stages(model: Transformer, ids: torch.Tensor, layer: int, head: int) -> HeadStages:
    """Return the stages of one head without its mask; all earlier layers are computed with the mask.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        layer: Counted from 0.
        head: Counted from 0.

    Raises:
        InputError: The model has no such layer or head.
    """
    check_ids(ids)
    check_layer(model, layer, -1 if head is None else head)
    return head_stages(trace_forward(model, ids, unmasked_probe({(layer, head)})), layer, head)
