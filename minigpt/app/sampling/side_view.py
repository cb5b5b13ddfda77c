"""What the columns side by side show, as plain data and sentences; `side` only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from minigpt.app.components.token_strip import StripToken, top_candidates
from minigpt.app.sampling import pipeline_view
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.sampling.pipeline_view import NO_RULE, Range
from minigpt.app.texts import number as written_number
from minigpt.app.texts import plain, probability, quoted, t
from minigpt.runs.folder import RunFolder
from minigpt.viz.distribution import TokenChance
from minigpt.viz.labels import visible_token

if TYPE_CHECKING:
    from minigpt.app.session.compute import Task
    from minigpt.data.generators import Verdict
    from minigpt.generation.recording import RecordingSampler
    from minigpt.generation.results import GeneratedToken
    from minigpt.generation.samplers import Sampler
    from minigpt.model.protocols import LanguageModel

LENGTHS = (40, 80, 120, 240, 480)
"""Choices for the number of tokens to write."""

USUAL_LENGTH = 120

COLUMNS = (2, 3, 4, 5, 6)
"""Choices for the number of columns."""

USUAL_COLUMNS = 4

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

RANGES = {
    "temperature": Range(0.0, 2.0, 0.05, 1.0),
    "top_k": Range(1, 40, 1, 5),
    "top_p": Range(0.05, 1.0, 0.05, 0.8),
    "min_p": Range(0.0, 1.0, 0.05, 0.1),
}
"""The sliders of the simple rules."""

RULES = ("greedy", *RANGES)
"""The simple rules: they have one number at most."""

PIPELINE = "pipeline"
"""Stands for several rules in order."""

DEFAULT_RULES = ("greedy", "temperature", "top_k", "top_p", "min_p", PIPELINE)
"""What each column has at first; fewer columns take the first ones."""

FIRST_PIPELINE = "repetition_penalty=1.2:64,temperature=0.8,top_p=0.9"

BASE_RANGE = Range(0.0, 2.0, 0.05, 1.0)
"""The temperature applied before the other simple rules."""

FIRST_SEED = 9

PRESETS = {
    "classic": ("greedy", "temperature=1", "top_k=5", "top_p=0.8"),
    "temperatures": ("temperature=0.4", "temperature=0.8", "temperature=1", "temperature=1.5"),
    "cuts": ("top_k=5", "top_k=20", "top_p=0.8", "min_p=0.1"),
    "penalties": (
        "greedy",
        "repetition_penalty=1.3:64,temperature=0",
        "frequency_penalty=0.3:64,temperature=0",
        "dry=0.8:1.75:4,temperature=0",
    ),
    "playful": (
        "temperature=0.7",
        "temperature=0.7,alliteration",
        "temperature=0.7,syllables=5:7:5",
        "temperature=0.7,rhyme=day",
    ),
    "careful": ("greedy", "temperature=0.3", "typical=0.5", "mirostat=1:0.1"),
}
"""Comparisons to begin with: the pipelines of the columns."""

OWN = "own"
"""Stands for columns that are no preset."""


@dataclass(frozen=True)
class Rule:
    """How a column chooses its tokens.

    Attributes:
        spec: The pipeline's text, as `parse_sampler` reads it.
        own: The file of the rules of one's own that it names.
    """

    spec: str
    own: RuleFile = NO_FILE

    @classmethod
    def of(cls, kind: str, value: float | None = None, temperature: float = 1.0) -> Rule:
        """Return a simple rule.

        Args:
            kind: One of `RULES`.
            value: Its number; greedy has none.
            temperature: Applied before it, unless it is greedy or a temperature itself; 1 changes nothing.
        """
        if kind == "greedy" or value is None:
            return cls("greedy")
        before = "" if temperature == 1 or kind == "temperature" else f"temperature={temperature:g},"
        return cls(f"{before}{kind}={value:g}")

    def sampler(self) -> Sampler:
        """Return the rule as a sampler."""
        from minigpt.generation.samplers import SamplerChain

        return SamplerChain([]) if self.spec == NO_RULE else pipeline_view.sampler(self.spec, self.own.rules)

    def name(self) -> str:
        """Return the rule's name for sentences."""
        return pipeline_view.name(self.spec)


def simple(spec: str) -> tuple[str, float | None]:
    """Return a pipeline as a simple rule with its number, or `PIPELINE` if it is none that a slider can show.

    >>> simple("top_k=5"), simple("greedy"), simple("top_k=5,top_p=0.5"), simple("top_k=99")
    (('top_k', 5.0), ('greedy', None), ('pipeline', None), ('pipeline', None))
    """
    if spec == "greedy":
        return spec, None
    stages = pipeline_view.read(spec)
    if (
        len(stages) == 1
        and stages[0].kind in RANGES
        and (value := float(stages[0].values[0])) in RANGES[stages[0].kind]
    ):
        return stages[0].kind, value
    return PIPELINE, None


def controls_of(specs: Sequence[str]) -> dict[str, Any]:
    """Return the controls that show these pipelines, without those of a pipeline's editor: see `pipeline.put`.

    >>> controls_of(("greedy", "top_k=5", "min_p=0.1,top_k=3"))
    {'columns': 3, 'rule_0': 'greedy', 'rule_1': 'top_k', 'top_k_1': 5, 'rule_2': 'pipeline'}
    """
    result: dict[str, Any] = {"columns": len(specs)}
    for place, spec in enumerate(specs):
        kind, value = simple(spec)
        result[f"rule_{place}"] = kind
        if value is not None:
            result[f"{kind}_{place}"] = type(RANGES[kind].start)(value)
    return result


def preset_of(specs: Sequence[str]) -> str:
    """Return the preset that these pipelines are, `OWN` if they are none."""
    return next((name for name, preset in PRESETS.items() if preset == tuple(specs)), OWN)


def starts(most: int) -> dict[str, Any]:
    """Return the controls of the page by name, each with the value it has until the visitor chooses another one.

    Args:
        most: As in `lengths`.
    """
    length = min(lengths(most), key=lambda n: abs(n - USUAL_LENGTH))
    result: dict[str, Any] = {"seed": str(FIRST_SEED), "length": length, "warmth": BASE_RANGE.start}
    result |= {"columns": USUAL_COLUMNS, "seeds": False}
    for number, rule in enumerate(DEFAULT_RULES):
        result |= {f"rule_{number}": rule, f"pipeline_{number}": FIRST_PIPELINE}
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


def fingerprint(columns: Sequence[Column]) -> str:
    """Return a short text that differs if the texts of the columns do."""
    import hashlib

    texts = [(column.prompt, [token.token_id for token in column.tokens]) for column in columns]
    return hashlib.blake2b(repr(texts).encode(), digest_size=8).hexdigest()


def lengths(most: int) -> list[int]:
    """Return the choices for the number of tokens to write.

    Args:
        most: The server's limit.
    """
    return [length for length in LENGTHS if length <= most] or [LENGTHS[0]]


def text_of(column: Column) -> str:
    """Return the prompt of a column and what it wrote."""
    return "".join((*column.prompt, written_text(column)))


def written_text(column: Column) -> str:
    """Return what a column wrote, without the prompt."""
    return "".join(token.written for token in column.tokens)


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


def figures(column: Column, verdict: Verdict = (), copied: float | None = None) -> str:
    """Return the figures under a column.

    Args:
        column: The column.
        verdict: What the referee of the run's text says.
        copied: The share of its text that also stands in the training text; None: not known.
    """
    result = [
        t("sampling.surprise", bits=f"{column.mean_surprise():.2f}"),
        t("sampling.entropy", bits=f"{column.entropy:.2f}", left=f"{column.entropy_left:.2f}"),
        t("sampling.distinct", share=probability(column.distinct_share(PAIR)), length=PAIR),
        t("sampling.repeated", share=probability(1 - column.distinct_share()), length=PIECE),
        *([] if copied is None else [t("sampling.copied", share=probability(copied))]),
        t("sampling.speed", rate=written_number(round(column.speed))),
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
    if column.stop_reason == "eos":
        result.append(t("sampling.ended"))
    return "  \n".join(result)  # one figure a line, so that those of all columns stand side by side


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


def seeds_sentence(found: dict[str, list[list[float]]], rules: Sequence[Rule]) -> str:
    """Return what the summary of many draws says: the rule that repeats least and the one that repeats most."""
    repeated = [median(column) for column in found["repeated"]]
    low, high = min(repeated), max(repeated)
    if low == high:
        return t("sampling.seeds_same", count=NUM_SEEDS, share=probability(low))
    return t(
        "sampling.seeds_sentence",
        count=NUM_SEEDS,
        least=rules[repeated.index(low)].name(),
        low=probability(low),
        most=rules[repeated.index(high)].name(),
        high=probability(high),
    )


def seeds_alt(values: Sequence[Sequence[float]], names: Sequence[str], title: str) -> str:
    """Return a text alternative for one figure of many draws: the median of each rule."""
    medians = "; ".join(f"{name}: {median(column):.2f}" for name, column in zip(names, values, strict=True))
    return plain(t("sampling.seeds_alt", title=title, count=NUM_SEEDS, medians=medians))


def command_line(run_id: str, rule: Rule, prompt: str, length: int, seed: int) -> str:
    """Return the command that writes a column's text."""
    options = {"prompt": prompt, "sampler": rule.spec, "max-new-tokens": length, "seed": seed}
    if rule.own.path:
        options["sampler-file"] = rule.own.path
    return shlex.join(["minigpt", "generate", run_id, *(f"--{name}={value}" for name, value in options.items())])


def python_lines(run_id: str, rule: Rule, prompt: str, length: int, seed: int) -> str:
    """Return the lines of Python that write a column's text."""
    own = rule.own.path
    needed = "from minigpt.generation.own_rules import load_rules\n" if own else ""
    sampler = f"parse_sampler({rule.spec!r}, load_rules({own!r}))" if own else f"parse_sampler({rule.spec!r})"
    return (
        "from minigpt import TextGenerator, load_run\n"
        f"from minigpt.generation import parse_sampler\n{needed}\n"
        f"generator = TextGenerator(load_run({run_id!r}))\n"
        f"result = generator.generate({prompt!r}, sampler={sampler}, "
        f"max_new_tokens={length}, seed={seed})\n"
        "print(result.text)"
    )


def export(columns: Sequence[Column], run_id: str, prompt: str, length: int, seed: int) -> str:
    """Return all columns as one text: what each rule wrote, its figures, and the command that writes it again."""
    return "\n".join(_exported(columns, run_id, prompt, length, seed))


def _exported(columns: Sequence[Column], run_id: str, prompt: str, length: int, seed: int) -> Iterator[str]:
    yield t("sampling.export_head", run=run_id, seed=seed, count=length)
    part = first_difference(columns)
    if part is None:
        yield t("sampling.see_same", count=len(columns[0].tokens))
    else:
        yield t("sampling.see_part", number=part + 1)
    for place, column in enumerate(columns):
        yield f"\n=== {place + 1}. {column.rule.name()} ==="
        yield command_line(run_id, column.rule, prompt, length, seed)
        yield plain(figures(column)).replace("\xa0", " ")
        yield f"\n{text_of(column)}"
