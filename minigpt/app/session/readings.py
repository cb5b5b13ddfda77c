"""How a visitor's document was read, and whether cleaning changed it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DocumentReading:
    """One document before and after cleaning."""

    name: str
    encoding: str
    num_bytes: int
    num_chars: int
    num_cleaned_chars: int
    is_changed: bool
