"""How a training goes inside: each layer's gradient and update, and how much of the machine it uses.

Reads after: callbacks.
"""

from __future__ import annotations

import functools
import math
import time

import torch

from minigpt.model.size import flops_per_token
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, TrainerView
from minigpt.training.precision import DTYPES

PEAK_SECONDS = 0.15
"""How long the machine's peak is looked for, once in a process for each device, number of threads and precision."""


# -- layers


def layer_of(name: str) -> str:
    """Return the part of the model that a parameter belongs to.

    >>> layer_of("blocks.3.attention.qkv.weight"), layer_of("embedding.weight")
    ('blocks.3', 'embedding')
    """
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def layer_norms(names: list[str], tensors: list[torch.Tensor]) -> dict[str, float]:
    """Return the length of each layer's tensors, taken together as one vector.

    Args:
        names: Of the parameters.
        tensors: One for each name.
    """
    squares: dict[str, float] = {}
    lengths = torch.stack(torch._foreach_norm(tensors)).tolist()
    for name, length in zip(names, lengths, strict=True):
        squares[layer_of(name)] = squares.get(layer_of(name), 0.0) + length**2
    return {layer: math.sqrt(square) for layer, square in squares.items()}


class Norms(Callback):
    """Report, every `norm_steps`, how long each layer's gradient is and how far the update moves its weights.

    As a record of kind `norms` with, by layer, `gradient` (before it was shortened), `update`, and `ratio`: update by
    weights. A ratio near 0.001 is usual; one much larger or smaller than the other layers' says which layer learns too
    fast or hardly at all.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._before: list[torch.Tensor] = []
        self._gradient: dict[str, float] = {}

    @torch.no_grad()
    def on_gradient(self, trainer: TrainerView) -> None:
        """Measure the gradient, and keep the weights to compare with."""
        settings, step = trainer.config.training, trainer.step + 1
        every = settings.eval_steps if settings.norm_steps is None else settings.norm_steps
        self._before = []
        if not every or step % every:
            return
        learned = [(name, p, p.grad) for name, p in trainer.model.named_parameters() if p.grad is not None]
        self._names = [name for name, _, _ in learned]
        self._gradient = layer_norms(self._names, [gradient for _, _, gradient in learned])
        self._before = [parameter.detach().clone() for _, parameter, _ in learned]

    @torch.no_grad()
    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Measure the update and report."""
        if not self._before:
            return
        parameters = dict(trainer.model.named_parameters())
        length = layer_norms(self._names, self._before)
        torch._foreach_sub_(self._before, [parameters[name] for name in self._names])
        update = layer_norms(self._names, self._before)
        self._before = []
        ratio = {layer: update[layer] / max(length[layer], 1e-12) for layer in update}
        found = {"gradient": self._gradient, "update": update, "ratio": ratio}
        # a gradient that overflowed in float16 has no length that could be written down
        rounded = {
            kind: {layer: float(f"{norm:.5g}") for layer, norm in norms.items() if math.isfinite(norm)}
            for kind, norms in found.items()
        }
        trainer.report({"kind": "norms", "step": trainer.step, **rounded})


# -- the machine


@functools.cache
def measure_peak(device: str, num_threads: int, precision: str) -> float:
    """Measure how fast this machine multiplies matrices at best, in operations a second.

    Args:
        device: Where, for example `cpu`.
        num_threads: torch threads of the calling thread; part of the name under which the result is kept.
        precision: `float32`, `bfloat16` or `float16`.
    """
    place = torch.device(device)
    size = 1024 if place.type == "cpu" else 4096
    # small numbers of both signs: on some machines what is multiplied decides how fast
    values = torch.linspace(-1, 1, size * size, device=place).view(size, size).to(DTYPES[precision])
    fastest, ends = math.inf, time.perf_counter() + PEAK_SECONDS
    torch.mm(values, values)
    while time.perf_counter() < ends or fastest == math.inf:
        _wait(place)
        started = time.perf_counter()
        torch.mm(values, values)
        _wait(place)
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def _wait(device: torch.device) -> None:
    """Wait until a device has done what it was asked to do; a processor has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def share_of_peak(trainer: TrainerView, tokens_per_second: float) -> float:
    """Return the share of the machine's measured matrix peak that a training uses: its MFU.

    Operations count as in `flops_per_token`, whatever is really computed; what an optimizer does counts as nothing.

    Source: Chowdhery et al. 2022 (PaLM), appendix B, with the peak measured instead of the maker's.
    """
    model = trainer.model
    peak = measure_peak(str(model.device), torch.get_num_threads(), trainer.config.training.precision)
    return flops_per_token(model.config, model.vocab_size) * tokens_per_second / peak


class Utilisation(Callback):
    """Add `mfu` to each measurement's record: the share of the matrix peak since the one before; see `share_of_peak`.

    Give it before what writes the records.
    """

    def __init__(self) -> None:
        self._mark = (0.0, 0)

    def on_start(self, trainer: TrainerView) -> None:
        """Begin to count where the training is."""
        self._mark = (trainer.seconds, trainer.tokens_seen)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Add the share, where there was training since the last measurement."""
        seconds, tokens = trainer.seconds - self._mark[0], trainer.tokens_seen - self._mark[1]
        if tokens > 0 and seconds > 0:
            record["mfu"] = round(share_of_peak(trainer, tokens / seconds), 4)
        self._mark = (trainer.seconds, trainer.tokens_seen)
