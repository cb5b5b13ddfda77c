"""A pipeline of sampling rules as its text and as stages with sliders; `pipeline` only draws it.

The text is the one that `minigpt.generation.settings.parse_sampler` reads, such as `top_k=40,temperature=0.8`. It is
split here without the rules themselves, so that a page need not wait for torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minigpt.app.texts import t
from minigpt.errors import MinigptError, SamplingError
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.generation.samplers import Sampler
    from minigpt.tokenizers.base import BaseTokenizer

NO_RULE = "temperature=1"
"""The pipeline that leaves the model's own distribution as it is."""

MOST_CHARS = 300
"""Longest text of a pipeline."""

MOST_STAGES = 8

LARGEST = 1_000_000
"""Largest number that a pipeline's text may hold; a token's id is below it."""


@dataclass(frozen=True)
class Range:
    """A slider: lowest, highest, step, and where it starts."""

    low: float
    high: float
    step: float
    start: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def around(self, value: float) -> Range:
        """Return the range with a value of its own inside; whole numbers stay whole."""
        low, high, step = min(self.low, value), max(self.high, value), self.step
        is_whole = all(float(number).is_integer() for number in (low, high, step, value))
        kind = int if is_whole else float
        return Range(kind(low), kind(high), kind(step), kind(value))


WINDOW = Range(1, 256, 1, 64)
SYLLABLES = Range(1, 12, 1, 5)
SETTINGS: dict[str, tuple[Range, ...]] = {
    "temperature": (Range(0.0, 2.0, 0.05, 0.8),),
    "top_k": (Range(1, 40, 1, 5),),
    "top_p": (Range(0.05, 1.0, 0.05, 0.8),),
    "min_p": (Range(0.0, 1.0, 0.05, 0.1),),
    "typical": (Range(0.05, 1.0, 0.05, 0.8),),
    "top_n_sigma": (Range(0.0, 4.0, 0.1, 1.0),),
    "mirostat": (Range(0.1, 6.0, 0.1, 2.0), Range(0.05, 1.0, 0.05, 0.1)),
    "repetition_penalty": (Range(1.0, 2.0, 0.05, 1.2), WINDOW),
    "frequency_penalty": (Range(-1.0, 2.0, 0.05, 0.3), WINDOW),
    "presence_penalty": (Range(-1.0, 2.0, 0.05, 0.5), WINDOW),
    "dry": (Range(0.0, 2.0, 0.1, 0.8), Range(1.0, 3.0, 0.05, 1.75), Range(1, 16, 1, 4)),
    "bias": (Range(-10.0, 10.0, 0.5, -3.0),),
    "ban": (),
    "only": (),
    "no_repeated_letter": (),
    "alliteration": (),
    "syllables": (SYLLABLES, replace(SYLLABLES, start=7), SYLLABLES),
    "corpus_words": (),
    "rhyme": (),
}
"""The rules of a pipeline, each with the sliders of its numbers."""

NAMED = ("bias", "ban", "only")
"""Rules that name tokens; their ids stand before their numbers."""

WORDED = {"alliteration": 1, "rhyme": 40}
"""Rules that take a word, with its most characters."""

OPTIONAL = ("no_repeated_letter", "alliteration", "syllables", "corpus_words")
"""Rules that stand alone, without a value."""

FIRST_WORD = "day"
"""The word to rhyme with until the visitor types another one."""


@dataclass(frozen=True)
class Stage:
    """One rule of a pipeline.

    Attributes:
        kind: Its name in the text.
        values: The numbers behind its name, as they are written.
    """

    kind: str
    values: tuple[str, ...]

    @property
    def num_ids(self) -> int:
        """How many of the values are ids of tokens."""
        if self.kind not in NAMED:
            return 0
        return min(1, len(self.values)) if self.kind == "bias" else len(self.values)

    @property
    def ids(self) -> list[int]:
        """The ids of the tokens that it names."""
        return [int(value) for value in self.values[: self.num_ids]]

    @property
    def is_complete(self) -> bool:
        """Whether it names its tokens, if it is a rule that does."""
        return self.kind not in NAMED or self.num_ids > 0

    def with_ids(self, ids: Sequence[int]) -> Stage:
        """Return the rule with other tokens; without one, it is not complete."""
        numbers = self.values[self.num_ids :] or tuple(_written(span.start) for span in SETTINGS[self.kind])
        return replace(self, values=(*map(str, ids), *numbers) if ids else ())

    def settings(self) -> list[tuple[int, Range]]:
        """Return the place of each number that has a slider, with a range that holds it."""
        spans = SETTINGS.get(self.kind, ())
        places = range(self.num_ids, min(len(self.values), self.num_ids + len(spans)))
        return [(place, span.around(float(self.values[place]))) for place, span in zip(places, spans, strict=False)]

    def moved(self, place: int, value: float) -> Stage:
        """Return the rule with another number; one that is equal to the old number stays as it was written."""
        if float(self.values[place]) == value:
            return self
        return replace(self, values=(*self.values[:place], _written(value), *self.values[place + 1 :]))

    def name(self) -> str:
        """Return the rule in a few words, with its most important number."""
        if not self.is_complete:
            return t(f"sampling.stage_{self.kind}").lower()
        if self.kind not in SETTINGS and self.kind != "greedy":
            return own_name(self)
        if not self.values and self.kind in OPTIONAL:
            return t(f"sampling.stage_{self.kind}").lower()
        if self.kind == "syllables":
            return t("sampling.name_syllables", value="-".join(self.values))
        value = self.values[-1] if self.kind == "bias" else self.values[0] if self.values else ""
        return t(f"sampling.name_{self.kind}", value=value, count=self.num_ids)


def _written(value: float) -> str:
    return f"{value:.10g}"


def own_name(stage: Stage) -> str:
    """Return a rule of one's own in a few words; a value that is more than letters or a number stays out.

    >>> own_name(Stage("no_letter", ("e",))), own_name(Stage("no_letter", ("*",)))
    ('no letter e', 'no letter')
    """
    values = [value for value in stage.values if value.lstrip("-").replace(".", "").isalnum()]
    return " ".join((stage.kind.replace("_", " "), *values))


def new_stage(kind: str) -> Stage:
    """Return a rule as it is when a visitor adds it; one that names tokens names none yet."""
    if kind == "rhyme":
        return Stage(kind, (FIRST_WORD,))
    return Stage(kind, () if kind in NAMED else tuple(_written(span.start) for span in SETTINGS.get(kind, ())))


def read(spec: str) -> tuple[Stage, ...]:
    """Split the text of a pipeline into its stages; an empty text has none.

    >>> [stage.kind for stage in read("top_k=40, dry=0.8:1.75:2")], read("dry=0.8:1.75:2")[0].values
    (['top_k', 'dry'], ('0.8', '1.75', '2'))
    """
    stages = []
    for part in spec.split(","):
        kind, _, text = (piece.strip() for piece in part.partition("="))
        if kind:
            stages.append(Stage(kind, tuple(value.strip() for value in text.split(":")) if text else ()))
    return tuple(stages)


def written(stages: Sequence[Stage]) -> str:
    """Return stages as text; a rule that still names no token stands there without numbers.

    >>> written(read("top_k=40, temperature=0.8"))
    'top_k=40,temperature=0.8'
    """
    return ",".join(f"{stage.kind}={':'.join(stage.values)}" if stage.values else stage.kind for stage in stages)


def usable(spec: str) -> str:
    """Return the text of a pipeline for `parse_sampler`: without rules that name no token yet.

    >>> usable(""), usable("greedy"), usable("ban,top_k=3")
    ('temperature=1', 'greedy', 'top_k=3')
    """
    return written([stage for stage in read(spec) if stage.is_complete]) or NO_RULE


def unknown(spec: str) -> set[str]:
    """Return the names in a pipeline that may be those of rules of one's own.

    >>> sorted(unknown("no_letter=e,top_k=3,greedy,**b**"))
    ['no_letter']
    """
    return {stage.kind for stage in read(spec) if stage.kind.isidentifier()} - {*SETTINGS, "greedy"}


def fault(spec: str, own: Collection[str] = ()) -> str | None:
    """Return what is wrong with the text of a pipeline in one sentence, None if it can be read.

    The bounds of a rule's numbers are checked by the rule itself, see `refusal`.

    Args:
        spec: The text.
        own: Names of rules of one's own; they check their values themselves.
    """
    stages = read(spec)
    if len(spec) > MOST_CHARS or len(stages) > MOST_STAGES:
        return t("sampling.fault_long", most=MOST_STAGES)
    for stage in stages:
        if stage.kind == "greedy" and not stage.values and len(stages) == 1:
            continue
        if stage.kind in own:
            continue
        if stage.kind not in SETTINGS:
            return t("sampling.fault_kind", given=quoted(stage.kind), kinds=", ".join((*SETTINGS, *own)))
        if stage.kind in WORDED:
            words = [value for value in stage.values if value.isalpha() and len(value) <= WORDED[stage.kind]]
            if len(words) != len(stage.values) or len(words) > 1 or not (words or stage.kind in OPTIONAL):
                return t("sampling.fault_word", given=quoted(written([stage])))
            continue
        numbers = [_number(value) for value in stage.values]
        least = 1 if SETTINGS[stage.kind] and stage.kind not in OPTIONAL else 0
        if None in numbers or (stage.kind not in NAMED and len(numbers) < least):
            return t("sampling.fault_number", given=quoted(written([stage])), most=f"{LARGEST:,}")
        if any(not value.isascii() or not value.isdigit() for value in stage.values[: stage.num_ids]):
            return t("sampling.fault_number", given=quoted(written([stage])), most=f"{LARGEST:,}")
    return None


def _number(text: str) -> float | None:
    """Return the number that a text stands for, None if it stands for none or for one that is too large."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None


def sampler(spec: str, own: Mapping[str, Callable[..., Sampler]]) -> Sampler:
    """Return the sampler that a pipeline stands for. It imports torch.

    Args:
        spec: The pipeline's text, as `usable` returns it.
        own: Rules of one's own by name.

    Raises:
        SamplingError: A rule refuses its values, or is not there: its file may have changed since it was chosen.
    """
    from minigpt.generation.settings import parse_sampler

    if gone := unknown(spec) - own.keys():
        raise SamplingError(t("sampling.rule_gone", given=quoted(min(gone))), mend=t("sampling.rule_gone_mend"))
    return parse_sampler(spec, own)


def refusal(spec: str, own: Mapping[str, Callable[..., Sampler]] | None = None) -> str | None:
    """Return what is wrong with a pipeline in one sentence, None if the rules take it. It imports torch."""
    if sentence := fault(spec, own or ()):
        return sentence
    try:
        sampler(usable(spec), own or {})
    except MinigptError as error:
        return error.problem
    return None


def name(spec: str) -> str:
    """Return a pipeline in a few words.

    >>> name("temperature=0.8,top_k=5")
    'temperature 0.8, top-k 5'
    """
    return ", ".join(stage.name() for stage in read(spec) or read(NO_RULE))


def ids_of(tokenizer: BaseTokenizer, text: str) -> tuple[list[int], str]:
    """Return the tokens that a text names, each once, and the characters of it that the model does not know."""
    unknown = "".join(tokenizer.unknown_characters(text))
    known = "".join(character for character in text if character not in unknown)
    return list(dict.fromkeys(tokenizer.encode(known))), unknown


def text_of(tokenizer: BaseTokenizer, ids: Sequence[int]) -> str:
    """Return the tokens that a rule names as a text; ids beyond the vocabulary are left out."""
    return tokenizer.decode([i for i in ids if i < tokenizer.vocab_size])
