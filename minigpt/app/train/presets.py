"""What the pages know of a preset: what it is called, one sentence, and what was measured when it was made.

Name and sentence are in the catalogue; the figures stand in the preset's own file, in the lines above its settings.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from minigpt import resources
from minigpt.app.texts import duration, escape, has, t

USUAL_MACHINE = "two cores"
"""On which most presets were measured, and for which a time is foretold."""


@dataclass(frozen=True)
class Measured:
    """What the head of a preset's file says of one training with it; None where it says nothing."""

    corpus: str | None
    """On which text."""
    machine: str | None
    seconds: float | None
    loss: float | None
    """Nats per character on the validation part."""


def title(name: str) -> str:
    """Return what a preset is called."""
    key = name.replace("-", "_")
    return t(f"train.preset_{key}") if has(f"train.preset_{key}") else name


def about(name: str) -> str:
    """Return one sentence on what a preset is for and, where it was measured, one on what came of it."""
    key = name.replace("-", "_")
    said = [t(f"train.about_preset_{key}")] if has(f"train.about_preset_{key}") else []
    found = measured(name)
    if found.corpus and found.loss is not None and found.seconds is not None:
        corpus, time = escape(found.corpus), duration(found.seconds)
        said.append(t("train.measured", corpus=corpus, loss=f"{found.loss:.2f}", time=time, machine=found.machine))
    return " ".join(said)


@functools.cache
def measured(name: str) -> Measured:
    """Read what stands above a preset's settings."""
    head = resources.preset_path(name).read_text("utf-8").partition("\n\n")[0]

    def line(pattern: str) -> re.Match[str] | None:
        return re.search(rf"^# {pattern}", head, re.MULTILINE)

    corpus, seconds, loss = (
        line(r"corpus: (.+)$"),
        line(r"seconds on ([^:]+): ([\d.,]+\d)"),
        line(r"expected loss: ([\d.]+)"),
    )
    seconds = seconds or line(r"seconds on ([^:]+): (\d)")
    return Measured(
        corpus[1] if corpus else None,
        seconds[1] if seconds else None,
        float(seconds[2].replace(",", "")) if seconds else None,
        float(loss[1]) if loss else None,
    )


@functools.cache
def names() -> list[str]:
    """Return the names of all presets, the quickest first; those for other machines and the unmeasured come last."""

    def place(name: str) -> tuple[bool, float]:
        found = measured(name)
        return found.machine != USUAL_MACHINE, found.seconds or 0.0

    return sorted(resources.preset_names(), key=place)
