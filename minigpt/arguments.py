"""Checks of numbers that a caller of the library gives: an error of ours, before Python or torch raise their own."""

from __future__ import annotations

import operator

from minigpt.errors import InputError

MOST = 1_000_000
"""Largest number that can be asked for, of neighbours, units or random tokens."""


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number, of Python or of numpy; true and false are none."""
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def check_count(name: str, value: object, *, least: int = 1, most: int = MOST) -> None:
    """Refuse a number that is not whole or out of range.

    Raises:
        InputError: It is; the message has the range.
    """
    if not is_whole(value) or not least <= value <= most:  # type: ignore[operator]
        raise InputError(
            f"{name} is {value!r}; it must be a whole number from {least} to {most:,}.", mend=f"Set {name} accordingly."
        )
