"""What this server allows: the limits of its profile. Imported by the first page, so what it needs is imported late."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigpt.runs.limits import Limits


@functools.cache
def limits() -> Limits:
    """Return the limits of this server's profile."""
    from minigpt.runs.limits import load_limits

    return load_limits()
