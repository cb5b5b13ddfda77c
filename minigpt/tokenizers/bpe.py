r"""Byte-level byte-pair encoding (BPE): frequent neighbours are merged into longer tokens, again and again.

Training begins with single bytes. The pair of neighbouring tokens that occurs most often becomes a new token, and this
is repeated `num_merges` times. Encoding a text repeats the merges in the order in which they were learned. A text is
first cut into words (`PATTERN`), and no merge crosses the border of a word.

`learn_merges` is the whole idea, plain and slow. `BPETokenizer.train` learns the same merges with Hugging Face's
`tokenizers`. Both break ties in the same way: of the pairs that occur most often, the one whose left token has the
smallest id is merged; if several have it, the one of them whose right token has the smallest id. Bytes come before
merged tokens, in the order of their values, and merged tokens follow in the order in which they were made. Both stop
when no pair occurs twice.

Reads after: byte.py, huggingface.py.
Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"; bytes and the pattern as in
Radford et al. 2019 (GPT-2), except that a word has at most 64 characters and that a mark belongs to its letter.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import numpy as np
import regex
from numpy.typing import NDArray

from minigpt.arguments import check_count
from minigpt.errors import TokenizerError
from minigpt.tokenizers.base import FORMAT_VERSION, SPECIAL_TOKENS, IdArray, checked_text, smallest_id_type
from minigpt.tokenizers.byte import NUM_BYTES, ByteLevelTokenizer, utf8
from minigpt.tokenizers.huggingface import GPT2_PATTERN, MAX_TOKENS, from_huggingface, is_huggingface, spell, unspell
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.config import TokenizerConfig

MAX_WORD = 64
"""Most characters of a word, besides the space before it; so the longest token and all work on a word are bounded."""
PATTERN = (
    r" ?[\p{L}\p{M}]{1,64}| ?\p{N}{1,64}|'(?:[sdmt]|ll|ve|re)| ?[^\s\p{L}\p{M}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}"
)
"""How a text is cut into words: letters, digits or signs, each with the space before them; white space; and the short
forms of English such as 's. White space before a word leaves its last space to the word."""
MAX_TRAINING_CHARS = 10_000_000
"""Characters at the start of a corpus that merges are learned from, which takes some seconds at most."""
MAX_DISTINCT_BYTES = 2_000_000
"""Bytes of different words from which on no more text is read to learn merges. 10 MB of source code have
a tenth of that. Time and memory grow with it, so that a text of nothing but different words takes no more either."""
_MAX_PATTERN, _MAX_PATTERNS = 2_000, 8
_MAX_SECONDS = 20.0
"""Longest time for which a pattern from elsewhere may work on one text."""
_MAX_CACHED = 200_000
"""Words whose ids are remembered."""
_LONG = 200
"""Tokens of a word from which `_merge_long` is the faster one."""
_NEVER = 1 << 62


class Merge(NamedTuple):
    """Two tokens that became one."""

    left: bytes
    right: bytes
    occurrences: int
    """How often the pair occurred when it was merged."""

    @property
    def token(self) -> bytes:
        """The new token."""
        return self.left + self.right


def count_words(text: str) -> Counter[bytes]:
    """Return each word of a text with its count.

    >>> count_words("to be or not to be")
    Counter({b' be': 2, b'to': 1, b' or': 1, b' not': 1, b' to': 1})
    """
    return Counter(map(utf8, _own_pattern().findall(text)))


def learn_merges(words: Mapping[bytes, int], num_merges: int) -> Iterator[Merge]:
    """Learn merges the plain way: the oracle for `BPETokenizer.train`, and what the Tokenizer page explains.

    Args:
        words: Each word of the corpus with its count.
        num_merges: Number of new tokens; fewer if no pair occurs twice any more.

    >>> [merge.token for merge in learn_merges({b"aaabdaaabac": 2}, 3)]
    [b'aa', b'ab', b'aaab']
    """
    tokens = [bytes([value]) for value in range(NUM_BYTES)]
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    rows = [(list(word), count) for word, count in words.items()]
    counts: Counter[tuple[int, int]] = Counter()
    places: dict[tuple[int, int], set[int]] = {}  # rows in which a pair occurs, or once did
    for place, (row, count) in enumerate(rows):
        for pair in itertools.pairwise(row):
            counts[pair] += count
            places.setdefault(pair, set()).add(place)
    while len(tokens) < NUM_BYTES + num_merges and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < 2:
            return
        left, right = tokens[best[0]], tokens[best[1]]
        merge = Merge(left, right, counts[best])
        new = ids.setdefault(merge.token, len(tokens))  # two pairs may give the same token
        if new == len(tokens):
            tokens.append(merge.token)
        for place in places.pop(best):
            row, count = rows[place]
            before = list(itertools.pairwise(row))
            _replace(row, best, new)
            for pair in before:
                counts[pair] -= count
            for pair in itertools.pairwise(row):
                counts[pair] += count
                places.setdefault(pair, set()).add(place)
        counts = +counts  # drops pairs that occur no more
        yield merge


def _replace(row: list[int], pair: tuple[int, int], new: int) -> None:
    """Replace a pair by its token, from left to right."""
    at = 0
    while at < len(row) - 1:
        if (row[at], row[at + 1]) == pair:
            row[at : at + 2] = [new]
        at += 1


class BPETokenizer(ByteLevelTokenizer):
    """Byte-level byte-pair encoding.

    The ids are the four special tokens, then the 256 bytes, then the merged tokens in the order in which they were
    learned. A tokenizer that was loaded from a file of Hugging Face keeps the ids of that file.

    Args:
        num_merges: Number of tokens that `train` makes.

    >>> tokenizer = BPETokenizer(num_merges=3).train("low lower lowest")
    >>> [tokenizer.token_text(token) for token in tokenizer.encode("slower low")]
    ['s', 'low', 'e', 'r', ' low']
    """

    kind = "bpe"

    def __init__(self, num_merges: int = 1000) -> None:
        check_count("num_merges", num_merges, least=0, most=MAX_TOKENS)
        self.num_merges = num_merges
        self._merges: tuple[tuple[bytes, bytes], ...] = ()
        self._special = dict(enumerate(SPECIAL_TOKENS))
        self._roles = {text.strip("<>"): token_id for token_id, text in self._special.items()}

    @classmethod
    def from_config(cls, config: TokenizerConfig) -> Self:
        """Return an untrained tokenizer for the settings."""
        return cls(config.num_merges)

    @classmethod
    def from_merges(cls, merges: Sequence[tuple[bytes, bytes]], patterns: Sequence[str] = (PATTERN,)) -> Self:
        """Return a tokenizer with these merges, in the order in which they are done.

        Args:
            merges: The bytes of the left and of the right token of each merge.
            patterns: How a text is cut into words.

        Raises:
            TokenizerError: A merge uses a token that no merge before it makes.
        """
        tokens = [b""] * len(SPECIAL_TOKENS) + [bytes([value]) for value in range(NUM_BYTES)]
        tokens += dict.fromkeys(left + right for left, right in merges)
        made = cls(len(tokens) - len(SPECIAL_TOKENS) - NUM_BYTES)
        made._build(tokens, merges, patterns)
        return made

    def _build(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[bytes, bytes]],
        patterns: Sequence[str],
        *,
        special: Mapping[str, int] | None = None,
        roles: Mapping[str, int] | None = None,
        whole_words: bool = False,
        normalization: str | None = None,
    ) -> None:
        """Set everything, and the look-up tables made from it.

        Args:
            tokens: The bytes of each id; none for a special token.
            merges: The pairs that are merged, in order.
            patterns: They cut a text one after another.
            special: Text of each special token with its id; None: `SPECIAL_TOKENS`.
            roles: Ids of the special tokens for `pad`, `unk`, `bos` and `eos`; None: as in `SPECIAL_TOKENS`.
            whole_words: Whether a word that is a token is never cut.
            normalization: `NFC` or None.
        """
        if len(tokens) > MAX_TOKENS:
            _damaged(f"has {len(tokens):,} tokens; {MAX_TOKENS:,} are allowed")
        if special is not None and roles is not None:
            self._special = {token_id: text for text, token_id in special.items()}
            self._roles = dict(roles)
        self._set_tokens(tokens)
        ids = self._ids
        self._id_type = smallest_id_type(len(tokens)).newbyteorder("=")
        ranks: dict[tuple[int, int], int] = {}
        results: list[int] = []
        for left, right in merges:
            try:
                pair, result = (ids[left], ids[right]), ids[left + right]
            except KeyError:
                _damaged(f"merges {quoted(spell(left)[:40])} and {quoted(spell(right)[:40])}, which gives no token")
            ranks.setdefault(pair, len(results))
            results.append(result)
        self._follows = special is None  # the vocabulary follows from the merges
        self._merges, self._patterns = tuple(merges), tuple(patterns)
        self._compiled = [_compiled(pattern) for pattern in patterns]
        self._ranks, self._results = ranks, results
        if missing := [value for value in range(NUM_BYTES) if bytes([value]) not in ids]:
            _damaged(f"has no token for the byte {missing[0]}, so it cannot encode every text")
        self._byte_ids = [ids[bytes([value])] for value in range(NUM_BYTES)]
        self._whole_words, self._normalization = whole_words, normalization
        self._cache = _Words(self._word_ids)

    @property
    def merges(self) -> tuple[tuple[bytes, bytes], ...]:
        """The merges in the order in which they are done: the bytes of the left and of the right token."""
        return self._merges

    @property
    def pad_id(self) -> int | None:
        """Id that fills short rows of a batch, or None."""
        return self._roles.get("pad")

    @property
    def unk_id(self) -> int | None:
        """Id of UNK, or None; no text becomes UNK."""
        return self._roles.get("unk")

    @property
    def bos_id(self) -> int | None:
        """Id that begins a document, or None."""
        return self._roles.get("bos")

    @property
    def eos_id(self) -> int | None:
        """Id that ends a document, or None."""
        return self._roles.get("eos")

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens."""
        return frozenset(self._special)

    def special_text(self, token_id: int) -> str:
        """Return how a special token is written."""
        return self._special[token_id]

    # --- training -------------------------------------------------------------------------------------------------

    def train_in_pieces(self, documents: str | Iterable[str]) -> Iterator[None]:
        """Learn the merges from the first `MAX_TRAINING_CHARS` characters, or fewer, see `MAX_DISTINCT_BYTES`.

        Reading is done in pieces. Learning is one piece of work of some seconds at most, which lets other threads run.
        """
        texts: list[str] = []
        num_chars = num_bytes = 0
        seen: set[str] = set()
        for piece in _pieces_of([documents] if isinstance(documents, str) else documents):
            piece = piece[: MAX_TRAINING_CHARS - num_chars]
            words = _own_pattern().findall(piece)
            # a character of this text is a byte, and each word ends with a character that is no byte
            texts.append("".join([utf8(word).decode("latin-1") + _END for word in words]))
            new = set(words) - seen
            seen |= new
            num_chars += len(piece)
            num_bytes += sum(map(len, map(utf8, new)))
            yield
            if num_chars == MAX_TRAINING_CHARS or num_bytes > MAX_DISTINCT_BYTES:
                break
        if not num_chars:
            raise TokenizerError("There is no text to learn merges from.", mend="Give at least one character.")
        trained = BPETokenizer.from_merges(_learn_fast(texts, self.num_merges))
        vars(self).update(vars(trained) | {"num_merges": self.num_merges})

    def expected_vocab_size(self, texts: str | Iterable[str]) -> int:
        """Return the size with all merges, or with as many as a short text can have; never too low."""
        num_bytes, most = 0, self.num_merges
        for text in [texts] if isinstance(texts, str) else texts:
            num_bytes += 4 * len(checked_text(text))
            if num_bytes >= 2 * most:  # a pair that is merged occurs twice, so each merge saves two tokens
                break
        return len(SPECIAL_TOKENS) + NUM_BYTES + min(most, num_bytes // 2)

    # --- encoding -------------------------------------------------------------------------------------------------

    def encode_array(self, text: str) -> IdArray:
        """Return the ids of `text`, shape `(num_tokens,)`; the ids of each word are looked up or made by merging."""
        self.require_trained()
        text = checked_text(text)
        if self._normalization:
            text = unicodedata.normalize("NFC", text)
        words = self._cache
        if len(words) > _MAX_CACHED:
            words.clear()
        if self._patterns == (PATTERN,):  # it matches all of a text, so nothing lies between the words
            found = b"".join(map(words.__getitem__, self._compiled[0].findall(text)))
        else:
            found = b"".join(map(words.__getitem__, _cut(text, self._compiled)))
        return np.frombuffer(found, self._id_type)

    def encode_naive(self, text: str) -> list[int]:
        """Return the ids by doing each merge, in order, on each word: the obvious way, with which tests compare."""
        self.require_trained()
        ids = []
        for word in _cut(text, self._compiled):
            row = [self._byte_ids[byte] for byte in utf8(word)]
            for pair, rank in sorted(self._ranks.items(), key=lambda item: item[1]):
                _replace(row, pair, self._results[rank])
            ids += row
        return ids

    def merge_steps(self, text: str) -> NDArray[np.int64]:
        """Return by which merge each byte of a text was joined to the byte before it, shape `(num_bytes,)`.

        Merges are counted from 0; -1 is a byte that begins a token after all merges. So after the first k merges a
        token begins at each byte whose step is -1, k or more.
        """
        self.require_trained()
        return np.array([step for word in _cut(text, self._compiled) for step in self._word_steps(word)], np.int64)

    def _word_steps(self, word: str) -> list[int]:
        ids = [self._byte_ids[byte] for byte in utf8(word)]
        steps, starts = [-1] * len(ids), list(range(len(ids)))
        while ranked := [
            (self._ranks[pair], at) for at, pair in enumerate(itertools.pairwise(ids)) if pair in self._ranks
        ]:
            rank, at = min(ranked)
            ids[at : at + 2] = [self._results[rank]]
            steps[starts.pop(at + 1)] = rank
        return steps

    def encodable_pieces(self, pieces: Iterable[str]) -> Iterable[str]:
        """Cut a text between words; for GPT-2's pattern, whose words may have any length, before white space only.

        For another pattern from elsewhere it is joined: its words may have white space inside.
        """
        if not self.is_trained or self._patterns == (PATTERN,):
            return _between_words(pieces, _last_border)
        if self._patterns == (GPT2_PATTERN,):
            return _between_words(pieces, _last_space)
        return super().encodable_pieces(pieces)

    def _word_ids(self, word: str) -> bytes:
        """Return the ids of one word, as the bytes of their type."""
        letters = utf8(word)
        if self._whole_words and letters in self._ids:
            ids = [self._ids[letters]]
        else:
            ids = [self._byte_ids[byte] for byte in letters]
            merge = _merge if len(ids) < _LONG else _merge_long
            ids = merge(ids, self._ranks, self._results)
        return np.array(ids, self._id_type).tobytes()

    # --- files ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the merges, and the vocabulary if it does not follow from them, as plain JSON data.

        Bytes are spelled as in Hugging Face's files, see huggingface.py; a merge is its two tokens and a space.
        """
        values: dict[str, Any] = {"kind": self.kind, "format_version": FORMAT_VERSION, "patterns": [*self._patterns]}
        if not self._follows:
            tokens = [self._special.get(n) or spell(token) for n, token in enumerate(self._tokens)]
            values |= {"normalization": self._normalization, "whole_words": self._whole_words, "roles": self._roles}
            values |= {"special": {text: token_id for token_id, text in self._special.items()}, "tokens": tokens}
        return values | {"merges": [f"{spell(left)} {spell(right)}" for left, right in self._merges]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return a tokenizer made from the data of `to_dict`, or from that of a Hugging Face file."""
        if is_huggingface(values):
            values = from_huggingface(values)
        patterns, normalization = values.get("patterns"), values.get("normalization")
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns[:_MAX_PATTERNS]):
            _damaged("has no list of patterns")
        if len(patterns) > _MAX_PATTERNS or normalization not in (None, "NFC"):
            _damaged("changes or cuts texts in a way that is not known here")
        merges = _read_merges(values)
        if "tokens" not in values:
            return cls.from_merges(merges, patterns)
        tokens, special, roles = _read_tokens(values)
        made = cls(len(merges))
        whole_words = values.get("whole_words") is True
        made._build(
            tokens, merges, patterns, special=special, roles=roles, whole_words=whole_words, normalization=normalization
        )
        return made


# --- words ------------------------------------------------------------------------------------------------------------


class _Words(dict[str, bytes]):
    """The ids of each word that was seen."""

    def __init__(self, make: Callable[[str], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: str) -> bytes:
        ids = self[word] = self._make(word)
        return ids


@functools.cache
def _own_pattern() -> regex.Pattern[str]:
    return regex.compile(PATTERN)


def _compiled(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern, which may be somebody else's."""
    if pattern == PATTERN:
        return _own_pattern()
    if len(pattern) > _MAX_PATTERN:
        raise TokenizerError(
            f"The tokenizer cuts texts with a pattern of {len(pattern):,} characters; {_MAX_PATTERN:,} are allowed.",
            mend="Take another tokenizer.",
        )
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError, ValueError) as error:
        raise TokenizerError(
            f"The tokenizer cuts texts with {quoted(pattern)[:60]}, no usable pattern ({type(error).__name__}).",
            mend="Take another tokenizer.",
        ) from None


def _cut(text: str, patterns: Sequence[regex.Pattern[str]]) -> Iterator[str]:
    """Yield the words of a text: what the first pattern matches, and what lies between, each cut by the next one."""
    if not patterns:
        if text:
            yield text
        return
    first, *rest = patterns
    end = 0
    try:
        for match in first.finditer(text, timeout=_MAX_SECONDS):
            yield from _cut(text[end : match.start()], rest)
            yield from _cut(match.group(), rest)
            end = match.end()
    except TimeoutError:
        raise TokenizerError(
            f"The tokenizer's pattern {quoted(first.pattern)[:60]} took longer than {_MAX_SECONDS:g} seconds.",
            mend="Take another tokenizer.",
        ) from None
    yield from _cut(text[end:], rest)


def _pieces_of(documents: Iterable[str]) -> Iterator[str]:
    """Yield texts in pieces of about a million characters, cut between words."""
    for text in documents:
        size = len(checked_text(text))
        slices = (text[start : start + (1 << 20)] for start in range(0, size, 1 << 20))
        yield from _between_words(slices, _last_border)


def _between_words(pieces: Iterable[str], last_border: Callable[[str], int]) -> Iterator[str]:
    """Cut a text that is given in pieces again, at borders of words that what follows cannot change."""
    held = ""
    for piece in pieces:
        held += piece
        cut = last_border(held)
        if cut:
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def _last_border(text: str) -> int:
    """Return the last border of words in a text that may go on; 0 if there is none.

    No word has white space behind another character, so a border lies there. In a text without white space words are
    cut from the left. Whether one ends depends on no more than the characters that a word can have.
    """
    if found := _last_space(text):
        return found
    border = 0
    for match in _own_pattern().finditer(text):
        if match.end() > len(text) - 2 * (MAX_WORD + 1):
            break
        border = match.end()
    return border


def _last_space(text: str) -> int:
    """Return the last place near the end of a text where white space follows another character; 0 if there is none."""
    found = _before_space().search(text, max(0, len(text) - 4096))
    return int(found.start()) if found else 0


@functools.cache
def _before_space() -> regex.Pattern[str]:
    return regex.compile(r"(?r)(?<=\S)\s")  # searches from the end


# --- merging ----------------------------------------------------------------------------------------------------------


def _merge(ids: list[int], ranks: Mapping[tuple[int, int], int], results: Sequence[int]) -> list[int]:
    """Merge the tokens of a short word; each time the pair that was learned first, the leftmost one if it repeats."""
    found = [ranks.get(pair, _NEVER) for pair in itertools.pairwise(ids)]
    while found and (best := min(found)) != _NEVER:
        at = found.index(best)
        new = ids[at] = results[best]
        del ids[at + 1], found[at]
        if at:
            found[at - 1] = ranks.get((ids[at - 1], new), _NEVER)
        if at < len(found):
            found[at] = ranks.get((new, ids[at + 1]), _NEVER)
    return ids


def _merge_long(ids: list[int], ranks: Mapping[tuple[int, int], int], results: Sequence[int]) -> list[int]:
    """Do what `_merge` does in a time that grows with n log n: tokens are a linked list, pairs a heap."""
    length = len(ids)
    after, before = list(range(1, length + 1)), list(range(-1, length - 1))
    heap = [(ranks[pair], at, *pair) for at, pair in enumerate(itertools.pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, at, left, right = heapq.heappop(heap)
        other = after[at]
        if ids[at] != left or other >= length or ids[other] != right:
            continue  # one of the two has become another token meanwhile
        ids[at], ids[other] = results[rank], -1
        after[at] = after[other]
        if after[at] < length:
            before[after[at]] = at
        for start in (before[at], at):
            if start >= 0 and after[start] < length:
                pair = ids[start], ids[after[start]]
                if pair in ranks:
                    heapq.heappush(heap, (ranks[pair], start, *pair))
    return [token_id for token_id in ids if token_id >= 0]


# --- learning and reading ---------------------------------------------------------------------------------------------

_END = "\u0100"
"""Ends a word in what `tokenizers` learns from; it is no byte."""


def _learn_fast(texts: list[str], num_merges: int) -> list[tuple[bytes, bytes]]:
    """Learn merges with Hugging Face's `tokenizers`, which gives those of `learn_merges`.

    Args:
        texts: Words, each followed by `_END`; a character is a byte.
        num_merges: Number of new tokens.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    if num_merges == 0:
        return []
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_END)
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_BYTES + num_merges,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=[chr(value) for value in range(NUM_BYTES)],
    )
    tokenizer.train_from_iterator(texts, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left.encode("latin-1"), right.encode("latin-1")) for left, right in merges]


def _read_tokens(values: dict[str, Any]) -> tuple[list[bytes], dict[str, int], dict[str, int]]:
    """Return the tokens, the special ones and their roles from a file that lists them."""
    tokens, special, roles = values["tokens"], values.get("special"), values.get("roles")
    if isinstance(tokens, list) and len(tokens) > MAX_TOKENS:
        _damaged(f"has {len(tokens):,} tokens; {MAX_TOKENS:,} are allowed")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        _damaged("has a vocabulary that is no list of texts")
    if not isinstance(special, dict) or not isinstance(roles, dict):
        _damaged("does not say which tokens are special")
    for text, token_id in special.items():
        if type(token_id) is not int or not 0 <= token_id < len(tokens) or tokens[token_id] != text:
            _damaged(f"has no special token {quoted(text)[:40]} where it should be")
    if not set(roles) <= {"pad", "unk", "bos", "eos"} or not set(map(repr, roles.values())) <= set(
        map(repr, special.values())
    ):
        _damaged("gives a role to a token that is not special")
    named = set(special.values())
    plain = [b"" if n in named else _unspelled(token) for n, token in enumerate(tokens)]
    if len(set(plain) - {b""}) != len(plain) - len(named):
        _damaged("lists a token twice")
    return plain, special, roles


def _read_merges(values: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    merges = values.get("merges")
    if isinstance(merges, list) and len(merges) > MAX_TOKENS:
        _damaged(f"has {len(merges):,} merges; {MAX_TOKENS:,} are allowed")
    if not isinstance(merges, list) or not all(isinstance(merge, str) and merge.count(" ") == 1 for merge in merges):
        _damaged("has no list of merges, each of two tokens with a space between them")
    return [(_unspelled(left), _unspelled(right)) for left, _, right in (merge.partition(" ") for merge in merges)]


def _unspelled(text: str) -> bytes:
    try:
        return unspell(text) or _damaged("has an empty token")
    except ValueError:
        return _damaged(f"has a token {quoted(text)[:40]} that spells no bytes")


def _damaged(what: str) -> NoReturn:
    raise TokenizerError(f"The tokenizer {what}.", mend="Take an undamaged one.")
