from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from minigpt import storage
from minigpt.errors import ConfigError, StorageError
from minigpt.storage import (
    TEMPORARY_PREFIX,
    atomic_file,
    atomic_folder,
    flush,
    remove_folder,
    sha256_of,
    storage_errors,
    sweep,
    write_bytes,
    write_text,
)

SmallFiles = Callable[[int], AbstractContextManager[None]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- one error


def test_a_system_error_names_the_file_and_gives_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert caught.value.problem == f"{tmp_path / 'file'} could not be written: the disk is full."
    assert caught.value.mend.startswith("Free some space")
    assert isinstance(caught.value.__cause__, OSError)


def test_errors_of_a_library_count_only_where_they_are_named(tmp_path: Path) -> None:
    class LibraryError(Exception):
        pass

    with pytest.raises(StorageError, match="code 28"), storage_errors(tmp_path, LibraryError):
        raise LibraryError("code 28")
    with pytest.raises(LibraryError), storage_errors(tmp_path):
        raise LibraryError("code 28")


def test_our_own_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), atomic_file(tmp_path / "file"):
        raise ConfigError("No.", mend="Yes.")
    with pytest.raises(ConfigError), atomic_folder(tmp_path / "folder"):
        raise ConfigError("No.", mend="Yes.")
    assert names(tmp_path) == []


# -- files


def test_a_text_is_the_old_one_or_the_new_one(tmp_path: Path, small_files: SmallFiles) -> None:
    path = tmp_path / "best"
    write_text(path, "old\n")
    with small_files(1), pytest.raises(StorageError):
        write_text(path, "new, and longer\n")
    assert path.read_text() == "old\n"
    assert names(tmp_path) == ["best"]


def test_a_full_disk_leaves_no_new_file(tmp_path: Path, small_files: SmallFiles) -> None:
    with small_files(1), pytest.raises(StorageError, match="could not be written"):
        write_bytes(tmp_path / "file", b"longer than that")
    assert names(tmp_path) == []


def test_a_text_is_utf_8_and_bytes_are_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "né ☃\n")
    write_bytes(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "né ☃\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_no_half_written_file_is_ever_visible(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with atomic_file(path) as unfinished:
        with unfinished.open("w") as file:
            file.write("ne")
            file.flush()
            assert path.read_text() == "old"
            file.write("w")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    real_flush, real_replace = flush, os.replace

    def record_flush(path: Path) -> None:
        calls.append(("flush", path.name.partition("-")[0]))
        real_flush(path)

    def record_replace(source: Path, target: Path) -> None:
        calls.append(("replace", target.name))
        real_replace(source, target)

    monkeypatch.setattr(storage, "flush", record_flush)
    monkeypatch.setattr("os.replace", record_replace)
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "folder" / "file", "text")
    assert calls == [("flush", ".tmp"), ("replace", "file"), ("flush", "folder")]
    calls.clear()
    with atomic_file(tmp_path / "folder" / "file", wait=False) as unfinished:
        unfinished.write_bytes(b"newer")
    assert calls == [("replace", "file")]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "file", "text")


@pytest.mark.skipif(os.name != "posix", reason="names of 255 bytes")
def test_the_longest_name_a_file_can_have(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    write_text(path, "text")
    assert path.read_text() == "text"


# -- folders


def test_a_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with atomic_folder(path) as unfinished:
        (unfinished / "file").write_text("text")
        assert not path.exists()
    assert (path / "file").read_text() == "text"
    assert names(path.parent) == ["folder"]


def test_a_folder_that_fails_vanishes(tmp_path: Path, small_files: SmallFiles) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "folder") as new:
            (new / "first").write_text("1")
            (new / "second").write_text("longer than that")

    with small_files(1), pytest.raises(StorageError, match="folder could not be written"):
        fill()
    assert names(tmp_path) == []


def test_only_an_empty_folder_is_replaced_by_default(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with atomic_folder(path) as new:
        (new / "file").write_text("first")
    with pytest.raises(StorageError), atomic_folder(path) as new:
        (new / "file").write_text("second")
    assert (path / "file").read_text() == "first"
    with atomic_folder(path, replace=True) as new:
        (new / "file").write_text("third")
    assert (path / "file").read_text() == "third"
    assert names(tmp_path) == ["folder"]


def test_removing(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_text("text")
    remove_folder(path)
    assert names(tmp_path) == []
    with pytest.raises(StorageError, match="folder"):
        remove_folder(path)


def test_leftovers_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}step-0000009-abcd").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}step-0000009-abcd" / "model.safetensors").write_bytes(b"half")
    (tmp_path / f"{TEMPORARY_PREFIX}run.json-1234").write_text("{")
    (tmp_path / ".step-0000009.safetensors.1234.tmp").write_text("as earlier versions named it")
    (tmp_path / "meta.json.tmp").write_text("as earlier versions named it")
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "checkpoints").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ["checkpoints", "run.json"]
    sweep(tmp_path / "nowhere")


def test_a_hash(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
