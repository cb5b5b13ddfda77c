from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.runs.loading import load_run


@pytest.fixture(scope="module")
def run(trained) -> Path:
    return trained[0]


def test_json_says_what_scripts_rely_on_and_what_the_library_says(call, run: Path, corpus_file: Path) -> None:
    printed = json.loads(call("evaluate", run, "--data", corpus_file, "--stride", "5", "--json").stdout)
    text = corpus_file.read_text("utf-8")
    expected = ModelEvaluator(load_run(run)).evaluate(text, stride=5)
    for key in ("loss", "perplexity", "bits_per_char", "bits_per_byte", "num_tokens", "num_tokens_scored"):
        assert printed[key] == pytest.approx(getattr(expected, key))
    assert printed["perplexity"] == pytest.approx(math.exp(printed["loss"]))
    assert printed["num_tokens_scored"] == len(text)
    assert "predictions" not in printed


def test_people_get_the_same_in_words(call, run: Path, corpus_file: Path) -> None:
    result = call("evaluate", run, "--data", corpus_file)
    expected = ModelEvaluator(load_run(run)).evaluate(corpus_file.read_text("utf-8"))
    assert f"{expected.bits_per_char:.4f}" in result.stdout
    assert result.stderr == ""


def test_the_text_is_cleaned_as_the_training_text_was(call, run: Path, tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix.txt", tmp_path / "windows.txt"
    unix.write_bytes(b"the cat sat.\nthe dog.")
    windows.write_bytes("the cat sat.\r\nthe dog.".encode("utf-16"))
    one, other = (json.loads(call("evaluate", run, "--data", path, "--json").stdout) for path in (unix, windows))
    assert one == other


def test_unknown_characters_are_charged_and_reported(call, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "cat.txt"
    path.write_text("the 猫 sat", "utf-8")
    assert "1 characters are unknown" in call("evaluate", run, "--data", path).stderr


def test_a_text_of_one_character_is_scored(call, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("t")
    assert json.loads(call("evaluate", run, "--data", path, "--json").stdout)["num_tokens_scored"] == 1


@pytest.mark.parametrize("stride", ["0", "-3", "17"])
def test_an_impossible_stride_is_explained(call, run: Path, corpus_file: Path, stride: str) -> None:
    assert "from 1 to 16" in call("evaluate", run, "--data", corpus_file, "--stride", stride, code=2).stderr


def test_empty_and_binary_files_are_named(call, run: Path, tmp_path: Path) -> None:
    for content in (b"", b"\x00\x01\x02" * 99):
        path = tmp_path / "odd.txt"
        path.write_bytes(content)
        assert "odd.txt" in call("evaluate", run, "--data", path, code=2).stderr


def test_several_runs_and_files_are_a_table_of_the_single_results(call, run: Path, tmp_path: Path) -> None:
    names = ["sat.txt", "log.txt"]
    for name in names:
        (tmp_path / name).write_text(f"the cat {name[:3]} on a mat. " * 9)
    files = [f"--data={tmp_path / name}" for name in names]
    printed = [json.loads(line) for line in call("evaluate", run, "tales", *files, "--json").stdout.splitlines()]
    assert [(each["run"], each["data"]) for each in printed] == [(r, n) for r in (str(run), "tales") for n in names]
    single = json.loads(call("evaluate", "tales", files[1], "--json").stdout)
    assert printed[3] == {**single, "data": names[1]}
    rows = call("evaluate", run, "tales", *files).stdout.splitlines()
    assert rows[0].split() == ["run", "text", "loss", "perplexity", "bits/char", "bits/byte", "tokens", "unknown"]
    assert [row.split()[:3] for row in rows[1:]] == [[e["run"], e["data"], f"{e['loss']:.4f}"] for e in printed]


@pytest.mark.parametrize("wrong", ["run", "checkpoint", "file", "content", "step"])
def test_nothing_is_printed_if_one_of_several_cannot_be_scored(call, run: Path, tmp_path: Path, wrong: str) -> None:
    good, odd, alone = tmp_path / "good.txt", tmp_path / "odd.txt", tmp_path / "step-0000001"
    good.write_text("the cat")
    odd.write_bytes(b"\0\1" * 99)
    alone.mkdir()
    (alone / "model.safetensors").write_bytes(b"x")
    more = {
        "run": ["nothing", f"--data={good}"],
        "checkpoint": [alone, f"--data={good}"],
        "file": [f"--data={good}", "--data=missing.txt"],
        "content": [f"--data={good}", f"--data={odd}"],
        "step": [f"--data={good}", "--step=7777"],
    }[wrong]
    result = call("evaluate", run, *more, "--json", code=1 if wrong == "checkpoint" else 2)
    assert result.stdout == ""
    assert result.stderr.count("Error: ") == 1


def test_a_second_evaluation_computes_nothing(call, run: Path, corpus_file: Path, monkeypatch) -> None:
    first = call("evaluate", run, "--data", corpus_file, "--stride=7").stdout
    monkeypatch.setattr(ModelEvaluator, "evaluate", None)
    assert call("evaluate", run, "--data", corpus_file, "--stride=7").stdout == first
    assert "failed" in call("evaluate", run, "--data", corpus_file, "--stride=7", "--no-cache", code=1).stderr
