"""What the rules of the columns write, how a token was chosen, and what is measured on the texts.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.app.sampling.side_rules import Rule
from minigpt.runs.folder import RunFolder
from minigpt.viz.distribution import TokenChance
from minigpt.viz.labels import visible_token

if TYPE_CHECKING:
    from minigpt.app.session.compute import Task
    from minigpt.generation.recording import RecordingSampler
    from minigpt.generation.results import GeneratedToken
    from minigpt.model.protocols import LanguageModel


NUM_BARS = 10
"""Candidates drawn as bars."""

PIECE = 4
"""Tokens in the pieces whose repetition is counted."""

PAIR = 2
"""Tokens in the pieces of "distinct-2"."""

SHORTEST = 16
"""Characters of the shortest span that counts as copied; shorter ones are words."""

FRONT = 4
"""Tokens of each text that are shown first, before more of any: so all columns begin together."""

NUM_SEEDS = 12
"""Texts of each column in the summary of many draws."""


@dataclass(frozen=True)
class Column:
    """What one rule wrote.

    Attributes:
        rule: The rule.
        prompt: The prompt's tokens.
        tokens: What it wrote.
        notes: The generator's notes on the request.
        stop_reason: Why the generation ended.
        entropy: Mean entropy of the model's distribution at the generated tokens, in bits.
        entropy_left: Mean entropy of what the rule left, in bits.
        speed: Its tokens per second, while all columns were written together.
    """

    rule: Rule
    prompt: tuple[str, ...]
    tokens: tuple[GeneratedToken, ...]
    notes: tuple[str, ...]
    stop_reason: str
    entropy: float = 0.0
    entropy_left: float = 0.0
    speed: float = 0.0

    def mean_surprise(self) -> float:
        """Return the model's mean surprise at the generated tokens, in bits per token; 0 if there are none."""
        return mean_surprise(self.tokens)

    def distinct_share(self, length: int = PIECE) -> float:
        """Return the share of different pieces of `length` tokens; 1 if nothing is repeated."""
        return distinct_share(self.tokens, length)


def mean_surprise(tokens: Sequence[GeneratedToken]) -> float:
    """Return the model's mean surprise at tokens, in bits per token; 0 if there are none."""
    bits = [-math.log2(token.model_probability) for token in tokens]
    return math.fsum(bits) / len(bits) if bits else 0.0


def distinct_share(tokens: Sequence[GeneratedToken], length: int) -> float:
    """Return distinct-n of Li et al. 2016 (arXiv:1510.03055): the different pieces of a text by all of them.

    1 minus this is the repetition seq-rep-n of Welleck et al. 2019 (arXiv:1908.04319).

    Args:
        tokens: The text.
        length: Tokens in a piece.
    """
    ids = [token.token_id for token in tokens]
    pieces = [tuple(ids[i : i + length]) for i in range(len(ids) - length + 1)]
    return len(set(pieces)) / len(pieces) if pieces else 1.0


@dataclass
class Growing:
    """Columns while they are written; the writer appends, and the page reads what is there.

    Attributes:
        prompt: The prompt's tokens.
        tokens: For each column what it wrote so far.
    """

    prompt: tuple[str, ...]
    tokens: list[list[GeneratedToken]]

    def texts(self, most: int | None) -> list[str]:
        """Return the text of each column with its prompt, spaces and newlines visible.

        Args:
            most: Tokens of each column at most.
        """
        before = _shown(self.prompt)
        return [before + _shown([token.text for token in column[:most]]) for column in self.tokens]


def _shown(tokens: Sequence[str]) -> str:
    return "".join(visible_token(token) + "\n" * token.endswith("\n") for token in tokens)


def write(
    run: LanguageModel, rules: Sequence[Rule], prompt: str, num_tokens: int, seed: int, task: Task
) -> tuple[Column, ...]:
    """Write one text for each rule, all of them together and with the same random numbers.

    Args:
        run: Model and tokenizer.
        rules: The rules of the columns.
        prompt: The text to continue.
        num_tokens: How many tokens each writes.
        seed: Seed of the random numbers.
        task: Is told what is written so far, as `Growing`.
    """
    import time

    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.recording import EntropyMeter
    from minigpt.generation.settings import GenerationSettings

    samplers = [rule.sampler() for rule in rules]
    meters = [EntropyMeter(sampler) for sampler in samplers]
    settings = [
        GenerationSettings(sampler=meter, max_new_tokens=num_tokens, seed=seed, num_runners_up=4) for meter in meters
    ]
    start = time.perf_counter()
    stream = TextGenerator(run).stream_batch([prompt] * len(rules), settings, cancelled=task)
    pieces = tuple(run.tokenizer.token_pieces(stream.prompts[0]))  # an unknown character is shown as it was typed
    growing = Growing(pieces, [[] for _ in rules])
    task.report(growing)
    ended = [start] * len(rules)
    for place, token in stream:
        growing.tokens[place].append(token)
        ended[place] = time.perf_counter()
    return tuple(
        Column(
            rule=rule,
            prompt=pieces,
            tokens=tuple(growing.tokens[place]),
            notes=(*GenerationSettings(sampler=samplers[place]).resolve().notes, *stream.notes[place]),
            stop_reason=stream.stop_reasons[place] or "length",
            entropy=_mean(meters[place].before),
            entropy_left=_mean(meters[place].after),
            speed=len(growing.tokens[place]) / max(ended[place] - start, 1e-9),
        )
        for place, rule in enumerate(rules)
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def has_learned_text(path: Path) -> bool:
    """Return whether the text that a run learned from is on this machine; a slow look the first time.

    Args:
        path: The run's folder.
    """
    from minigpt.errors import MinigptError
    from minigpt.runs.text import learned_text

    try:
        return bool(learned_text(RunFolder(path)).train)
    except MinigptError:
        return False


def copied_shares(path: Path, texts: Sequence[str], task: Task) -> tuple[float, ...]:
    """Return which share of each text stands in spans of `SHORTEST` characters or more in the training text.

    Args:
        path: The run's folder; its text is on this machine.
        texts: What was written, without the prompt.
        task: Stops the work.
    """
    from minigpt.evaluation.copying import SharedSpan, copied_share, shared_spans
    from minigpt.runs.text import learned_text

    # one search for all of them, since most of its time is the long text's
    found = shared_spans("\0".join(texts), learned_text(RunFolder(path)).train, SHORTEST, cancelled=task)
    shares, begin = [], 0
    for text in texts:
        end = begin + len(text)
        parts = ((max(span.start, begin), min(span.end, end), span.place) for span in found)
        own = [SharedSpan(low - begin, high - low, place) for low, high, place in parts if low < high]
        shares.append(copied_share(own, len(text), shortest=SHORTEST))
        begin = end + 1
    return tuple(shares)


MEASURES = ("surprise", "distinct", "repeated")
"""What the summary of many draws shows."""


def many_seeds(
    run: LanguageModel, rules: Sequence[Rule], prompt: str, num_tokens: int, seed: int, task: Task
) -> dict[str, list[list[float]]]:
    """Write `NUM_SEEDS` texts for each rule, all in one batch, and return their figures.

    The first text of each rule is the one of its column; text i of every rule has the same random numbers.

    Returns:
        For each of `MEASURES` and each rule the figure of each text.
    """
    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.settings import GenerationSettings

    samplers = [rule.sampler() for rule in rules]
    settings = [
        GenerationSettings(sampler=sampler, max_new_tokens=num_tokens, seed=seed, row=row)
        for sampler in samplers
        for row in range(NUM_SEEDS)
    ]
    found = TextGenerator(run).generate_batch([prompt] * len(settings), settings, cancelled=task)
    columns = [found[first : first + NUM_SEEDS] for first in range(0, len(found), NUM_SEEDS)]
    return {
        "surprise": [[mean_surprise(text.tokens) for text in column] for column in columns],
        "distinct": [[distinct_share(text.tokens, PAIR) for text in column] for column in columns],
        "repeated": [[1 - distinct_share(text.tokens, PIECE) for text in column] for column in columns],
    }


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


def choices_at(
    run: LanguageModel, rules: Sequence[Rule], prompt: str, position: int, seed: int, cancelled: Callable[[], bool]
) -> tuple[NextToken, ...]:
    """Write all columns up to a token and return how it was chosen, with the distribution before and after each rule.

    Args:
        run: Model and tokenizer.
        rules: The rules of the columns.
        prompt: The text to continue.
        position: Which token, counted from 0; beyond the end of a text it is the last choice that was made.
        seed: Seed of the random numbers.
        cancelled: Called before each token; the work stops when it returns True.
    """
    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.recording import RecordingSampler
    from minigpt.generation.settings import GenerationSettings

    recordings = [RecordingSampler(rule.sampler()) for rule in rules]
    settings = [
        GenerationSettings(sampler=recording, max_new_tokens=position + 1, seed=seed) for recording in recordings
    ]
    for _ in TextGenerator(run).stream_batch([prompt] * len(rules), settings, cancelled=cancelled):
        pass
    return tuple(_choice(run, recording, seed) for recording in recordings)


def _choice(run: LanguageModel, recording: RecordingSampler, seed: int) -> NextToken:
    """Return the latest choice that a sampler has recorded."""
    import numpy as np

    from minigpt.generation.samplers import draw
    from minigpt.randomness import uniform

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


def first_difference(columns: Sequence[Column]) -> int | None:
    """Return the index of the first token that differs between the columns, None if all are the same."""
    texts = [[token.token_id for token in column.tokens] for column in columns]
    for position in range(max(map(len, texts), default=0)):
        if len({text[position] if position < len(text) else None for text in texts}) > 1:
            return position
    return None


def text_of(column: Column) -> str:
    """Return the prompt of a column and what it wrote."""
    return "".join((*column.prompt, written_text(column)))


def written_text(column: Column) -> str:
    """Return what a column wrote, without the prompt."""
    return "".join(token.written for token in column.tokens)
