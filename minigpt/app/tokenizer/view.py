"""What the Tokenizer page shows: a text cut in three ways, and what was learned from the corpus, merge by merge."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigpt.app.components.token_cut import message
from minigpt.app.texts import compact, number, quoted, t
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.data.prepared import train_tokenizer
from minigpt.tokenizers.base import SPECIAL_TOKENS, BaseTokenizer
from minigpt.tokenizers.bpe import BPETokenizer, count_words
from minigpt.tokenizers.byte import NUM_BYTES, ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.viz.labels import visible_token

KINDS = ("bpe", "character", "byte")
OWN = "own"
"""The kind of a tokenizer that the visitor has brought."""
MOST_MERGES = 2_000
"""Merges on the slider, at most; a run may have more."""
SAMPLE_CHARS = 1_000_000
"""Characters at the start of the corpus that the page learns from."""
OPENING_CHARS = 280
"""Length of the part of the corpus that the page opens with."""
MOST_CHARS = 2_000
"""Longest text that is drawn."""


@dataclass(frozen=True)
class Learned:
    """What tokenizers learn from a corpus.

    Attributes:
        bpe: Trained with as many merges as the slider has.
        characters: Trained on the same sample.
        lengths: Number of tokens of the sample after 0, 1, ... N merges, (N + 1,).
        num_chars: Characters of the sample.
        num_bytes: Its bytes in UTF-8.
        own: A tokenizer that the visitor has brought.
        own_length: Number of its tokens for the sample.
    """

    bpe: BPETokenizer
    characters: CharacterTokenizer
    lengths: np.ndarray
    num_chars: int
    num_bytes: int
    own: BaseTokenizer | None = None
    own_length: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that can be shown."""
        return KINDS if self.own is None else (OWN, *KINDS)

    @property
    def num_merges(self) -> int:
        """N."""
        return len(self.bpe.merges)

    def tokenizer(self, kind: str) -> BaseTokenizer:
        """Return the tokenizer of a kind."""
        if kind == OWN and self.own is not None:
            return self.own
        return {"bpe": self.bpe, "character": self.characters, "byte": ByteTokenizer()}[kind]


def learn(corpus: Corpus, cancelled: Callable[[], bool] = lambda: False) -> Learned:
    """Learn the characters and the merges of the beginning of a corpus.

    Args:
        corpus: The corpus of the next run.
        cancelled: Asked between the merges' words; True ends the work with a useless answer.
    """
    sample = corpus.head(SAMPLE_CHARS)
    bpe, characters = BPETokenizer(MOST_MERGES), CharacterTokenizer()
    train_tokenizer(bpe, sample)
    train_tokenizer(characters, sample)
    words: Counter[bytes] = Counter()
    for text in sample.documents:
        words += count_words(text)
    saved = np.zeros(len(bpe.merges), np.int64)  # each merge of a pair makes one token out of two
    for word, count in words.items():
        if cancelled():
            break
        steps = bpe.merge_steps(word.decode())
        np.add.at(saved, steps[steps >= 0], count)
    num_bytes = sum(len(word) * count for word, count in words.items())
    return Learned(bpe, characters, num_bytes - np.concatenate(([0], saved.cumsum())), sample.num_chars, num_bytes)


def own_length(corpus: Corpus, tokenizer: BaseTokenizer, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Return the number of tokens that the beginning of a corpus has with a tokenizer that is trained already."""
    length = 0
    for text in corpus.head(SAMPLE_CHARS).documents:
        if cancelled():
            break
        length += len(tokenizer.encode_array(text))
    return length


def key_of(corpus: Corpus) -> str:
    """Return what tells the sample of this corpus from others."""
    digest = hashlib.sha256()
    for text in corpus.head(SAMPLE_CHARS).documents:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def opening(corpus: Corpus) -> str:
    """Return the beginning of the corpus, up to the end of a word."""
    text = corpus.head(OPENING_CHARS).text
    return text.rpartition(" ")[0] or text


def start_of(config: RunConfig, learned: Learned) -> int:
    """Return where the slider stands at first: at the merges of the next run, as far as it goes."""
    return min(config.tokenizer.num_merges, learned.num_merges)


def size_of(learned: Learned, kind: str, merges: int) -> tuple[int, int]:
    """Return the number of tokens of the sample, and the size of the vocabulary.

    Args:
        learned: What was learned.
        kind: One of `KINDS`.
        merges: Number of merges, for bpe.
    """
    if kind == OWN and learned.own is not None:
        return learned.own_length, learned.own.vocab_size
    if kind == "character":
        return learned.num_chars, learned.characters.vocab_size
    if kind == "byte":
        return learned.num_bytes, len(SPECIAL_TOKENS) + NUM_BYTES
    made = dict.fromkeys(left + right for left, right in learned.bpe.merges[:merges])
    return int(learned.lengths[merges]), len(SPECIAL_TOKENS) + NUM_BYTES + len(made)


def cut(learned: Learned, kind: str, text: str, config: RunConfig, *, start: int, moved: str) -> dict[str, Any]:
    """Return the message of the component for a text.

    Args:
        learned: What was learned.
        kind: One of `KINDS`.
        text: The text that is drawn.
        config: The settings of the next run; its width gives the parameters of the embedding.
        start: Where the slider stands at first.
        moved: Changes when the page itself moves the slider.
    """
    words = {"label": t("tokenizer.text_label"), "slider": t("tokenizer.slider")}
    words |= {f"fact_{at}": t(f"tokenizer.fact_{name}") for at, name in enumerate(FACTS)}
    tokenizer = learned.tokenizer(kind)
    if kind != "bpe":
        ids = tokenizer.encode(text)
        labels = {token_id: tokenizer.token_text(token_id) for token_id in set(ids)}
        pieces = tokenizer.token_pieces(text)
        unknown = {place: pieces[place] for place, token_id in enumerate(ids) if token_id == tokenizer.unk_id}
        facts = [_facts(learned, config, *size_of(learned, kind, 0))]
        return message(ids, labels=labels, unknown=unknown, facts=facts, words=words)
    bpe = learned.bpe
    smallest = ByteTokenizer()  # both kinds give bytes the same ids
    results = [bpe.id_of(left + right) for left, right in bpe.merges]
    vocabulary = len(SPECIAL_TOKENS) + NUM_BYTES
    sizes, made = [vocabulary], set[int]()
    for token_id in results:
        made.add(token_id)
        sizes.append(vocabulary + len(made))
    facts = [_facts(learned, config, int(length), size) for length, size in zip(learned.lengths, sizes, strict=True)]
    ids, steps = smallest.encode(text), bpe.merge_steps(text).tolist()
    shown = {results[step] for step in steps if step >= 0} | set(ids)
    return message(
        ids,
        labels={token_id: bpe.token_text(token_id) for token_id in shown},
        steps=steps,
        results=results,
        merges=[t("tokenizer.no_merge"), *(merge_sentence(learned, n) for n in range(learned.num_merges))],
        facts=facts,
        start=start,
        moved=moved,
        words=words,
    )


FACTS = ("length", "vocab", "embedding", "bytes")


def _facts(learned: Learned, config: RunConfig, length: int, vocab: int) -> list[str]:
    """Return the numbers of `FACTS`: tokens, vocabulary, parameters of the embedding, bytes per token."""
    return [number(length), number(vocab), compact(vocab * config.model.d_model), f"{learned.num_bytes / length:.2f}"]


def merge_sentence(learned: Learned, merge: int) -> str:
    """Return a sentence on a merge: what was joined, and how often."""
    left, right = (visible_token(part.decode(errors="backslashreplace")) for part in learned.bpe.merges[merge])
    both = visible_token(b"".join(learned.bpe.merges[merge]).decode(errors="backslashreplace"))
    count = number(int(learned.lengths[merge] - learned.lengths[merge + 1]))
    return t("tokenizer.merge", number=number(merge + 1), left=left, right=right, both=both, count=count)


def merge_rows(learned: Learned) -> list[dict[str, Any]]:
    """Return a row for each merge: its number, both tokens, the new one, and how often they were joined."""
    rows = []
    for merge, (left, right) in enumerate(learned.bpe.merges):
        parts = [visible_token(part.decode(errors="backslashreplace")) for part in (left, right, left + right)]
        count = int(learned.lengths[merge] - learned.lengths[merge + 1])
        rows.append(dict(zip(_columns("merge"), (merge + 1, *parts, count), strict=True)))
    return rows


def comparison(learned: Learned, text: str, config: RunConfig, merges: int) -> list[dict[str, str]]:
    """Return a row for each kind: tokens of the text on the page, then vocabulary and parameters of the embedding."""
    rows = []
    for kind in ("character", "byte", "bpe", OWN)[: len(learned.kinds)]:
        tokenizer = learned.tokenizer(kind)
        if kind == "bpe":
            tokenizer = BPETokenizer.from_merges(learned.bpe.merges[:merges])
        length, vocab = size_of(learned, kind, merges)
        count = len(tokenizer.encode(text))
        values = (
            t(f"tokenizer.kind_{kind}"),
            number(count),
            f"{len(text) / max(1, count):.2f}",
            number(sum(tokenizer.unknown_characters(text).values())),
            number(length),
            number(vocab),
            compact(vocab * config.model.d_model),
        )
        rows.append(dict(zip(_columns("compare"), values, strict=True)))
    return rows


def special_rows(own: BaseTokenizer | None = None) -> list[dict[str, str]]:
    """Return a row for each special token: its id, how it is written, and what it is for.

    Args:
        own: A tokenizer that the visitor has brought; None: those that minigpt makes, which all have the same.
    """
    if own is not None:
        roles = {own.pad_id: "pad", own.unk_id: "unk", own.bos_id: "bos", own.eos_id: "eos"}
        return [
            {
                t("tokenizer.special_id"): number(token_id),
                t("tokenizer.special_token"): visible_token(own.token_text(token_id)),
                t("tokenizer.special_meaning"): t(f"tokenizer.special_{roles.get(token_id, 'other')}"),
            }
            for token_id in sorted(own.special_ids)
        ]
    return [
        {
            t("tokenizer.special_id"): str(token_id),
            t("tokenizer.special_token"): token,
            t("tokenizer.special_meaning"): t(f"tokenizer.special_{token.strip('<>')}"),
        }
        for token_id, token in enumerate(SPECIAL_TOKENS)
    ]


def _columns(table: str) -> list[str]:
    names = {
        "merge": ("number", "left", "right", "both", "count"),
        "compare": ("kind", "tokens", "chars", "unknown", "corpus", "vocab", "embedding"),
    }[table]
    return [t(f"tokenizer.{table}_{name}") for name in names]


def sentences(learned: Learned, kind: str, text: str, merges: int) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    length, vocab = size_of(learned, kind, merges)
    result = [
        t(
            f"tokenizer.see_{kind}",
            tokens=number(length),
            vocab=number(vocab),
            merges=number(merges),
            bytes=f"{learned.num_bytes / length:.2f}",
        )
    ]
    unknown = learned.tokenizer(kind).unknown_characters(text)
    if unknown:
        named = ", ".join(quoted(character) for character in list(unknown)[:5])
        result.append(t("tokenizer.see_unknown", count=len(unknown), named=named))
    if kind == "bpe" and merges:
        left, right = learned.bpe.merges[0]
        first, second = (quoted(part.decode(errors="backslashreplace")) for part in (left, right))
        count = number(int(learned.lengths[0] - learned.lengths[1]))
        result.append(t("tokenizer.see_first", left=first, right=second, count=count))
    return result
