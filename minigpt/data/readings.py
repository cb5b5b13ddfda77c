"""How a document was read: what it is, in which encoding, and what was repaired.

A reading says in words what a person should know before trusting the text: on a page below the files, and on the
command line as notes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from minigpt.data.encodings import ENCODINGS
from minigpt.wording import visible

PLAIN = "plain text"
REPAIRS = {
    "marks": ("1 byte-order mark inside the text left out", "{} byte-order marks inside the text left out"),
    "windows": ("1 line end of Windows made uniform", "{} line ends of Windows made uniform"),
    "returns": ("1 carriage return became a line end", "{} carriage returns became line ends"),
    "breaks": ("1 other line break made uniform", "{} other line breaks made uniform"),
    "nuls": ("1 NUL character left out", "{} NUL characters left out"),
    "controls": ("1 control character left out", "{} control characters left out"),
    "surrogates": ("1 half of a surrogate pair left out", "{} halves of surrogate pairs left out"),
    "invalid": ("1 invalid byte replaced by \ufffd", "{} invalid bytes replaced by \ufffd"),
    "rows": ("1 row that could not be read left out", "{} rows that could not be read left out"),
    "forms": ("accented letters given one form (NFC)", "accented letters given one form (NFC)"),
}
"""What can be repaired, in the order in which it is said: the words for once and for several times."""


@dataclass
class Reading:
    """How one document was read; complete once the whole document has been read.

    Attributes:
        name: Name of the document.
        kind: What it is, in words, for example `a PDF document`.
        encoding: One of `ENCODINGS`, "" for a document that is not stored as text.
        is_marked: Whether a byte-order mark names the encoding.
        is_guessed: Whether the encoding is a guess.
        proof: A line with characters beyond ASCII, by which a person can check a guess.
        num_bytes: Size as it was given.
        num_chars: Characters that were taken from it, after cleaning.
        columns: Columns of a table, or keys of a file of JSON lines; empty for other kinds.
        column: The column that was taken.
        note: A sentence about the document, "" if there is nothing to say.
        refused: Why a document of an archive was left out, "" if it was taken.
        repairs: What was repaired and how often; the keys are those of `REPAIRS`.
    """

    name: str
    kind: str = PLAIN
    encoding: str = ""
    is_marked: bool = False
    is_guessed: bool = False
    proof: str = ""
    num_bytes: int = 0
    num_chars: int = 0
    columns: tuple[str, ...] = ()
    column: str = ""
    note: str = ""
    refused: str = ""
    repairs: Counter[str] = field(default_factory=Counter)

    @property
    def encoding_in_words(self) -> str:
        """The encoding, and whether it is a guess."""
        name = ENCODINGS.get(self.encoding, "")
        return f"{name} with byte-order mark" if self.is_marked and self.encoding == "utf-8" else name

    @property
    def repairs_in_words(self) -> str:
        """What was repaired, as a list in one line; "" if nothing was."""
        counts = {name: self.repairs[name] for name in REPAIRS if self.repairs[name]}
        return ", ".join(REPAIRS[name][count != 1].format(f"{count:,}") for name, count in counts.items())

    @property
    def sentence(self) -> str:
        """What a person should know about the document; "" for plain text in Unicode that needed no repair."""
        if self.refused:
            return f"Left out: {self.refused}"
        said = []
        if self.kind != PLAIN:
            said.append(f"read as {self.kind}")
        if self.column:
            said.append(f"column {self.column} of {', '.join(self.columns)}")
        if self.is_guessed:
            said.append(f"encoding guessed: {self.encoding_in_words}")
        if repairs := self.repairs_in_words:
            said.append(repairs)
        parts = [f"{visible(self.name)}: {'; '.join(said)}."] if said else []
        if self.is_guessed and self.proof:
            parts.append(f"It should read properly: {self.proof}")
        if self.note:
            parts.append(self.note)
        return " ".join(parts)
