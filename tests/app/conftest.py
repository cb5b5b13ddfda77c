"""Page tests run the app inside the test's own process: without the warm-up thread, and with fresh state for each test."""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from minigpt import resources
from minigpt.app.session import kept, profile
from minigpt.app.shell import server
from minigpt.config import RunConfig, TransformerConfig
from minigpt.data import corpora
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.model.transformer import Transformer
from minigpt.pieces import Pieces
from minigpt.runs import manager, preparation, step_cost
from minigpt.runs.loading import Run
from minigpt.runs.store import new_run_id
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

ENTRY = Path(__file__).resolve().parents[2] / "streamlit_app.py"
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 40
BROWSER = "the-key-of-the-tests-browser"
TINY = {
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.d_model": 16,
    "model.sequence_length": 16,
    "training.max_steps": 12,
    "training.batch_size": 4,
    "training.warmup_steps": 2,
    "training.eval_steps": 4,
    "training.eval_batches": 1,
    "training.sample_steps": 6,
    "training.sample_tokens": 8,
    "training.checkpoint_steps": 0,
}


class Pages:
    """Opens pages as a browser does, through the entry point, and trains tiny runs for them."""

    text, tiny = TEXT, TINY

    def __init__(self, templates: Path) -> None:
        self._templates = templates

    def open(self, page: str = "", **query: str) -> AppTest:
        """Open a page, for example `build/train`, with an address."""
        at = AppTest.from_file(str(ENTRY), default_timeout=60)
        for name, value in query.items():
            at.query_params[name] = value
        if page:
            at.switch_page(f"pages/{page}.py")
        at.run()
        assert not at.exception, at.exception
        return at

    def words(self, at: AppTest) -> str:
        """Return all words on the page."""
        kinds = (at.title, at.header, at.markdown, at.caption, at.error, at.warning, at.info, at.success, at.code)
        return "\n".join(str(item.value) for kind in kinds for item in kind)

    def run_of(self, at: AppTest) -> str | None:
        """Return the id of the run in the address."""
        value = at.query_params.get("run")
        return value[0] if isinstance(value, list) else value

    def submit(self, name: str = "cats", owner: str = "", **changes: object) -> str:
        """Start a tiny run without a page and return its id."""
        config = RunConfig().updated({**TINY, **{key.replace("__", "."): value for key, value in changes.items()}})
        return manager.get_engine().submit(config, corpus_from_text(TEXT, name="cats"), owner, name=name)

    def wait(self, run_id: str, *statuses: str, seconds: float = 60) -> None:
        """Wait until a run is in one of these states."""
        end = time.monotonic() + seconds
        while (status := manager.get_engine().snapshot(run_id).status) not in statuses:
            assert time.monotonic() < end, f"run {run_id} is still {status}"
            time.sleep(0.02)

    def trained(self, name: str = "cats", **changes: object) -> str:
        """Return the id of a tiny run that was trained to its end.

        Equal trainings run once in a process; other tests get a copy of the run's folder.
        """
        runs, kept = resources.home(), self._templates / json.dumps(changes, sort_keys=True)
        if not kept.exists():
            run_id = self.submit(name, **changes)
            self.wait(run_id, "finished")
            shutil.copytree(runs / run_id, kept)
            return run_id
        copy = shutil.copytree(kept, runs / new_run_id())
        info = json.loads((kept / "run.json").read_text("utf-8"))
        info |= {"id": copy.name, "name": name, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        (copy / "run.json").write_text(json.dumps(info), "utf-8")
        return copy.name


@pytest.fixture(
    params=[
        ("", "no text yet"),
        ("t", None),
        ("     ", None),
        ("the 😀 cät", "vocabulary"),
        ("שלום", "vocabulary"),
        ("a" * 90, "The last 16 are read here"),
        ("**bold** <b>x</b> $x$ :red[x]", "vocabulary"),
    ],
    ids=["empty", "one", "spaces", "emoji", "right-to-left", "long", "markup"],
)
def unusual(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    """An unusual prompt, and words of the note that the page must show; None: no note."""
    return request.param


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of finished runs, to be copied."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def preparing(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keep new runs in the preparation of their text, at 40 % of the vocabulary (6 % of all), until the event is set."""
    released, train = threading.Event(), preparation.train_tokenizer_in_pieces

    def slowly(tokenizer: BaseTokenizer, corpus: Corpus) -> Pieces[BaseTokenizer]:
        while not released.is_set():
            time.sleep(0.005)
            yield 0.4
        return (yield from train(tokenizer, corpus))

    monkeypatch.setattr(preparation, "train_tokenizer_in_pieces", slowly)
    yield released
    released.set()


@pytest.fixture
def pages(templates: Path) -> Pages:
    """Opens pages and trains tiny runs."""
    return Pages(templates)


@pytest.fixture(scope="session", autouse=True)
def packages_scanned_once() -> Iterator[None]:
    """Let Streamlit search the installed packages for components once, not at every start of an app."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(scope="session", autouse=True)
def corpora_written_once() -> Iterator[None]:
    """Let each built-in corpus be written once in a process, not for each test: every page needs one, and none changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "_generated", functools.lru_cache(maxsize=20)(corpora._generated))
        yield


@pytest.fixture(scope="session", autouse=True)
def machine_timed_once() -> Iterator[None]:
    """Let the page Model time this machine once in a process: it takes three seconds, and the answer stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        measure = functools.cache(step_cost.measure_constants)
        patch.setattr(step_cost, "measure_constants", lambda cancelled=None: measure())
        yield


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Run]:
    """Make a run with an untrained model of two blocks, so that tests of views need no page and no files."""

    def make(**model: object) -> Run:
        shape = {"num_layers": 2, "num_heads": 2, "d_model": 16, "sequence_length": 16, **model}
        tokenizer = CharacterTokenizer().train(TEXT)
        config = TransformerConfig(**shape)
        return Run(Transformer(config, tokenizer.vocab_size, seed=3), tokenizer, RunConfig(), Path(), 0, "x", "x")

    return make


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no warm-up thread, read the limits again, and let every page have the same browser's key from the start."""
    monkeypatch.setattr(server, "_started", True)
    monkeypatch.setattr(kept, "browser_key", lambda offered, **arguments: BROWSER)
    profile.limits.cache_clear()
