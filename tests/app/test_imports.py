"""A model of Hugging Face on the Runs page: imported in the background, stopped, refused in a sentence."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from minigpt.app.session import imports, profile
from minigpt.config import TransformerConfig
from minigpt.interop import huggingface
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.bpe import BPETokenizer

PAGE = "class/runs"
PATH = "runs:bring_path"


@pytest.fixture
def model(tmp_path):
    """The folder of a tiny model."""
    tokenizer = BPETokenizer(5).train("the cat sat on the mat. " * 9)
    config = TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=8)
    own = Transformer(config, tokenizer.vocab_size, seed=1)
    huggingface.export_huggingface(SimpleNamespace(model=own, tokenizer=tokenizer), tmp_path / "tiny")
    return tmp_path / "tiny"


def bring(at):
    """Press the button and wait until the import is over and the page shows its result."""
    at.button(key="runs:bring_go").click().run()
    assert not at.exception
    for found in list(imports._open.values()):  # none if the page has seen its end already
        found.thread.join()
        at.run()
    return at


def upload(at, *files):
    field = next(field for field in at.file_uploader if field.key.startswith("runs:bring_files"))
    return field.set_value([(name, content, "") for name, content in files]).run()


def test_a_folder_and_uploaded_files_become_runs_that_pages_show(pages, model):
    at = pages.open(PAGE)
    at.text_input(key=PATH).set_value(str(model)).run()
    at = bring(at)
    assert "tiny is open" in pages.words(at)
    first = pages.run_of(at)
    at = bring(upload(at, *((path.name, path.read_bytes()) for path in model.iterdir())))
    assert "imported model is open" in pages.words(at)
    assert pages.run_of(at) not in (None, first)
    assert set(at.dataframe[0].value["Learned from"][:2]) == {"–"}
    assert "was trained elsewhere" in pages.words(at.switch_page("pages/build/train.py").run())
    for page in ("inside/attention", "use/perplexity"):
        assert not at.switch_page(f"pages/{page}.py").run().error, page
        assert not at.exception, page


@pytest.mark.parametrize(
    ("path", "file", "message"),
    [
        ("", "", "No model is chosen"),
        ("   ", "", "No model is chosen"),
        ("/nowhere/at all", "", "There is no folder '/nowhere/at all'"),
        ("a\0b", "", "a character that no path can have"),
        ("../" * 300, "", "it has no config\\.json"),
        ("*<b>$x$", "", "There is no folder '\\*"),
        ("", "pytorch_model.bin", "it has no config\\.json"),
        ("", "tiny.zip", "no zip file that can be opened"),
    ],
)
def test_every_mistake_gets_one_sentence_and_what_was_typed_stays(pages, path, file, message, own_home):
    at = pages.open(PAGE)
    at.text_input(key=PATH).set_value(path).run()
    at = bring(upload(at, (file, b"PK no")) if file else at)
    (error,) = at.error
    assert message in error.value
    assert at.text_input(key=PATH).value == path
    assert pages.run_of(at) is None
    assert not [found for found in own_home.glob("*") if found.name != ".visitors"]


def test_a_stopped_import_leaves_nothing_and_a_second_one_waits_for_its_end(pages, model, monkeypatch):
    started, goes_on = threading.Event(), threading.Event()

    def slowly(source, *, watch, **others):
        started.set()
        goes_on.wait()
        watch("weights", 0.5)

    monkeypatch.setattr(huggingface, "import_huggingface", slowly)
    at = pages.open(PAGE)
    at.text_input(key=PATH).set_value(str(model)).run()
    with pytest.MonkeyPatch.context() as frozen:
        frozen.setattr("streamlit.fragment", lambda draw, run_every: draw)
        at.button(key="runs:bring_go").click().run()
        started.wait()
        at.run()
        other = pages.open(PAGE)  # another tab of the same visitor
        assert not [button for button in other.button if button.key == "runs:bring_go"]
        at.button(key="runs:bring_cancel").click().run()
        assert at.button(key="runs:bring_cancel").disabled
    goes_on.set()
    for found in list(imports._open.values()):
        found.thread.join()
    at.run()
    assert "was stopped" in pages.words(at)
    assert not at.error
    assert pages.run_of(at) is None


def test_other_servers_take_files_only_and_say_how_large_a_model_may_be(pages, monkeypatch):
    monkeypatch.setenv("MINIGPT_PROFILE", "hosted")
    profile.limits.cache_clear()
    at = pages.open(PAGE)
    assert "up to 1 M parameters" in pages.words(at)
    assert not [field for field in at.text_input if field.key == PATH]
    at = bring(upload(at, ("config.json", b"{}"), ("model.safetensors", bytes(2_100_000))))
    (error,) = at.error
    assert "2\\.1 MB; this server takes 2\\.0 MB" in error.value
