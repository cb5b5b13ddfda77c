"""The settings of a conversation: every field of `GenerationSettings` under its own name, read from text.

Reads after: lexing.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minigpt.cli.chat.lexing import Word
from minigpt.config import field_info
from minigpt.errors import InputError
from minigpt.generation.settings import RULES, GenerationSettings, OwnRules, parse_sampler
from minigpt.wording import quoted

MAX_SEED = 2**63 - 1
MAX_RUNNERS_UP = 50
"""Most runners-up that are kept with each token."""
OFF = {"none", "off", "no", "false"}
ON = {"on", "yes", "true"}
DEFAULT = "default"
"""As a value: the run's own setting."""
STRATEGY = ("temperature", "top_k", "top_p", "min_p")
"""Settings that `sampler` replaces, all at once."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        about: Its meaning in one sentence.
        allowed: Its values in words.
        read: Returns the value for a text; a `ValueError` refuses the text.
        is_optional: Whether it can be switched off.
    """

    about: str
    allowed: str
    read: Callable[[str], Any]
    is_optional: bool = False


def _within(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def _switch(text: str) -> bool:
    if text.lower() not in ON | OFF:
        raise ValueError
    return text.lower() in ON


def _of_config(name: str) -> str:
    return str(field_info(f"generation.{name}").description)


SETTINGS: dict[str, Setting] = {
    "temperature": Setting(_of_config("temperature"), "a number from 0 up", float, is_optional=True),
    "top_k": Setting(_of_config("top_k"), "a whole number from 1 up", int, is_optional=True),
    "top_p": Setting(_of_config("top_p"), "a number above 0 and at most 1", float, is_optional=True),
    "min_p": Setting(_of_config("min_p"), "a number from 0 to 1", float, is_optional=True),
    "sampler": Setting(
        "All sampling rules at once, in the order in which they apply; it replaces the four settings above.",
        f"greedy, or rules such as temperature=0.8,top_k=40 out of {', '.join(RULES)}",
        parse_sampler,
        is_optional=True,
    ),
    "max_new_tokens": Setting(_of_config("max_new_tokens"), "a whole number from 0 to 1,000,000", int),
    "stop": Setting(
        "A text that ends the writing and is left out; give it several times for several texts.",
        'a text, in quotation marks if it has spaces: stop="\\n\\n"',
        str,
        is_optional=True,
    ),
    "seed": Setting(
        "Seed of the random numbers, the dice; the same seed, prompt and settings give the same text.",
        "a whole number from 0 to 2**63 - 1",
        _within(0, MAX_SEED),
    ),
    "row": Setting(
        "Which independent sequence of dice of the seed; /again takes the next one.",
        "a whole number from 0 to 2**63 - 1",
        _within(0, MAX_SEED),
    ),
    "num_runners_up": Setting(
        "How many other candidates are kept with each token, for /why.",
        f"a whole number from 0 to {MAX_RUNNERS_UP}",
        _within(0, MAX_RUNNERS_UP),
    ),
    "use_cache": Setting(
        "Whether keys and values of earlier positions are kept; off is slower and gives the same text.",
        "on or off",
        _switch,
    ),
}


def changed(
    settings: GenerationSettings, words: Sequence[Word], own: GenerationSettings, rules: OwnRules
) -> tuple[GenerationSettings, tuple[str, ...]]:
    """Return settings with assignments carried out, and a note on each setting that another one switched off.

    Args:
        settings: The settings before.
        words: The assignments, in order.
        own: The run's own settings, for the value `default`.
        rules: Rules of one's own that the sampler may name.

    Raises:
        InputError: A setting does not exist or its value is out of range; nothing is changed then.
    """
    notes: list[str] = []
    given: dict[str, Any] = {}
    for word in words:
        name = word.name.replace("-", "_").lower()
        value = read_value(name, word.value, own, rules)
        if name == "stop" and isinstance(value, str):
            value = (*given.get("stop", ()), value)
        given[name] = value
        rivals = STRATEGY if name == "sampler" else ("sampler",) if name in STRATEGY else ()
        for rival in rivals if value is not None else ():
            if given.get(rival, getattr(settings, rival)) is not None:
                given[rival] = None
                notes.append(f"{rival} is off now: {name} replaces it.")
    after = replace(settings, **given)
    return after, (*notes, *after.resolve().notes)


def read_value(name: str, text: str | None, own: GenerationSettings, rules: OwnRules) -> Any:
    """Return the value of a setting that was written as text.

    Raises:
        InputError: There is no such setting, or it cannot have this value.
    """
    if name not in SETTINGS:
        raise unknown(name, rules)
    setting = SETTINGS[name]
    if text is None:
        raise InputError(f"{name} has no value.", mend=f"Write {name}=VALUE; it must be {setting.allowed}.")
    if text.lower() == DEFAULT:
        return getattr(own, name)
    if setting.is_optional and text.lower() in OFF:
        return () if name == "stop" else None
    try:
        return parse_sampler(text, rules) if name == "sampler" else setting.read(text)
    except (ValueError, OverflowError):
        off = ", or off" if setting.is_optional else ""
        raise InputError(
            f"{name} is {quoted(text)}; it must be {setting.allowed}{off}.", mend=f"/show {name} explains it."
        ) from None


def unknown(name: str, rules: OwnRules) -> InputError:
    """Return the error for a setting that does not exist."""
    if name in {**RULES, **rules}:
        return InputError(
            f"{name} is a rule of the sampler, not a setting of its own.",
            mend=f"Write sampler={name}=VALUE, with other rules behind commas, for example "
            f"sampler=temperature=0.8,{name}=VALUE.",
        )
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return InputError(f"There is no setting {quoted(name)}.", mend=f"{guess}The settings are {', '.join(SETTINGS)}.")


def described(settings: GenerationSettings) -> str:
    """Return settings in a few words, for the line under the prompt and the titles of a comparison.

    >>> described(GenerationSettings(temperature=0.8, max_new_tokens=50))
    'temperature 0.8, 50 tokens, seed 0'
    """
    parts = [settings.resolve().sampler.describe(), f"{settings.max_new_tokens:,} tokens", f"seed {settings.seed}"]
    if settings.row:
        parts.append(f"row {settings.row}")
    if settings.stop_texts:
        parts.append(f"stop {' or '.join(map(quoted, settings.stop_texts))}")
    return ", ".join(parts)


def value_in_words(settings: GenerationSettings, name: str) -> str:
    """Return the value of a setting as text for a table.

    >>> value_in_words(GenerationSettings(stop="."), "stop"), value_in_words(GenerationSettings(), "top_k")
    ("'.'", 'off')
    """
    value = getattr(settings, name)
    if name == "stop":
        return " ".join(map(quoted, settings.stop_texts)) or "off"
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "sampler":
        return str(value.describe())
    return f"{value:g}" if isinstance(value, float) else str(value)
