"""Page tests run the app inside the test's own process: no warm-up thread, and nothing kept from the test before."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from minigpt.app.session import profile
from minigpt.app.session.models import LoadedRun
from minigpt.app.shell import server
from minigpt.config import RunConfig, TransformerConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.model.transformer import Transformer
from minigpt.runs import manager
from minigpt.tokenizers.character import CharacterTokenizer

ENTRY = Path(__file__).resolve().parents[2] / "streamlit_app.py"
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 40
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

    def open(self, page: str = "", **query: str) -> AppTest:
        """Open a page, for example `build/train`, with an address."""
        at = AppTest.from_file(str(ENTRY), default_timeout=60)
        for name, value in query.items():
            at.query_params[name] = value
        at.run()
        if page:
            at.switch_page(f"pages/{page}.py").run()
        assert not at.exception, at.exception
        return at

    def words(self, at: AppTest) -> str:
        """Return all words on the page."""
        kinds = (at.title, at.header, at.markdown, at.caption, at.error, at.warning, at.info, at.success, at.code)
        return "\n".join(str(item.value) for kind in kinds for item in kind)

    def run_of(self, at: AppTest) -> str | None:
        """Return the run that stands in the address."""
        value = at.query_params.get("run")
        return value[0] if isinstance(value, list) else value

    def submit(self, name: str = "cats", owner: str = "", **changes: object) -> str:
        """Start a tiny run behind the pages' back and return its id."""
        config = RunConfig().updated({**TINY, **{key.replace("__", "."): value for key, value in changes.items()}})
        return manager.get_engine().submit(config, corpus_from_text(TEXT, name="cats"), owner, name=name)

    def wait(self, run_id: str, *statuses: str, seconds: float = 60) -> None:
        """Wait until a run is in one of these states."""
        end = time.monotonic() + seconds
        while (status := manager.get_engine().snapshot(run_id).status) not in statuses:
            assert time.monotonic() < end, f"run {run_id} is still {status}"
            time.sleep(0.02)

    def trained(self, name: str = "cats", **changes: object) -> str:
        """Train a tiny run to its end and return its id."""
        run_id = self.submit(name, **changes)
        self.wait(run_id, "finished")
        return run_id


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
    """A prompt that no lesson has, and what the page must say of it; None: nothing, it is read as it is."""
    return request.param


@pytest.fixture
def pages() -> Pages:
    """Opens pages and trains tiny runs."""
    return Pages()


@pytest.fixture(scope="session")
def untrained() -> Callable[..., LoadedRun]:
    """Make a loaded run from an untrained model of two blocks: what views compute and say needs no page and no file."""

    def make(**model: object) -> LoadedRun:
        shape = {"num_layers": 2, "num_heads": 2, "d_model": 16, "sequence_length": 16, **model}
        tokenizer = CharacterTokenizer().train(TEXT)
        config = TransformerConfig(**shape)
        return LoadedRun(Transformer(config, tokenizer.vocab_size, seed=3), tokenizer, RunConfig(), 0, ("x", 0))

    return make


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No warm-up thread, and the limits are read anew."""
    monkeypatch.setattr(server, "_started", True)
    profile.limits.cache_clear()
