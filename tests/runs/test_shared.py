"""Copies of runs in a shared place: whole at every moment, fetched by every server, deleted only on purpose."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigpt.errors import ConfigError, RunFault, RunNotFoundError, StorageError
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.shared import SharedPlace
from minigpt.runs.store import RunStore


@pytest.fixture(params=["file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "shared") if request.param == "file" else f"memory://{tmp_path.name}"


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunStore:
    """The runs of another server."""
    return RunStore(tmp_path / "elsewhere")


def contents(path: Path) -> dict[str, bytes]:
    files = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}
    return {name: each.read_bytes() for name, each in files.items() if name != "lock"}


def hashes(place: SharedPlace) -> set[str]:
    return {str(name).rpartition("/")[2] for name in place._files.find(place._objects)}


def check_round_trip(address: str, copied: RunFolder, elsewhere: RunStore) -> None:
    """Publish, mirror elsewhere, change, publish again, mirror again, delete for all."""
    place = SharedPlace(address)
    assert place.versions() == {}
    place.publish(copied)
    place.mirror(elsewhere)
    found = elsewhere.get(copied.id)
    assert contents(found.path) == contents(copied.path)
    assert load_run(found.path).step == copied.best_step

    before = {path: path.stat().st_mtime_ns for path in found.path.rglob("*") if path.is_file()}
    copied.update_info(name="renamed")
    shutil.rmtree(copied.checkpoint_path(copied.checkpoints()[0]))
    (copied.data_path / "shards.json").write_text("{}")  # a run that learns from shards
    (copied.data_path / "shard-00000.bin").write_bytes(b"tokens")
    place.publish(copied)
    other = SharedPlace(address)
    other.mirror(elsewhere)
    assert contents(found.path) == contents(copied.path)
    rewritten = {path.name for path, time in before.items() if path.exists() and path.stat().st_mtime_ns != time}
    assert rewritten == {"run.json"}
    manifest = place._manifest(copied.id)
    assert hashes(place) == {digest for digest, _ in manifest.values()}  # nothing is kept that no run needs

    copied.update_info(status="stopped")
    place.delete(copied.id)
    other.mirror(elsewhere)
    assert elsewhere.list() == []
    assert hashes(place) == set()
    with pytest.raises(RunNotFoundError):
        place.fetch(copied.id, elsewhere)
    other.mirror(elsewhere)


def test_a_run_is_found_elsewhere_and_follows_its_changes(address: str, copied: RunFolder, elsewhere: RunStore) -> None:
    check_round_trip(address, copied, elsewhere)


def test_a_copy_that_is_cut_off_anywhere_leaves_the_one_before(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = SharedPlace(str(tmp_path / "shared"))
    place.publish(copied)
    before = contents(copied.path)
    copied.update_info(name="renamed")
    (copied.path / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n')
    copied.history_path(4).write_bytes(b"other weights")
    left = 0

    def cut(name: str) -> Callable[..., Any]:
        real = getattr(place._files, name)

        def run(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("the network is gone")
            return real(*arguments, **more)

        return run

    with monkeypatch.context() as patch:
        for name in ("pipe_file", "put_file", "mv"):
            patch.setattr(place._files, name, cut(name))
        for allowed in range(5):  # metrics.jsonl, run.json, the weights, the manifest, its new name
            left = allowed
            with pytest.raises(StorageError, match="the network is gone"):
                place.publish(copied)
            shutil.rmtree(elsewhere.root, ignore_errors=True)
            assert contents(SharedPlace(place.address).fetch(copied.id, elsewhere).path) == before
        left = 5
        place.publish(copied)
    place.fetch(copied.id, elsewhere)
    assert contents(elsewhere.get(copied.id).path) == contents(copied.path)


def test_a_reader_is_given_a_newer_copy_if_the_old_one_goes_meanwhile(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, reader = SharedPlace(str(tmp_path / "shared")), SharedPlace(str(tmp_path / "shared"))
    place.publish(copied)
    real = SharedPlace._receive
    changes = iter(["once", "twice"])

    def receive(self: SharedPlace, run_id: str, entry: tuple[str, int], path: Path) -> None:
        if path.name == "run.json" and (name := next(changes, None)):
            copied.update_info(name=name)
            place.publish(copied)
        real(self, run_id, entry, path)

    monkeypatch.setattr(SharedPlace, "_receive", receive)
    assert reader.fetch(copied.id, elsewhere).name == "twice"


def test_what_a_training_removes_meanwhile_is_left_out(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = SharedPlace(str(tmp_path / "shared"))
    first, *_, last = copied.checkpoints()
    real = SharedPlace._digest

    def digest(self: SharedPlace, path: Path) -> str:
        shutil.rmtree(copied.checkpoint_path(first), ignore_errors=True)
        return real(self, path)

    monkeypatch.setattr(SharedPlace, "_digest", digest)
    place.publish(copied)
    assert last in place.fetch(copied.id, elsewhere).checkpoints()
    assert first not in elsewhere.get(copied.id).checkpoints()


def test_an_empty_or_another_place_deletes_nothing(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore, own_home: Path
) -> None:
    place = SharedPlace(str(tmp_path / "shared"))
    place.publish(copied)
    place.mirror(elsewhere)
    shutil.rmtree(tmp_path / "shared")
    place.mirror(elsewhere)
    SharedPlace(str(tmp_path / "other")).mirror(elsewhere)
    assert [folder.id for folder in elsewhere.list()] == [copied.id]


GOOD = ["0" * 64, 3]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{",
        b'{"files": []}',
        b'{"files": {}}',
        json.dumps({"files": {"../run.json": GOOD, "run.json": GOOD}}).encode(),
        json.dumps({"files": {"/etc/passwd": GOOD, "run.json": GOOD}}).encode(),
        json.dumps({"files": {"lock": GOOD, "run.json": GOOD}}).encode(),
        json.dumps({"files": {"checkpoints/step-0000001/../../run.json": GOOD, "run.json": GOOD}}).encode(),
        json.dumps({"files": {"run.json": ["../../secret", 3]}}).encode(),
        json.dumps({"files": {"run.json": "0" * 64}}).encode(),
        json.dumps({"files": {"run.json": ["0" * 64, "3"]}}).encode(),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore, manifest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    place = SharedPlace(str(tmp_path / "shared"))
    place.publish(copied)
    (tmp_path / "shared" / "manifests" / f"{copied.id}.json").write_bytes(manifest)
    with pytest.raises(RunFault):
        place.fetch(copied.id, elsewhere)
    place.mirror(elsewhere)  # and no other run suffers
    assert "could not be fetched" in caplog.text
    assert elsewhere.list() == []
    place.publish(copied)
    assert place.fetch(copied.id, elsewhere).id == copied.id


def test_other_contents_than_the_manifest_says_are_refused(
    tmp_path: Path, copied: RunFolder, elsewhere: RunStore
) -> None:
    place = SharedPlace(str(tmp_path / "shared"))
    place.publish(copied)
    digest, size = place._manifest(copied.id)["data/train.bin"]
    (tmp_path / "shared" / "objects" / copied.id / digest).write_bytes(b"\0" * size)
    with pytest.raises(RunFault, match="is damaged"):
        place.fetch(copied.id, elsewhere)
    assert elsewhere.list() == []


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        SharedPlace("nothing-like-it://bucket")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be reached"):
        SharedPlace(str(tmp_path / "file" / "inside")).delete("a" * 26)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match="minigpt-lab"):
        SharedPlace("s3://bucket/runs")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match="minigpt-lab"):
        SharedPlace(str(tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the libraries of others
def test_a_bucket_is_such_a_place(bucket: str, copied: RunFolder, elsewhere: RunStore) -> None:
    check_round_trip(bucket, copied, elsewhere)
    with pytest.raises(StorageError, match="cannot be reached"):
        SharedPlace("s3://no-such-bucket/runs").publish(copied)
