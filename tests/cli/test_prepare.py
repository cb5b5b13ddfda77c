"""`minigpt prepare`, and a training from what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minigpt.cli.root import cli
from minigpt.data import sharding
from minigpt.data.generators.tales import generate_tales
from minigpt.data.prepared import open_data
from minigpt.data.shards import TokenStream, read_shards
from minigpt.runs.folder import RunFolder

SMALL = [
    "--set=model.num_layers=1", "--set=model.num_heads=1", "--set=model.d_model=8", "--set=model.sequence_length=8",
    "--set=training.max_steps=3", "--set=training.batch_size=2", "--set=training.sample_steps=0", "--device=cpu",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tales.txt").write_text(generate_tales(3000))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def prepare(out: str = "tokens", *arguments: str) -> Result:
    given = ["--data=tales.txt", f"--out={out}", "--set=tokenizer.kind=bpe", "--processes=1"]
    return call("prepare", *given, "--set=tokenizer.num_merges=50", *arguments)


def test_prepare_then_train_then_resume():
    result = prepare("tokens", "--json")
    assert result.exit_code == 0, result.output
    written = read_shards(Path("tokens"))
    assert json.loads(result.stdout) == {
        "folder": str(Path("tokens").resolve()), "num_tokens": written.num_tokens, "num_chars": 3000, "vocab_size": 310,
        "num_shards": 1, "sha256": written.sha256,
    }  # fmt: skip
    result = call("train", "--data=tokens", "--out=run", *SMALL)
    assert result.exit_code == 0, result.output
    folder = RunFolder(Path("run"))
    assert isinstance(open_data(folder.data_path).train, TokenStream)
    assert folder.config.tokenizer.kind == "bpe"
    result = call("train", "--resume", "--out=run", "--data=tokens", "--set=training.max_steps=5")
    assert "5 steps" in result.output
    assert call("generate", "run", "--max-new-tokens=3").exit_code == 0
    assert prepare("tokens").exit_code == 2  # finished
    prepare("others", "--set=tokenizer.num_merges=9")
    result = call("train", "--resume", "--out=run", "--data=others", "--set=training.max_steps=6")
    assert result.exit_code == 0, result.output  # the same text; the run keeps its tokens


def test_interrupted_work_says_how_to_go_on(monkeypatch):
    write = sharding._write_shard

    def once(tokenizer, path, texts):
        if path.name == "shard-00002.bin":
            raise KeyboardInterrupt
        return write(tokenizer, path, texts)

    more = ["--data=tales.txt"] * 3 + ["--shard-chars=1"]  # a shard for each document
    monkeypatch.setattr(sharding, "_write_shard", once)
    result = prepare("tokens", *more)
    assert result.exit_code == 130
    assert "2 shards are finished. The same command goes on from there." in result.stderr
    assert "is a folder. Give a file, or a folder that `minigpt prepare` has finished." in call(
        "train", "--data=tokens"
    ).stderr.replace("\n", " ")
    monkeypatch.setattr(sharding, "_write_shard", write)
    result = prepare("tokens", *more)
    assert result.exit_code == 0
    assert "2 shards are there already" in result.stderr
    assert len(read_shards(Path("tokens")).shards) > 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out=tales.txt/tokens"], "is a file, so there can be no folder"),
        (["--out=."], "which is not part of a corpus in shards"),
        (["--processes=0"], "0 is not in the range"),
        (["--shard-chars=x"], "'x' is not a valid integer range"),
        (["--data=."], "is a folder"),
        (["--data=nothing.txt"], "There is no file"),
        (["--tokenizer=tales.txt"], "is damaged"),
        (["--set=tokenizer.kind=words"], "tokenizer.kind"),
    ],
)
def test_wrong_input_is_refused_in_words_and_nothing_is_written(arguments, expected):
    result = prepare("tokens", *arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())
    assert not Path("tokens").exists()
    assert "Traceback" not in result.output
