"""One press on a mend of the Corpus page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minigpt.config import dotted_fields
from minigpt.data.mends import MENDS


@dataclass(frozen=True)
class Step:
    """One press on a mend.

    Attributes:
        mend: Name of the mend of the text, or "".
        changes: Settings that were changed: dotted field to value.
        before: The changes from the preset that they replaced; a setting that had the preset's value is not in it.
        counts: What was counted in the text, as (before, after).
    """

    mend: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def restored_step(value: Any) -> Step | None:
    """Return a step that a file holds, or None."""
    known = set(dotted_fields())
    try:
        mend, changes, before = value["mend"], dict(value["changes"]), dict(value["before"])
        counts = {str(name): (int(low), int(high)) for name, (low, high) in value["counts"].items()}
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    is_possible = (mend in MENDS if mend else changes) and {*changes, *before} <= known
    return Step(str(mend), changes, before, counts) if is_possible else None
