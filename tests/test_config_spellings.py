"""A value means what it looks like, in whichever of the ways into the settings it comes."""

import itertools
import re
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import RunConfig, load_config, parse_assignments
from minigpt.errors import ConfigError

NUMBERS = [
    *("0100", "010", "-010", "+7", "08", "0o10", "0x10", "0b11", "1_000", "1__0", "12:30", "1:2:3", "190:20:30.15"),
    *("1e5", "1E+2", "1e-1", ".5", "5.", "0.10", "0_1.5", "1,000", "1 000", "--1", "1e400", "1e", ".", "e5"),
    *(".inf", "-.inf", ".nan", "inf", "nan", "NaN", "Infinity", "2024-01-01", "2024-99-99", "=", "<<"),
]
WORDS = ["yes", "no", "on", "off", "y", "n", "true", "False", "TRUE", "None", "null", "~", "Yes", "NO", "oN", "null0"]
FIELDS = ["training.max_steps", "seed", "model.num_kv_heads", "training.learning_rate", "training.max_seconds",
          "training.compile", "training.sample_prompt", "data.corpus", "generation.stop"]  # fmt: skip


def section_of(name, text):
    section, _, field = name.rpartition(".")
    return f"{section}:\n  {field}: {text}\n" if section else f"{field}: {text}\n"


WAYS = {
    "a section of a file": lambda path, name, text: _from_file(path, section_of(name, text)),
    "a flat file": lambda path, name, text: _from_file(path, f"{name.rpartition('.')[2]}: {text}\n"),
    "a dotted file": lambda path, name, text: _from_file(path, f"{name}: {text}\n"),
    "--set": lambda path, name, text: load_config(overrides=parse_assignments([f"{name}={text}"]), environment={}),
    "the environment": lambda path, name, text: load_config(
        environment={f"MINIGPT__{name.upper().replace('.', '__')}": text}
    ),
    "code and pages": lambda path, name, text: RunConfig().updated({name: text}),
}


def _from_file(path, content):
    path.write_text(content, "utf-8")
    return load_config(path, environment={})


def read(path, name, text):
    """Return what each way makes of a text: a value, or None where it is refused."""
    values = {}
    for way, settings in WAYS.items():
        try:
            config = settings(path, name, text)
        except ConfigError:
            continue
        section, _, field = name.rpartition(".")
        values[way] = getattr(getattr(config, section) if section else config, field)
    return values


def as_written(value, text):
    """Whether a value is what a person sees in a text."""
    if value is None:
        return text in ("", "~", "null", "Null", "NULL")
    if isinstance(value, bool):
        return text.lower() in (
            ("yes", "y", "on", "true", "t", "1") if value else ("no", "n", "off", "false", "f", "0")
        )
    if isinstance(value, int | float):
        try:
            return float(Decimal(text)) == value
        except InvalidOperation:
            return False
    return (text in value) if isinstance(value, tuple) else value == text


@pytest.mark.parametrize("text", [*NUMBERS, *WORDS])
def test_a_value_is_read_as_it_is_written_or_refused(tmp_path, text):
    for name in FIELDS:
        values = read(tmp_path / "settings.yaml", name, text)
        for way, value in values.items():
            assert as_written(value, text), f"{way}: {name} = {text} became {value!r}"
        if text in ("null", "~"):
            values.pop("code and pages", None)  # in code, nothing is None and "null" is a text
        assert len({repr(value) for value in values.values()}) <= 1, f"{name} = {text}: {values}"


@given(st.from_regex(re.compile(r"[-+]?[0-9._:eExob]{1,8}", re.ASCII), fullmatch=True), st.sampled_from(FIELDS))
def test_every_spelling_of_digits_is_read_as_it_is_written_or_refused(tmp_path_factory, text, name):
    values = read(tmp_path_factory.getbasetemp() / "settings.yaml", name, text)
    assert all(as_written(value, text) for value in values.values()), f"{name} = {text}: {values}"


SPELLINGS = ["max_steps: 5", "training.max_steps: 6", "training: {max_steps: 7}"]


@pytest.mark.parametrize("pair", list(itertools.permutations(SPELLINGS, 2)), ids=" then ".join)
def test_a_setting_in_two_spellings_is_refused(tmp_path, pair):
    with pytest.raises(ConfigError, match=r"training\.max_steps is given twice"):
        _from_file(tmp_path / "settings.yaml", "\n".join(pair))


@pytest.mark.parametrize("pair", [("max_steps", "training.max_steps"), ("training.max_steps", "max_steps")])
def test_two_spellings_collide_in_every_source(pair):
    with pytest.raises(ConfigError, match=r"training\.max_steps is given twice"):
        load_config(overrides=parse_assignments([f"{name}={n}" for n, name in enumerate(pair, 5)]), environment={})
    with pytest.raises(ConfigError, match=r"training\.max_steps is given twice"):
        load_config(environment={f"MINIGPT__{name.upper().replace('.', '__')}": "5" for name in pair})
    with pytest.raises(ConfigError, match=r"training\.max_steps is given twice"):
        RunConfig().updated(dict.fromkeys(pair, 5))
