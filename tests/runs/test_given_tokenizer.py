"""A tokenizer from a file, `tokenizer.path`, takes the place of one that is learned."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import ConfigError, InputError
from minigpt.pieces import completed
from minigpt.runs.export import export_zip
from minigpt.runs.job import TrainingJob, check_resume
from minigpt.runs.preparation import begin_run, create_run, prepare_run
from minigpt.runs.store import RunStore
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.exporting import to_huggingface

TEXT = "the cat sat on the mat. " * 60
CORPUS = corpus_from_text(TEXT, name="cats")
TOKENIZERS = {
    "bpe": BPETokenizer(7).train("the dog and the log " * 9),
    "byte": ByteTokenizer(),
    "character": CharacterTokenizer().train("abcdefghijklmnopqrstuvwxyz. "),
}


def settings(path: Path | str) -> RunConfig:
    return RunConfig().updated(
        {
            "tokenizer.path": str(path), "model.num_layers": 1, "model.num_heads": 1, "model.d_model": 4,
            "model.sequence_length": 8, "device": "cpu",
        }
    )  # fmt: skip


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("form", ["ours", "theirs"])
@pytest.mark.parametrize("way", ["at once", "in pieces"])
def test_a_run_uses_the_tokenizer_of_the_file(kind, form, way, tmp_path):
    tokenizer, path, store = TOKENIZERS[kind], tmp_path / "tokenizer.json", RunStore(tmp_path / "runs")
    if form == "ours":
        tokenizer.save(path)
    else:
        path.write_text(json.dumps(to_huggingface(tokenizer)), "utf-8")
    if way == "at once":
        folder = create_run(settings(path), CORPUS, store=store)
    else:
        folder = begin_run(settings(path), CORPUS, store=store)
        path.unlink()  # the run has its own copy by now
        completed(prepare_run(folder))
    if form == "ours":
        assert folder.tokenizer.to_dict() == tokenizer.to_dict()
    else:  # bytes come back as byte pairs without a merge
        assert folder.tokenizer.encode(TEXT) == tokenizer.encode(TEXT)
    assert folder.config.tokenizer.kind == folder.tokenizer.kind
    assert folder.meta["vocab_size"] == tokenizer.vocab_size
    check_resume(folder, settings(path))


def test_the_path_stays_on_this_machine(tmp_path):
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["byte"].save(path)
    store = RunStore(tmp_path / "runs")
    folder = create_run(
        settings(path).updated({"training.max_steps": 1, "training.num_threads": 1}), CORPUS, store=store
    )
    assert folder.config.tokenizer.path == path
    for _ in TrainingJob(folder).work():
        pass
    export_zip(folder, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert not [name for name in archive.namelist() if str(tmp_path).encode() in archive.read(name)]
    copy = store.import_zip(tmp_path / "run.zip")
    assert (copy.config.tokenizer.path, copy.config.tokenizer.kind) == (None, "byte")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"kind": "words"}', b'{"model": {"type": "Unigram"}}'])
def test_a_file_that_holds_no_tokenizer_is_refused_and_nothing_is_left(content, tmp_path):
    path, store = tmp_path / "tokenizer.json", RunStore(tmp_path / "runs")
    if content is not None:
        path.write_bytes(content)
    for make in (create_run, begin_run):
        with pytest.raises(InputError, match=r"tokenizer\.json"):
            make(settings(path), CORPUS, store=store)
    assert not store.list()


@pytest.mark.parametrize("given", [3, True, ["a"], "a\0b", "-"])
def test_what_is_no_path_is_refused_by_name(given):
    with pytest.raises(ConfigError, match=r"tokenizer\.path"):
        RunConfig().updated({"tokenizer.path": given})
    assert RunConfig().updated({"tokenizer.path": ""}).tokenizer.path is None
