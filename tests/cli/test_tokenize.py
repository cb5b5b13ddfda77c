"""`minigpt tokenize`: the tokenizer's own answer, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minigpt.runs.loading import find_run


@pytest.mark.parametrize("run", ["tales", "tales-bpe"])
@pytest.mark.parametrize("text", ["Once upon a time", "a café", "", "two\nlines", "[red]no markup[/red]"])
def test_pieces_and_ids_are_those_of_the_tokenizer(call, run: str, text: str) -> None:
    tokenizer = find_run(run).tokenizer
    told = json.loads(call("tokenize", run, "--text", text, "--json").stdout)
    assert told["ids"] == tokenizer.encode(text)
    assert told["tokens"] == tokenizer.token_pieces(text)
    assert told["num_tokens"] == len(told["tokens"]) == len(told["ids"])
    shown = call("tokenize", run, "--text", text, "--ids").stdout.strip()
    assert shown == " ".join(map(str, told["ids"]))
    back = json.loads(call("tokenize", run, "--decode", shown, "--json").stdout)
    assert back["text"] == tokenizer.decode(told["ids"], skip_special=False)
    if "\n" not in text:
        assert call("tokenize", run, "--text", text).stdout == "|".join(told["tokens"]) + "\n"


def test_a_file_is_cleaned_as_the_text_of_the_run(call, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\ntwo".encode("utf-16"))
    assert json.loads(call("tokenize", "tales", "--data", path, "--json").stdout)["text"] == "one\ntwo"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give one of --text"),
        (["--text=a", "--decode=1"], "Give one of --text"),
        (["--decode=one"], "'one' is no token id"),
        (["--decode=-1"], "'-1' is no token id"),
        (["--decode=999999"], "999999"),
        (["--data=missing.txt"], "There is no file"),
    ],
)
def test_wrong_input_is_one_message(call, options: list[str], message: str) -> None:
    result = call("tokenize", "tales", *options, code=2)
    assert message in result.stderr
    assert result.stdout == ""
