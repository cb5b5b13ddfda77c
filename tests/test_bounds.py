"""Files of others: whatever they hold, opening one costs no more memory and disk than is allowed, and ends in words.

Each test tries one kind of file in many ways and measures the cost. The bounds are far above what is needed and far
below what the files ask for.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import load_config, parse_assignments
from minigpt.errors import ConfigError

LONG = 60_000
"""Bytes of a long hostile text."""


def peak_megabytes(work: Callable[[], Any]) -> float:
    """Return the most memory that Python objects and arrays took meanwhile, in MB, beyond what they took before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


# -- YAML


def alias_bomb(levels: int = 9, width: int = 9) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * width) + "]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE_YAML = {
    "aliases of aliases": alias_bomb(),
    "an alias once": "seed: &a 3\nmodel: {d_model: *a}",
    "an anchor alone": "seed: &a 3",
    "a merged alias": "model: &a {d_model: 8}\ntraining: {<<: *a}",
    "an alias that holds itself": "&a [*a]",
    "a list in a list": "[" * LONG,
    "a mapping in a mapping": "{a: " * (LONG // 4),
    "a dash after a dash": "- " * (LONG // 2),
    "keys of keys": "? " * (LONG // 2),
    "deeper on every line": "".join(" " * n + "a:\n" for n in range(700)),
    "a long list": "data: {paths: [" + "a," * (LONG // 2) + "]}",
    "a list of a dash a line": "- a\n" * (LONG // 4),
    "many settings": "".join(f"k{n}: 1\n" for n in range(LONG // 9)),
    "many empty lists": "data: {paths: [" + "[]," * (LONG // 3) + "]}",
    "digits": "seed: " + "9" * LONG,
    "5,000 digits": "seed: " + "9" * 5_000,
    "hexadecimal digits": "seed: 0x" + "f" * LONG,
    "binary digits": "seed: 0b" + "1" * 5_000,
    "base sixty": "seed: " + "1:" * (LONG // 2) + "1",
    "digits with underscores": "seed: " + "1_" * (LONG // 2),
    "a long fraction": "training: {learning_rate: 0." + "1" * LONG + "}",
    "a long exponent": "training: {learning_rate: 1e" + "9" * LONG + "}",
    "base 64": "seed: !!binary " + "QUFB" * (LONG // 4),
    "a long key": "k" * LONG + ": 1",
    "a long key in a section": "model: {? " + "k" * LONG + " : 1}",
    "a long text for a section": "model: " + "a" * LONG,
    "a long text for a number": "seed: " + "a" * LONG,
    "a long anchor": "&" + "a" * LONG + " b",
    "a long tag": "!" + "a" * LONG + " b",
    "a text that never ends": 'seed: "' + "a" * LONG,
    "more bytes than any": "#" + "a" * 1_000_000,
    "commands": "!!python/object/apply:os.system [true]",
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_settings_of_another(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)

    def refused() -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert "settings.yaml" in caught.value.problem
        assert len(str(caught.value)) < 1_000

    assert peak_megabytes(refused) < 60
    with contextlib.suppress(ConfigError):  # the same as a value on the command line
        parse_assignments([f"seed={text}"])
