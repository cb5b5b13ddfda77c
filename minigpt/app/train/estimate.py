"""How long a training will take, before it starts: a rough model, corrected by what was measured.

The model is two terms, a fixed cost of every layer's operations and the arithmetic itself. What it leaves out (an
optimizer's own work, the quicker numbers) is put right by the time that the preset took when it was made, on two cores;
and how much quicker or slower this machine is, by the first run of the process.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from minigpt.app.train import presets
from minigpt.config import RunConfig, load_config
from minigpt.model.size import flops_per_token
from minigpt.runs.snapshots import RunSnapshot

SECONDS_PER_STEP = 0.004
"""Optimizer and bookkeeping."""
SECONDS_PER_LAYER = 0.0015
USUAL_VOCAB_SIZE = 64
FLOPS_PER_SECOND = {"cpu": 4.0e10, "cuda": 1.0e13, "mps": 1.0e12}


def seconds_per_step(config: RunConfig, vocab_size: int, device: str = "cpu") -> float:
    """Return the seconds that one weight update takes, as far as one can tell.

    Args:
        config: The run's settings.
        vocab_size: How many different tokens there are.
        device: Where it computes: cpu, cuda or mps.
    """
    return _modelled(config, vocab_size, device) * (_measured(config.preset) if device == "cpu" else 1.0)


def _modelled(config: RunConfig, vocab_size: int, device: str) -> float:
    tokens = config.training.batch_size * config.model.sequence_length
    work = tokens * flops_per_token(config.model, vocab_size)
    passes = config.training.accumulation_steps
    rate = FLOPS_PER_SECOND.get(device.partition(":")[0], FLOPS_PER_SECOND["cpu"])
    return SECONDS_PER_STEP + SECONDS_PER_LAYER * config.model.num_layers * passes + work / rate


@functools.cache
def _measured(preset: str | None) -> float:
    """Return by how much a preset is slower (above 1) or faster on two cores than the model has it; 1 if not known."""
    if preset not in presets.names():
        return 1.0
    found, config = presets.measured(preset), load_config(preset, environment={})
    if found.machine != presets.USUAL_MACHINE or not found.seconds:
        return 1.0
    return found.seconds / config.training.max_steps / _modelled(config, USUAL_VOCAB_SIZE, "cpu")


def correction(seen: Iterable[RunSnapshot]) -> float:
    """Return by how much this machine is slower (above 1) or faster than the model, by the newest run it has trained.

    Args:
        seen: Snapshots of runs of this process, the newest last; those that measured nothing are passed over.
    """
    factor = 1.0
    for snapshot in seen:
        if snapshot.step >= 20 and snapshot.seconds > 0:
            vocab_size = int(snapshot.corpus.get("vocab_size", 0)) or 100
            expected = seconds_per_step(snapshot.config, vocab_size, snapshot.device)
            factor = snapshot.seconds / snapshot.step / expected
    return factor
