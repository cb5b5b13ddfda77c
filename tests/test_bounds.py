"""Files of others: whatever they hold, opening one costs no more memory and disk than is allowed, and ends in words.

Each test tries one kind of file in many ways and measures the cost. The bounds are far above what is needed and far
below what the files ask for.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import RunConfig, TransformerConfig, load_config, parse_assignments, reading
from minigpt.data.corpora import corpus_from_text
from minigpt.data.stored import stored_corpus
from minigpt.errors import ArchiveError, CheckpointError, ConfigError, LimitError, MinigptError
from minigpt.evaluation import ModelEvaluator
from minigpt.generation import TextGenerator
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer
from minigpt.model.weights import save_model
from minigpt.runs import archive as archive_module
from minigpt.runs import metrics
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.limits import load_limits
from minigpt.runs.loading import load_run
from minigpt.runs.metrics import written_samples
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import History, snapshot_of
from minigpt.runs.store import RunStore
from minigpt.runs.thread_engine import ThreadEngine

LONG = 20_000
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
    "deeper on every line": "".join(" " * n + "a:\n" for n in range(300)),
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
def test_settings_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(reading, "_MAX_NODES", 3_000)  # fewer than really, so that reading them takes less time
    path = tmp_path / "settings.yaml"
    path.write_text(text)

    def refused() -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert "settings.yaml" in caught.value.problem
        assert len(str(caught.value)) < 1_000

    assert peak_megabytes(refused) < 20
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


# -- runs in a zip file

HOSTED = load_limits("hosted")
TEXT = "the cat sat on the mat and the dog ate the cake. " * 12
Files = dict[str, bytes]


class GoodFiles(Files):
    """Hypothesis writes the arguments of a failing test, and reports an error of its own if that is megabytes."""

    def __repr__(self) -> str:
        return "the files of a good run"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a finished run with its data and its state, by their paths in it."""
    config = RunConfig().updated(
        {
            "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 8,
            "training.batch_size": 4, "training.max_steps": 4, "training.eval_steps": 2, "training.checkpoint_steps": 2,
            "training.sample_tokens": 3, "training.num_threads": 1,
        }
    )  # fmt: skip
    place = tmp_path_factory.mktemp("good")
    folder = create_run(config, corpus_from_text(TEXT, name="cats"), store=RunStore(place))
    for _ in TrainingJob(folder).work():
        pass
    export_zip(folder, place / "run.zip", include_data=True)
    with zipfile.ZipFile(place / "run.zip") as archive:
        return GoodFiles({name.partition("/")[2]: archive.read(name) for name in archive.namelist()})


STEP_4 = "checkpoints/step-0000004"
HISTORY = "history/step-0000001.safetensors"


def zipped(files: Files, *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)  # with a time of its own, so that equal files give equal bytes
            archive.writestr(member, content, compress_type=compression, compresslevel=1)
    return buffer.getvalue()


def with_manifest(files: Files, step: str = STEP_4) -> Files:
    """Write the manifest of a checkpoint again, so that it agrees with its files."""
    listed = {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
              for path, content in files.items()
              for folder, _, name in [path.rpartition("/")] if folder == step and name != "manifest.json"}  # fmt: skip
    return {**files, f"{step}/manifest.json": json.dumps({"format_version": 1, "files": listed}).encode()}


def with_json(files: Files, path: str, /, **changes: Any) -> Files:
    return {**files, path: json.dumps({**json.loads(files[path]), **changes}).encode()}


def with_settings(files: Files, **changes: str) -> Files:
    """Change settings in config.yaml and in the header of every file of weights."""
    text = files["config.yaml"].decode()
    for name, value in changes.items():
        text = re.sub(rf"(?m)^(  {name}: ).*$", rf"\g<1>{value}", text)
    changed = {**files, "config.yaml": text.encode()}
    for path in [path for path in files if path.endswith("model.safetensors") or path.startswith("history/")]:
        changed = with_header(changed, path, lambda header: _set_config(header, changes))
    for step in {path.rpartition("/")[0] for path in files if path.startswith("checkpoints/step")}:
        changed = with_manifest(changed, step)
    return changed


def _set_config(header: dict[str, Any], changes: dict[str, str]) -> None:
    config = json.loads(header["__metadata__"]["config"])
    config |= {name: json.loads(value) for name, value in changes.items() if name in config}
    header["__metadata__"]["config"] = json.dumps(config)


def with_header(files: Files, path: str, change: Callable[[dict[str, Any]], None]) -> Files:
    content = files[path]
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return {**files, path: len(text).to_bytes(8, "little") + text + content[8 + length :]}


def with_model(files: Files, model: Transformer) -> Files:
    """The run with a new model, without its history and its data."""
    settings = {name: json.dumps(value) for name, value in model.config.model_dump().items()}
    kept = {
        path: content
        for path, content in files.items()
        if not path.startswith(("history/", "data/", "checkpoints/step"))
    }
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model", model)
        content = (Path(folder) / "model").read_bytes()
    step = {f"{STEP_4}/model.safetensors": content, f"{STEP_4}/tokenizer.json": files["tokenizer.json"]}
    return with_settings({**kept, **step}, **settings)


def with_raw_header(files: Files, path: str, text: bytes, length: int | None = None) -> Files:
    content = files[path]
    rest = content[8 + int.from_bytes(content[:8], "little") :]
    return {**files, path: (len(text) if length is None else length).to_bytes(8, "little") + text + rest}


def header_of(files: Files, path: str) -> bytes:
    return files[path][8 : 8 + int.from_bytes(files[path][:8], "little")]


def metadata(**changes: str) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["__metadata__"].update(changes)


def with_ids(files: Files, content: bytes, **meta: Any) -> Files:
    """Other training data, with a meta.json that agrees with it."""
    digest = hashlib.sha256(content).hexdigest()
    size = {"num_train_tokens": len(content), "train_sha256": digest, **meta}
    return with_json({**files, "data/train.bin": content}, "data/meta.json", **size)


DEEP = b"[" * 400 + b"]" * 400
LONG_NUMBER = "9" * 5_000

HOSTILE_RUNS: dict[str, Callable[[Files], Files]] = {
    # larger than they look
    "a history of zeros": lambda files: {**files, HISTORY: bytes(20_000_000)},
    "a checkpoint of zeros": lambda files: {**files, f"{STEP_4}/model.safetensors": bytes(20_000_000)},
    "a state of zeros": lambda files: with_manifest({**files, f"{STEP_4}/trainer.safetensors": bytes(20_000_000)}),
    "many histories": lambda files: files | {
        f"history/step-{step:07d}.safetensors": bytes(4_000_000) for step in range(5, 50)
    },
    "many checkpoints": lambda files: files | {
        f"checkpoints/step-{step:07d}/model.safetensors": bytes(4_000_000) for step in range(5, 50)
    },
    "metrics of spaces": lambda files: {**files, "metrics.jsonl": b" " * 20_000_000},
    "metrics of zeros": lambda files: {**files, "metrics.jsonl": bytes(20_000_000)},
    "a tokenizer of spaces": lambda files: {**files, "tokenizer.json": b" " * 20_000_000},
    "settings of comments": lambda files: {**files, "config.yaml": files["config.yaml"] + b"#\n" * 1_000_000},
    "run.json of spaces": lambda files: {**files, "run.json": files["run.json"] + b" " * 5_000_000},
    "meta.json of spaces": lambda files: {**files, "data/meta.json": files["data/meta.json"] + b" " * 5_000_000},
    "a manifest of spaces": lambda files: {**files, f"{STEP_4}/manifest.json": b" " * 5_000_000},
    "a long name of the best": lambda files: {**files, "checkpoints/best": b"step-0000004" + b" " * 1_000_000},
    "more text than allowed": lambda files: with_ids(files, b"\5" * 3_000_000),
    "a length that is more than allowed": lambda files: with_json(files, "data/meta.json", num_chars=2_000_000),
    # settings
    "aliases of aliases": lambda files: {**files, "config.yaml": alias_bomb().encode()},
    "aliases after the settings": lambda files: {**files, "config.yaml": files["config.yaml"] + alias_bomb().encode()},
    "a seed of 5,000 digits": lambda files: {
        **files, "config.yaml": re.sub(rb"(?m)^seed: .*$", b"seed: " + LONG_NUMBER.encode(), files["config.yaml"])
    },
    "deep settings": lambda files: {**files, "config.yaml": b"model: " + DEEP},
    "settings that are no text": lambda files: {**files, "config.yaml": bytes(range(256))},
    "a context of a million": lambda files: with_settings(files, sequence_length="1048576"),
    "a wide model": lambda files: with_settings(files, d_model="16384"),
    "96 layers": lambda files: with_settings(files, num_layers="96", d_model="2048"),
    "a wide feed-forward layer": lambda files: with_settings(files, d_ff="65536"),
    # headers of weights
    "a context of a million in a header": lambda files: with_manifest(
        with_header(files, f"{STEP_4}/model.safetensors", lambda header: _set_config(header, {"sequence_length": "1048576"}))
    ),
    "a context of a million in the history": lambda files: with_header(
        files, HISTORY, lambda header: _set_config(header, {"sequence_length": "1048576"})
    ),
    "a header longer than the file": lambda files: with_raw_header(files, HISTORY, b"{}", 2**60),
    "a header of the whole file": lambda files: with_raw_header(files, HISTORY, b"{}", len(files[HISTORY]) - 8),
    "a header of spaces": lambda files: with_raw_header(files, HISTORY, b" " * 4_100_000),
    "a header of brackets": lambda files: with_raw_header(files, HISTORY, DEEP),
    "an empty header": lambda files: with_raw_header(files, HISTORY, b""),
    "a tensor twice": lambda files: with_raw_header(
        files, HISTORY, header_of(files, HISTORY)[:-1] + b"," + header_of(files, HISTORY)[1:]
    ),
    "a shape of 5,000 digits": lambda files: with_raw_header(
        files, HISTORY, header_of(files, HISTORY).replace(b"[8]", b"[" + LONG_NUMBER.encode() + b"]", 1)
    ),
    "a shape whose product overflows": lambda files: with_header(
        files, HISTORY, lambda header: header["embedding.weight"].update(shape=[2**62, 2**62])
    ),
    "a shape of many numbers": lambda files: with_header(
        files, HISTORY, lambda header: header["embedding.weight"].update(shape=[1] * 200_000)
    ),
    "a negative shape": lambda files: with_header(files, HISTORY, lambda h: h["embedding.weight"].update(shape=[-1, 8])),
    "numbers outside the file": lambda files: with_header(
        files, HISTORY, lambda header: header["embedding.weight"].update(data_offsets=[0, 2**50])
    ),
    "a vocabulary of 5,000 digits": lambda files: with_header(files, HISTORY, metadata(vocab_size=LONG_NUMBER)),
    "a vocabulary of a billion": lambda files: with_header(files, HISTORY, metadata(vocab_size="999999999")),
    "a vocabulary in other digits": lambda files: with_header(files, HISTORY, metadata(vocab_size="\u0663")),
    "a version of 5,000 digits": lambda files: with_header(files, HISTORY, metadata(format_version=LONG_NUMBER)),
    "a header that says deep settings": lambda files: with_header(files, HISTORY, metadata(config=DEEP.decode())),
    "a header that says a number of 5,000 digits": lambda files: with_header(
        files, HISTORY, metadata(config='{"sequence_length": ' + LONG_NUMBER + "}")
    ),
    "a header with long words": lambda files: with_header(files, HISTORY, metadata(config="x" * 3_900_000)),
    "a header without words": lambda files: with_header(files, HISTORY, lambda header: header.pop("__metadata__")),
    "a header with a number for words": lambda files: with_header(
        files, HISTORY, lambda header: header.update(__metadata__={"config": 3})
    ),
    "whole numbers for weights": lambda files: with_header(
        files, HISTORY, lambda header: header["embedding.weight"].update(dtype="I16")
    ),
    "a tensor of a long name": lambda files: with_header(
        files, HISTORY, lambda header: header.update({"x" * 100_000: header.pop("embedding.weight")})
    ),
    "weights that are no weights": lambda files: {**files, HISTORY: b"PK\3\4" * 1000},
    # the tokenizer
    "a tokenizer of lists": lambda files: {**files, "tokenizer.json": b'{"characters": [' + b"[]," * 150_000 + b"[]]}"},
    "a tokenizer of numbers": lambda files: {**files, "tokenizer.json": b'{"characters": [' + b"1," * 200_000 + b"1]}"},
    "a deep tokenizer": lambda files: {**files, "tokenizer.json": DEEP * 100},
    "a tokenizer with a long number": lambda files: with_json(files, "tokenizer.json", format_version=10**4_000),
    "a tokenizer of every character": lambda files: with_json(
        files, "tokenizer.json", characters=[chr(code) for code in range(0x3000, 0x30000)]
    ),
    "a tokenizer of no characters": lambda files: with_json(files, "tokenizer.json", characters=[]),
    "a tokenizer of words": lambda files: with_json(files, "tokenizer.json", characters=["word", "another"]),
    "a tokenizer that says its characters twice": lambda files: {
        **files, "tokenizer.json": files["tokenizer.json"].replace(b'"kind"', b'"characters": [], "kind"')
    },
    "another tokenizer": lambda files: with_json(files, "tokenizer.json", characters=["a", "b"]),
    # name and state
    "the year 1": lambda files: with_json(files, "run.json", created="0001-01-01T00:00:00+23:59"),
    "the year 9999": lambda files: with_json(files, "run.json", created="9999-12-31T23:59:59-23:59"),
    "an id that is a path": lambda files: with_json(files, "run.json", id="../../x"),
    "a version of 4,000 digits": lambda files: with_json(files, "run.json", format_version=10**4_000),
    "a long name": lambda files: with_json(files, "run.json", name="x" * 50_000),
    "long notes": lambda files: with_json(files, "run.json", notes="x" * 500_000),
    "many tags": lambda files: with_json(files, "run.json", tags=["x"] * 200_000),
    "run.json that is deep": lambda files: {**files, "run.json": DEEP},
    # the data
    "ids outside the vocabulary": lambda files: with_ids(files, b"\xfe" * 400),
    "half the data": lambda files: {name: content for name, content in files.items() if name != "data/validation.bin"},
    "data without a meta.json": lambda files: {
        name: content for name, content in files.items() if name != "data/meta.json"
    },
    "a type of objects": lambda files: with_json(files, "data/meta.json", dtype="O"),
    "a type of long texts": lambda files: with_json(files, "data/meta.json", dtype="U999999999"),
    "a type that is a list": lambda files: with_json(files, "data/meta.json", dtype=[["a", "u1"]]),
    "a length that is not whole": lambda files: with_json(files, "data/meta.json", num_train_tokens=1e300),
    "a length that is infinite": lambda files: with_json(files, "data/meta.json", num_train_tokens=float("inf")),
    "a length of 4,000 digits": lambda files: with_json(files, "data/meta.json", num_train_tokens=10**4_000),
    "a length of less than nothing": lambda files: with_json(files, "data/meta.json", num_train_tokens=-1),
    "a vocabulary of another size": lambda files: with_json(files, "data/meta.json", vocab_size=2**40),
    "a vocabulary that is text": lambda files: with_json(files, "data/meta.json", vocab_size="many"),
    "an origin that is a list": lambda files: with_json(files, "data/meta.json", origin=[[]]),
    "baselines that are lists": lambda files: with_json(files, "data/meta.json", baselines={"uniform": [1]}),
    "a deep meta.json": lambda files: with_json(files, "data/meta.json", more=json.loads(DEEP)),
    # manifests
    "a manifest of another folder": lambda files: _named(files, "../../run.json"),
    "a manifest of a long name": lambda files: _named(files, "x" * 300),
    "a manifest of a name with a zero": lambda files: _named(files, "a\0b"),
    "a manifest of the folder above": lambda files: _named(files, ".."),
    "a manifest with infinite sizes": lambda files: {
        **files, f"{STEP_4}/manifest.json": re.sub(rb'"bytes": \d+', b'"bytes": 1e999', files[f"{STEP_4}/manifest.json"])
    },
    "a manifest with long sizes": lambda files: {
        **files,
        f"{STEP_4}/manifest.json": re.sub(rb'(?<="bytes": )\d+', LONG_NUMBER.encode(), files[f"{STEP_4}/manifest.json"]),
    },
    "a manifest with a version of text": lambda files: with_json(files, f"{STEP_4}/manifest.json", format_version="1"),
    "a manifest of lists": lambda files: {**files, f"{STEP_4}/manifest.json": b'{"format_version": 1, "files": []}'},
}  # fmt: skip


def _named(files: Files, name: str) -> Files:
    manifest = json.loads(files[f"{STEP_4}/manifest.json"])
    manifest["files"][name] = {"bytes": 3, "sha256": "0" * 64}
    return {**files, f"{STEP_4}/manifest.json": json.dumps(manifest).encode()}


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def most_on_disk(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that says how many bytes the imports have taken on the disk at their most."""
    seen, extract = [0], archive_module._extract

    def watched(*arguments: Any, **more: Any) -> int:
        try:
            return extract(*arguments, **more)
        finally:
            seen.append(folder_bytes(own_home))

    monkeypatch.setattr(archive_module, "_extract", watched)
    return lambda: max(seen)


def refused(content: bytes, home: Path) -> MinigptError:
    """Import a hostile file on a small public server and return the error; nothing of it is left."""
    errors: list[MinigptError] = []

    def attempt() -> None:
        with pytest.raises(MinigptError) as caught:
            RunStore().import_zip(io.BytesIO(content), limits=HOSTED)
        errors.append(caught.value)

    assert peak_megabytes(attempt) < 60
    assert not home.exists() or not list(home.iterdir())
    (error,) = errors
    assert isinstance(error, ArchiveError | LimitError)
    assert str(home) not in str(error)
    assert len(str(error)) < 600
    return error


@pytest.mark.parametrize("change", HOSTILE_RUNS.values(), ids=HOSTILE_RUNS)
def test_a_run_of_another(
    good: Files, own_home: Path, most_on_disk: Callable[[], int], change: Callable[[Files], Files]
) -> None:
    refused(zipped(change(good)), own_home)
    assert most_on_disk() < 12_000_000


def test_the_files_that_those_are_made_from_are_a_good_run(good: Files) -> None:
    """Else the tests above prove nothing."""
    for same in (good, with_manifest(good), with_settings(good, dropout="0.0"), with_ids(good, good["data/train.bin"])):
        folder = RunStore().import_zip(io.BytesIO(zipped(same)), limits=HOSTED)
        assert folder.steps()[-1] == 4
        assert folder.info.expires is not None


# -- the zip file itself


def with_extra_entry(name: str, content: bytes = b"x", **fields: Any) -> Callable[[Files], bytes]:
    def build(files: Files) -> bytes:
        buffer = io.BytesIO(zipped(files))
        with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there already
            entry = zipfile.ZipInfo(name)
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.writestr(entry, content)
        return buffer.getvalue()

    return build


def with_entries(count: int, name: str = "history/step-{:07d}.safetensors") -> Callable[[Files], bytes]:
    """Many empty entries in the list of files; the list is written by hand, as zipfile is slow."""

    def build(files: Files) -> bytes:
        names = [name.format(100 + n).encode() for n in range(count)]
        local = b"PK\3\4" + bytes(26)
        listed = b"".join(
            b"PK\1\2" + bytes(24) + struct.pack("<H", len(name)) + bytes(12) + struct.pack("<I", 0) + name
            for name in names
        )
        end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count % 65536, count % 65536, len(listed), len(local), 0)
        return local + listed + end

    return build


def replaced(old: bytes, new: bytes) -> Callable[[Files], bytes]:
    return lambda files: zipped(files).replace(old, new)


def lying(files: Files) -> bytes:
    """A bomb whose list of files says that it is small."""
    content = zipped({**files, HISTORY: bytes(20_000_000)})
    return content.replace(struct.pack("<I", 20_000_000), struct.pack("<I", 1_000))


def overlapping(files: Files) -> bytes:
    """Hundreds of entries that all point at the same packed megabytes."""
    content = zipped({"run.json": files["run.json"], "config.yaml": files["config.yaml"],
                      "tokenizer.json": files["tokenizer.json"], HISTORY: bytes(3_000_000)})  # fmt: skip
    at = content.rindex(b"PK\1\2")
    end = content.index(b"PK\5\6")
    one = content[at:end]
    more = b"".join(one.replace(b"step-0000001", b"step-%07d" % step) for step in range(10, 400))
    start = content.index(b"PK\1\2")
    listed = content[start:end] + more
    count = 4 + 390
    return content[:start] + listed + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(listed), start, 0)


HOSTILE_ZIPS: dict[str, Callable[[Files], bytes]] = {
    "5,001 files": with_entries(5_001),
    "60,000 files": with_entries(60_000),
    "60,000 folders": with_entries(60_000, "{}/"),
    "long names": with_entries(300, "x" * 60_000 + "{}"),
    "a false size": lying,
    "entries on top of each other": overlapping,
    "packed with lzma": lambda files: zipped(files, compression=zipfile.ZIP_LZMA),
    "packed with bzip2": lambda files: zipped(files, compression=zipfile.ZIP_BZIP2),
    "packed in no known way": replaced(b"\x08\0", b"\x63\0"),
    "a link": with_extra_entry("lock", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16),
    "a link with the name of a file": with_extra_entry(
        HISTORY.replace("1", "3"), b"/etc/passwd", external_attr=stat.S_IFLNK << 16
    ),
    "a device": with_extra_entry(HISTORY.replace("1", "3"), external_attr=stat.S_IFCHR << 16),
    "encrypted": lambda files: with_extra_entry(HISTORY.replace("1", "3"))(files).replace(
        b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"
    ),
    "a folder above": with_extra_entry("../evil"),
    "an absolute path": with_extra_entry("/etc/evil"),
    "a path with a drive": with_extra_entry("C:\\evil"),
    "a name with a zero": with_extra_entry("history/step-0000003.safetensors\0/../../evil"),
    "a zip in it": lambda files: with_extra_entry("inner.zip", zipped(files))(files),
    "a file twice": with_extra_entry("run.json"),
    "two runs": with_extra_entry("other/run.json"),
    "an endless step": with_extra_entry("history/step-" + "9" * 200 + ".safetensors"),
    "only its first half": lambda files: zipped(files)[: len(zipped(files)) // 2],
    "only its last half": lambda files: zipped(files)[len(zipped(files)) // 2 :],
    "a list that lies far away": lambda files: zipped(files)[:-6] + struct.pack("<I", 2**32 - 1)[:4] + b"\0\0",
    "nothing": lambda files: b"",
    "an end alone": lambda files: b"PK\5\6" + bytes(18),
    "zeros": lambda files: bytes(100_000),
    "ends without end": lambda files: b"PK\5\6" * 20_000,
}


@pytest.mark.parametrize("build", HOSTILE_ZIPS.values(), ids=HOSTILE_ZIPS)
def test_a_zip_of_another(
    good: Files, own_home: Path, most_on_disk: Callable[[], int], build: Callable[[Files], bytes]
) -> None:
    error = refused(build(good), own_home)
    assert "evil" not in {path.name for path in own_home.parent.rglob("*")}
    assert most_on_disk() < 12_000_000
    assert error.mend


# -- what is opened is used


def use(folder: RunFolder) -> None:
    """Do with a run what pages and commands do."""
    folder.samples()
    snapshot_of(folder)
    folder.disk_bytes()
    run = load_run(folder.path)
    TextGenerator(run).generate("the", max_new_tokens=3)
    ModelEvaluator(run).evaluate("the cat")
    trace_forward(run.model, torch.tensor([run.tokenizer.encode("the cat")]))
    for step in folder.history_steps():
        load_run(folder.path, step=step)
    with contextlib.suppress(MinigptError):  # data that does not fit leaves the weights usable
        folder.corpus()
    export_zip(folder, io.BytesIO())


def use_unless_not_finite(folder: RunFolder) -> None:
    """Use an imported run. Its numbers may be infinite: a run that diverged can be imported, and using it says so."""
    try:
        use(folder)
    except CheckpointError as error:
        if "are not finite" not in error.problem:
            raise


def text_changes(content: bytes) -> st.SearchStrategy[bytes]:
    """Change a few bytes, numbers or words of a file, or cut it."""
    end = len(content)
    place = st.integers(0, end)
    words = st.sampled_from(
        [b"", b"0", b"-1", b"9" * 30, b"9" * 5_000, b"1e999", b"null", b"[]", b"{}", b"[" * 300, b'"', b"true", b"\n",
         b"\0", b"\xff", b"\xed\xa0\x80", b"NaN", b"2.5", b"&a ", b"*a", b"\xef\xbb\xbf", b'"x"', b"1048576", b": "]
    )  # fmt: skip
    numbers = [
        match.span() for match in re.finditer(rb"-?[0-9][0-9.e+-]*|true|false|null|\"[^\"]*\"", content[:20_000])
    ]
    return st.one_of(
        st.builds(lambda at, new: content[:at] + new + content[at + 1 :], place, words),
        st.builds(lambda at, byte: content[:at] + bytes([byte]) + content[at + 1 :], place, st.integers(0, 255)),
        st.builds(lambda at: content[:at], place),
        st.builds(lambda at, to: content[:at] + content[to:], place, place),
        st.builds(lambda span, new: content[: span[0]] + new + content[span[1] :], st.sampled_from(numbers or [(0, 0)]), words),
    )  # fmt: skip


@settings(max_examples=40)
@given(data=st.data())
def test_a_changed_run_is_a_good_run_or_an_error_in_words(good: Files, tmp_path: Path, data: st.DataObject) -> None:
    """Any bytes of any file are changed, with and without a manifest and hashes that agree."""
    name = data.draw(st.sampled_from(sorted(good)))
    files = {**good, name: data.draw(text_changes(good[name]))}
    if data.draw(st.booleans()):
        for step in {path.rpartition("/")[0] for path in files if path.startswith("checkpoints/step")}:
            files = with_manifest(files, step) if not name.endswith("manifest.json") else files
    content = zipped(files)
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    try:
        folder = RunStore(home).import_zip(io.BytesIO(content), limits=HOSTED)
    except MinigptError:
        assert not list(home.iterdir())
    else:
        use_unless_not_finite(folder)
    # the same files, put into a folder by hand
    by_hand = RunFolder(home / "by-hand")
    for path, inside in files.items():
        (by_hand.path / path).parent.mkdir(parents=True, exist_ok=True)
        (by_hand.path / path).write_bytes(inside)
    with contextlib.suppress(MinigptError):
        use(by_hand)
    shutil.rmtree(home)


@settings(max_examples=30)
@given(data=st.data())
def test_a_changed_zip_is_a_good_run_or_an_error_in_words(good: Files, tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(text_changes(zipped(good)))
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    with contextlib.suppress(MinigptError):
        use(RunStore(home).import_zip(io.BytesIO(content), limits=HOSTED))
    shutil.rmtree(home)


CONTEXT_PROGRAM = """
import resource, sys
from pathlib import Path
from minigpt import load_run, trace_forward, ModelEvaluator, TextGenerator
from minigpt.interpret.embeddings import position_similarity
from minigpt.runs.store import RunStore
import torch

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def use(path):
    run = load_run(RunStore(Path(sys.argv[1]) / path.stem).import_zip(path).path)
    TextGenerator(run).generate("the", max_new_tokens=5)
    TextGenerator(run).generate("the", max_new_tokens=5, use_cache=False)
    ModelEvaluator(run).evaluate("the cat sat on the mat")
    trace_forward(run.model, torch.tensor([run.tokenizer.encode("the cat")]))
    position_similarity(run.model)
    return run

use(Path(sys.argv[2]))
before = most()
run = use(Path(sys.argv[3]))
assert run.model.config.sequence_length == 1048576
print(most() - before)
"""


@pytest.mark.process
def test_a_context_of_a_million_tokens_costs_what_is_used_of_it(good: Files, tmp_path: Path) -> None:
    """On one's own machine it is allowed; its tables alone would have 1,600 MB, and its cache 1,100."""
    wide = TransformerConfig(num_layers=1, num_heads=1, d_model=128, sequence_length=8)
    files = with_model(good, Transformer(wide, len(json.loads(good["tokenizer.json"])["characters"]) + 4))
    for name, context in (("short", "8"), ("long", "1048576")):
        (tmp_path / f"{name}.zip").write_bytes(zipped(with_settings(files, sequence_length=context)))
    done = subprocess.run(
        [sys.executable, "-c", CONTEXT_PROGRAM, tmp_path, tmp_path / "short.zip", tmp_path / "long.zip"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 150


# -- what a server allows applies to runs from elsewhere


@pytest.fixture
def server(own_home: Path) -> Iterator[Callable[..., ThreadEngine]]:
    engines: list[ThreadEngine] = []

    def make(**changes: object) -> ThreadEngine:
        engines.append(ThreadEngine(RunStore(), HOSTED.model_copy(update=changes)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_an_imported_run_has_an_owner_and_an_expiry(good: Files, server: Callable[..., ThreadEngine]) -> None:
    engine = server()
    folder = RunStore().get(engine.import_zip(io.BytesIO(zipped(good)), "ann"))
    assert folder.is_owner("ann")
    assert not folder.is_owner("bob")
    left = folder.info.expires - datetime.now(UTC) if folder.info.expires is not None else timedelta()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert [snapshot.id for snapshot in engine.list("ann")] == [folder.id]


def test_imports_count_as_runs_of_their_owner_and_of_the_server(
    good: Files, server: Callable[..., ThreadEngine], own_home: Path
) -> None:
    engine, content = server(max_runs=3, max_runs_per_owner=2), zipped(good)
    corpus, config = corpus_from_text(TEXT, name="cats"), RunConfig()
    engine.import_zip(io.BytesIO(content), "ann")
    engine.import_zip(io.BytesIO(content), "ann")
    with pytest.raises(LimitError, match="You have 2 runs here"):
        engine.import_zip(io.BytesIO(content), "ann")
    with pytest.raises(LimitError, match="You have 2 runs here"):
        engine.submit(config, corpus, "ann")
    engine.import_zip(io.BytesIO(content), "bob")
    for start in (
        lambda: engine.import_zip(io.BytesIO(content), "eve"),
        lambda: engine.submit(config, corpus, "eve"),
    ):
        with pytest.raises(LimitError, match="This server holds 3 runs"):
            start()
    assert len(list(own_home.iterdir())) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_steps": "1000000"}, "1,000,000 steps"),
        ({"max_steps": "1000", "max_seconds": "100000"}, "100000 seconds"),
        ({"batch_size": "65536", "max_steps": "1000"}, "memory"),
        ({"max_steps": "1000", "compile": "true"}, "compiled"),
        ({"max_steps": "1000", "keep_checkpoints": "1000000"}, "MB of disk, most of it for checkpoints"),
    ],
)
def test_a_run_from_elsewhere_may_be_looked_at_but_goes_on_only_within_the_limits(
    good: Files, server: Callable[..., ThreadEngine], changes: dict[str, str], words: str
) -> None:
    engine = server()
    files = with_json(with_settings(good, **changes), "run.json", status="stopped")
    run_id = engine.import_zip(io.BytesIO(zipped(files)), "ann")
    load_run(run_id)
    with pytest.raises(LimitError, match=words):
        engine.command(run_id, "ann", "resume")
    assert engine.snapshot(run_id).status == "stopped"


def test_a_training_may_not_take_more_disk_than_the_server_allows() -> None:
    corpus = corpus_from_text(TEXT, name="cats")
    HOSTED.check_run(RunConfig(), corpus, 40)
    for changes in (
        {"training.keep_checkpoints": 1000},
        {"training.history_megabytes": 1e9, "training.history_per_octave": 64},
    ):
        with pytest.raises(LimitError, match="MB of disk"):
            HOSTED.check_run(RunConfig().updated({"model.d_model": 128, **changes}), corpus, 40)


# -- a corpus in a run's folder

HOSTILE_DOCUMENTS = {
    "longer than the file": [[10**9, 10**9]],
    "less than nothing": [[-5, -5]],
    "one that takes what the next one has less": [[100, 100], [-90, -90]],
    "more characters than bytes": [[5, 10]],
    "infinite": [[float("inf"), 3]],
    "digits": [[10**4_000, 10**4_000]],
    "text": [["5", "5"]],
    "one number": [[5]],
    "not in pairs": [5, 5],
    "nothing": None,
    "in a mapping": {"55": 5},
    "deep": json.loads(DEEP),
    "halves": [[5.5, 5.5]],
}


@pytest.mark.parametrize("documents", HOSTILE_DOCUMENTS.values(), ids=HOSTILE_DOCUMENTS)
def test_a_stored_corpus_of_another(tmp_path: Path, documents: object) -> None:
    header = {"format_version": 1, "name": "cats", "origin": "", "documents": documents}
    path = tmp_path / "unprepared.txt"
    path.write_bytes(json.dumps(header).encode() + b"\n" + b"the cat\n" * 5_000)

    def read() -> None:
        with pytest.raises(CheckpointError, match="missing or damaged"):
            stored_corpus(path).documents  # noqa: B018 - reading it is the check

    assert peak_megabytes(read) < 5


# -- an alphabet as large as a script has


def test_37_000_different_characters(own_home: Path) -> None:
    """As in a corpus of Chinese and Korean: trained, looked at, exported and imported in memory for its 37,000 tokens."""
    characters = [
        chr(code)
        for first, last in ((0x4E00, 0x9FA6), (0x3400, 0x4DB6), (0xAC00, 0xD7A4))
        for code in range(first, last)
    ]
    text = "".join(characters[:37_000]) * 2
    config = RunConfig().updated(
        {
            "model.num_layers": 1, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 8,
            "training.batch_size": 2, "training.max_steps": 1, "training.eval_batches": 1, "training.num_threads": 1,
            "data.max_validation_tokens": 500, "training.sample_tokens": 3,
        }
    )  # fmt: skip

    made: list[RunFolder] = []
    corpus = corpus_from_text(text, name="many")
    assert peak_megabytes(lambda: made.append(create_run(config, corpus, store=RunStore()))) < 60
    (folder,) = made
    for _ in TrainingJob(folder).work():
        pass
    use(folder)
    buffer = io.BytesIO()
    export_zip(folder, buffer, include_data=True)
    assert RunStore().import_zip(buffer, limits=HOSTED).tokenizer.vocab_size == 37_004
