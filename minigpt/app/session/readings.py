"""What is known of a document that a visitor brought: how it was read, and whether cleaning changed it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DocumentReading:
    """What one document was before it was cleaned, and what became of it."""

    name: str
    encoding: str
    num_bytes: int
    num_chars: int
    num_cleaned_chars: int
    is_changed: bool
