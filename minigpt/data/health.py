"""The health check of a corpus: what in the text or its split would spoil a run, found before it starts.

`check_health` reads the corpus once. Characters are counted in all of it; everything else is looked for in at most
`parts.SAMPLE_CHARS` characters, and `Health.is_sampled` says whether that was less than all. Each finding has its
numbers, a sentence, and what can be done: the name of a mend of `minigpt.data.mends`, or settings to change.

The thresholds were tried on texts that are good as they are: the bundled tales and repeats, Python's manual and source,
Tiny Shakespeare, and made texts in Chinese and Arabic. The comment of each says what those have.

Reads after: parts.py, mends.py, overlap.py, scripts.py.
"""

from __future__ import annotations

import functools
import lzma
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minigpt.config import RunConfig, TokenizerConfig
from minigpt.data import mends
from minigpt.data.corpora import Corpus
from minigpt.data.overlap import COPIED_SHARE, copied_share
from minigpt.data.parts import Parts, read_parts
from minigpt.data.prepared import estimated_num_tokens
from minigpt.data.scripts import languages, scripts
from minigpt.data.split import count_windows, largest_context, split_counts
from minigpt.data.statistics import RARE_COUNT, code_points, repeated_share
from minigpt.tokenizers.base import make_tokenizer

SMALL_CHARS = 20_000
"""A model of 100,000 weights knows a shorter text by heart within a thousand steps."""
PACKED_SHARE = 0.05
"""A text that LZMA packs into less than this share is repetition. Good texts have 0.13 (tales) to 0.57 (Chinese)."""
ONE_CHARACTER = 0.9
"""A character with this share leaves almost nothing to guess. In good texts the space is the most common, with 0.2."""
REPEATED_LINES = 0.4
"""Share of the longer lines that occurred before. Python's manual, which repeats whole sections, has 0.2; questions
about dates, of which there are only so many, have 0.35."""
BOILERPLATE_SHARE, BOILERPLATE_LINES = 0.01, 20
"""Share of the text that is boilerplate, in at most so many different lines. Python's source has 0.003. In a language
of few sentences, such as lists of games or of dates, 60 and more lines come again all through the text."""
LARGE_ALPHABET, FEW_EACH = 256, 100
"""From 256 characters on, one row for each byte is the smaller vocabulary. A row of the embedding that occurs fewer
than 100 times on average is hardly trained. Tales have 59 characters, each 8,000 times."""
RARE_SHARE, RARE_LEAST = 0.1, 5
"""Rare characters count if they are more than this share of the alphabet, and more than five."""
UNSEEN_SHARE = 0.01
"""Share of the validation part in characters that the training part does not have. Good texts have less than 0.0001."""
UNLIKE_FACTOR, UNLIKE_LEAST = 2.0, 0.05
"""The validation part is unlike the training part if its pairs of characters differ twice as much from it as those of
any stretch of the training part differ from the rest, and by 0.05 bits or more. Good texts: up to 1.5 times as much."""
SECOND_SHARE = 0.1
"""Share of the letters in a second script, or of the passages in a second language. Good texts have less than 0.001."""
MISREAD_LEAST = 3
MIXED_SIGNS = 3
MARKUP_SHARE = 0.01
"""Share of the text in HTML tags and entities. Python's manual and source have less than 0.001."""
LONG_LINE, LONG_LINES_SHARE = 10_000, 0.5
"""A line is very long from here on: longer than every context, and some ten times a long paragraph of a novel."""
COMPARED_CHARS = 1_000
"""In fewer characters of validation, differences in style are chance."""

Severity = Literal["blocking", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        kind: Its name, one of `KINDS`.
        severity: `blocking`: the run cannot start; `warning`: its result would mislead or disappoint; `note`: it costs
            a little.
        sentence: What was found, with the numbers, for a person.
        advice: What to do about it, for a person at a terminal.
        mend: Name of the function in `mends.MENDS` that mends the text, or None.
        changes: Settings that mend it: dotted field to value.
        numbers: The numbers of the sentence.
    """

    kind: str
    severity: Severity
    sentence: str
    advice: str = ""
    mend: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """The result of a health check.

    Attributes:
        findings: What was found, the worst first.
        is_sampled: Whether only a sample of the text was looked at.
        copied_share: Share of the validation part that also stands in the training part; None if there is none.
    """

    findings: tuple[Finding, ...]
    is_sampled: bool
    copied_share: float | None

    @property
    def is_good(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)


@dataclass(frozen=True)
class _Facts:
    """What the checks look at: both parts of the text, and the settings."""

    parts: Parts
    config: RunConfig
    num_training: int
    num_validation: int
    vocab_size: int

    @property
    def text(self) -> str:
        return self.parts.text

    @functools.cached_property
    def copied(self) -> float:
        return copied_share(self.parts.train, self.parts.validation)

    @functools.cached_property
    def repeated(self) -> float:
        return repeated_share(self.text)

    @property
    def mend_of_lines(self) -> str | None:
        """The mend for repeated lines, if enough of the text is left without them."""
        left = sum(map(len, set(self.text.split("\n"))))
        return "lines" if self.repeated > REPEATED_LINES and left >= COMPARED_CHARS else None

    @property
    def context(self) -> int:
        return self.config.model.sequence_length

    @property
    def is_in_characters(self) -> bool:
        return make_tokenizer(self.config.tokenizer).unit == "character"


def check_health(corpus: Corpus, config: RunConfig, *, vocab_size: int, num_tokens: int | None = None) -> Health:
    """Look for what would spoil a run on a corpus.

    Ten million characters take about a second, and memory of some ten times the sample.

    Args:
        corpus: The text; it is read once.
        config: The settings of the run.
        vocab_size: Number of different tokens.
        num_tokens: How many tokens the text becomes; None: as `estimated_num_tokens` says.

    Raises:
        CorpusError: A file of the corpus is not text.
    """
    if num_tokens is None:
        num_tokens = estimated_num_tokens(make_tokenizer(config.tokenizer), corpus)
    data = config.data
    counts = split_counts(num_tokens, data.validation_fraction, data.max_validation_tokens)
    facts = _Facts(read_parts(corpus, data, num_tokens), config, *counts, vocab_size)
    found: list[Finding] = []
    for check in _CHECKS:
        found += check(facts, frozenset(finding.kind for finding in found))
    found.sort(key=lambda finding: ("blocking", "warning", "note").index(finding.severity))
    return Health(tuple(found), facts.parts.is_sampled, facts.copied if facts.parts.validation else None)


# --- the checks, the worst first --------------------------------------------------------------------------------------

_Found = Iterator[Finding]


def _length(facts: _Facts, before: frozenset[str]) -> _Found:
    """Check whether the text has enough tokens for the context, in both parts, and enough to be understood."""
    context, training, validation = facts.context, facts.num_training, facts.num_validation
    fits = fitting_context(training, validation)
    changes = {} if fits is None or fits >= context else {"model.sequence_length": fits}
    if not count_windows(training, context):
        if largest_context(training) is None:
            yield Finding(
                "too_short",
                "blocking",
                f"The text is too short to learn from: {_count(training, 'token')} are left for training.",
                "Bring a text of at least a few hundred characters.",
            )
            return
        yield Finding(
            "too_short",
            "blocking",
            f"The text is too short for a context of {context:,}: {_count(training, 'token')} to learn from, "
            f"{context + 1:,} are needed.",
            f"Bring more text, or set model.sequence_length to {training - 1:,} or less.",
            changes=changes,
        )
        return
    is_short = facts.config.data.validation_fraction > 0 and validation <= context
    if is_short and validation <= 1:
        lacks = "Too little is left for a validation part, so no validation loss can show that."
    elif is_short:
        lacks = (
            f"The validation part of {validation:,} tokens is less than one window of {context:,}: its loss rests on a "
            "few guesses, and is hardly more than chance."
        )
    else:
        lacks = "Watch the validation loss turn upwards." if validation else ""
    if before & {"repetition", "copied"}:  # it will not turn upwards, and neither does more of the same text help
        lacks = ""
    if facts.parts.num_chars < SMALL_CHARS:
        opening = (
            f"The text is small: {_count(facts.parts.num_chars, 'character')}. The model will soon know it by heart."
        )
        advice = "Bring more text" + (f", or set model.sequence_length to {fits}" if is_short and changes else "") + "."
        yield Finding(
            "small",
            "warning",
            f"{opening} {lacks}".strip(),
            advice,
            changes=changes if is_short else {},
            numbers={"num_chars": facts.parts.num_chars},
        )
    elif is_short:
        yield Finding(
            "short_validation",
            "warning",
            lacks.replace(", so no validation loss can show that", ""),
            f"Raise data.validation_fraction{f', or set model.sequence_length to {fits}' if changes else ''}.",
            changes=changes,
        )


def fitting_context(num_training: int, num_validation: int) -> int | None:
    """Return the largest power of two as context for which both parts have a window, or the training part alone.

    >>> fitting_context(127, 14), fitting_context(20, 0), fitting_context(2, 0)
    (8, 16, None)
    """
    largest = largest_context(num_training)
    if largest is None:
        return None
    room = min(largest, num_validation - 1) if num_validation > 2 else largest
    return 1 << room.bit_length() - 1


def _repetition(facts: _Facts, _: frozenset[str]) -> _Found:
    """Check for a text that only repeats: a character, a word, a line, or a passage; lines alone do not show it."""
    count = max(facts.parts.counts.values())
    packed, repeated, copied = _packed_share(facts.text), facts.repeated, facts.copied
    what = None
    if count > ONE_CHARACTER * facts.parts.num_chars:
        what = f"{_percent(count / facts.parts.num_chars)} of it is one character"
    elif repeated > ONE_CHARACTER:
        what = f"{_percent(repeated)} of its longer lines appeared before"
    elif packed is not None and packed < PACKED_SHARE:
        what = f"packed, it takes {100 * packed:.2g} % of its size, where prose takes 30 % or more"
    if what is None:
        return
    consequence = (
        "The validation part is a copy of the training part, so its loss shows memory, not understanding."
        if copied >= COPIED_SHARE
        else "There is almost nothing to learn in it."
    )
    yield Finding(
        "repetition",
        "warning",
        f"The text repeats itself over and over: {what}. {consequence}",
        "Learn from another text.",
        mend=facts.mend_of_lines,
        numbers={"copied": copied, "repeated": repeated, "packed": 1.0 if packed is None else packed},
    )


def _packed_share(text: str) -> float | None:
    """Return the size of a text packed by LZMA as a share of its size; None for a text too short to be packed.

    Four stretches of 64,000 characters stand for a longer text. Of a few thousand characters, half is overhead.
    """
    size = 1 << 16
    if len(text) > 4 * size:
        text = "".join(text[start : start + size] for start in (round(n * (len(text) - size) / 3) for n in range(4)))
    content = text.encode("utf-8", "surrogatepass")
    return len(lzma.compress(content, preset=1)) / len(content) if len(content) >= 4_000 else None


def _copies(facts: _Facts, before: frozenset[str]) -> _Found:
    """Check whether the validation part, or any line, stands in the text before; and for headers and footers."""
    if "repetition" in before:
        return
    copied, repeated = facts.copied, facts.repeated
    if copied >= COPIED_SHARE:
        yield Finding(
            "copied",
            "warning",
            f"{_percent(copied)} of the validation part also stands in the training part. Its loss shows how well the "
            "model remembers, not how well it has understood.",
            "Remove what the text has twice, or score the run on another text.",
            mend=facts.mend_of_lines,
            numbers={"copied": copied, "repeated": repeated},
        )
    elif repeated > REPEATED_LINES:
        yield Finding(
            "lines",
            "warning",
            f"{_percent(repeated)} of its longer lines appeared before in the text. The model learns repeated lines by "
            "heart instead of understanding them, and the validation loss looks better than it is.",
            "Remove the lines that the text has twice.",
            mend=facts.mend_of_lines,
            numbers={"repeated": repeated},
        )
    lines = mends.boilerplate(facts.text)
    share = sum(len(line) * count for line, count in lines.items()) / max(len(facts.text), 1)
    if share > BOILERPLATE_SHARE and len(lines) <= BOILERPLATE_LINES and copied < COPIED_SHARE:
        yield Finding(
            "boilerplate",
            "warning",
            f"{_count(len(lines), 'line')} like headers or footers {'stand' if len(lines) > 1 else 'stands'} all "
            f"through the text, {_percent(share)} of it; the most common one {max(lines.values()):,} times.",
            "Remove these lines.",
            mend="boilerplate",
            numbers={"share": share, "lines": len(lines)},
        )


def _alphabet(facts: _Facts, _: frozenset[str]) -> _Found:
    """Check what the vocabulary costs: characters that are too many for the text, or too rare."""
    if not facts.is_in_characters:
        return
    distinct, rare = len(facts.parts.counts), sum(count < RARE_COUNT for count in facts.parts.counts.values())
    each = facts.parts.num_chars / max(distinct, 1)
    numbers = {"distinct": distinct, "rare": rare, "each": each}
    if distinct >= LARGE_ALPHABET and each < FEW_EACH:
        width = facts.config.model.d_model
        weights, changes = facts.vocab_size * width, smaller_vocabulary(facts.parts.num_chars)
        yield Finding(
            "alphabet",
            "warning",
            f"The alphabet is large for this text: {distinct:,} different characters, each {each:.0f} times on "
            f"average, {rare:,} of them fewer than {RARE_COUNT} times. The table of their vectors alone takes "
            f"{facts.vocab_size:,} x {width} = {weights:,} weights, for a text of {facts.parts.num_chars:,}.",
            f"Bring more text, or set {_settings(changes)}: a smaller vocabulary.",
            changes=changes,
            numbers={**numbers, "weights": weights},
        )
    elif rare > max(RARE_LEAST, RARE_SHARE * distinct) and facts.parts.num_chars >= COMPARED_CHARS:
        yield Finding(
            "rare",
            "note",
            f"{rare:,} of its {distinct:,} different characters occur fewer than {RARE_COUNT} times, too seldom to be "
            "learned; each takes a row of the embedding.",
            "Remove these characters.",
            mend="rare",
            numbers=numbers,
        )


def smaller_vocabulary(num_chars: int) -> dict[str, Any]:
    """Return settings of a tokenizer whose tokens occur about `FEW_EACH` times each: byte-level BPE, or bytes alone.

    >>> smaller_vocabulary(9_677), smaller_vocabulary(3_000)
    ({'tokenizer.kind': 'bpe', 'tokenizer.num_merges': 90}, {'tokenizer.kind': 'byte'})
    """
    merges = min(TokenizerConfig().num_merges, num_chars // FEW_EACH)
    if merges < 50:
        return {"tokenizer.kind": "byte"}
    return {"tokenizer.kind": "bpe", "tokenizer.num_merges": merges // 10 * 10}


def _likeness(facts: _Facts, before: frozenset[str]) -> _Found:
    """Check whether the validation part is written like the training part: its characters, and its pairs of them.

    Its difference from up to nine stretches of the same length is compared with that of each stretch from the others.
    """
    train, validation = facts.parts.train, facts.parts.validation
    if len(validation) < COMPARED_CHARS or len(train) < 3 * len(validation):
        return
    known = set(train)
    unseen = sum(count for c, count in Counter(validation).items() if c not in known) / len(validation)
    number, size = min(9, len(train) // len(validation)), len(validation)
    stretches = [_pairs(train[index * size : (index + 1) * size]) for index in range(number)]
    total = np.sum(stretches, axis=0)
    own = _divergence(_pairs(validation), total)
    usual = max(_divergence(counts, total - counts) for counts in stretches)
    if (unseen > UNSEEN_SHARE and "alphabet" not in before) or own > max(UNLIKE_LEAST, UNLIKE_FACTOR * usual):
        reason = (
            f"{100 * unseen:.1f} % of its characters never occur in the training part"
            if unseen > UNSEEN_SHARE
            else f"its pairs of characters differ by {own:.2f} bits from it, other stretches by {usual:.2f} at most"
        )
        is_at_end = facts.config.data.split == "end"
        yield Finding(
            "unlike",
            "warning",
            f"The validation part is unlike the training part: {reason}. Its loss will be high however well the model "
            "learns.",
            "Set data.split to blocks, so that the validation part comes from all of the text." if is_at_end else "",
            changes={"data.split": "blocks"} if is_at_end else {},
            numbers={"unseen": unseen, "difference": own, "usual": usual},
        )


def _pairs(text: str) -> NDArray[np.float64]:
    """Count the pairs of neighbouring characters, hashed into 4,096 bins."""
    codes = code_points(text).astype(np.uint64)
    mixed = codes[:-1] * np.uint64(0x9E3779B97F4A7C15) + codes[1:] * np.uint64(0xC2B2AE3D27D4EB4F)
    bins = (mixed * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(52)
    return np.bincount(bins.astype(np.int64), minlength=4096).astype(np.float64)


def _divergence(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the Jensen-Shannon divergence of two counts in bits: 0 if they are alike, 1 if they share nothing.

    Source: Lin, Divergence measures based on the Shannon entropy, 1991.
    """
    p, q = left / max(left.sum(), 1), right / max(right.sum(), 1)
    middle = (p + q) / 2
    return sum(float(np.sum(part[part > 0] * np.log2(part[part > 0] / middle[part > 0]))) for part in (p, q)) / 2


def _mixture(facts: _Facts, _: frozenset[str]) -> _Found:
    """Check for broken encodings, several scripts or languages, signs written in several ways, and markup."""
    misread, lost = mends.misread_characters(facts.text), facts.parts.counts.get(mends.REPLACEMENT, 0)
    if misread + lost >= MISREAD_LEAST:
        parts = [_count(misread, "character") + " read in the wrong encoding"] * bool(misread)
        parts += [_count(lost, "character") + " that could not be read at all"] * bool(lost)
        yield Finding(
            "encoding",
            "warning",
            f"The text has been through a wrong encoding: {' and '.join(parts)}.",
            "Save the text as UTF-8 again, from where it comes.",
            mend="encoding",
            numbers={"misread": misread, "lost": lost},
        )
    for kind, shares in (("scripts", scripts(facts.parts.counts)), ("languages", languages(facts.text))):
        if len(shares) > 1 and shares[1][1] >= SECOND_SHARE:
            (first, share), (second, other) = shares[:2]
            yield Finding(
                kind,
                "note",
                f"The text mixes {'scripts' if kind == 'scripts' else 'languages'}: {first} ({_percent(share)}) and "
                f"{second} ({_percent(other)}). A small model learns each of them from its share alone.",
                "Train on one of them.",
                numbers={"second": other},
            )
    signs = mends.mixed_signs(facts.parts.counts)
    if sum(signs.values()) >= MIXED_SIGNS and facts.is_in_characters:
        yield Finding(
            "signs",
            "note",
            f"The same sign is written in several ways, such as curly and straight quotation marks or several spaces: "
            f"{_count(sum(signs.values()), 'character')} of {_count(len(signs), 'kind')} have a plainer form that the "
            "text uses too. Each form is a token of its own.",
            "Write each sign in one way.",
            mend="signs",
            numbers={"signs": sum(signs.values())},
        )
    tags, taken = mends.markup(facts.text)
    if taken > MARKUP_SHARE * len(facts.text):
        yield Finding(
            "markup",
            "note",
            f"{_count(tags, 'HTML tag')} and entities are left in the text, {_percent(taken / len(facts.text))} of it. "
            "The model will learn to write them.",
            "Remove the markup.",
            mend="markup",
            numbers={"tags": tags, "share": taken / len(facts.text)},
        )


def _lines(facts: _Facts, before: frozenset[str]) -> _Found:
    """Check for lines that no context can hold, and for a text with nothing kept for validation."""
    lengths = [len(line) for line in facts.text.split("\n")]
    long = sum(length for length in lengths if length >= LONG_LINE)
    if long > LONG_LINES_SHARE * len(facts.text) and "repetition" not in before:
        yield Finding(
            "long_lines",
            "note",
            f"Lines are very long: the longest has {max(lengths):,} characters. The model will seldom or never end a "
            "line.",
            numbers={"longest": max(lengths)},
        )
    if facts.config.data.validation_fraction == 0:
        yield Finding(
            "no_validation",
            "note",
            "Nothing is kept for validation, so learning cannot be told from remembering.",
            "Set data.validation_fraction to 0.1.",
            changes={"data.validation_fraction": 0.1},
        )


_CHECKS: tuple[Callable[[_Facts, frozenset[str]], _Found], ...] = (
    _repetition,
    _copies,
    _alphabet,
    _length,
    _likeness,
    _mixture,
    _lines,
)
KINDS = (
    "too_short", "small", "short_validation", "repetition", "copied", "lines", "boilerplate", "alphabet", "rare",
    "unlike", "encoding", "scripts", "languages", "signs", "markup", "long_lines", "no_validation",
)  # fmt: skip
"""All kinds of findings."""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1f} %"


def _settings(changes: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} to {value}" for name, value in changes.items())
