"""Texts about the files of the Corpus page: how they were read, and how else they can be read."""

from __future__ import annotations

from collections.abc import Sequence

from minigpt.app.texts import compact, number, t
from minigpt.data.encodings import ENCODINGS
from minigpt.data.readings import Reading
from minigpt.data.tables import WHOLE_LINES
from minigpt.wording import harmless


def is_guessed(readings: Sequence[Reading], encoding: str) -> bool:
    """Return whether the encoding of a file was guessed or chosen, so that another one can be chosen."""
    return encoding != "auto" or any(reading.is_guessed for reading in readings)


def encodings(readings: Sequence[Reading]) -> dict[str, str]:
    """Return the encodings that can be chosen: name to words."""
    guessed = ", ".join(dict.fromkeys(reading.encoding_in_words for reading in readings if reading.is_guessed))
    auto = t("corpus.encoding_guessed", encoding=guessed) if guessed else t("corpus.encoding_auto")
    return {"auto": auto, **ENCODINGS}


def columns(readings: Sequence[Reading], column: str) -> dict[str, str]:
    """Return the columns that can be chosen, name to words; empty for files that are no tables."""
    names = list(dict.fromkeys(name for reading in readings for name in reading.columns))
    if not names and not column:
        return {}
    kept = [column] if column not in ("", WHOLE_LINES, *names) else []
    return {
        "": t("corpus.column_auto"),
        **{name: harmless(name) for name in (*names, *kept)},
        WHOLE_LINES: t("corpus.column_whole"),
    }


def reading_rows(readings: Sequence[Reading]) -> list[dict[str, str]]:
    """Return a row for each document: what it is, its encoding and size, and what was repaired."""
    return [
        {
            t("corpus.reading_name"): harmless(reading.name),
            t("corpus.reading_kind"): _kind(reading),
            t("corpus.reading_encoding"): _encoding(reading),
            t("corpus.reading_bytes"): number(reading.num_bytes),
            t("corpus.reading_chars"): compact(reading.num_chars),
            t("corpus.reading_repairs"): _remark(reading),
        }
        for reading in readings
    ]


def _kind(reading: Reading) -> str:
    if reading.refused:
        return t("corpus.reading_left_out")
    if reading.column:
        return t("corpus.reading_column", kind=reading.kind, column=harmless(reading.column))
    return reading.kind


def _encoding(reading: Reading) -> str:
    name = reading.encoding_in_words
    return t("corpus.reading_guessed", encoding=name) if reading.is_guessed else name


def _remark(reading: Reading) -> str:
    if reading.refused:
        return harmless(reading.refused)
    return " ".join(filter(None, (reading.repairs_in_words or t("corpus.reading_nothing"), harmless(reading.note))))
