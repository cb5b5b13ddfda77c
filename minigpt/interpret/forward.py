"""One forward pass as the steps that a model takes, in order, with one block opened.

The model's own forward pass runs once. Its points come through the probe; a part of the opened block that has no point
of its own, such as a norm, is caught as it answers. So a block that works otherwise shows what it does, in its order.

Shapes: T positions, D d_model, V vocabulary, L layers; H heads, K d_head, F d_ff inside steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from minigpt.interpret.checks import check_layer
from minigpt.interpret.trace import Trace, to_numpy
from minigpt.model.transformer import Transformer

STREAM_NUMBERS = 24
"""How many of the D numbers of each position are kept of the streams between blocks."""


@dataclass(frozen=True)
class ForwardPass:
    """What one text became on its way through a model.

    Attributes:
        layer: The block that is open, counted from 0.
        before: Name and values of each step below the blocks, from `ids` (T,) on, without the batch.
        inside: The same of the open block, names without `blocks.{l}.`.
        parts: Name of a step of the open block to that of the part of the block which answered with it, where that is
            known: `attn_in` is what `attention_norm` answered.
        after: The same above the blocks, to `probabilities` (T, V).
        streams: The first numbers of the residual stream as it leaves each block, (L, T, at most STREAM_NUMBERS).
        lengths: Mean length of a position's vector as it enters the first block and leaves each block, (L + 1,).
    """

    layer: int
    before: dict[str, np.ndarray]
    inside: dict[str, np.ndarray]
    parts: dict[str, str]
    after: dict[str, np.ndarray]
    streams: np.ndarray
    lengths: np.ndarray


@torch.no_grad()
def forward_pass(model: Transformer, ids: torch.Tensor, layer: int) -> ForwardPass:
    """Run a model on one text and keep the steps outside the blocks and inside one of them.

    What other blocks compute is let go at once, so that a deep model needs no more memory here than a shallow one.

    Args:
        model: Any model; it is left as it was.
        ids: Token ids (1, T), int64.
        layer: The block to open, from 0.

    Raises:
        InputError: There is no such block.
        MinigptError: The ids do not fit the model, see `Transformer.forward`.
    """
    check_layer(model, layer)
    prefix = f"blocks.{layer}."
    outside: dict[str, torch.Tensor] = {}
    inside: dict[str, torch.Tensor] = {}
    parts: dict[str, str] = {}
    streams: list[torch.Tensor] = []
    entered: list[torch.Tensor] = []
    before: list[str] = []  # names of the steps that came before the first block

    def record(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not name.startswith("blocks."):
            outside[name] = tensor
        else:
            if not entered:
                before.extend(outside)
                entered.append(tensor)
            if name.startswith(prefix):
                name_inside = name.removeprefix(prefix)
                for part in [part for part in parts if inside.get(part) is tensor]:  # it has a point after all
                    parts[name_inside] = parts.pop(part)
                    del inside[part]
                inside[name_inside] = tensor
            if name.endswith(".resid_post"):
                streams.append(tensor)
        return tensor

    def catch(name: str) -> Any:
        def answered(module: nn.Module, arguments: Any, answer: Any) -> None:
            seen = any(answer is tensor for tensor in inside.values())  # it was a point already
            if isinstance(answer, torch.Tensor) and not seen:
                inside[name], parts[name] = answer, name

        return answered

    was_training = model.training
    children = list(model.blocks[layer].named_children())
    hooks = [child.register_forward_hook(catch(name)) for name, child in children]
    model.eval()
    try:
        model(ids, probe=record)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    after = {name: tensor for name, tensor in outside.items() if name not in before}
    after["probabilities"] = Trace(ids, outside).probabilities
    return ForwardPass(
        layer=layer,
        before={"ids": to_numpy(ids[0]), **_arrays({name: outside[name] for name in before})},
        inside=_arrays(inside),
        parts=parts,
        after=_arrays(after),
        streams=np.stack([to_numpy(stream[0, :, :STREAM_NUMBERS]) for stream in streams]),
        lengths=np.array([float(stream[0].float().norm(dim=-1).mean()) for stream in [*entered, *streams]]),
    )


def _arrays(steps: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: to_numpy(tensor[0]) for name, tensor in steps.items()}
