"""What this server allows: the limits of its profile."""

from __future__ import annotations

import functools

from minigpt.runs.limits import Limits, load_limits


@functools.cache
def limits() -> Limits:
    """Return the limits of this server's profile."""
    return load_limits()
