"""Files of others: whatever they hold, opening one costs no more memory and disk than is allowed, and ends in words.

Each test tries one kind of file in many ways and measures the cost. The bounds are far above what is needed and far
below what the files ask for.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigpt.config import load_config, parse_assignments
from minigpt.errors import ConfigError
from minigpt.runs import metrics
from minigpt.runs.metrics import written_samples
from minigpt.runs.snapshots import History

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


# -- records


def lines(*templates: str, count: int = 3_000) -> bytes:
    """Return many lines; `%d` in each is the number of the line."""
    return b"".join((templates[n % len(templates)] % n).encode() + b"\n" for n in range(count))


STEP = '{"kind": "step", "step": %d, "loss": 2.5}'
HOSTILE_METRICS = {
    "steps": lines(STEP),
    "short steps": lines('{"kind":"step","step":%d}'),
    "evaluations": lines('{"kind": "evaluation", "step": %d, "val_loss": 1.0, "whole": false}'),
    "samples": lines('{"kind": "sample", "step": %d, "text": "' + "x" * 900 + '"}', count=2_000),
    "norms": lines('{"kind":"norms","step":%d,"gradient":{"a":1,"b":1,"c":1},"update":{"a":1},"ratio":{"a":1}}'),
    "kinds of their own": lines('{"kind": "k%d", "step": 1}'),
    "resumed at every step": lines('{"kind": "resumed", "step": %d}'),
    "resumed again and again at the same step": lines(STEP, '{"kind": "resumed", "step": 9, "n": %d}'),
    "resumed at a step between two": lines(
        '{"kind": "step", "step": 9%d}', STEP, '{"kind": "resumed", "step": 3000, "n": %d}'
    ),
    "the same step": lines('{"kind": "step", "step": 1, "loss": %d}'),
    "downwards": b"\n".join(lines(STEP).splitlines()[::-1]),
    "no line ends": STEP.replace("%d", "1").encode() * 20_000,
    "one long line": b'{"kind": "sample", "step": 1, "text": "' + b"x" * 3_000_000 + b'"}\n',
    "lists in records": lines('{"kind": "step", "step": %d, "more": [[[[[[]]]]]]}'),
    "deep lists in records": lines('{"kind": "step", "step": %d, "more": ' + "[" * 500 + "]" * 500 + "}", count=200),
    "long numbers": lines('{"kind": "step", "step": %d, "more": ' + "9" * 4_000 + "}", count=400),
    "longer numbers": lines('{"kind": "step", "step": %d, "more": ' + "9" * 5_000 + "}", count=400),
    "many fields": lines(
        '{"kind": "step", "step": %d, ' + ", ".join(f'"f{n}": {n}' for n in range(300)) + "}", count=400
    ),
    "nothing": b"\n" * 10_000,
    "zeros": bytes(2_000_000),
}


@pytest.mark.parametrize("content", HOSTILE_METRICS.values(), ids=HOSTILE_METRICS)
def test_metrics_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(metrics, "MAX_BYTES_HELD", 500_000)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    found: list[dict[str, Any]] = []
    assert peak_megabytes(lambda: found.extend(metrics.read_records(path))) < 3
    assert peak_megabytes(lambda: written_samples(found)) < 3
    History(found)
    for record in found:
        json.dumps(record)


def test_thinned_metrics_keep_both_ends_and_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_BYTES_HELD", 300_000)
    records: list[dict[str, Any]] = [{"kind": "budget", "step": 0, "seconds": 9.0, "max_steps": 20_000}]
    for step in range(20_000):
        records.append({"kind": "step", "step": step, "loss": 3.0})
        if step % 5_000 == 0:
            records.append({"kind": "evaluation", "step": step, "val_loss": 3.0, "whole": False})
    records.append({"kind": "evaluation", "step": 20_000, "val_loss": 2.0, "whole": True})
    metrics.write_records(tmp_path / "metrics.jsonl", records)
    found = metrics.read_records(tmp_path / "metrics.jsonl")
    assert len(found) < 600
    assert found[0] == records[0]
    assert found[-1] == records[-1]
    steps = [record["step"] for record in found if record["kind"] == "step"]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] == 19_999
    assert max(later - earlier for earlier, later in itertools.pairwise(steps)) <= 256
