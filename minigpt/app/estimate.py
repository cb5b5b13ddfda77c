"""How long a training will take, before it starts: a rough model, corrected by what this machine has shown.

The model is two terms, a fixed cost of every layer's operations and the arithmetic itself; measured on two cores, and
right to about a factor of two elsewhere until the first run of the process corrects it.
"""

from __future__ import annotations

from collections.abc import Iterable

from minigpt.config import RunConfig
from minigpt.model.size import flops_per_token
from minigpt.runs.snapshots import RunSnapshot

SECONDS_PER_STEP = 0.004
"""Optimizer and bookkeeping."""
SECONDS_PER_LAYER = 0.0015
FLOPS_PER_SECOND = {"cpu": 4.0e10, "cuda": 1.0e13, "mps": 1.0e12}


def seconds_per_step(config: RunConfig, vocab_size: int, device: str = "cpu") -> float:
    """Return the seconds that one weight update takes, as the model has it.

    Args:
        config: The run's settings.
        vocab_size: How many different tokens there are.
        device: Where it computes: cpu, cuda or mps.
    """
    tokens = config.training.batch_size * config.model.sequence_length
    work = tokens * flops_per_token(config.model, vocab_size)
    passes = config.training.accumulation_steps
    rate = FLOPS_PER_SECOND.get(device.partition(":")[0], FLOPS_PER_SECOND["cpu"])
    return SECONDS_PER_STEP + SECONDS_PER_LAYER * config.model.num_layers * passes + work / rate


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
