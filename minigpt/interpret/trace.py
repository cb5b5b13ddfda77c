"""A trace: everything that one forward pass computed, by name.

Nothing is computed a second time. The model's own forward pass runs with a probe that records every tensor.

Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head, F d_ff, V vocabulary, L layers.
Source: TransformerLens (Nanda and Bloom 2022) returns the activations of a run in the same way, as *activation cache*
from `run_with_cache`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from minigpt.model.points import BLOCK_POINTS, Probe, tap
from minigpt.model.transformer import Transformer


class Trace(Mapping[str, torch.Tensor]):
    """Every point of one forward pass; see `minigpt.model.points` for names and shapes.

    `trace["blocks.0.q"]` is one point, `trace.q` a list with that point of every block, and `trace.logits` a point
    outside the blocks.

    Args:
        ids: The token ids that the model read, (B, T).
        points: Name to tensor, in order of computation.
    """

    def __init__(self, ids: torch.Tensor, points: Mapping[str, torch.Tensor]) -> None:
        self.ids = ids
        self._points = dict(points)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def names(self) -> list[str]:
        """The names of all points, in order of computation."""
        return list(self._points)

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.block("resid_pre"))

    @property
    def embed(self) -> torch.Tensor:
        """Token vectors (B, T, D)."""
        return self["embed"]

    @property
    def final_norm(self) -> torch.Tensor:
        """The residual stream after the final norm, (B, T, D); only a model with pre-norm has it."""
        return self["final_norm"]

    @property
    def logits(self) -> torch.Tensor:
        """A score for every possible next token, (B, T, V)."""
        return self["logits"]

    @property
    def probabilities(self) -> torch.Tensor:
        """The softmax of the logits, (B, T, V)."""
        return self.logits.softmax(dim=-1)

    @property
    def attn_pattern(self) -> list[torch.Tensor]:
        """The attention weights of each layer, (B, H, T, S); rows sum to 1."""
        return self.block("attn_pattern")

    def block(self, point: str) -> list[torch.Tensor]:
        """Return one point of every block, from the first block to the last."""
        named = (name for name in self._points if name.startswith("blocks.") and name.endswith(f".{point}"))
        return [self._points[name] for name in named]

    def __getattr__(self, name: str) -> list[torch.Tensor]:
        if name in BLOCK_POINTS:
            return self.block(name)
        raise AttributeError(f"a trace has no {name!r}; it has {', '.join(BLOCK_POINTS)} for each block, and its names")


@torch.no_grad()
def trace_forward(model: Transformer, ids: torch.Tensor, probe: Probe | None = None) -> Trace:
    """Run a model once and keep everything that it computes, without dropout.

    Args:
        model: Any model; its mode, training or evaluation, is restored.
        ids: Token ids (B, T), int64.
        probe: Edits what the model computes; the trace holds the edited tensors.

    Raises:
        MinigptError: The ids do not fit the model, see `Transformer.forward`.
    """
    points: dict[str, torch.Tensor] = {}

    def record(name: str, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tap(probe, name, tensor)
        points[name] = tensor.detach()  # a view of a parameter would still require a gradient
        return tensor

    was_training = model.training
    model.eval()
    try:  # not in inference mode, so that the traced tensors can be used in later gradients
        model(ids, probe=record)
    finally:
        model.train(was_training)
    return Trace(ids, points)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor from any device as a float32 array; integers stay integers."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
