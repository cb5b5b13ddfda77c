"""What the columns side by side show, as plain data and sentences; `side` only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.app.components.token_strip import StripToken, top_candidates
from minigpt.app.texts import number as written_number
from minigpt.app.texts import plain, probability, quoted, t
from minigpt.runs.folder import RunFolder
from minigpt.viz.distribution import TokenChance

if TYPE_CHECKING:
    from minigpt.data.generators import Verdict
    from minigpt.generation.results import GeneratedToken
    from minigpt.model.protocols import LanguageModel

LENGTHS = (40, 80, 120, 240, 480)
"""Choices for the number of tokens to write."""

USUAL_LENGTH = 120

NUM_BARS = 10
"""Candidates drawn as bars."""

PIECE = 4
"""Tokens in the pieces whose repetition is counted."""


@dataclass(frozen=True)
class Rule:
    """One way to choose a token.

    Attributes:
        kind: `greedy`, `temperature`, `top_k`, `top_p` or `min_p`.
        value: Its parameter; greedy has none.
        temperature: Applied before the rule; 1 changes nothing.
    """

    kind: str
    value: float | None = None
    temperature: float = 1.0

    def settings(self) -> dict[str, Any]:
        """Return the rule as options of `GenerationSettings`."""
        if self.kind == "greedy" or self.value is None:
            return {}
        if self.kind == "temperature":
            return {"temperature": self.value}
        base = {} if self.temperature == 1 else {"temperature": self.temperature}
        return {**base, self.kind: int(self.value) if self.kind == "top_k" else self.value}

    def name(self) -> str:
        """Return the rule's name for sentences."""
        return t(f"sampling.name_{self.kind}", value=f"{self.value:g}" if self.value is not None else "")


@dataclass(frozen=True)
class Range:
    """The slider of a rule: lowest, highest, step, and where it starts."""

    low: float
    high: float
    step: float
    start: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


RANGES = {
    "temperature": Range(0.0, 2.0, 0.05, 1.0),
    "top_k": Range(1, 40, 1, 5),
    "top_p": Range(0.05, 1.0, 0.05, 0.8),
    "min_p": Range(0.0, 1.0, 0.05, 0.1),
}
DEFAULT_RULES = ("greedy", "temperature", "top_k", "top_p")
RULES = ("greedy", *RANGES)
BASE_RANGE = Range(0.0, 2.0, 0.05, 1.0)
"""The temperature applied before the other rules."""

FIRST_SEED = 9


def starts(most: int) -> dict[str, Any]:
    """Return the controls of the page by name, each with the value it has until the visitor chooses another one.

    Args:
        most: As in `lengths`.
    """
    length = min(lengths(most), key=lambda n: abs(n - USUAL_LENGTH))
    result: dict[str, Any] = {"seed": str(FIRST_SEED), "length": length, "warmth": BASE_RANGE.start}
    for number, rule in enumerate(DEFAULT_RULES):
        result[f"rule_{number}"] = rule
        result |= {f"{kind}_{number}": span.start for kind, span in RANGES.items()}
    return result


@dataclass(frozen=True)
class Column:
    """What one rule wrote.

    Attributes:
        rule: The rule.
        prompt: The prompt's tokens.
        tokens: What it wrote.
        notes: The generator's notes on the request.
        stop_reason: Why the generation ended.
    """

    rule: Rule
    prompt: tuple[str, ...]
    tokens: tuple[GeneratedToken, ...]
    notes: tuple[str, ...]
    stop_reason: str

    def mean_surprise(self) -> float:
        """Return the model's mean surprise at the generated tokens, in bits per token; 0 if there are none."""
        bits = [-math.log2(token.model_probability) for token in self.tokens]
        return math.fsum(bits) / len(bits) if bits else 0.0

    def distinct_share(self) -> float:
        """Return the share of distinct pieces of `PIECE` tokens; 1 if nothing is repeated."""
        ids = [token.token_id for token in self.tokens]
        pieces = [tuple(ids[i : i + PIECE]) for i in range(len(ids) - PIECE + 1)]
        return len(set(pieces)) / len(pieces) if pieces else 1.0


def write(
    run: LanguageModel, rule: Rule, prompt: str, num_tokens: int, seed: int, cancelled: Callable[[], bool]
) -> Column:
    """Generate text with a rule; all rules get the same random numbers."""
    from minigpt.generation.generator import TextGenerator

    result = TextGenerator(run).generate(
        prompt, max_new_tokens=num_tokens, seed=seed, num_runners_up=4, cancelled=cancelled, **rule.settings()
    )
    pieces = tuple(run.tokenizer.token_pieces(result.prompt))  # an unknown character is shown as it was typed
    return Column(rule, pieces, result.tokens, result.notes, result.stop_reason)


@dataclass(frozen=True)
class NextToken:
    """The choice of one token.

    Attributes:
        bars: The likeliest candidates and the chosen one, by the model's own probability.
        segments: The tokens that the rule left, in order of ids, without those too narrow to see.
        u: The random number in [0, 1).
        bar: Index of the chosen token in `bars`.
        segment: Index of the chosen token in `segments`.
        num_left: How many tokens the rule left.
    """

    bars: tuple[TokenChance, ...]
    segments: tuple[TokenChance, ...]
    u: float
    bar: int
    segment: int
    num_left: int

    @property
    def chosen(self) -> TokenChance:
        """The token that the random number selected."""
        return self.bars[self.bar]


def choice_at(
    run: LanguageModel, rule: Rule, prompt: str, position: int, seed: int, cancelled: Callable[[], bool]
) -> NextToken:
    """Generate up to a token and return how it was chosen, with the distribution before and after the rule.

    Args:
        run: Model and tokenizer.
        rule: The rule.
        prompt: The text to continue.
        position: Which token, counted from 0; beyond the end of the text it is the last choice that was made.
        seed: Seed of the random numbers.
        cancelled: Called before each token; the work stops when it returns True.
    """
    import numpy as np

    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.recording import RecordingSampler
    from minigpt.generation.samplers import draw
    from minigpt.generation.settings import GenerationSettings
    from minigpt.randomness import uniform

    recording = RecordingSampler(GenerationSettings(**rule.settings()).resolve().sampler)
    stream = TextGenerator(run).stream(
        prompt, max_new_tokens=position + 1, sampler=recording, seed=seed, cancelled=cancelled
    )
    for _ in stream:
        pass
    before, after = recording.before.numpy(), recording.after.numpy()
    u = uniform(seed, 0, recording.count - 1)
    chosen = int(draw(recording.after.unsqueeze(0), [u]))
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
    )


def longest_bar(choices: Sequence[NextToken]) -> float:
    """Return the end of the axis of all bars; a rule that leaves one token does not count."""
    before = [bar.before for choice in choices for bar in choice.bars]
    after = [bar.after for choice in choices for bar in choice.bars if choice.num_left > 1]
    return max(before + after)


def first_difference(columns: Sequence[Column]) -> int | None:
    """Return the index of the first token that differs between the columns, None if all are the same."""
    texts = [[token.token_id for token in column.tokens] for column in columns]
    for position in range(max(map(len, texts), default=0)):
        if len({text[position] if position < len(text) else None for text in texts}) > 1:
            return position
    return None


def mark_of(columns: Sequence[Column], number: int) -> int | None:
    """Return the token of a column to frame: the first that differs between columns, None if the column is shorter."""
    part = first_difference(columns)
    return part if part is not None and part < len(columns[number].tokens) else None


def lengths(most: int) -> list[int]:
    """Return the choices for the number of tokens to write.

    Args:
        most: The server's limit.
    """
    return [length for length in LENGTHS if length <= most] or [LENGTHS[0]]


def text_of(column: Column) -> str:
    """Return the prompt of a column and what it wrote."""
    return "".join((*column.prompt, *(token.written for token in column.tokens)))


def verdict_on(column: Column, path: Path) -> Verdict:
    """Return what the referee of the run's text says about a column's text; nothing if its text has none.

    Args:
        column: The column; its prompt is judged with it, since its last item may begin there.
        path: The run's folder.
    """
    generator = RunFolder(path).generator
    if generator is None or generator.referee is None:
        return ()
    return generator.referee(text_of(column))


def figures(column: Column, verdict: Verdict = ()) -> str:
    """Return the figures under a column, with those of the referee."""
    result = [
        t("sampling.surprise", bits=f"{column.mean_surprise():.2f}"),
        t("sampling.distinct", share=probability(column.distinct_share())),
        *(
            t(
                "sampling.right",
                right=written_number(count.right),
                total=written_number(count.total),
                what=t(f"frame.item_{count.what}"),
            )
            for count in verdict
        ),
    ]
    return " · ".join(result) + (f"  \n{t('sampling.ended')}" if column.stop_reason == "eos" else "")


def choice_sentence(choice: NextToken) -> str:
    """Return which token the random number selected, and among how many."""
    token = quoted(choice.chosen.text)
    if choice.num_left == 1:
        return t("sampling.lands_one", token=token)
    return t("sampling.lands", u=f"{choice.u:.2f}", token=token, left=choice.num_left)


def bars_alt(column: Column, choice: NextToken, position: int) -> str:
    """Return a text alternative for the bars."""
    token, share = quoted(choice.chosen.text), probability(choice.chosen.after)
    return plain(t("sampling.bars_alt", name=column.rule.name(), number=position + 1, token=token, share=share))


def dice_alt(column: Column, choice: NextToken) -> str:
    """Return a text alternative for the cumulative bar."""
    token = quoted(choice.chosen.text)
    return plain(t("sampling.dice_alt", name=column.rule.name(), u=f"{choice.u:.2f}", token=token))


def choice_note(columns: Sequence[Column], position: int) -> str:
    """Return a note that says whether all columns have the same text before a position."""
    part = first_difference(columns)
    return t("sampling.choice_same") if part is None or position <= part else t("sampling.choice_own", number=part + 2)


def strip_tokens(column: Column) -> list[StripToken]:
    """Return a column's text for drawing, with the numbers in its tips."""
    return [
        StripToken(
            text=token.text,
            bits=-math.log2(token.model_probability),
            values=(
                probability(token.model_probability),
                probability(token.probability),
                f"{-math.log2(token.model_probability):.2f}",
                f"{token.u:.3f}",
            ),
            top=top_candidates(token.runners_up),
        )
        for token in column.tokens
    ]


def sentences(columns: Sequence[Column], choices: Sequence[NextToken], position: int) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    part = first_difference(columns)
    result = []
    if part is None:
        result.append(t("sampling.see_same", count=len(columns[0].tokens)))
    else:
        result.append(t("sampling.see_part", number=f"**{part + 1}**"))
    result.append(
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
        result.append(t("sampling.see_left", tight=few[1], few=few[0], wide=many[1], many=many[0]))
    dull = min(columns, key=lambda column: column.distinct_share())
    lively = max(columns, key=lambda column: column.distinct_share())
    if dull.distinct_share() < lively.distinct_share():
        result.append(
            t(
                "sampling.see_distinct",
                dull=dull.rule.name(),
                low=f"**{probability(dull.distinct_share())}**",
                lively=lively.rule.name(),
                high=f"**{probability(lively.distinct_share())}**",
                piece=PIECE,
            )
        )
    return result
