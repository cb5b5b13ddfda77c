"""The character tokenizer: each character is one token, which is the simplest kind there is.

Reads after: base.py. The vocabulary is the four special tokens, followed by the sorted set of the corpus's characters.
So the same corpus always gives the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import TokenizerError
from minigpt.tokenizers.base import (
    BOS_ID,
    EOS_ID,
    FORMAT_VERSION,
    PAD_ID,
    REPLACEMENT,
    SPECIAL_TOKENS,
    UNK_ID,
    BaseTokenizer,
    IdArray,
    checked_text,
    smallest_id_type,
)


class CharacterTokenizer(BaseTokenizer):
    """Makes each character one token.

    Args:
        characters: The vocabulary after the special tokens, in the order of their ids; empty for an untrained one.

    >>> tokenizer = CharacterTokenizer().train("abracadabra")
    >>> tokenizer.vocab_size
    9
    >>> tokenizer.encode("cab")
    [6, 4, 5]
    >>> tokenizer.decode([6, 4, 5])
    'cab'
    >>> tokenizer.encode("x")
    [1]
    """

    kind = "character"
    unit = "character"

    def __init__(self, characters: Sequence[str] = ()) -> None:
        self._characters = tuple(characters)
        self._ids = {character: n for n, character in enumerate(self._characters, start=len(SPECIAL_TOKENS))}
        self._table = self._make_table()

    def _make_table(self) -> IdArray:
        """Return the look-up table from code point to id; its last entry, UNK, is used for all larger code points."""
        codes = [ord(character) for character in self._characters]
        table = np.full(max(codes, default=0) + 2, UNK_ID, dtype=smallest_id_type(len(SPECIAL_TOKENS) + len(codes)))
        table[codes] = list(self._ids.values())
        return table

    @property
    def is_trained(self) -> bool:
        """Whether there is a vocabulary."""
        return bool(self._characters)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the four special ones included."""
        self.require_trained()
        return len(SPECIAL_TOKENS) + len(self._characters)

    @property
    def characters(self) -> tuple[str, ...]:
        """The vocabulary without the special tokens, in the order of their ids."""
        return self._characters

    def train_in_pieces(self, documents: str | Iterable[str]) -> Iterator[None]:
        """Add every character of the corpus to the vocabulary, in the order of their code points."""
        found: set[str] = set()
        for text in [documents] if isinstance(documents, str) else documents:
            found |= _distinct_characters(text)
            yield
        if not found:
            raise TokenizerError("There is no text to make a vocabulary from.", mend="Give at least one character.")
        CharacterTokenizer.__init__(self, sorted(found))

    def expected_vocab_size(self, texts: str | Iterable[str]) -> int:
        """Return the number of distinct characters plus the special tokens, which is exact."""
        return len(SPECIAL_TOKENS) + len(_distinct_characters(texts))

    def encodable_pieces(self, pieces: Iterable[str]) -> Iterable[str]:
        """Return the pieces as they are: a text may be cut between any two characters."""
        return pieces

    def token_pieces(self, text: str) -> list[str]:
        """Return the characters of `text`, unknown ones included."""
        self.require_trained()
        return list(checked_text(text))

    def encode_array(self, text: str) -> IdArray:
        """Return the ids of `text`, shape `(num_characters,)`, with one table look-up for all characters together."""
        self.require_trained()
        return self._table.take(_code_points(checked_text(text)), mode="clip")

    def encode_naive(self, text: str) -> list[int]:
        """Return the ids of `text` one character at a time: the obvious way, with which tests compare `encode`."""
        self.require_trained()
        return [self._ids.get(character, UNK_ID) for character in text]

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Return the text of `ids`, see `BaseTokenizer.decode`; a long array needs one table look-up for all of it."""
        is_row = isinstance(ids, np.ndarray) and ids.ndim == 1 and ids.dtype.kind in "iu"
        if not (is_row and skip_special and self.is_trained):
            return super().decode(ids, skip_special=skip_special)
        row = np.asarray(ids)
        if row.size and not 0 <= int(row.min()) <= int(row.max()) < self.vocab_size:
            return super().decode(ids)  # it names the id that is wrong
        row = row[~np.isin(row, (PAD_ID, BOS_ID, EOS_ID))]
        unknown = ord(REPLACEMENT)
        codes = np.array([unknown] * len(SPECIAL_TOKENS) + list(map(ord, self._characters)), dtype="<u4")
        return bytes(codes.take(row).data).decode("utf-32-le", "surrogatepass")

    def token_text(self, token_id: int) -> str:
        """Return the character of a token; for special tokens `<bos>` and so on."""
        (token_id,) = self.checked([token_id])
        special = len(SPECIAL_TOKENS)
        return SPECIAL_TOKENS[token_id] if token_id < special else self._characters[token_id - special]

    def unknown_characters(self, text: str) -> dict[str, int]:
        """Return each character of `text` that is not in the vocabulary with its count, most frequent first."""
        self.require_trained()
        unknown = {character: n for character, n in Counter(checked_text(text)).items() if character not in self._ids}
        return dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as plain JSON data.

        The characters are a list, not one string: two lone surrogates side by side would be read as one character.
        """
        return {"kind": self.kind, "format_version": FORMAT_VERSION, "characters": list(self._characters)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return a tokenizer made from the data of `to_dict`, with the same ids."""
        characters = values.get("characters")
        if not isinstance(characters, list) or not characters:
            raise TokenizerError("The tokenizer has no list of characters.", mend="Take an undamaged one.")
        if not all(isinstance(character, str) and len(character) == 1 for character in characters):
            raise TokenizerError("The tokenizer lists something that is not one character.", mend="Take another one.")
        if len(set(characters)) != len(characters):
            raise TokenizerError("The tokenizer lists a character twice.", mend="Take an undamaged one.")
        return cls(characters)


def _distinct_characters(texts: str | Iterable[str]) -> set[str]:
    """Return every character that occurs in the texts."""
    found: set[str] = set()
    for text in [texts] if isinstance(texts, str) else texts:
        # Counting all code points in numpy is five times faster than building a set of the characters.
        found.update(map(chr, np.flatnonzero(np.bincount(_code_points(checked_text(text)))).tolist()))
    return found


def _code_points(text: str) -> NDArray[np.uint32]:
    """Return the code point of each character, shape `(num_characters,)`.

    UTF-32 uses four bytes per character. Lone surrogates, which a str may contain, are kept.
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
