r"""The byte tokenizer: each byte of a text in UTF-8 is one token, so every text can be encoded.

Reads after: base.py. The vocabulary is the four special tokens and the 256 bytes; the id of a byte is its value plus 4.
An English letter is one byte, an accented letter two, a Chinese character three and an emoji four. `ByteLevelTokenizer`
has what every kind needs whose tokens are sequences of bytes: a token may then be a part of a character only.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from minigpt.errors import TokenizerError
from minigpt.tokenizers.base import (
    FORMAT_VERSION,
    REPLACEMENT,
    SPECIAL_TOKENS,
    BaseTokenizer,
    IdArray,
    TokenReader,
    checked_text,
    smallest_id_type,
)

NUM_BYTES = 256


def utf8(text: str) -> bytes:
    r"""Return a text in UTF-8. A lone surrogate, which no file can hold, becomes U+FFFD.

    >>> utf8("aé"), utf8("\ud800")
    (b'a\xc3\xa9', b'\xef\xbf\xbd')
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join(REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text).encode()


class ByteLevelTokenizer(BaseTokenizer):
    """A tokenizer whose tokens are sequences of bytes; every text can be encoded, so nothing is unknown.

    A subclass calls `_set_tokens` with what each id stands for.
    """

    _tokens: tuple[bytes, ...] = ()
    """The bytes of each id; none for a special token."""

    def _set_tokens(self, tokens: Iterable[bytes]) -> None:
        self._tokens = tuple(tokens)
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens) if token}

    @property
    def is_trained(self) -> bool:
        """Whether there is a vocabulary."""
        return bool(self._tokens)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the special ones included."""
        self.require_trained()
        return len(self._tokens)

    def special_text(self, token_id: int) -> str:
        """Return how a special token is written, for example `<bos>`."""
        return SPECIAL_TOKENS[token_id]

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one token; none for a special token."""
        (token_id,) = self.checked([token_id])
        return self._tokens[token_id]

    def id_of(self, token: bytes) -> int:
        """Return the id of a token.

        Raises:
            TokenizerError: There is none of these bytes.
        """
        self.require_trained()
        if token not in self._ids:
            raise TokenizerError(f"There is no token {token[:40]!r}.", mend="Give the bytes of a whole token.")
        return self._ids[token]

    def token_text(self, token_id: int) -> str:
        r"""Return the text of one token. Bytes that are not a whole character are written like `\xe2`."""
        (token_id,) = self.checked([token_id])
        if token_id in self.special_ids:
            return self.special_text(token_id)
        return self._tokens[token_id].decode(errors="backslashreplace")

    def expected_num_tokens(self, num_chars: int, num_documents: int = 1) -> int:
        """Return the number of tokens if each character has four bytes and each byte is a token, BOS included."""
        return super().expected_num_tokens(4 * num_chars, num_documents)

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Return the text of `ids`, see `BaseTokenizer.decode`; bytes that form no character become U+FFFD."""
        tokens = self._tokens
        if not skip_special:
            shown = dict(enumerate(tokens)) | {i: self.special_text(i).encode() for i in self.special_ids}
            return b"".join([shown[token_id] for token_id in self.checked(ids)]).decode(errors="replace")
        return b"".join([tokens[token_id] for token_id in self.checked(ids)]).decode(errors="replace")

    def token_size(self, token_id: int) -> tuple[int, int]:
        """Return how many characters begin in a token, and how many bytes it has."""
        token = self.token_bytes(token_id)
        return sum(byte & 0xC0 != 0x80 for byte in token), len(token)

    def reader(self, texts: dict[int, str] | None = None) -> TokenReader:
        """Return a reader that holds the bytes of an incomplete character back until it is complete."""
        return _ByteReader(self)


class _ByteReader(TokenReader):
    """Decodes ids one by one; a character appears with its last byte."""

    def __init__(self, tokenizer: ByteLevelTokenizer) -> None:
        self._bytes_of = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._decoder.decode(self._bytes_of(token_id))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class ByteTokenizer(ByteLevelTokenizer):
    r"""Makes each byte of the text in UTF-8 one token. It needs no training.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("é!")
    [199, 173, 37]
    >>> [tokenizer.token_text(token) for token in (199, 173, 37)]
    ['\\xc3', '\\xa9', '!']
    >>> tokenizer.decode([199, 173, 37])
    'é!'
    """

    kind = "byte"
    unit = "byte"

    def __init__(self) -> None:
        self._set_tokens([b""] * len(SPECIAL_TOKENS) + [bytes([value]) for value in range(NUM_BYTES)])

    def train_in_pieces(self, documents: str | Iterable[str]) -> Iterator[None]:
        """Learn nothing, since the vocabulary is fixed; only check that there is some text."""
        for text in [documents] if isinstance(documents, str) else documents:
            if checked_text(text):
                return
            yield
        raise TokenizerError("There is no text to train on.", mend="Give at least one character.")

    def expected_vocab_size(self, texts: str | Iterable[str]) -> int:
        """Return the number of bytes and special tokens, which is the same for every text."""
        return self.vocab_size

    def encode_array(self, text: str) -> IdArray:
        """Return the ids of `text`, shape `(num_bytes,)`."""
        values = np.frombuffer(utf8(checked_text(text)), np.uint8)
        return values.astype(smallest_id_type(self.vocab_size)) + np.uint8(len(SPECIAL_TOKENS))

    def encodable_pieces(self, pieces: Iterable[str]) -> Iterable[str]:
        """Return the pieces as they are: a text may be cut between any two characters."""
        return pieces

    def to_dict(self) -> dict[str, Any]:
        """Return the kind alone, since the vocabulary is always the same."""
        return {"kind": self.kind, "format_version": FORMAT_VERSION}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return a byte tokenizer; there is nothing to read."""
        return cls()
