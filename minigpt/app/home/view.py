"""What Home shows, from files alone: a recorded way from text to next character, and what a run wrote as it learned.

Nothing here imports torch: Home has to be drawn within seconds of the server's start. The recording is made by
`tools/make_home_flow.py` from the bundled model, and a test makes it again and compares.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from minigpt import resources
from minigpt.runs.metrics import WrittenSample


@functools.cache
def load_flow() -> dict[str, Any] | None:
    """Return the recording, None if it was not shipped; see `minigpt.interpret.flow.Flow` for its fields."""
    try:
        recording: dict[str, Any] = json.loads(resources.asset_path("home_flow.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    return recording


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
