"""Whatever goes wrong, a visitor of a shared server reads a page's words: no key, no flag, no folder, no code."""

from __future__ import annotations

import ast
import errno
import io
import math
import os
import re
import shutil
import socket
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from minigpt import config, errors, resources
from minigpt.app.ui.messages import error_words, message_words, without_folders
from minigpt.config import RunConfig
from minigpt.data import corpora
from minigpt.data.corpora import corpus_from_documents, corpus_from_text, load_corpus
from minigpt.data.readers import read_text
from minigpt.data.split import check_window
from minigpt.errors import MinigptError
from minigpt.generation.generator import TextGenerator
from minigpt.generation.settings import GenerationSettings, parse_sampler
from minigpt.interpret.patching import patch_residual
from minigpt.model.compilation import check_compiler
from minigpt.model.devices import resolve_device
from minigpt.runs import cost, manager
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import describe_failure
from minigpt.runs.limits import load_limits
from minigpt.runs.loading import load_run
from minigpt.runs.snapshots import snapshot_of
from minigpt.runs.store import RunStore
from minigpt.storage import storage_errors
from minigpt.training.precision import check_precision
from minigpt.training.tracking import check_trackers

ROOT = Path(__file__).resolve().parents[2]
TRICK = "gpj\u202etxt\x1b[2J\u200b.exe"
"""A name that turns a sentence round, clears a terminal, and hides a character."""

KEYS = "|".join(re.escape(name) for name in config.dotted_fields() if "." in name)
CODE = re.compile(
    rf"(?<![\w.])(?:{KEYS})\b|(?:^|\s)--\w|\[Errno|`|\\x[0-9a-f]{{2}}|\\u[0-9a-f]{{4}}|\\n|MINIGPT_|pip install"
)
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066\u2067\ufeff\ud800-\udfff]")


def faults(words: str) -> list[str]:
    """Return what a page may not say."""
    found = CODE.findall(words) + UNSEEN.findall(words)
    paths = (resources.home(), resources.cache(), resources.root(), Path.cwd(), Path.home())
    found += [str(path) for path in paths if str(path) in words]
    return found + re.findall(r"(?<![\w:/<.])/[\w.-]+/[\w.-]+", words)


@pytest.fixture(autouse=True)
def shared_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT_PROFILE", "hosted")


def refused(work: Callable[[], Any]) -> MinigptError:
    with pytest.raises(MinigptError) as caught:
        work()
    return caught.value


def tried(work: Callable[[], Any]) -> MinigptError | None:
    try:
        work()
    except MinigptError as error:
        return error
    return None


def check(error: MinigptError) -> None:
    problem, mend = error_words(error)
    assert problem
    assert mend
    assert faults(f"{problem}\n{mend}") == []
    assert " None" not in problem


# -- every message, as it is written


NO_PAGE = {
    "cli": "a terminal is where they are shown",
    "config/reading.py": "a settings file",
    "glossary.py": "a call from Python",
    "interpret/ablation.py": "a call from Python",
    "model/dropout.py": "a call from Python",
    "model/transformer.py": "a call from Python",
    "runs/sweep.py": "the command sweep",
    "tokenizers/base.py": "a call from Python",
    "training/processes.py": "torchrun and train --nproc",
    "training/sharding.py": "torchrun and train --nproc",
}
"""Parts whose messages may speak of code, and why: nothing on a page can lead to these."""


def written(node: ast.expr, names: dict[str, str]) -> str:
    """Return the text of a message as far as it is in the source; what is filled in later becomes a question mark."""
    match node:
        case ast.Constant(value):
            return str(value)
        case ast.JoinedStr(values):
            return "".join(written(value, names) for value in values)
        case ast.IfExp(_, first, second):
            return f"{written(first, names)} / {written(second, names)}"
        case ast.BinOp(left, _, right):
            return written(left, names) + written(right, names)
        case ast.Name(name):
            return names.get(name, "?")
        case _:
            return "?"


TREE = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, MinigptError)}
PACKAGE = ROOT / "minigpt"
MODULES = [
    where
    for where in sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    if not any(where.startswith(part) for part in NO_PAGE)
]


@cache
def messages(where: str) -> dict[str, str]:
    """Return what a page says of each error that this file raises, by its line."""
    nodes = list(ast.walk(ast.parse((PACKAGE / where).read_text("utf-8"))))
    names = {
        target.id: written(node.value, {})
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = {}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TREE and node.args:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            way_on = given.get("on_page", given.get("mend"))
            if way_on is not None:
                words = f"{written(node.args[0], names)} {written(way_on, names)}"
                found[f"{where}:{node.lineno}:{node.col_offset}"] = words
    return found


@pytest.mark.parametrize("where", MODULES)
def test_no_message_is_written_in_code(where: str) -> None:
    wrong = {place: faults(message_words(words)) for place, words in messages(where).items()}
    assert not {place: found for place, found in wrong.items() if found}


def test_the_walk_finds_the_messages() -> None:
    assert sum(len(messages(where)) for where in MODULES) > 150
    assert faults("Set training.max_steps, see `x` or --out: [Errno 2] '\\u202e'\u202e in /srv/minigpt/run.json.")


# -- every setting, with every kind of wrong value

WRONG: list[Any] = [None, -1, 1 << 80, 1e999, float("nan"), "", TRICK, "x" * 300, [], [TRICK], {"a": TRICK}, True]


@pytest.mark.parametrize("dotted", config.dotted_fields())
def test_a_wrong_setting_is_called_by_its_label(dotted: str) -> None:
    refusals = [tried(partial(RunConfig().updated, {dotted: value}, source="These settings")) for value in WRONG]
    assert any(refusals)
    for error in filter(None, refusals):
        check(error)


# -- files, texts and names


def file_kinds() -> dict[str, bytes]:
    from minigpt.data import readers

    kinds = {what: signature + b" " * 20 for signature, what in readers._SIGNATURES.items()}
    kinds |= {"utf-16": b"\xff\xfeabc", "utf-8": b"\xe9 caf\xc3\xa9"}
    return kinds | {"empty": b"", "blank": b" \n ", "binary": bytes(range(256))}


KINDS = file_kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_text(kind: str) -> None:
    error = refused(lambda: read_text(KINDS[kind], name=TRICK))
    check(error)
    assert "gpj" in error_words(error)[0]  # it still names the file


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENAMETOOLONG, errno.EIO]
)
@pytest.mark.parametrize("name", ["run.json", "checkpoints/step-000300/model.safetensors", TRICK])
def test_a_disk_that_refuses(number: int, name: str) -> None:
    def write() -> None:
        path = resources.home() / "m4hq2k3x7t5b6n2v4c7z3a5d2e" / name
        with storage_errors(path):
            raise OSError(number, os.strerror(number), str(path))

    error = refused(write)
    check(error)
    check(errors.RunFault(describe_failure(error, 300), mend="-"))


NETWORK = {
    "no name": urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
    "refused": urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")),
    "slow": TimeoutError("timed out"),
    "missing": urllib.error.HTTPError("https://example.org", 404, "Not Found", {}, None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", NETWORK)
def test_a_download_that_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NETWORK[kind]

    monkeypatch.setattr(corpora.urllib.request, "urlopen", fail)
    error = refused(lambda: load_corpus("shakespeare"))
    check(error)
    assert "put it" not in error.on_page  # a visitor cannot put a file on the server


# -- limits of the server


def limits(**changes: Any) -> Any:
    return load_limits("hosted").model_copy(update=changes)


CATS = corpus_from_text("the cat sat on the mat\n" * 40, name=TRICK)
LIMITS: dict[str, Callable[[], Any]] = {
    "upload": lambda: limits().check_upload(TRICK, 10**9),
    "prompt": lambda: limits().check_prompt("x" * 10_000),
    "score": lambda: limits().check_score_text("x" * 100_000),
    "corpus": lambda: limits(max_corpus_chars=5).check_corpus(CATS),
    "steps": lambda: limits(max_steps=1).check_run(RunConfig(), CATS, 50),
    "parameters": lambda: limits(max_parameters=1).check_run(RunConfig(), CATS, 50),
    "disk": lambda: limits(max_run_megabytes=1).check_run(RunConfig(), CATS, 50),
    "memory": lambda: limits(max_training_megabytes=1).check_run(RunConfig(), CATS, 50),
    "seconds": lambda: limits(max_seconds=1).check_run(RunConfig().updated({"training.max_seconds": 9}), CATS, 50),
    "compiled": lambda: limits().check_run(RunConfig().updated({"training.compile": True}), CATS, 50),
    "tracked": lambda: limits().check_run(RunConfig().updated({"training.track": ["wandb"]}), CATS, 50),
    "window": lambda: check_window(3, 16, TRICK),
    "blank": lambda: corpus_from_text(" \n", name=TRICK),
    "no file": lambda: corpus_from_documents([]),
    "corpus name": lambda: load_corpus(TRICK),
    "device": lambda: resolve_device(TRICK),
    "no GPU": lambda: resolve_device("cuda:77"),
    "precision": lambda: check_precision("float16", torch.device("cpu")),
    "tracking": lambda: check_trackers(["wandb"]),
    "sampling": lambda: parse_sampler(TRICK),
    "length": lambda: GenerationSettings(max_new_tokens=10**9),
    "temperature": lambda: GenerationSettings(temperature=math.nan),
    "stop": lambda: GenerationSettings(stop=("",)),
}


@pytest.mark.parametrize("kind", LIMITS)
def test_what_the_server_does_not_allow(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.training.tracking._is_installed", lambda name: False)
    check(refused(LIMITS[kind]))


def test_a_disk_that_is_too_small_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(resources.root())._replace(free=1000)
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda path: usage)
    error = refused(lambda: cost.check_disk(RunConfig(), CATS, 50, resources.home()))
    check(error)
    assert "Checkpoints kept" in error_words(error)[1]


def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.model.compilation.shutil.which", lambda name: None)
    check(refused(lambda: check_compiler(torch.device("cpu"))))


# -- runs that are damaged, missing or somebody else's

GARBAGE = [b"", b"{", b"[1]", b"\xff\xfe\x00", b'{"format_version": 99}', b"a: [", "a: '\u202e'".encode()]
FILES = ["run.json", "config.yaml", "tokenizer.json", "data/meta.json", "metrics.jsonl", "model", "manifest"]


@pytest.fixture
def damaged(pages: Any) -> Callable[[str, bytes | None], RunFolder]:
    def damage(name: str, contents: bytes | None) -> RunFolder:
        folder = RunStore().get(pages.trained())
        newest = folder.newest_checkpoint()
        assert newest is not None
        path = {"model": newest / "model.safetensors", "manifest": newest / "manifest.json"}.get(
            name, folder.path / name
        )
        path.unlink()
        if contents is not None:
            path.write_bytes(contents)
        return folder

    return damage


def read_all(folder: RunFolder) -> Iterator[Callable[[], object]]:
    yield lambda: folder.info
    yield lambda: folder.config
    yield lambda: folder.tokenizer
    yield lambda: folder.meta
    yield folder.metrics
    yield folder.corpus
    yield lambda: folder.newest_checkpoint(resumable=True)
    yield lambda: load_run(folder.path)
    yield lambda: load_run(folder.path, step=12)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_is_called_by_its_name(name: str, damaged: Callable[[str, bytes | None], RunFolder]) -> None:
    for contents in (None, *GARBAGE):
        folder = damaged(name, contents)
        for error in filter(None, map(tried, read_all(folder))):
            check(error)
            assert folder.path.name not in error_words(error)[0] or name == "run.json"  # then its name is not known
        if name != "run.json":
            assert faults(message_words(snapshot_of(folder).message)) == []


def zip_of(**files: bytes) -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return packed


ZIPS = {
    "no zip": io.BytesIO(b"PK\x03\x04"),
    "empty": zip_of(),
    "other files": zip_of(**{"run.json": b"{}", TRICK: b""}),
    "a way out": zip_of(**{"run.json": b"{}", "../../etc/passwd": b""}),
    "only its name": zip_of(**{"run.json": b"{}"}),
    "not JSON": zip_of(**{"run.json": b"\xff"}),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_that_is_no_run(kind: str) -> None:
    check(refused(lambda: RunStore().import_zip(ZIPS[kind])))
    assert not any(path.name.startswith(".tmp") for path in resources.home().glob("*"))


def test_commands_that_cannot_be_carried_out(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, engine = pages.submit(name=TRICK, owner="me"), manager.get_engine()
    pages.wait(run_id, "finished")
    for ask in (
        lambda: engine.command(run_id, "me", "resume"),
        lambda: engine.command(run_id, "you", "delete"),
        lambda: engine.command("tales", "me", "delete"),
        lambda: engine.command("../../etc", "me", "delete"),
        lambda: engine.command(run_id, "me", TRICK),  # type: ignore[arg-type]
        lambda: engine.snapshot("a" * 26),
        lambda: engine.weights(run_id, 999_999),
        lambda: engine.weights(run_id, TRICK),  # type: ignore[arg-type]
    ):
        check(refused(ask))


def test_failures_of_a_training() -> None:
    for error in (
        MemoryError(),
        RuntimeError("can't allocate memory"),
        KeyError("x['y'] at /srv/app/a.py"),
        OSError(28, "x"),
    ):
        words = message_words(describe_failure(error, 300))
        assert faults(words) == []
        assert "KeyError" not in words
        assert "step 300" in words


def test_looking_inside() -> None:
    run = load_run("tales")
    ids = torch.tensor([run.tokenizer.encode("Once upon")])
    check(refused(lambda: patch_residual(run.model, ids, ids[:, :3], target=3, versus=4)))
    check(refused(lambda: TextGenerator(run).generate("Once", max_new_tokens=-1)))
    notes = TextGenerator(run).generate(f"Once {TRICK}☃", max_new_tokens=1).notes
    assert notes
    assert faults("\n".join(map(message_words, notes))) == []


# -- on the pages


def full(path: Path, *_: object) -> None:
    with storage_errors(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_the_page_of_a_run_tells_that_the_disk_is_full(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = pages.submit(TRICK, owner="somebody", training__max_steps=4_000)
    pages.wait(run_id, "running")
    monkeypatch.setattr("minigpt.runs.folder.append_record", full)
    monkeypatch.setattr("minigpt.runs.folder.write_text", full)
    pages.wait(run_id, "failed")
    at = pages.open("build/train", run=run_id)
    told = [error.value for error in at.error]
    assert len(told) == 1
    assert "the disk is full" in told[0]
    assert faults(pages.words(at)) == []


def test_resume_on_a_full_disk_says_so(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT_PROFILE", "local")
    run_id = pages.submit(training__max_steps=4_000)
    pages.wait(run_id, "running")
    manager.get_engine().command(run_id, "", "stop")
    pages.wait(run_id, "stopped")
    at = pages.open("build/train", run=run_id)
    monkeypatch.setattr("minigpt.runs.folder.write_text", full)
    at.button(key="train:resume").click().run()
    assert ["the disk is full" in error.value for error in at.error] == [True]
    assert manager.get_engine().snapshot(run_id).status == "stopped"


@pytest.mark.parametrize(
    "contents", [pytest.param(b"%PDF-1.4", marks=pytest.mark.process), b"", bytes(range(256)), b"\xe9 caf\xc3\xa9"]
)
@pytest.mark.parametrize(("page", "key"), [("build/corpus", "corpus:files"), ("use/perplexity", "perplexity:file_0")])
def test_a_page_that_refuses_a_file_names_it_safely(pages: Any, page: str, key: str, contents: bytes) -> None:
    at = pages.open(page)
    at.segmented_control(key=f"{key.partition(':')[0]}:source").set_value("upload").run()
    at.file_uploader(key=key).set_value([(TRICK, contents, "text/plain")]).run()
    assert at.error
    assert faults(pages.words(at)) == []


# -- what replaces a folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The run {home}/tales is damaged.", "The run tales is damaged."),
        ("There is nothing in {home}.", "There is nothing in this server."),
        ("{home}/m4hq2k3x7t5b6n2v4c7z3a5d2e could not be written: x.", "The new run could not be written: x."),
        ("/opt/a b/c is gone, C:\\Users\\me\\file.txt too.", "a b/c is gone, file.txt too."),
        ("and/or, 3/4, https://example.org/a/b", "and/or, 3/4, https://example.org/a/b"),
    ],
)
def test_a_folder_becomes_a_name(text: str, said: str) -> None:
    assert without_folders(text.format(home=resources.home())) == said


def test_on_ones_own_machine_a_folder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT_PROFILE", "local")
    assert message_words("/home/me/run is damaged.") == "/home/me/run is damaged."
