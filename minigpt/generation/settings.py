"""Settings of generation: every option of writing text, defined once, and the sampler that the options select.

Reads after: samplers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from minigpt.arguments import check_count, is_whole
from minigpt.config import GenerationConfig
from minigpt.errors import InputError, SamplingError
from minigpt.generation.constraints import AllowedTokens, BannedTokens, LogitBias
from minigpt.generation.penalties import DRYPenalty, FrequencyPenalty, PresencePenalty, RepetitionPenalty
from minigpt.generation.playful import Alliteration, NoRepeatedLetter, OnlyWords, Rhyme, SyllableLines
from minigpt.generation.samplers import GreedySampler, Sampler, SamplerChain, TemperatureSampler
from minigpt.generation.truncation import (
    MinPSampler,
    MirostatSampler,
    TopKSampler,
    TopNSigmaSampler,
    TopPSampler,
    TypicalSampler,
)
from minigpt.wording import quoted

MAX_NEW_TOKENS = 1_000_000
"""Upper bound of `max_new_tokens`, the same as in the configuration."""

RULES: dict[str, Callable[..., Sampler]] = {
    "temperature": TemperatureSampler,
    "top_k": TopKSampler,
    "top_p": TopPSampler,
    "min_p": MinPSampler,
    "typical": TypicalSampler,
    "top_n_sigma": TopNSigmaSampler,
    "mirostat": MirostatSampler,
    "repetition_penalty": RepetitionPenalty,
    "frequency_penalty": FrequencyPenalty,
    "presence_penalty": PresencePenalty,
    "dry": DRYPenalty,
    "bias": lambda token_id, nats: LogitBias({token_id: nats}),
    "ban": lambda first, *more: BannedTokens((first, *more)),
    "only": lambda first, *more: AllowedTokens((first, *more)),
    "no_repeated_letter": NoRepeatedLetter,
    "alliteration": Alliteration,
    "syllables": SyllableLines,
    "corpus_words": lambda: OnlyWords(),
    "rhyme": Rhyme,
}
"""The rules that a text can name, with what makes each from its values."""

_WORDED = ("alliteration", "rhyme")
"""Rules whose values are words and not numbers."""


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How a text is written. The values are checked when the settings are made.

    Attributes:
        max_new_tokens: Largest number of tokens to write.
        sampler: How to choose each token; overrides the four settings that follow, see `resolve_sampler`.
        temperature: Below 1 favours likely tokens, above 1 evens the probabilities out, 0 is greedy.
        top_k: Keep the k most likely tokens.
        top_p: Keep the fewest tokens that together have at least this probability.
        min_p: Keep the tokens that are at least this fraction as likely as the most likely one.
        stop: One text or several; the first that appears ends the writing and is left out of the result. Text that
            may still turn into a stop text is held back.
        seed: Seed of the random numbers.
        row: Selects an independent sequence of random numbers for the same seed, for several samples.
        use_cache: Whether keys and values of earlier positions are kept. False recomputes every position for each
            token; the result is the same.
        num_runners_up: Number of other candidates to report with each token; 0 is fastest.

    Raises:
        SamplingError: A sampling setting is out of range.
        InputError: `max_new_tokens` is out of range.
    """

    max_new_tokens: int = 200
    sampler: Sampler | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    stop: str | Sequence[str] = ()
    seed: int = 0
    row: int = 0
    use_cache: bool = True
    num_runners_up: int = 0

    def __post_init__(self) -> None:
        check_count("num_runners_up", self.num_runners_up, least=0)
        if not is_whole(self.max_new_tokens) or not 0 <= self.max_new_tokens <= MAX_NEW_TOKENS:
            raise InputError(
                f"max_new_tokens is {self.max_new_tokens}; it must be a whole number from 0 to {MAX_NEW_TOKENS:,}.",
                mend="Ask for fewer, and continue from what was written."
                if self.max_new_tokens > 0
                else "Set it to 0 or more.",
            )
        if not all(self.stop_texts):
            raise SamplingError("A stop text is empty.", mend="Leave it out, or give at least one character.")
        self.resolve()  # refuses impossible sampling settings

    @classmethod
    def from_config(cls, config: GenerationConfig, *, own: OwnRules | None = None, **options: Any) -> Self:
        """Return the settings of a configuration's `generation` section.

        Args:
            config: The section.
            own: Rules of one's own that its `sampler` may name, see `parse_sampler`.
            **options: Further fields of `GenerationSettings`; they override the section.

        Raises:
            SamplingError: A setting is out of range, or the sampler names a rule that there is not.
        """
        values = {**dict(config), **options}
        if isinstance(values["sampler"], str):
            values["sampler"] = parse_sampler(values["sampler"], own)
        return cls(**values)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The stop texts as a tuple, also where `stop` is a single text."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def resolve(self) -> ResolvedSampler:
        """Return the sampler that these settings select; see `resolve_sampler`."""
        return resolve_sampler(
            self.sampler, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p
        )


@dataclass(frozen=True)
class ResolvedSampler:
    """The sampler that a set of settings selects.

    Attributes:
        sampler: The sampler.
        notes: Which settings had no effect and why, one sentence each.
    """

    sampler: Sampler
    notes: tuple[str, ...] = ()


def resolve_sampler(
    sampler: Sampler | None = None,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> ResolvedSampler:
    """Decide which settings count: an explicit sampler, else top-k / top-p / min-p, else temperature, else greedy.

    The truncating settings work together, in this order, after the temperature if one is given.

    Args:
        sampler: Overrides every other setting.
        temperature: 0 is greedy.
        top_k: Keep the k most likely tokens.
        top_p: Keep the fewest tokens that together have at least this probability.
        min_p: Keep the tokens that are at least this fraction as likely as the most likely one.

    Raises:
        SamplingError: A setting is out of range.

    >>> resolve_sampler(temperature=0, top_k=5).notes
    ('top_k=5 has no effect: temperature 0 is greedy.',)
    """
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    given = {name: value for name, value in given.items() if value is not None}
    if sampler is not None:
        return ResolvedSampler(sampler, (*_without_effect(given, "a sampler was given"), *_idle_stages(sampler)))
    stages = [RULES[name](value) for name, value in given.items()]
    if not stages:
        return ResolvedSampler(GreedySampler())
    if temperature == 0:
        rest = {name: value for name, value in given.items() if name != "temperature"}
        return ResolvedSampler(GreedySampler(), _without_effect(rest, "temperature 0 is greedy"))
    if top_k == 1:
        rest = {name: value for name, value in given.items() if name != "top_k"}
        return ResolvedSampler(GreedySampler(), _without_effect(rest, "top_k=1 is greedy"))
    whole = {name: value for name, value in given.items() if (name, value) in {("top_p", 1), ("min_p", 0)}}
    notes = _without_effect(whole, "it keeps every token")
    return ResolvedSampler(stages[0] if len(stages) == 1 else SamplerChain(stages), notes)


def _without_effect(settings: dict[str, Any], reason: str) -> tuple[str, ...]:
    return tuple(f"{name}={value:g} has no effect: {reason}." for name, value in settings.items())


def _idle_stages(sampler: Sampler) -> tuple[str, ...]:
    """Return which rules of a sampler have no effect and why, one sentence each."""
    notes, greedy = [], None
    for stage in sampler.stages if isinstance(sampler, SamplerChain) else (sampler,):
        if greedy is not None:
            notes.append(f"{stage.describe()} has no effect: {greedy} before it leaves one token.")
        elif stage.is_inactive:
            notes.append(f"{stage.describe()} has no effect: it leaves everything as it is.")
        elif stage.is_greedy:
            greedy = stage.describe()
    return tuple(notes)


OwnRules = Mapping[str, Callable[..., Sampler]]
"""Rules of one's own by name, see `own_rules.load_rules`."""


def parse_sampler(spec: str, own: OwnRules | None = None) -> Sampler:
    """Read a sampler from text; the rules apply in the order in which they are written.

    Args:
        spec: `greedy`, or rules such as `temperature=0.8,top_k=40`. A rule with several numbers has colons between
            them: `mirostat=3:0.1` (tau, eta), `dry=0.8:1.75:2` (multiplier, base, allowed length),
            `repetition_penalty=1.2:64` and the other penalties (strength, window), `bias=7:-2` (token id, nats),
            `ban=7:8` and `only=7:8` (token ids). Playful ones are `no_repeated_letter`, `alliteration` or
            `alliteration=s`, `syllables` or `syllables=5:7:5`, `corpus_words` and `rhyme=cat`.
        own: Rules of one's own, each with what makes it from its values.

    Raises:
        SamplingError: The text is not such a list, or a value is out of range.

    >>> parse_sampler("top_k=40,temperature=0.8").describe()
    'top-k 40, temperature 0.8'
    """
    if spec.strip() == "greedy":
        return GreedySampler()
    rules = {**RULES, **(own or {})}
    stages: list[Sampler] = []
    for part in spec.split(","):
        name, _, text = (piece.strip() for piece in part.partition("="))
        values = text.split(":") if text else []
        try:
            stage = rules[name](*(values if name in _WORDED else map(_value, values)))
        except (ValueError, KeyError, TypeError):  # no number, no such rule, too many or too few values
            raise SamplingError(
                f"{quoted(part.strip())} is no sampling rule.",
                mend=f"Write greedy, or rules such as temperature=0.8,top_k=40; rules are {', '.join(rules)}. "
                "A rule of your own needs its Python file.",
            ) from None
        stages.append(stage)
    return stages[0] if len(stages) == 1 else SamplerChain(stages)


def _value(text: str) -> int | float | str:
    """Read a number, else leave the text. A whole number stays whole, so that it can be a token id or a length."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
