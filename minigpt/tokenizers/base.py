"""The base class of all tokenizers, and the functions that create one from settings or from a file.

A tokenizer turns text into token ids and back. A subclass defines how text is split (`encode_array`) and which text a
token stands for (`token_text`). Files, batches, special tokens and checks are the same for all kinds and are here.
"""

from __future__ import annotations

import json
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import TokenizerError
from minigpt.storage import read_json, write_text
from minigpt.tokenizers.huggingface import from_huggingface, is_huggingface
from minigpt.wording import cause_of, quoted

if TYPE_CHECKING:
    from minigpt.config import TokenizerConfig

PAD_ID, UNK_ID, BOS_ID, EOS_ID = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>")
REPLACEMENT = "\ufffd"
"""The character that stands for an unknown token in decoded text."""
FORMAT_VERSION = 1
MAX_BYTES = 32_000_000
"""Largest file of a tokenizer: enough for every character of Unicode, escaped, one a line."""

IdArray = NDArray[np.unsignedinteger[Any]]
"""Token ids in the smallest unsigned type that can hold the vocabulary."""


def smallest_id_type(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest unsigned integer type that can hold every id below `vocab_size`.

    >>> smallest_id_type(256), smallest_id_type(257)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.min_scalar_type(max(vocab_size - 1, 0))


class TokenReader:
    """Turns token ids into text one by one, for text that appears while it is written.

    All texts of `push`, and that of `finish` after them, are together what `decode` returns for all ids at once.
    This one is right for every kind whose tokens are whole characters.

    Args:
        tokenizer: The tokenizer of the ids.
        texts: See `BaseTokenizer.reader`.
    """

    def __init__(self, tokenizer: BaseTokenizer, texts: dict[int, str] | None = None) -> None:
        self._tokenizer = tokenizer
        self._texts = {} if texts is None else texts

    def push(self, token_id: int) -> str:
        """Take one more id and return the text that is complete with it; "" if its last character is not."""
        if token_id not in self._texts:
            self._texts[token_id] = self._tokenizer.decode([token_id])
        return self._texts[token_id]

    def finish(self) -> str:
        """Return what an incomplete character at the end becomes; "" if there is none."""
        return ""


class BaseTokenizer(ABC):
    """Turns text into token ids and back.

    The first four ids are PAD, UNK, BOS and EOS (`SPECIAL_TOKENS`). A kind without one of them overrides its property
    to return None. Using a tokenizer before `train` raises a `TokenizerError`.
    """

    kind: ClassVar[str]
    """Name of the kind in configurations and files."""
    unit: ClassVar[str] = "token"
    """What one token is, as a word for pages: `character` if a token is always exactly one character."""
    kinds: ClassVar[dict[str, type[BaseTokenizer]]] = {}
    """All kinds by name; a subclass adds itself."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in vars(cls):
            BaseTokenizer.kinds[cls.kind] = cls

    @classmethod
    def from_config(cls, config: TokenizerConfig) -> Self:
        """Return an untrained tokenizer of this kind; a kind with settings of its own overrides it."""
        return cls()

    # --- what a kind implements -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def is_trained(self) -> bool:
        """Whether there is a vocabulary."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of token ids, the special ones included."""

    @abstractmethod
    def train_in_pieces(self, documents: str | Iterable[str]) -> Iterator[None]:
        """Train as `train` does, and yield after each bounded piece of work.

        The vocabulary is there once the iterator has ended; before that the tokenizer is as it was.

        Args:
            documents: One text or several.

        Raises:
            TokenizerError: The documents contain no text.
        """

    @abstractmethod
    def expected_vocab_size(self, texts: str | Iterable[str]) -> int:
        """Return the `vocab_size` that `train(texts)` would give, without training.

        It is fast enough to be called before a run starts, and the result is never too low. The tokenizer may be
        untrained, and it is not changed.

        Args:
            texts: The corpus: one text, or its documents.
        """

    @abstractmethod
    def encode_array(self, text: str) -> IdArray:
        """Return the ids of `text`, shape `(num_tokens,)`, in the smallest sufficient unsigned type.

        Adds no special tokens. An unknown character becomes UNK if the kind has one.
        """

    @abstractmethod
    def token_text(self, token_id: int) -> str:
        """Return the text of one token; for special tokens `<bos>` and so on."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the data that `from_dict` needs, as plain JSON with `kind` and `format_version`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return a tokenizer made from the data of `to_dict`.

        Raises:
            TokenizerError: The data is damaged.
        """

    # --- the same for all kinds -----------------------------------------------------------------------------------

    def train(self, documents: str | Iterable[str]) -> Self:
        """Build the vocabulary from the whole corpus, replacing any earlier one.

        Args:
            documents: One text or several.

        Raises:
            TokenizerError: There is no text in it.
        """
        for _ in self.train_in_pieces(documents):
            pass
        return self

    @property
    def pad_id(self) -> int | None:
        """Id that fills short rows of a batch, or None."""
        return PAD_ID

    @property
    def unk_id(self) -> int | None:
        """Id that stands for text outside the vocabulary, or None."""
        return UNK_ID

    @property
    def bos_id(self) -> int | None:
        """Id that begins a document, or None."""
        return BOS_ID

    @property
    def eos_id(self) -> int | None:
        """Id that ends a document, or None."""
        return EOS_ID

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens of this kind; every other id stands for text."""
        ids = (self.pad_id, self.unk_id, self.bos_id, self.eos_id)
        return frozenset(token_id for token_id in ids if token_id is not None)

    @property
    def text_ids(self) -> list[int]:
        """All ids that stand for text, in ascending order: the vocabulary without the special tokens."""
        special = self.special_ids
        return [token_id for token_id in range(self.vocab_size) if token_id not in special]

    def token_texts(self) -> tuple[str, ...]:
        """Return the text of every id, from 0 to `vocab_size - 1`; see `token_text`."""
        return tuple(self.token_text(token_id) for token_id in range(self.vocab_size))

    def expected_num_tokens(self, num_chars: int, num_documents: int = 1) -> int:
        """Return the largest number of tokens that a corpus can become, BOS before each document included.

        The tokenizer may be untrained. The default is right for every kind that never splits a character into several
        tokens, and exact if each character is one token.

        Args:
            num_chars: Number of characters of all documents together.
            num_documents: Number of documents.
        """
        return num_chars + (num_documents if self.bos_id is not None else 0)

    def encodable_pieces(self, pieces: Iterable[str]) -> Iterable[str]:
        """Cut a text that is given in pieces again, where it may be cut: the ids of the pieces are those of the text.

        A kind that does so needs no memory for a whole corpus. The default joins the text, which is right for every
        kind.

        Args:
            pieces: The text in order, cut between any two characters.
        """
        return ["".join(pieces)]

    def token_size(self, token_id: int) -> tuple[int, int]:
        """Return how many characters, and how many bytes in UTF-8, a token adds to a decoded text."""
        text = self.decode([token_id])
        return len(text), len(text.encode("utf-8", "surrogatepass"))

    def reader(self, texts: dict[int, str] | None = None) -> TokenReader:
        """Return a new reader, which decodes ids one by one.

        Args:
            texts: Where the reader keeps what each token decodes to. Readers that share it decode a token once.
        """
        return TokenReader(self, texts)

    def token_pieces(self, text: str) -> list[str]:
        """Return the piece of `text` that each id of `encode(text)` stands for.

        The default returns each id's text, so `<unk>` for UNK. A kind that can locate the original text of an unknown
        token overrides it.
        """
        return [self.token_text(token_id) for token_id in self.encode(text)]

    def encode(self, text: str, *, add_bos: bool = False, add_eos: bool = False) -> list[int]:
        """Return the ids of `text`.

        Args:
            text: Any text; unknown characters become UNK (see `unknown_characters`).
            add_bos: Whether BOS is added at the beginning.
            add_eos: Whether EOS is added at the end.

        Raises:
            TokenizerError: The tokenizer is untrained, or does not have that special token.
        """
        ids: list[int] = self.encode_array(text).tolist()
        for wanted, special, name in ((add_bos, self.bos_id, "BOS"), (add_eos, self.eos_id, "EOS")):
            if wanted and special is None:
                raise TokenizerError(
                    f"A {self.kind} tokenizer has no {name} token.", mend=f"Encode without add_{name.lower()}."
                )
        front = [self.bos_id] if add_bos and self.bos_id is not None else []
        back = [self.eos_id] if add_eos and self.eos_id is not None else []
        return front + ids + back

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Return the text of `ids`; UNK becomes U+FFFD.

        Args:
            ids: Token ids, each in [0, vocab_size).
            skip_special: Whether PAD, BOS and EOS are left out; otherwise they appear as `<bos>` and so on.

        Raises:
            TokenizerError: The tokenizer is untrained, or an id is outside the vocabulary.
        """
        plain = self.checked(ids)
        texts = {token_id: self.token_text(token_id) for token_id in set(plain)}
        if skip_special:
            texts.update(dict.fromkeys(self.special_ids, ""))
        if self.unk_id is not None:
            texts[self.unk_id] = REPLACEMENT
        return "".join([texts[token_id] for token_id in plain])

    def batch_encode(self, texts: Iterable[str], *, add_bos: bool = False, add_eos: bool = False) -> list[list[int]]:
        """Return `encode` of each text; the rows may differ in length."""
        return [self.encode(text, add_bos=add_bos, add_eos=add_eos) for text in texts]

    def batch_decode(self, batch: Iterable[Iterable[int]], *, skip_special: bool = True) -> list[str]:
        """Return `decode` of each row."""
        return [self.decode(ids, skip_special=skip_special) for ids in batch]

    def unknown_characters(self, text: str) -> dict[str, int]:
        """Return each character of `text` that becomes UNK, with its count, most frequent first.

        Empty by default, for kinds that can encode every text.
        """
        self.require_trained()
        return {}

    def save(self, path: Path) -> None:
        """Write the tokenizer as readable JSON, atomically.

        Raises:
            TokenizerError: The tokenizer is untrained.
            StorageError: The file cannot be written.
        """
        self.require_trained()
        write_text(path, json.dumps(self.to_dict(), ensure_ascii=True, indent=1) + "\n")

    def require_trained(self) -> None:
        """Raise a TokenizerError if there is no vocabulary."""
        if not self.is_trained:
            raise TokenizerError(
                f"This {self.kind} tokenizer has not been trained, so it has no vocabulary.",
                mend="Call train(text) first, or load a trained one.",
            )

    def checked(self, ids: Iterable[int]) -> list[int]:
        """Return `ids` as plain integers; raise a TokenizerError unless each is in [0, vocab_size)."""
        size = self.vocab_size
        if isinstance(ids, str | bytes):
            raise TokenizerError(f"decode takes token ids, not {type(ids).__name__}.", mend="Give a list of integers.")
        if isinstance(ids, np.ndarray):
            ids = ids.tolist()
        try:
            plain = [operator.index(token_id) for token_id in ids]
        except TypeError:
            raise TokenizerError(
                "decode takes one row of whole numbers.", mend="Give a list of integers; for rows use batch_decode."
            ) from None
        if plain and not (min(plain) >= 0 and max(plain) < size):
            wrong = next(token_id for token_id in plain if not 0 <= token_id < size)
            raise TokenizerError(
                f"Token id {wrong} lies outside the vocabulary; ids go from 0 to {size - 1}.",
                mend="Decode with the tokenizer that the ids were made with.",
            )
        return plain


def checked_text(text: object) -> str:
    """Return `text` if it is a str; otherwise raise a TokenizerError."""
    if not isinstance(text, str):
        raise TokenizerError(f"A tokenizer takes text, not {type(text).__name__}.", mend="Give a str.")
    return text


def load_tokenizer(path: Path) -> BaseTokenizer:
    """Read a tokenizer of any kind from its file, or byte-level BPE from a `tokenizer.json` of Hugging Face.

    Raises:
        TokenizerError: The file is missing, damaged, of an unknown kind or of a newer format.
    """
    mend = "Use the tokenizer.json that was written beside the model."
    try:
        values = read_json(path, MAX_BYTES)
    except OSError as error:
        raise TokenizerError(f"The tokenizer {path} cannot be read: {cause_of(error).why}.", mend=mend) from None
    except ValueError as error:
        raise TokenizerError(f"The tokenizer {path} is damaged: it {error}.", mend=mend) from None
    if is_huggingface(values):
        try:
            values = from_huggingface(values)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error.problem}", mend=error.mend) from None
    kind, version = values.get("kind"), values.get("format_version")
    cls = BaseTokenizer.kinds.get(kind) if isinstance(kind, str) else None
    if cls is None:
        allowed = ", ".join(sorted(BaseTokenizer.kinds))
        named = "names no kind" if kind is None else f"is of kind {quoted(kind)[:40]}"
        raise TokenizerError(f"The tokenizer {path} {named}; this version knows {allowed}.", mend=mend)
    if version != FORMAT_VERSION:
        raise TokenizerError(
            f"The tokenizer {path} has format version {quoted(version)[:40]}; this version reads {FORMAT_VERSION}.",
            mend="Open it with the minigpt that wrote it, or a newer one.",
        )
    try:
        return cls.from_dict(values)
    except TokenizerError as error:
        raise TokenizerError(f"{path}: {error.problem}", mend=mend) from None


def make_tokenizer(config: TokenizerConfig) -> BaseTokenizer:
    """Return an untrained tokenizer for the settings; the only place where a kind is chosen."""
    return BaseTokenizer.kinds[config.kind].from_config(config)
