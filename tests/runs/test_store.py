"""Runs of one folder: made whole or not at all, listed, found by id, deleted."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import CheckpointError, CorpusError, RunExistsError, RunNotFoundError, StorageError
from minigpt.runs.loading import find_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore, is_valid_id, new_run_id
from minigpt.storage import atomic_folder


def test_ids_are_many_and_well_formed() -> None:
    ids = {new_run_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_valid_id(run_id) and len(run_id) == 26 for run_id in ids)
    assert {character for run_id in ids for character in run_id} == set("abcdefghijklmnopqrstuvwxyz234567")


@pytest.mark.parametrize(
    "text", ["", "..", "../../etc/passwd", "A" * 26, "a" * 25, "a" * 27, "a" * 25 + "1", "a" * 26 + "\n"]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_valid_id(text)
    with pytest.raises(RunNotFoundError):
        RunStore().get(text)


def test_a_new_run(small_run: RunConfig, own_home: Path) -> None:
    folder = RunStore().create(small_run, name="  A run  ", owner_token="secret", parent="abc")
    assert folder.path == own_home / folder.id
    assert is_valid_id(folder.id)
    info = folder.info
    assert (info.name, info.status, info.parent, info.error, info.format_version) == ("A run", "queued", "abc", None, 1)
    assert (datetime.now(UTC) - info.created).total_seconds() < 600
    assert folder.config == small_run
    assert "secret" not in (folder.path / "run.json").read_text()
    assert folder.is_owner("secret")
    assert not folder.is_owner("other")
    assert not folder.is_owner(None)
    assert RunStore().create(small_run).is_owner(None)


@pytest.mark.parametrize("name", ["", "   ", None])
def test_a_run_always_has_a_name(small_run: RunConfig, name: str | None) -> None:
    assert RunStore().create(small_run, name=name).name == "run"
    assert len(RunStore().create(small_run, name="x" * 500).name) == 200


def test_a_run_of_a_folder_of_ones_own(small_run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "deep/er"):
        folder = RunStore().create(small_run, path=tmp_path / place)
        assert folder.path == tmp_path / place
        with pytest.raises(RunExistsError, match="already"):
            RunStore().create(small_run, path=tmp_path / place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(RunExistsError, match="not empty"):
        RunStore().create(small_run, path=tmp_path / "full")
    with pytest.raises(RunExistsError):
        RunStore().create(small_run, path=tmp_path / "full" / "letter.txt")
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_what_fails_leaves_nothing_behind(small_run: RunConfig, own_home: Path) -> None:
    with pytest.raises(CorpusError, match="tokens"):
        create_run(small_run, corpus_from_text("short", name="short"))
    assert list(own_home.iterdir()) == []


def test_a_home_that_cannot_be_written(small_run: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        RunStore(tmp_path / "file").create(small_run)


def test_list_is_newest_first_and_leaves_damaged_ones_out(small_run: RunConfig, own_home: Path) -> None:
    store = RunStore()
    assert store.list() == []
    old, _, broken = (store.create(small_run, name=name) for name in ("old", "new", "broken"))
    old.update_info(created=datetime(2020, 1, 1, tzinfo=UTC))
    (broken.path / "run.json").write_text("{")
    (own_home / "notes").mkdir()
    (own_home / ".tmp-abc").mkdir()
    (own_home / "letter.txt").write_text("dear")
    assert [folder.name for folder in store.list()] == ["new", "old"]
    ((path, error),) = store.list_damaged()
    assert path == broken.path
    assert isinstance(error, CheckpointError)


def test_get_finds_a_run_in_a_folder_with_a_name(small_run: RunConfig, own_home: Path) -> None:
    folder = RunStore().create(small_run, path=own_home / "mine")
    assert RunStore().get(folder.id).path == own_home / "mine"
    assert find_run(folder.id).path == own_home / "mine"


def test_delete(small_run: RunConfig, own_home: Path) -> None:
    store = RunStore()
    keep, go = store.create(small_run), store.create(small_run)
    store.delete(go.id)
    assert [path.name for path in own_home.iterdir()] == [keep.id]
    with pytest.raises(RunNotFoundError):
        store.delete(go.id)


def test_what_a_killed_process_left_is_swept_when_nobody_owns_it(own_home: Path, small_run: RunConfig) -> None:
    store = RunStore()
    old, new = (f".tmp-{new_run_id()}-0123abcd" for _ in range(2))
    others = [".tmp-of-somebody-0123abcd", "notes.tmp", new_run_id()]
    for name in (old, new, *others):
        (own_home / name).mkdir(parents=True)
        if name != new:
            os.utime(own_home / name, (0, 0))
    (own_home / f"{old}-replaced").touch()
    with atomic_folder(own_home / new_run_id()) as owned:
        os.utime(owned, (0, 0))
        store.sweep()
        assert {path.name for path in own_home.iterdir()} == {new, owned.name, f"{old}-replaced", *others}
        (own_home / old).mkdir()
        os.utime(own_home / old, (0, 0))
        made = store.create(small_run)
        assert {path.name for path in own_home.iterdir()} == {new, owned.name, f"{old}-replaced", *others, made.id}


def test_the_next_attempt_sweeps_what_a_killed_one_left_beside_it(tmp_path: Path, small_run: RunConfig) -> None:
    names = [".tmp-mine-0123abcd", ".tmp-mine-0123abcg", ".tmp-mine", ".tmp-mine-2-0123abcd", ".tmp-other-0123abcd"]
    for name in names:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    RunStore().create(small_run, path=tmp_path / "mine")
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"mine", *names[1:]}
