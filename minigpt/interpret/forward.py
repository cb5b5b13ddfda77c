"""One forward pass as an ordered list of steps, with the details of one block.

The model's own forward pass runs once. Its points are recorded by a probe. Modules of the selected block that have no
point of their own, such as a convolution, are recorded by forward hooks. So a block with another structure still shows
what it does, in its own order.

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
"""Number of coordinates per position that are kept of the streams between blocks."""


@dataclass(frozen=True)
class ForwardPass:
    """The steps of one text's forward pass.

    Attributes:
        layer: The selected block, counted from 0.
        before: Name and values of each step before the blocks, starting with `ids` (T,), without the batch dimension.
        inside: The same inside the selected block, with names without `blocks.{l}.`.
        parts: Name of a step in the selected block to the name of the module that returned it, if it is known; for
            example `attn_in` to `attention_norm`.
        after: The same after the blocks, up to `probabilities` (T, V).
        streams: First coordinates of the residual stream after each block, (L, T, at most STREAM_NUMBERS).
        lengths: Mean length of a position's vector before the first block and after each block, (L + 1,).
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

    The tensors of the other blocks are not kept, so a deep model needs no more memory here than a shallow one.

    Args:
        model: Any model; its mode is restored.
        ids: Token ids (1, T), int64.
        layer: The selected block, from 0.

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
    before: list[str] = []  # names of the steps before the first block

    def record(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not name.startswith("blocks."):
            outside[name] = tensor
        else:
            if not entered:
                before.extend(outside)
                entered.append(tensor)
            if name.startswith(prefix):
                name_inside = name.removeprefix(prefix)
                last = next(reversed(inside), "")
                if last.startswith("resid_") and inside[last] is tensor:  # nothing was computed between the two points
                    if name_inside != "resid_post":
                        return tensor
                    del inside[last]
                    if last in parts:
                        parts[name_inside] = parts.pop(last)
                for part in [part for part in parts if inside.get(part) is tensor]:  # its result is also a point
                    parts[name_inside] = parts.pop(part)
                    del inside[part]
                inside[name_inside] = tensor
            if name.endswith(".resid_post"):
                streams.append(tensor)
        return tensor

    def record_output(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            is_recorded = any(output is tensor for tensor in inside.values())  # as a point
            if isinstance(output, torch.Tensor) and not is_recorded:
                inside[name], parts[name] = output, name

        return hook

    was_training = model.training
    children = list(model.blocks[layer].named_children())
    hooks = [child.register_forward_hook(record_output(name)) for name, child in children]
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
