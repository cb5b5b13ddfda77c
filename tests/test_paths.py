"""What a person gives as a path: each kind of wrong one is one sentence, and a pipe is read like a file."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minigpt import paths, resources
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import corpus_from_files
from minigpt.data.readers import read_text
from minigpt.errors import ConfigError, InputError, RunNotFoundError
from minigpt.paths import check_new_folder, is_stream, user_path
from minigpt.runs.loading import find_run, load_run
from minigpt.runs.store import RunStore, check_free

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")

WRONG = {
    "": "is empty",
    "~nobody-of-this-name": "home folder of a user who does not exist",
    "~nobody-of-this-name/a/b": "home folder of a user who does not exist",
    "a\0b": "a character that no path can have",
    "\ud800": "a character that no path can have",
    "n" * 300: "longer than a path can be",
    "é" * 150: "longer than a path can be",
    "a/" * 3000: "longer than a path can be",
    "loop": "leads back to itself",
    "loop/x": "leads back to itself",
    "back": "leads back to itself",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with two links that lead to each other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("back")
    (tmp_path / "back").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("given", WRONG, ids=lambda given: given[:20] or "empty")
def test_a_path_that_no_file_can_have_is_one_sentence_wherever_it_is_given(
    here: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=WRONG[given]) as caught:
        user_path(given)
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match=WRONG[given]):
        RunStore().create(RunConfig(), path=given)  # type: ignore[arg-type]
    for load in (find_run, load_run):
        with pytest.raises(RunNotFoundError, match=WRONG[given]):
            load(given)
    with pytest.raises(ConfigError, match=r"data\.paths is .* it must be"):
        RunConfig().updated({"data.paths": [given]})
    with pytest.raises(ConfigError, match="no settings file and no preset"):
        load_config(given)
    if given and "\0" not in given and given.isascii():  # the environment has neither, and an empty one is the default
        monkeypatch.setenv("MINIGPT_HOME", given)
        with pytest.raises(InputError, match=f"MINIGPT_HOME: .*{WRONG[given]}"):
            resources.home()


def test_a_folder_that_was_removed_under_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="has been removed"):
        user_path("x")
    assert user_path(tmp_path / "x") == tmp_path / "x"
    check_new_folder(tmp_path / "x")


def test_ordinary_paths_become_absolute(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "link").symlink_to("text")
    for given in ("text", "./text", "link", "~/text", here / "text", "a/../text"):
        assert user_path(given) == here / "text"
    assert user_path("./-") == here / "-"
    assert user_path("./~nobody-of-this-name") == here / "~nobody-of-this-name"


# --- where a new folder can be made


@pytest.mark.parametrize("given", [".", "./", "../here", "link", "sub/.."])
def test_the_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    place = user_path(tmp_path / "link" if given == "link" else given)
    with pytest.raises(InputError, match="is the current folder"):
        check_free(place)
    with pytest.raises(InputError, match="is the current folder"):
        RunStore().create(RunConfig(), path=place)
    assert Path.cwd().is_dir()
    assert list(tmp_path.iterdir()) != []


@pytest.mark.parametrize("given", ["..", "../..", "/"])
def test_a_folder_above_it_is_not_empty(here: Path, given: str) -> None:
    with pytest.raises(InputError, match="is not empty"):
        check_free(user_path(given))


@pytest.mark.parametrize("given", ["file/run", "file/a/b", "file", "pipe", "pipe/run", "/dev/null", "/dev/null/run"])
def test_there_is_no_folder_inside_a_file(here: Path, given: str) -> None:
    (here / "file").write_text("x")
    os.mkfifo(here / "pipe")
    with pytest.raises(InputError, match=r"is a file, so|is not empty"):
        check_free(user_path(given))


def test_a_folder_that_may_not_be_written_to(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)  # the tests may run as root, who may do anything
    with pytest.raises(InputError, match="may not write into"):
        check_free(here / "a" / "b")


def test_a_dash_is_standard_input_only_where_something_is_read() -> None:
    assert user_path("-") == Path("/dev/stdin")
    with pytest.raises(InputError, match="standard input, which cannot be used here"):
        user_path("-", for_reading=False)


# --- pipes


@contextlib.contextmanager
def pipe_with(content: bytes, kind: str, folder: Path) -> Iterator[Path]:
    """A pipe that another thread writes to, as `<(...)` in a shell or as a FIFO."""
    name = folder / "fifo"
    if kind == "fifo":
        os.mkfifo(name)
        writer = threading.Thread(target=lambda: name.write_bytes(content))
    else:
        reading, writing = os.pipe()
        name = Path(f"/dev/fd/{reading}")

        def write() -> None:
            with os.fdopen(writing, "wb") as file:
                file.write(content)

        writer = threading.Thread(target=write)
    writer.start()
    try:
        yield name
    finally:
        writer.join()
        if kind != "fifo":
            os.close(reading)


TEXT = "cafe\u0301 is open\r\n" * 20_000  # more than a pipe holds


@pytest.mark.parametrize("kind", ["fifo", "descriptor"])
@pytest.mark.parametrize("clean", [True, False])
def test_a_pipe_is_read_like_a_file(tmp_path: Path, kind: str, clean: bool) -> None:
    (tmp_path / "text").write_bytes(TEXT.encode())
    expected = corpus_from_files([tmp_path / "text"], clean=clean)
    with pipe_with(TEXT.encode(), kind, tmp_path) as name:
        assert is_stream(name)
        assert user_path(name) == name
        corpus = corpus_from_files([name], clean=clean)
    assert corpus.sha256 == expected.sha256
    assert corpus.documents == expected.documents == corpus.documents, "it can be used again, though read only once"
    with (
        pipe_with(TEXT.encode(), kind, tmp_path / "..")
        if kind != "fifo"
        else contextlib.nullcontext(tmp_path / "text") as name
    ):
        document = read_text(name)
    assert (document.text, document.num_bytes) == (TEXT, len(TEXT.encode()))


@pytest.mark.parametrize("kind", ["fifo", "descriptor"])
def test_settings_come_through_a_pipe(tmp_path: Path, kind: str) -> None:
    with pipe_with(b"max_steps: 7\n", kind, tmp_path) as name:
        assert load_config(name, environment={}).training.max_steps == 7


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b" \n", "only white space"), (b"\0" * 9999, "binary data")]
)
@pytest.mark.parametrize("kind", ["fifo", "descriptor"])
def test_a_pipe_without_a_text(tmp_path: Path, kind: str, content: bytes, message: str) -> None:
    with pipe_with(content, kind, tmp_path) as name, pytest.raises(InputError, match=message):
        corpus_from_files([name])


def test_a_pipe_without_an_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.read_stream, "__kwdefaults__", {"max_bytes": 10_000})
    with pipe_with(b"y\n" * 5_001, "descriptor", tmp_path) as name, pytest.raises(InputError, match="came out of"):
        read_text(name)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_devices_are_no_texts(name: str) -> None:
    with pytest.raises(InputError, match=r"is empty|binary data"):
        corpus_from_files([user_path(name)])
