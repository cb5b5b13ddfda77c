"""What Home shows, from files alone: a recorded way from text to next character, and what a run wrote as it learned.

Nothing here imports torch: Home has to be drawn within seconds of the server's start. The recording is made by
`tools/make_home_flow.py` from the bundled model, and a test makes it again and compares.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt import resources
from minigpt.runs.metrics import read_records


@functools.cache
def load_flow() -> dict[str, Any] | None:
    """Return the recording, None if it was not shipped; see `minigpt.interpret.flow.Flow` for its fields."""
    try:
        recording: dict[str, Any] = json.loads(resources.asset_path("home_flow.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return recording


@dataclass(frozen=True)
class WrittenSample:
    """What a run wrote at one step of its training.

    Attributes:
        step: The optimizer update it was written after.
        text: What it wrote, after its prompt.
        val_loss: Nats per token on the validation part, measured last before; None if it was not measured by then.
    """

    step: int
    text: str
    val_loss: float | None


def written_samples(run: Path) -> list[WrittenSample]:
    """Return every sample in a run's metrics, in order of steps.

    Args:
        run: The run's folder; one without metrics has no samples.
    """
    samples: list[WrittenSample] = []
    loss: float | None = None
    for record in sorted(read_records(run / "metrics.jsonl"), key=lambda record: record["step"]):
        if record["kind"] == "evaluation":
            loss = record.get("val_loss", loss)
        elif record["kind"] == "sample" and record.get("text"):
            samples.append(WrittenSample(record["step"], str(record["text"]), loss))
    return samples


def milestones(samples: list[WrittenSample], count: int = 5) -> list[WrittenSample]:
    """Pick samples that show how noise turned into words: first, last, and between them steps that grow alike.

    Learning is quick at first and slow later, so the steps between are spaced by ratio and not by difference.

    >>> [sample.step for sample in milestones([WrittenSample(s, "", None) for s in range(0, 1001, 50)], 4)]
    [0, 50, 200, 1000]
    """
    if len(samples) <= count:
        return samples
    chosen = [samples[0]]
    start = max(1, samples[1].step)
    ratio = (samples[-1].step / start) ** (1 / max(1, count - 2))
    for index in range(count - 2):
        later = [sample for sample in samples[1:-1] if sample.step > chosen[-1].step]
        if later:
            chosen.append(min(later, key=lambda sample: abs(sample.step - start * ratio**index)))
    return [*chosen, samples[-1]]
