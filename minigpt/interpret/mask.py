"""The causal mask, put to the test: what reaches whom, and what a head would do without it.

Shapes: B rows, T query positions, S key positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.checks import check_layer, check_position, check_token
from minigpt.interpret.heads import HeadStages, head_stages
from minigpt.interpret.trace import to_numpy, trace_forward
from minigpt.model.points import Probe
from minigpt.model.transformer import Transformer


def change_effect(model: Transformer, ids: torch.Tensor, position: int, new_id: int) -> np.ndarray:
    """Put another token at one position and measure how far the logits move at every position.

    With a causal mask they do not move before it, not by a single bit.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        position: Where the other token goes.
        new_id: The other token.

    Returns:
        The largest change of any logit at each position, (T,).

    Raises:
        InputError: There is no such position or token.
    """
    check_position(ids, position)
    check_token(model, new_id)
    changed = ids.clone()
    changed[0, position] = new_id
    with evaluation_mode(model):  # one text at a time: in a batch, two rows need not round alike
        moved = model(changed) - model(ids)
    return to_numpy(moved[0].abs().amax(dim=-1))


def unmasked_probe(heads: Collection[tuple[int, int]] | None = None) -> Probe:
    """Return a probe that lifts the causal mask while it looks: scores pass on as they were before masking.

    A model that was trained with the mask has never seen the future; what it makes of it is not what it would have
    learned.

    Args:
        heads: (layer, head) of those that see everything; None: all of them.
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
        lifted = [head for layer, head in heads if name.startswith(f"blocks.{layer}.")]
        edited = tensor.clone()
        edited[:, lifted] = unmasked[:, lifted]
        return edited

    return probe


def unmasked_stages(model: Transformer, ids: torch.Tensor, layer: int, head: int) -> HeadStages:
    """Return the stages of one head with its mask lifted; all that lies before it is computed with the mask.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        layer: Counted from 0.
        head: Counted from 0.

    Raises:
        InputError: The model has no such layer or head.
    """
    check_layer(model, layer, head)
    return head_stages(trace_forward(model, ids, unmasked_probe({(layer, head)})), layer, head)
