"""What the pages say about a preset: its name, one sentence, and what was measured with it.

Name and sentence are in the catalogue; `runs.cost.measured` reads the figures from the preset's file.
"""

from __future__ import annotations

import functools

from minigpt import resources
from minigpt.app.texts import duration, escape, has, t
from minigpt.runs.cost import USUAL_MACHINE, measured


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
def names() -> list[str]:
    """Return the names of all presets, the quickest first; those for other machines and the unmeasured come last."""

    def place(name: str) -> tuple[bool, float]:
        found = measured(name)
        return found.machine != USUAL_MACHINE, found.seconds or 0.0

    return sorted(resources.preset_names(), key=place)
