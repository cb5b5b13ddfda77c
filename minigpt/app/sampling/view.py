"""What the Sampling page shows, as plain data and sentences; the page only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minigpt.app.components.token_strip import StripToken
from minigpt.app.texts import quoted, t
from minigpt.viz.distribution import TokenChance

if TYPE_CHECKING:
    from minigpt.generation.results import Candidate, GeneratedToken
    from minigpt.model.protocols import LanguageModel

NUM_BARS = 10
"""Candidates drawn as bars."""

PIECE = 4
"""Tokens in the pieces whose repetition is counted."""


@dataclass(frozen=True)
class Rule:
    """One way to choose a token.

    Attributes:
        kind: `greedy`, `temperature`, `top_k`, `top_p` or `min_p`.
        value: Its number; greedy has none.
        temperature: Applied before it; 1 changes nothing.
    """

    kind: str
    value: float | None = None
    temperature: float = 1.0

    def settings(self) -> dict[str, float]:
        """Return it as `TextGenerator` takes it."""
        if self.kind == "greedy" or self.value is None:
            return {}
        if self.kind == "temperature":
            return {"temperature": self.value}
        warmth = {} if self.temperature == 1 else {"temperature": self.temperature}
        return {**warmth, self.kind: int(self.value) if self.kind == "top_k" else self.value}

    def name(self) -> str:
        """Return what it is called in a sentence."""
        return t(f"sampling.name_{self.kind}", value=f"{self.value:g}" if self.value is not None else "")


@dataclass(frozen=True)
class Range:
    """The slider of a rule: lowest, highest, step, and where it starts."""

    low: float
    high: float
    step: float
    start: float


RANGES = {
    "temperature": Range(0.0, 2.0, 0.05, 1.0),
    "top_k": Range(1, 40, 1, 5),
    "top_p": Range(0.05, 1.0, 0.05, 0.8),
    "min_p": Range(0.0, 1.0, 0.05, 0.1),
}
DEFAULT_RULES = ("greedy", "temperature", "top_k", "top_p")
RULES = ("greedy", *RANGES)


@dataclass(frozen=True)
class Column:
    """What one rule wrote.

    Attributes:
        rule: The rule.
        prompt: The prompt's tokens.
        tokens: What it wrote.
        notes: What the generator had to say.
        stop_reason: Why it ended.
    """

    rule: Rule
    prompt: tuple[str, ...]
    tokens: tuple[GeneratedToken, ...]
    notes: tuple[str, ...]
    stop_reason: str

    def mean_surprise(self) -> float:
        """Return how much its own text surprised the model, in bits per token; 0 without any."""
        bits = [-math.log2(token.model_probability) for token in self.tokens]
        return math.fsum(bits) / len(bits) if bits else 0.0

    def distinct_share(self) -> float:
        """Return which share of its pieces of `PIECE` tokens are different ones; 1 where nothing is repeated."""
        ids = [token.token_id for token in self.tokens]
        pieces = [tuple(ids[i : i + PIECE]) for i in range(len(ids) - PIECE + 1)]
        return len(set(pieces)) / len(pieces) if pieces else 1.0


def write(
    run: LanguageModel, rule: Rule, prompt: str, num_tokens: int, seed: int, cancelled: Callable[[], bool]
) -> Column:
    """Let a rule write; every rule throws the same dice."""
    from minigpt.generation.generator import TextGenerator

    result = TextGenerator(run).generate(
        prompt, max_new_tokens=num_tokens, seed=seed, num_runners_up=4, cancelled=cancelled, **rule.settings()
    )
    pieces = tuple(run.tokenizer.token_pieces(prompt))  # an unknown character is shown as it was typed
    return Column(rule, pieces, result.tokens, result.notes, result.stop_reason)


@dataclass(frozen=True)
class NextToken:
    """The choice of one token.

    Attributes:
        bars: The likeliest candidates and the chosen one, by the model's own probability.
        segments: What the rule left, in order of ids, but for slivers too narrow to see.
        u: The dice.
        bar: Which of `bars` was chosen.
        segment: Which of `segments` was chosen.
        num_left: Tokens that the rule left.
        mass_cut: Probability of those it cut.
    """

    bars: tuple[TokenChance, ...]
    segments: tuple[TokenChance, ...]
    u: float
    bar: int
    segment: int
    num_left: int
    mass_cut: float

    @property
    def chosen(self) -> TokenChance:
        """The token on which the dice fell."""
        return self.bars[self.bar]


def choice_at(
    run: LanguageModel, rule: Rule, prompt: str, position: int, seed: int, cancelled: Callable[[], bool]
) -> NextToken:
    """Write up to a token and return how that one was chosen, seen by a rule that watches another one work.

    Args:
        run: Model and tokenizer.
        rule: The rule.
        prompt: What it continues.
        position: Which token, counted from 0; beyond the end of the text it is the last choice that was made.
        seed: Of the dice.
        cancelled: Asked before each token.
    """
    import numpy as np
    import torch

    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.samplers import Sampler, draw
    from minigpt.generation.settings import resolve_sampler
    from minigpt.randomness import uniform

    class Watching(Sampler):
        """Lets another rule work and keeps the latest distribution before and after it."""

        def __init__(self, watched: Sampler) -> None:
            self.watched, self.count = watched, 0

        def process(self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None) -> Any:
            after, state = self.watched.process(logits, ids, state)
            self.before, self.after = (torch.softmax(row[0].double(), -1) for row in (logits, after))
            self.count += 1
            return after, state

        def describe(self) -> str:
            return self.watched.describe()

    watching = Watching(resolve_sampler(**rule.settings()).sampler)
    stream = TextGenerator(run).stream(
        prompt, max_new_tokens=position + 1, sampler=watching, seed=seed, cancelled=cancelled
    )
    for _ in stream:
        pass
    before, after = watching.before.numpy(), watching.after.numpy()
    u = uniform(seed, 0, watching.count - 1)
    chosen = int(draw(watching.after.unsqueeze(0), [u]))
    low = np.cumsum(after) - after
    best = np.argsort(-before, kind="stable")[:NUM_BARS].tolist()
    bars = best if chosen in best else [*best[:-1], chosen]
    segments = [i for i in range(len(after)) if after[i] > 0.002 or i == chosen]

    def chance(i: int) -> TokenChance:
        return TokenChance(run.tokenizer.token_text(i), float(before[i]), float(after[i]), float(low[i]))

    return NextToken(
        bars=tuple(chance(i) for i in bars),
        segments=tuple(chance(i) for i in segments),
        u=u,
        bar=bars.index(chosen),
        segment=segments.index(chosen),
        num_left=int((after > 0).sum()),
        mass_cut=float(before[after == 0].sum()),
    )


def longest_bar(choices: Sequence[NextToken]) -> float:
    """Return where the axis of all bars ends; a rule that leaves one token does not shrink the others' bars."""
    before = [bar.before for choice in choices for bar in choice.bars]
    after = [bar.after for choice in choices for bar in choice.bars if choice.num_left > 1]
    return max(before + after)


def first_parting(columns: Sequence[Column]) -> int | None:
    """Return the number of the first token that is not the same in all columns, None where all are the same."""
    texts = [[token.token_id for token in column.tokens] for column in columns]
    for position in range(max(map(len, texts), default=0)):
        if len({text[position] if position < len(text) else None for text in texts}) > 1:
            return position
    return None


def parting(column: Column, reference: Column) -> int | None:
    """Return where a column first differs from another one, None where it does not; for the frame in its text."""
    position = first_parting([reference, column])
    return position if position is not None and position < len(column.tokens) else None


def strip_tokens(column: Column) -> list[StripToken]:
    """Return a column's text for drawing, with the numbers that its tips tell."""
    return [
        StripToken(
            text=token.text,
            bits=-math.log2(token.model_probability),
            title=t("sampling.tip_title", number=token.n + 1),
            values=(
                percent(token.model_probability),
                percent(token.probability),
                f"{-math.log2(token.model_probability):.2f}",
                f"{token.u:.3f}",
            ),
            top=candidates(token.runners_up),
        )
        for token in column.tokens
    ]


def candidates(found: Sequence[Candidate]) -> tuple[tuple[str, float], ...]:
    """Return candidates as a strip takes them."""
    return tuple((candidate.text, candidate.probability) for candidate in found)


def percent(share: float) -> str:
    """Write a probability as people read it.

    >>> percent(0.814), percent(0.034), percent(0.0004), percent(1.0), percent(0.9996)
    ('81 %', '3.4 %', '< 0.1 %', '100 %', '> 99.9 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def sentences(columns: Sequence[Column], choices: Sequence[NextToken], position: int) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    part = first_parting(columns)
    said = []
    if part is None:
        said.append(t("sampling.see_same", count=len(columns[0].tokens)))
    else:
        said.append(t("sampling.see_part", number=f"**{part + 1}**"))
    said.append(
        t(
            "sampling.see_dice",
            number=position + 1,
            u=f"**{choices[0].u:.2f}**",
            landings=", ".join(
                t("sampling.landing", name=column.rule.name(), token=quoted(choice.chosen.text))
                for column, choice in zip(columns, choices, strict=True)
            ),
        )
    )
    pairs = [(choice.num_left, column.rule.name()) for column, choice in zip(columns, choices, strict=True)]
    few, many = min(pairs), max(pairs)
    if few[0] < many[0]:
        said.append(t("sampling.see_left", tight=few[1], few=few[0], wide=many[1], many=many[0]))
    dull = min(columns, key=lambda column: column.distinct_share())
    lively = max(columns, key=lambda column: column.distinct_share())
    if dull.distinct_share() < lively.distinct_share():
        said.append(
            t(
                "sampling.see_distinct",
                dull=dull.rule.name(),
                low=f"**{percent(dull.distinct_share())}**",
                lively=lively.rule.name(),
                high=f"**{percent(lively.distinct_share())}**",
                piece=PIECE,
            )
        )
    return said
