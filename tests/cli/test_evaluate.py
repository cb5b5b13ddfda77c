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
