"""A model is read from uploaded files, or from a zip; whatever is in them, nothing but a whole run is ever left."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from types import SimpleNamespace

import pytest

from minigpt.config import TransformerConfig
from minigpt.errors import MinigptError
from minigpt.interop.huggingface import export_huggingface, import_huggingface
from minigpt.interop.uploads import uploaded_files
from minigpt.model.transformer import Transformer
from minigpt.runs.limits import load_limits
from minigpt.runs.store import RunStore, new_run_id
from minigpt.tokenizers.bpe import BPETokenizer

TOKENIZER = BPETokenizer(5).train("the cat sat on the mat. " * 9)
LIMITS = load_limits("hosted")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The files of a tiny model, by name."""
    config = TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=8)
    folder = tmp_path_factory.mktemp("models") / "model"
    own = Transformer(config, TOKENIZER.vocab_size, seed=1)
    export_huggingface(SimpleNamespace(model=own, tokenizer=TOKENIZER), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def take(files, home, *, max_bytes=LIMITS.max_upload_bytes, stop_at=None):
    """Import files as a page does; `stop_at` is the number of the call of `watch` that ends it."""
    store, calls = RunStore(home), []

    def watch(what, done):
        assert 0 <= done <= 1
        calls.append(what)
        if len(calls) == stop_at:
            raise KeyError("stopped")

    streams = [(name, io.BytesIO(content)) for name, content in files.items()]
    path = home / new_run_id()
    with uploaded_files(streams, path, max_bytes=max_bytes, watch=lambda done: watch("files", done)) as given:
        run = import_huggingface(given, store=store, limits=LIMITS, watch=watch)
    return run, calls


def zipped(files, *, folder="", **options):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(folder + name)
            for option, value in options.items():
                setattr(info, option, value)
            archive.writestr(info, content)
    return {"my-model.zip": packed.getvalue()}


@pytest.mark.parametrize(
    "pack",
    [
        lambda files: files,
        lambda files: {f"C:\\models\\{name}": content for name, content in files.items()},
        lambda files: files | {"README.md": b"#", "pytorch_model.bin": b"\x80", "a b.json": b"{", "..": b"", "": b""},
        zipped,
        lambda files: zipped(files, folder="my-model/"),
        lambda files: zipped(
            {f"my-model/{name}": content for name, content in files.items()}
            | {f"__MACOSX/my-model/._{name}": b"\0" for name in files}
            | {"my-model/older/config.json": b"{}", "my-model/../../config.yaml": b"x"}
        ),
    ],
    ids=["files", "paths", "with others", "zip", "zip of a folder", "zip with others"],
)
def test_a_model_becomes_a_run_and_no_file_of_it_stays_elsewhere(pack, model, tmp_path):
    run, calls = take(pack(model), tmp_path / "home")
    assert run.tokenizer.encode("the cat") == TOKENIZER.encode("the cat")
    assert run.info.status == "finished"
    assert list(dict.fromkeys(calls)) == ["files", "weights", "run"]
    assert [path.name for path in (tmp_path / "home").iterdir()] == [run.id]


def cut_zip(files):
    ((name, content),) = zipped(files).items()
    return {name: content[: len(content) // 2]}


def swapped(files):
    """A zip whose weights were damaged after they were packed."""
    ((name, content),) = zipped(files).items()
    return {name: content.replace(content[200:208], b"\xff" * 8)}


def false_size(files):
    """A zip that says that its large file is small."""
    packed = zipped(files | {"model.safetensors": bytes(LIMITS.max_upload_bytes)})["my-model.zip"]
    real = LIMITS.max_upload_bytes.to_bytes(4, "little")
    return {"my-model.zip": packed.replace(real, (9).to_bytes(4, "little"))}


BAD = {
    "nothing": (lambda files: {}, "the upload: it has no config.json"),
    "no zip": (lambda files: {"model.zip": files["model.safetensors"]}, "no zip file that can be opened"),
    "half a zip": (cut_zip, "no zip file that can be opened"),
    "a damaged zip": (swapped, "no zip file that can be opened|is not JSON|cannot be read"),
    "two zips": (lambda files: {"a.zip": b"", "b.zip": b""}, "has no config.json"),
    "a file twice": (lambda files: files | {"x/config.json": b"{}"}, "config.json is there twice"),
    "an exported run": (lambda files: zipped({"run.json": b"{}", "config.yaml": b""}), "my-model.zip: it has no config"),
    "pickled": (
        lambda files: {("pytorch_model.bin" if name == "model.safetensors" else name): b for name, b in files.items()},
        r"The weights of the upload are pickled \(pytorch_model.bin\)",
    ),
    "no tokenizer": (lambda files: {name: b for name, b in files.items() if "token" not in name}, "has no tokenizer.json"),
    "another tokenizer": (lambda files: files | {"tokenizer.json": b'{"model": {"type": "Unigram"}}'}, "'Unigram'"),
    "another architecture": (lambda files: files | {"config.json": b'{"architectures": ["BertModel"]}'}, "'BertModel'"),
    "too many parameters": (
        lambda files: files | {"config.json": re.sub(rb'(hidden_size|head_dim)": 8', rb'\1": 4096', files["config.json"])},
        "this server allows 1,000,000",
    ),
    "a link": (lambda files: zipped(files, external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
    "many bytes": (lambda files: files | {"model.safetensors": bytes(2_100_000)}, "have 2.1 MB; this server takes 2.0 MB"),
    "many bytes, packed": (
        lambda files: zipped(files | {"model.safetensors": bytes(9_000_000)}), "have 9.0 MB; this server takes 2.0 MB",
    ),
    "many bytes, hidden": (false_size, "no zip file that can be opened|this server takes"),
    "many files": (lambda files: zipped({f"{n}.json": b"" for n in range(5001)}), "5,001 files|too long"),
}  # fmt: skip


@pytest.mark.parametrize(("pack", "message"), BAD.values(), ids=BAD)
def test_bad_uploads_are_refused_in_words_and_nothing_is_left(pack, message, model, own_home):
    with pytest.raises(MinigptError, match=message) as caught:
        take(pack(model), own_home)
    assert caught.value.on_page
    assert "--" not in caught.value.on_page
    assert str(own_home) not in str(caught.value)
    assert not list(own_home.iterdir())


def test_an_import_can_be_stopped_at_every_point_and_leaves_nothing(model, tmp_path):
    _, calls = take(model, tmp_path / "home")
    assert len(calls) > 8
    for call in range(1, len(calls) + 1):
        with pytest.raises(KeyError, match="stopped"):
            take(model, tmp_path / str(call), stop_at=call)
        assert not list((tmp_path / str(call)).iterdir())
