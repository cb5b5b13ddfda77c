"""Texts about a preset: its title, one sentence, and its measured results.

Title and sentence are in the catalogue; `runs.cost.measured` reads the figures from the preset's file.
"""

from __future__ import annotations

import functools

from minigpt import resources
from minigpt.app.texts import duration, escape, has, t
from minigpt.runs.cost import USUAL_MACHINE, measured


def title(name: str) -> str:
    """Return the title of a preset."""
    key = name.replace("-", "_")
    return t(f"train.preset_{key}") if has(f"train.preset_{key}") else name


def about(name: str) -> str:
    """Return one sentence on the use of a preset and, if it was measured, one on the result."""
    key = name.replace("-", "_")
    sentences = [t(f"train.about_preset_{key}")] if has(f"train.about_preset_{key}") else []
    found = measured(name)
    if found.corpus and found.loss is not None and found.seconds is not None:
        corpus, time = escape(found.corpus), duration(found.seconds)
        sentences.append(t("train.measured", corpus=corpus, loss=f"{found.loss:.2f}", time=time, machine=found.machine))
    return " ".join(sentences)


@functools.cache
def names() -> list[str]:
    """Return the names of all presets, the fastest first; those of other machines and unmeasured ones come last."""

    def place(name: str) -> tuple[bool, float]:
        found = measured(name)
        return found.machine != USUAL_MACHINE, found.seconds or 0.0

    return sorted(resources.preset_names(), key=place)
