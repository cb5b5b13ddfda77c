"""Callbacks that measure a training from inside: gradients and updates of each layer, and the use of the machine.

Reads after: callbacks, peak.
"""

from __future__ import annotations

import math

import torch

from minigpt.model.size import flops_per_token
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, TrainerView
from minigpt.training.peak import best_peak

# -- layers


def layer_of(name: str) -> str:
    """Return the part of the model that a parameter belongs to.

    >>> layer_of("blocks.3.attention.qkv.weight"), layer_of("embedding.weight")
    ('blocks.3', 'embedding')
    """
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def layer_norms(names: list[str], tensors: list[torch.Tensor]) -> dict[str, float]:
    """Return the Euclidean norm of each layer's tensors, taken together as one vector.

    Args:
        names: Names of parameters.
        tensors: One tensor for each name.
    """
    squares: dict[str, float] = {}
    lengths = torch.stack(torch._foreach_norm(tensors)).tolist()
    for name, length in zip(names, lengths, strict=True):
        squares[layer_of(name)] = squares.get(layer_of(name), 0.0) + length**2
    return {layer: math.sqrt(square) for layer, square in squares.items()}


class Norms(Callback):
    """Report, every `norm_steps`, the norm of each layer's gradient and of its update.

    The record has kind `norms` and three numbers for each layer: `gradient` (before clipping), `update` (the change of
    the weights), and `ratio`, the norm of the update divided by the norm of the weights. A ratio near 0.001 is usual. A
    layer with a much larger ratio than the others learns too fast, one with a much smaller ratio hardly learns.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._before: list[torch.Tensor] = []
        self._gradient: dict[str, float] = {}

    @torch.no_grad()
    def on_gradient(self, trainer: TrainerView) -> None:
        """Measure the gradient, and keep a copy of the weights before the update."""
        settings, step = trainer.config.training, trainer.step + 1
        every = settings.eval_steps if settings.norm_steps is None else settings.norm_steps
        self._before = []
        if not every or step % every:
            return
        trained = [(name, p, p.grad) for name, p in trainer.model.named_parameters() if p.grad is not None]
        self._names = [name for name, _, _ in trained]
        self._gradient = layer_norms(self._names, [gradient for _, _, gradient in trained])
        self._before = [parameter.detach().clone() for _, parameter, _ in trained]

    @torch.no_grad()
    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Measure the update and report all three norms."""
        if not self._before:
            return
        parameters = dict(trainer.model.named_parameters())
        weights = layer_norms(self._names, self._before)
        torch._foreach_sub_(self._before, [parameters[name] for name in self._names])
        update = layer_norms(self._names, self._before)
        self._before = []
        ratio = {layer: update[layer] / max(weights[layer], 1e-12) for layer in update}
        found = {"gradient": self._gradient, "update": update, "ratio": ratio}
        # a gradient that overflowed in float16 has no finite norm, so it is left out
        rounded = {
            kind: {layer: float(f"{norm:.5g}") for layer, norm in norms.items() if math.isfinite(norm)}
            for kind, norms in found.items()
        }
        trainer.report({"kind": "norms", "step": trainer.step, **rounded})


# -- the machine


def share_of_peak(trainer: TrainerView, tokens_per_second: float) -> float:
    """Return the model FLOPs utilisation (MFU): the operations per second of a training, divided by the matrix peak.

    The operations are those of `flops_per_token`, whatever is really computed; the optimizer's are not counted. The
    peak is the best that the machine has shown (`peak`), times the number of processes that train. The result means
    something if the training has the machine to itself: others slow the training down, and if they were always there,
    the peak is too low.

    Args:
        trainer: The training.
        tokens_per_second: Its speed.

    Source: Chowdhery et al. 2022 (PaLM), appendix B, with a measured peak in place of the manufacturer's.
    """
    model = trainer.model
    peak = best_peak(str(model.device), torch.get_num_threads(), trainer.config.training.precision)
    return flops_per_token(model.config, model.vocab_size) * tokens_per_second / (peak * trainer.num_processes)


class Utilisation(Callback):
    """Add `mfu` to the record of each evaluation: the share of the matrix peak since the previous one.

    Give it before the callbacks that write records. See `share_of_peak`.
    """

    def __init__(self) -> None:
        self._mark = (0.0, 0)

    def on_start(self, trainer: TrainerView) -> None:
        """Start counting from the current step."""
        self._mark = (trainer.seconds, trainer.tokens_seen)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Add the share, if there was training since the previous evaluation."""
        seconds, tokens = trainer.seconds - self._mark[0], trainer.tokens_seen - self._mark[1]
        if tokens > 0 and seconds > 0:
            record["mfu"] = round(share_of_peak(trainer, tokens / seconds), 4)
        self._mark = (trainer.seconds, trainer.tokens_seen)
