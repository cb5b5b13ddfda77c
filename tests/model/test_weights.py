"""Weights on disk: round trips, atomic writes, and a clear error for every kind of damage."""

import contextlib
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from minigpt.config import TransformerConfig
from minigpt.errors import CheckpointError, StorageError
from minigpt.model import weights
from minigpt.model.size import tensor_shapes
from minigpt.model.transformer import Transformer
from minigpt.model.weights import load_model, load_weights, model_metadata, save_model, save_weights, write_tensors

V = 11
CONFIG = TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=16)


@pytest.fixture
def model():
    return Transformer(CONFIG, V, seed=3)


@pytest.fixture
def saved(model, tmp_path):
    save_model(tmp_path / "model.safetensors", model)
    return tmp_path / "model.safetensors"


def rewritten(path, state, metadata):
    path.write_bytes(save(state, metadata=metadata))
    return path


@pytest.mark.parametrize(
    "changes", [{}, {"tie_embeddings": False}, {"positions": "learned", "norm": "layernorm", "bias": True}]
)
def test_a_model_comes_back_equal_and_ready_to_use(tmp_path, changes):
    model = Transformer(CONFIG.model_copy(update=changes), V, seed=3)
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    assert loaded.config == model.config
    assert loaded.vocab_size == V
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(loaded(ids), model(ids))


def test_half_is_half_the_size_and_loads_as_float32(model, saved, tmp_path):
    half = tmp_path / "half.safetensors"
    save_model(half, model, half=True)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    assert {tensor.dtype for tensor in load_weights(half)[0].values()} == {torch.float16}
    loaded = load_model(half)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded(ids), model(ids), atol=1e-3, rtol=0)


def test_half_leaves_integers_alone(tmp_path):
    save_weights(tmp_path / "w", {"step": torch.tensor([100_000])}, metadata={}, half=True)
    assert load_weights(tmp_path / "w")[0]["step"].tolist() == [100_000]


def test_a_tied_matrix_is_stored_once_and_is_one_parameter_again(saved):
    assert "head.weight" not in load_weights(saved)[0]
    assert load_model(saved).head is None


def test_the_header_says_what_it_is(saved):
    metadata = load_weights(saved)[1]
    assert metadata["format_version"] == "1"
    assert metadata["vocab_size"] == "11"
    assert json.loads(metadata["config"])["d_model"] == 32


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        dict.fromkeys("zyxwvutsrqponmlkjihgfedcba", ""),
        {
            "config": '{"a": "\\"quoted\\" \\\\ back"}',
            "b": "tab\t line\r\n bell\x07 delete\x7f",
            "a": "é 漢字 😀 \u2028",
        },
    ],
    ids=["none", "many", "special characters"],
)
def test_equal_weights_are_equal_files(tmp_path, metadata):
    state = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    for number in range(4):  # the library's own order is random
        save_weights(tmp_path / f"{number}", state, metadata=metadata)
    assert len({(tmp_path / f"{number}").read_bytes() for number in range(4)}) == 1
    loaded, found = load_weights(tmp_path / "0")
    assert found == metadata
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_loaded_tensors_outlive_the_file(saved):
    state, _ = load_weights(saved)
    before = state["embedding.weight"].clone()
    saved.write_bytes(b"")
    assert torch.equal(state["embedding.weight"], before)


def test_tensors_that_are_views_can_be_written(tmp_path, generator):
    table = torch.randn(4, 6, generator=generator)
    save_weights(tmp_path / "w", {"t": table.T, "column": table[:, 1]}, metadata={})
    state, _ = load_weights(tmp_path / "w")
    assert torch.equal(state["t"], table.T)
    assert torch.equal(state["column"], table[:, 1])


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_file_has_the_permissions_of_any_new_file(saved):
    plain = saved.parent / "plain"
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("metadata", [{}, {"kind": "é"}])
def test_the_file_is_that_of_the_safetensors_library_and_its_hash_is_returned(tmp_path, metadata):
    """Ten types, matrices, vectors, single numbers, empty tensors, and names in any order."""
    types = (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    )  # fmt: skip
    state = {
        f"{name}{dtype}": torch.arange(6).to(dtype)[:count].reshape(-1, 1)
        for name, count in (("b", 6), ("é", 1), ("a", 0))
        for dtype in types
    }
    state["single"] = torch.tensor(2.5)
    shapes = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
    returned = write_tensors(tmp_path / "ours", shapes, state.__getitem__, metadata=metadata)
    save_file(state, tmp_path / "theirs", metadata=metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert returned == hashlib.sha256((tmp_path / "ours").read_bytes()).hexdigest()


def test_a_full_disk_keeps_the_old_file_and_leaves_no_litter(saved, model, monkeypatch):
    before = saved.read_bytes()

    def full(*values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "_PIECE", 1)  # so that it fails after the first tensor
    monkeypatch.setattr(weights, "start_writing", full)
    with pytest.raises(StorageError, match="could not be written: the disk is full"):
        save_model(saved, model)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="file size limits")
def test_a_limit_of_the_system_is_reported_like_a_full_disk(saved):
    """A real failure of the write itself, in a process of its own whose files may not grow past 20 kB."""
    before = saved.read_bytes()
    code = f"""
import resource, signal
from pathlib import Path
from minigpt.errors import StorageError
from minigpt.model.weights import load_model, save_model
path = Path({str(saved)!r})
model = load_model(path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_model(path, model)
except StorageError:
    print("refused")
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "refused\n"
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_folder_that_is_not_there_is_a_storage_error(model, tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        save_model(tmp_path / "nowhere" / "model.safetensors", model)


def test_a_missing_file_a_folder_and_a_text_are_checkpoint_errors(tmp_path):
    (tmp_path / "text").write_text("no weights at all")
    (tmp_path / "empty").touch()
    for name in ("missing", ".", "text", "empty"):
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            load_model(tmp_path / name)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_an_error_of_ours_or_still_a_model(data, tmp_path_factory):
    """A file cut anywhere, or with one changed byte in the header, never raises another exception."""
    state = Transformer(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=4), 3).state_dict()
    metadata = model_metadata(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=4), 3)
    content = bytearray(save(state, metadata=metadata))
    header = 8 + struct.unpack("<Q", content[:8])[0]
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    if data.draw(st.booleans()):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(CheckpointError):
            load_model(path)
        return
    content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        load_model(path)


def test_a_shape_that_does_not_fit_is_named_with_both_shapes(model, tmp_path):
    state = model.state_dict() | {"blocks.1.attention.qkv.weight": torch.zeros(5, 32)}
    path = rewritten(tmp_path / "w", state, model_metadata(CONFIG, V))
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attention\.qkv\.weight has shape \(5, 32\).*\(96, 32\)"):
        load_model(path)


def test_missing_and_surplus_tensors_are_named(model, tmp_path):
    state = model.state_dict()
    state["head.weight"] = torch.zeros(V, 32)
    with pytest.raises(CheckpointError, match=r"has too much: head\.weight"):
        load_model(rewritten(tmp_path / "w", state, model_metadata(CONFIG, V)))
    del state["head.weight"], state["embedding.weight"]
    with pytest.raises(CheckpointError, match=r"lacks: embedding\.weight"):
        load_model(rewritten(tmp_path / "w", state, model_metadata(CONFIG, V)))


def test_integers_are_no_weights(model, tmp_path):
    state = {name: tensor.to(torch.int32) for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="the type I32; weights have F64, F32, F16 or BF16"):
        load_model(rewritten(tmp_path / "w", state, model_metadata(CONFIG, V)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": "2"}, "has format 2; this minigpt reads up to 1. Update minigpt"),
        ({"format_version": "one"}, "is damaged"),
        ({"vocab_size": "-3"}, "is damaged"),
        ({"vocab_size": "12"}, "embedding.weight has shape (11, 32), the model has (12, 32)"),
        ({"config": "{}"}, "does not fit the model"),
        ({"config": "not JSON"}, "describes no model"),
        ({"config": '{"d_model": 30}'}, "describes no model"),
        ({"config": '{"n_embd": 32}'}, "describes no model: n_embd"),
    ],
)
def test_each_kind_of_wrong_header_has_its_own_message(model, tmp_path, change, words):
    path = rewritten(tmp_path / "w", model.state_dict(), model_metadata(CONFIG, V) | change)
    with pytest.raises(CheckpointError, match=re.escape(words)):
        load_model(path)


def test_a_header_that_asks_for_a_huge_model_takes_no_memory(model, tmp_path):
    huge = TransformerConfig(num_layers=96, d_model=16384, num_heads=128)
    path = rewritten(tmp_path / "w", model.state_dict(), model_metadata(huge, V))
    with pytest.raises(CheckpointError, match="lacks"):
        load_model(path)


def test_weights_of_something_else_are_no_model(tmp_path):
    with pytest.raises(CheckpointError, match="its header lacks format_version, config, vocab_size"):
        load_model(rewritten(tmp_path / "w", {"x": torch.zeros(2)}, {}))


def test_the_documented_names_are_the_names():
    """docs/format.md lists every tensor of every configuration, and nothing else."""
    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([a-z_.{}]+)` \|", text.split("## Tensor names")[1].split("\n## ")[0], re.M))
    every = TransformerConfig(
        num_layers=1,
        norm="layernorm",
        positions="learned",
        bias=True,
        tie_embeddings=False,
        activation="swiglu",
        convolution=2,
    )
    assert documented == {name.replace("blocks.0.", "blocks.{l}.") for name in tensor_shapes(every, V)}
