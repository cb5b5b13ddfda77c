"""The folder of a run: its fields, and the error when it is damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.errors import CheckpointError, RunNotFoundError
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.storage import remove_folder
from minigpt.tokenizers.character import CharacterTokenizer

CATS = "the cat sat on the mat and the dog ate the cake. " * 12


def test_a_finished_run(trained: RunFolder) -> None:
    assert trained.info.status == "finished"
    assert trained.name == "cats"
    assert trained.checkpoints() == [4, 6, 8] if trained.best_step == 4 else [6, 8]
    assert trained.history_steps() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert trained.steps() == list(range(9))
    assert (trained.path / "checkpoints" / "last").read_text() == "step-0000008\n"
    assert trained.disk_bytes() == sum(path.stat().st_size for path in trained.path.rglob("*") if path.is_file())
    kinds = [record["kind"] for record in trained.metrics()]
    assert kinds.count("step") == 8
    assert set(trained.meta["baselines"]) == {"uniform", "unigram", "bigram"}


def test_update_info_keeps_the_rest(copied: RunFolder) -> None:
    before = copied.info
    after = copied.update_info(name="new name", tags=("a", "b"))
    assert after == copied.info == before.model_copy(update={"name": "new name", "tags": ("a", "b")})


@pytest.mark.parametrize(
    ("name", "contents", "look"),
    [
        ("run.json", "", lambda folder: folder.info),
        ("run.json", "[]", lambda folder: folder.info),
        ("run.json", '{"id": "../x", "name": "n", "created": "2020-01-01T00:00:00Z"}', lambda folder: folder.info),
        ("run.json", '{"id": "x", "name": "n", "created": "2020-01-01T00:00:00Z", "status": "odd"}', lambda f: f.info),
        ("run.json", '{"id": "x", "name": "n", "created": "2020-01-01T00:00:00"}', lambda folder: folder.info),
        ("config.yaml", "model: {num_layers: -1}", lambda folder: folder.config),
        ("config.yaml", "\x00", lambda folder: folder.config),
        ("tokenizer.json", "{", lambda folder: folder.tokenizer),
        ("data/meta.json", "{", lambda folder: folder.meta),
        ("data/meta.json", "[]", lambda folder: folder.meta),
        ("data/meta.json", '{"baselines": [1]}', lambda folder: folder.meta),
        ("data/meta.json", '{"baselines": {"uniform": "x"}}', lambda folder: folder.meta),
        ("data/meta.json", '{"num_chars": "many"}', lambda folder: folder.meta),
    ],
)
def test_a_damaged_folder_says_so(
    copied: RunFolder, name: str, contents: str, look: Callable[[RunFolder], object]
) -> None:
    (copied.path / name).write_text(contents)
    with pytest.raises(CheckpointError) as error:
        look(copied)
    assert "is damaged" in str(error.value)
    assert str(copied.path) in str(error.value)
    (copied.path / name).unlink()
    with pytest.raises((CheckpointError, RunNotFoundError)):
        look(copied)


def test_a_newer_format_is_refused(copied: RunFolder) -> None:
    values = json.loads((copied.path / "run.json").read_text())
    (copied.path / "run.json").write_text(json.dumps({**values, "format_version": 2}))
    with pytest.raises(CheckpointError, match="format 2"):
        copied.info  # noqa: B018 - reading it is what is tested


def test_unknown_fields_of_a_newer_writer_are_ignored(copied: RunFolder) -> None:
    values = json.loads((copied.path / "run.json").read_text())
    (copied.path / "run.json").write_text(json.dumps({**values, "mood": "good"}))
    assert copied.info.name == "cats"


def test_the_text_can_be_put_together_again_from_the_data(own_home: Path) -> None:
    documents = ["the cat sat on the mat. " * 20, "", "a second text, with é and 猫\n" * 20]
    corpus = Corpus("pets", tuple(documents), "made here")
    folder = create_run(RunConfig().updated({"model.sequence_length": 8}), corpus)
    assert folder.corpus() == corpus
    assert folder.corpus().sha256 == folder.meta["sha256"]
    shutil.rmtree(folder.data_path)
    with pytest.raises(CheckpointError):
        folder.corpus()


def test_a_tokenizer_without_bos_gives_the_text_back_as_one_document(
    copied: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "".join(copied.corpus().documents)
    monkeypatch.setattr(CharacterTokenizer, "bos_id", None)
    assert copied.corpus().documents == (whole,)


def test_metrics_are_flushed_before_their_checkpoint(
    small_run: RunConfig, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_run(small_run.updated({"training.checkpoint_steps": 4}), corpus_from_text(CATS, name="cats"))
    seen: list[tuple[str, list[int]]] = []
    monkeypatch.setattr("minigpt.runs.folder.flush", lambda path: seen.append((path.name, folder.checkpoints())))
    for _ in TrainingJob(folder).work():
        for step in folder.checkpoints():
            assert any(name == "metrics.jsonl" and step not in there for name, there in seen)
    assert len(seen) > 1


def test_a_folder_that_goes_while_it_is_counted(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may count files that a training renames meanwhile: missing files count 0, and nothing is raised."""
    fleeting = trained.path / "checkpoints" / ".step-0000009.tmp"
    before, scandir = trained.disk_bytes(), os.scandir
    fleeting.mkdir()

    def vanishing(path: object) -> object:
        if str(path) == str(fleeting) and fleeting.exists():
            fleeting.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert trained.disk_bytes() == before
    assert not fleeting.exists()


def test_bytes_are_counted_again_only_where_something_has_changed(
    copied: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Runs page asks for the size of every run on each visit."""

    def on_disk() -> int:
        return sum(path.stat().st_size for path in copied.path.rglob("*") if path.is_file())

    walks: list[str] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda path: (walks.append(str(path)), walk(path))[1])
    assert copied.disk_bytes() == copied.disk_bytes() == on_disk()
    assert len(walks) == 1
    copied.append_metrics({"kind": "step", "step": 99})
    assert copied.disk_bytes() == on_disk()
    remove_folder(copied.checkpoint_path(copied.checkpoints()[0]))
    assert copied.disk_bytes() == on_disk()
    copied.update_info(notes="kept for its rhymes")
    assert copied.disk_bytes() == on_disk()
    assert len(walks) == 4
