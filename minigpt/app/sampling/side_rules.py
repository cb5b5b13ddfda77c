"""The rules of the columns side by side: those with a slider, the comparisons, the controls that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minigpt.app.sampling import pipeline_view
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.sampling.pipeline_view import NO_RULE, Range

if TYPE_CHECKING:
    from minigpt.generation.samplers import Sampler


LENGTHS = (40, 80, 120, 240, 480)
"""Choices for the number of tokens to write."""

USUAL_LENGTH = 120

COLUMNS = (2, 3, 4, 5, 6)
"""Choices for the number of columns."""

USUAL_COLUMNS = 4

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


def lengths(most: int) -> list[int]:
    """Return the choices for the number of tokens to write.

    Args:
        most: The server's limit.
    """
    return [length for length in LENGTHS if length <= most] or [LENGTHS[0]]
