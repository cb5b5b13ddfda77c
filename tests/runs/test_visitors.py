"""What visitors bring: kept field by field, private, bounded, and a hostile file counts as none."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from minigpt.errors import StorageError
from minigpt.runs.limits import Limits, load_limits
from minigpt.runs.store import RunStore
from minigpt.runs.visitors import LEAST_BYTES, VisitorStore

KEY, OTHER = "a-key-that-nobody-guesses", "the-key-of-another-person"
VALUES = [
    "text",
    r"\ud800 of a person who writes about Unicode",
    "",
    "\ud800 half a character",
    "line\r\nline\0\u2028",
    {"a": [1, 2.5, None, True]},
    [],
    0,
    False,
]


def limits(**changes: object) -> Limits:
    return load_limits("hosted").model_copy(update=changes)


def store(root: Path, **changes: object) -> VisitorStore:
    return VisitorStore(limits(**changes), root)


def file_of(kept: VisitorStore, key: str = KEY, field: str = "prompt") -> Path:
    """Write a field and return its file."""
    before = set(kept.root.glob("*/*"))
    kept.write(key, field, "mine")
    return (set(kept.root.glob("*/*")) - before).pop()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_read_by_another_process_under_its_key_only(tmp_path: Path, value: object) -> None:
    assert store(tmp_path).write(KEY, "prompt", value)
    expected = value.replace("\ud800", "?") if isinstance(value, str) else value
    assert store(tmp_path).read(KEY, "prompt") == expected
    assert store(tmp_path).read(OTHER, "prompt") is None
    assert store(tmp_path).read(KEY, "passage") is None


def test_none_removes_a_field_and_forgetting_removes_all_of_one_visitor(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for key in (KEY, OTHER):
        kept.write(key, "prompt", "a")
        kept.write(key, "passage", "b")
    kept.write(KEY, "prompt", None)
    assert [kept.read(KEY, "prompt"), kept.read(KEY, "passage")] == [None, "b"]
    kept.forget(KEY)
    kept.forget(KEY)  # a second time is no error
    assert [kept.read(KEY, "passage"), kept.read(OTHER, "passage")] == [None, "b"]
    assert len(list(kept.root.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_files_are_private_and_the_key_is_in_no_name_and_no_file(tmp_path: Path) -> None:
    file = file_of(store(tmp_path))
    for path, mode in ((file, 0o600), (file.parent, 0o700), (file.parent.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert KEY not in str(file) + file.read_text("utf-8")


def test_what_visitors_brought_is_never_taken_for_a_run(tmp_path: Path) -> None:
    file_of(store(tmp_path))
    assert RunStore(tmp_path).list() == []
    assert RunStore(tmp_path).list_damaged() == []


HOSTILE = {
    "empty": b"",
    "not JSON": b"PK\x03\x04",
    "cut": b'{"version": 1, "value": "mi',
    "not UTF-8": b'{"version": 1, "value": "\xff\xfe"}',
    "another version": b'{"version": 2, "value": "mine"}',
    "no version": b'{"value": "mine"}',
    "no object": b'["mine"]',
    "half a character": b'{"version": 1, "value": "\\uD800"}',
    "half a character in a name": b'{"version": 1, "value": {"\\udfff": 1}}',
    "no number": b'{"version": 1, "value": NaN}',
    "endless number": b'{"version": 1, "value": 1' + b"0" * 5000 + b"}",
    "deep": b'{"version": 1, "value": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "huge": b'{"version": 1, "value": "' + b"x" * 200_000 + b'"}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_counts_as_missing_and_is_replaced_by_the_next_value(tmp_path: Path, content: bytes) -> None:
    kept = store(tmp_path)
    file_of(kept).write_bytes(content)
    assert kept.read(KEY, "prompt") is None
    kept.write(KEY, "prompt", "again")
    assert kept.read(KEY, "prompt") == "again"


@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_plain_file_counts_as_missing(tmp_path: Path, kind: str) -> None:
    kept = store(tmp_path)
    file = file_of(kept)
    elsewhere = file.rename(tmp_path / "elsewhere.json")
    if kind == "pipe":
        os.mkfifo(file)  # reading it must not wait for a writer
    elif kind == "link":
        file.symlink_to(elsewhere)
    else:
        file.mkdir()
    assert kept.read(KEY, "prompt") is None


@pytest.mark.parametrize("field", ["prompt", "passage", "pasted", "settings", "corpus"])
def test_a_value_larger_than_the_profile_allows_is_not_kept(tmp_path: Path, field: str) -> None:
    kept = store(tmp_path, max_upload_bytes=50_000, max_corpus_chars=50_000, max_score_chars=50_000)
    kept.write(KEY, field, "before")
    assert not kept.write(KEY, field, "ä" * 400_000)
    assert kept.read(KEY, field) == "before"


def test_many_keys_fill_no_disk_and_those_not_used_for_the_longest_time_go_first(tmp_path: Path) -> None:
    kept = store(tmp_path, max_kept_megabytes=1)
    fits = 1_000_000 // LEAST_BYTES
    keys = [f"{number:020}" for number in range(3 * fits)]
    for minute, key in enumerate(keys):
        for used in (key, KEY):
            kept.write(used, "prompt", "x")
            when = time.time() - 100_000 + 60 * minute
            os.utime(kept._path(used), (when, when))
    assert len(list(kept.root.iterdir())) == fits
    assert [key for key in keys if kept.read(key, "prompt")] == keys[1 - fits :]
    assert kept.read(KEY, "prompt") == "x"
    kept.write(KEY, "corpus", "y" * 900_000)
    assert sum(file.stat().st_size for file in kept.root.glob("*/*")) < 1_000_000
    assert kept.read(KEY, "corpus") is not None


@pytest.mark.parametrize(("hours", "stays"), [(None, True), (24, False), (1000, True)])
def test_what_a_visitor_brought_expires_like_a_run(tmp_path: Path, hours: float | None, stays: bool) -> None:
    kept = store(tmp_path, run_ttl_hours=hours)
    folder = file_of(kept).parent
    two_days_ago = time.time() - 48 * 3600
    os.utime(folder, (two_days_ago, two_days_ago))
    kept.sweep()
    assert folder.exists() is stays
    assert not list(tmp_path.glob("**/.tmp-*"))


def test_a_visit_postpones_the_expiry(tmp_path: Path) -> None:
    kept = store(tmp_path)
    folder = file_of(kept).parent
    os.utime(folder, (0, 0))
    kept.touch(KEY)
    kept.sweep()
    assert folder.exists()
    kept.touch(OTHER)  # of whom nothing is kept
    assert len(list(kept.root.iterdir())) == 1


def test_what_a_killed_process_left_unfinished_is_removed_after_an_hour(tmp_path: Path) -> None:
    kept = store(tmp_path)
    inside = file_of(kept).with_name(".tmp-prompt.json-12345678")
    beside = kept.root / ".tmp-folder-12345678"
    inside.write_bytes(b"x")
    beside.mkdir()
    kept.sweep()
    assert inside.exists()
    assert beside.exists()
    for path in (inside, beside):
        os.utime(path, (0, 0))
    os.utime(inside.parent, None)
    kept.sweep()
    assert not inside.exists()
    assert not beside.exists()
    assert kept.read(KEY, "prompt") == "mine"


def test_two_tabs_that_write_at_once_leave_whole_files(tmp_path: Path) -> None:
    kept, values = store(tmp_path), ["a" * 20_000, "b" * 20_000]
    seen = []

    def write(value: str) -> None:
        for _ in range(30):
            kept.write(KEY, "prompt", value)
            seen.append(kept.read(KEY, "prompt"))

    tabs = [threading.Thread(target=write, args=(value,)) for value in values]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert set(seen) <= set(values)
    assert len(seen) == 60


def test_a_full_disk_is_an_error_in_words_and_the_old_value_stays(tmp_path: Path, small_files) -> None:  # type: ignore[no-untyped-def]
    kept = store(tmp_path)
    kept.write(KEY, "corpus", "before")
    with small_files(1000), pytest.raises(StorageError):
        kept.write(KEY, "corpus", "x" * 100_000)
    assert kept.read(KEY, "corpus") == "before"
    assert json.loads(next(kept.root.glob("*/corpus.json")).read_text("utf-8")) == {"version": 1, "value": "before"}
