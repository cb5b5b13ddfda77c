"""What the Perplexity page shows, as plain data and sentences; the page only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigpt.app.components.token_strip import StripToken, top_candidates
from minigpt.app.session import runs
from minigpt.app.texts import number, plain, probability, quoted, t, unit
from minigpt.errors import RunFault
from minigpt.randomness import Stream, derive_key
from minigpt.runs.folder import RunFolder
from minigpt.viz.labels import visible_token

if TYPE_CHECKING:
    from minigpt.app.session.runs import RunRef
    from minigpt.evaluation.perplexity import Evaluation, TokenScores
    from minigpt.runs.loading import Run

MOST_DRAWN = 2000
"""Tokens drawn at once, about as many as the screen has room for; a longer text is drawn in parts."""

MOST_WITH_FIVE = 4000
"""Characters of a text up to which each token has five candidates; the few hundred bytes for each add up."""

MOST_POSITIONS = 2_000_000
"""Most positions computed for one answer; strides that need more are not offered."""

BEFORE = 18
"""Tokens quoted before a surprising one."""


@dataclass(frozen=True)
class Score:
    """A text that was scored.

    Attributes:
        text: The text that was given to the model.
        evaluation: The metrics of the whole text and of each token.
        references: Losses of the uniform, unigram and bigram guess on the validation part: name to bits per token.
        unknown: Characters that are not in the vocabulary, with their number in the text.
        unit: The word for what one token is.
    """

    text: str
    evaluation: Evaluation
    references: Mapping[str, float]
    unknown: Mapping[str, int]
    unit: str

    @property
    def predictions(self) -> TokenScores:
        """Every scored token; none if they were not asked for."""
        from minigpt.evaluation.perplexity import TokenScores

        return self.evaluation.predictions or TokenScores()

    @functools.cached_property
    def bits(self) -> np.ndarray:
        """The surprise of every token in bits, (N,)."""
        return np.array(self.predictions.costs()) / math.log(2)


def score(
    run: Run,
    path: Path,
    text: str,
    stride: int | None,
    cancelled: Callable[[], bool],
    *,
    with_tokens: bool = True,
) -> Score:
    """Score a text with a run's model.

    Args:
        run: Model, tokenizer and settings.
        path: The run's folder, which may contain the reference losses.
        text: Any text. It is cleaned first if the run's corpus was cleaned.
        stride: Tokens that each window scores; None: the whole context.
        cancelled: Called between batches; the work stops when it returns True.
        with_tokens: Whether each token's own score is wanted, which takes memory.
    """
    from minigpt.evaluation.perplexity import ModelEvaluator
    from minigpt.generation.inference import cleaned_for

    text = cleaned_for(run, text)
    evaluation = ModelEvaluator(run).evaluate(
        text,
        stride=stride,
        return_predictions=with_tokens,
        num_candidates=5 if len(text) <= MOST_WITH_FIVE else 2,
        cancelled=cancelled,
    )
    return Score(text, evaluation, references(path), run.tokenizer.unknown_characters(text), unit(run.tokenizer))


def references(path: Path) -> dict[str, float]:
    """Return the losses of the reference guesses, in bits per token; empty if the run has not stored them."""
    try:
        baselines = RunFolder(path).meta.get("baselines", {})
    except RunFault:
        return {}
    return {str(name): float(nats) / math.log(2) for name, nats in baselines.items()}


def strides(context: int, num_chars: int) -> list[int]:
    """Return the strides to choose from, the largest last.

    >>> strides(64, 1000), strides(64, 200_000)
    ([1, 8, 16, 32, 64], [8, 16, 32, 64])
    """
    offered = {1, *(context // part for part in (8, 4, 2, 1))} - {0}
    return sorted(s for s in offered if s == context or num_chars / s * context <= MOST_POSITIONS)


def nearest_stride(stride: int, offered: list[int]) -> int:
    """Return the nearest of the offered strides."""
    return min(offered, key=lambda s: abs(s - stride))


def context_of(run: RunRef) -> int:
    """Return how many tokens the run's model sees at once."""
    snapshot = runs.snapshot_of(run)
    return snapshot.config.model.sequence_length if snapshot else 1


class Figure(NamedTuple):
    """One of the metrics in a row: its label, its value, its tooltip."""

    label: str
    value: str
    help: str


def figures(shown: Score) -> list[Figure]:
    """Return the metrics of the text."""
    evaluation = shown.evaluation
    perplexity = f"{evaluation.perplexity:.2e}" if evaluation.perplexity >= 1e5 else f"{evaluation.perplexity:,.4g}"
    scored, seen = number(evaluation.num_tokens_scored), t("perplexity.seen", seen=number(evaluation.num_tokens))
    bits_help = t("perplexity.bits_help", bytes=f"{evaluation.bits_per_byte:.3f}")
    return [
        Figure(t("perplexity.bits"), f"{evaluation.bits_per_char:.3f}", bits_help),
        Figure(t("perplexity.perplexity"), perplexity, t("perplexity.perplexity_help")),
        Figure(t("perplexity.loss"), f"{evaluation.loss:.3f}", t("perplexity.loss_help")),
        Figure(t("perplexity.tokens"), f"{scored} · {seen}", t("perplexity.tokens_help", unit=shown.unit)),
    ]


def part_label(first: int, total: int) -> str:
    """Return the label of the part of a long text that begins at token `first`."""
    return t("perplexity.part_of", first=number(first + 1), last=number(min(first + MOST_DRAWN, total)))


def along_alt(shown: Score, finding: str) -> str:
    """Return a text alternative for the curve along the text."""
    mean = f"{shown.bits.mean():.2f}"
    return t("perplexity.figure_alt", count=number(len(shown.bits)), mean=mean, finding=plain(finding))


def strip_tokens(shown: Score, start: int, end: int) -> list[StripToken]:
    """Return a part of the text for drawing, with the numbers in its tips."""
    return [
        StripToken(
            text=token.text,
            bits=token.bits,
            values=(f"{token.bits:.2f}", probability(token.probability), number(token.rank)),
            top=top_candidates(token.top),
            is_unknown=token.is_unknown,
        )
        for token in shown.predictions[start:end]
    ]


def places(shown: Score, count: int = 8) -> list[dict[str, str | float]]:
    """Return the most surprising places, one row each, the most surprising first."""
    bits, words = shown.bits, shown.predictions.words()
    order = np.argsort(-bits, kind="stable")[:count].tolist()
    return [
        {
            t("perplexity.column_before"): visible_token("".join(words[max(0, i - BEFORE) : i])) if i else "",
            t("perplexity.column_token"): visible_token(words[i]),
            t("perplexity.column_bits"): round(float(bits[i]), 2),
            t("perplexity.column_expected"): "  ".join(
                f"{visible_token(c.text)} {probability(c.probability)}" for c in shown.predictions[i].top[:2]
            ),
        }
        for i in order
    ]


def sentences(shown: Score) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    evaluation = shown.evaluation
    result = [
        t(
            "perplexity.see_loss",
            loss=f"**{evaluation.loss:.2f}**",
            bits=f"**{evaluation.loss / math.log(2):.2f}**",
            perplexity=f"**{evaluation.perplexity:,.3g}**" if evaluation.perplexity < 1e6 else t("perplexity.millions"),
        )
    ]
    own = evaluation.loss / math.log(2)
    beaten = [name for name in ("bigram", "unigram", "uniform") if own < shown.references.get(name, -1)]
    if beaten:
        result.append(
            t(f"perplexity.see_below_{beaten[0]}", bits=f"{shown.references[beaten[0]]:.2f}", unit=shown.unit)
        )
    elif shown.references:
        result.append(t("perplexity.see_above", bits=f"{max(shown.references.values()):.2f}", unit=shown.unit))
    most = int(shown.bits.argmax())
    token = shown.predictions[most]
    result.append(
        t(
            "perplexity.see_most",
            token=quoted(token.text),
            position=number(most + 1),
            bits=f"**{token.bits:.1f}**",
            expected=quoted(token.top[0].text),
            share=probability(token.top[0].probability),
        )
    )
    return result


def stride_words(shown: Score, whole: Score | None) -> str:
    """Return what the stride means here and, if it is not the whole context, how it changed the result.

    Args:
        shown: The score on screen.
        whole: The same text with the whole context as stride; None if `shown` already has that stride.
    """
    evaluation = shown.evaluation
    words = t(
        "perplexity.stride_words" if evaluation.stride < evaluation.context else "perplexity.stride_whole",
        stride=number(evaluation.stride),
        context=number(evaluation.context),
        least=number(evaluation.context - evaluation.stride),
        times=f"{evaluation.num_tokens / evaluation.num_tokens_scored:.2g}",
        unit=shown.unit,
    )
    if whole is None:
        return words
    gain = whole.evaluation.bits_per_char - evaluation.bits_per_char
    return f"{words} " + t(
        "perplexity.stride_gain" if gain > 0.005 else "perplexity.stride_no_gain",
        whole=f"{whole.evaluation.bits_per_char:.2f}",
        now=f"{evaluation.bits_per_char:.2f}",
    )


def unknown_words(shown: Score) -> str:
    """Return a note on the unknown characters of the text and their cost; empty if there are none."""
    if not shown.evaluation.num_unknown:
        return ""
    named = ", ".join(f"{quoted(character)} × {count}" for character, count in list(shown.unknown.items())[:8])
    return t(
        "perplexity.unknown_words",
        count=number(shown.evaluation.num_unknown),
        named=named + (" …" if len(shown.unknown) > 8 else ""),
        bits=f"{shown.evaluation.escape_nats / math.log(2):.1f}",
    )


def shuffled(text: str, seed: int = 0) -> str:
    """Return the same characters in another order, always the same one.

    >>> sorted(shuffled("abcd")) == list("abcd")
    True
    """
    order = sorted(range(len(text)), key=lambda i: derive_key(seed, Stream.SYNTHETIC, i))
    return "".join(text[i] for i in order)
