"""Models of transformers and ours give the same logits, whichever of them wrote the files."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.error
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minigpt.config import TransformerConfig
from minigpt.errors import InputError, LimitError, RunExistsError
from minigpt.evaluation import ModelEvaluator
from minigpt.generation import TextGenerator
from minigpt.interop import hub
from minigpt.interop.huggingface import export_huggingface, import_huggingface, load_huggingface
from minigpt.model.transformer import Transformer
from minigpt.runs.export import export_zip
from minigpt.runs.loading import load_run
from minigpt.runs.store import RunStore
from minigpt.tokenizers.base import load_tokenizer
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "the cat sat on the mat. the dog sat on the log. " * 4
TOKENIZER = BPETokenizer(20).train(TEXT)
V = TOKENIZER.vocab_size
TOLERANCE = 1e-4

GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 24}
LLAMA = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48,
    "max_position_embeddings": 24,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 12,
}  # fmt: skip
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {}),
    "gpt2 untied": ("GPT2", {"tie_word_embeddings": False}),
    "gpt2 one layer, one head": ("GPT2", {"n_layer": 1, "n_head": 1}),
    "gpt2 odd heads, narrow": ("GPT2", {"n_head": 3, "n_embd": 15, "n_inner": 7}),
    "gpt2 relu, epsilon": ("GPT2", {"activation_function": "relu", "layer_norm_epsilon": 0.1}),
    "gpt2 exact gelu": ("GPT2", {"activation_function": "gelu"}),
    "gpt2 more tokens than the tokenizer": ("GPT2", {"vocab_size": V + 7}),
    "llama": ("Llama", {}),
    "llama tied": ("Llama", {"tie_word_embeddings": True}),
    "llama grouped": ("Llama", {"num_key_value_heads": 2}),
    "llama multi-query": ("Llama", {"num_key_value_heads": 1, "num_attention_heads": 8}),
    "llama all biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama attention biases": ("Llama", {"attention_bias": True, "num_key_value_heads": 2}),
    "llama feed-forward biases": ("Llama", {"mlp_bias": True}),
    "llama base": ("Llama", {"rope_theta": 50.0, "rms_norm_eps": 0.01}),
    "llama linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 100.0}}),
    "llama 3": ("Llama", {"rope_parameters": LLAMA3, "num_key_value_heads": 2}),
    "llama 3, other bands": (
        "Llama", {"rope_parameters": LLAMA3 | {"low_freq_factor": 0.5, "high_freq_factor": 1.5, "rope_theta": 9.0}},
    ),
    "llama explicit head_dim": ("Llama", {"head_dim": 8}),
    "arcee": ("Arcee", {}),
    "arcee gelu, biases": ("Arcee", {"hidden_act": "gelu_new", "attention_bias": True, "mlp_bias": True}),
    "apertus": ("Apertus", {"hidden_act": "relu2", "num_key_value_heads": 2}),
}  # fmt: skip

OURS: dict[str, dict[str, Any]] = {
    "gpt2": {"norm": "layernorm", "positions": "learned", "activation": "gelu_tanh", "bias": True},
    "gpt2 without biases": {"norm": "layernorm", "positions": "learned", "activation": "gelu"},
    "gpt2 untied, linear": {
        "norm": "layernorm", "positions": "learned", "activation": "none", "tie_embeddings": False, "d_ff": 5,
    },
    "llama": {"activation": "swiglu", "tie_embeddings": False, "norm_epsilon": 1e-6},
    "llama grouped, biases": {"activation": "swiglu", "num_kv_heads": 2, "bias": True},
    "llama without gain": {"activation": "swiglu", "norm_gain": False, "d_ff": 20},
    "llama 3": {"activation": "swiglu", "rotary_factor": 4.0, "rotary_length": 9, "rotary_base": 60.0},
    "llama linear": {"activation": "swiglu", "rotary_factor": 2.0},
    "the default": {},
    "squared relu, biases": {"activation": "relu2", "bias": True},
    "the presets": {"activation": "relu2", "qk_norm": True, "norm_gain": False, "tie_embeddings": False},
    "normed queries, grouped": {"activation": "gelu_tanh", "qk_norm": True, "num_kv_heads": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Transformers shows bars and notes, and its authors' libraries warn about each other."""
    import transformers

    monkeypatch.setenv("TQDM_DISABLE", "1")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def disturb(model: torch.nn.Module) -> torch.nn.Module:
    """Make every parameter matter: norms and biases too get random numbers, and queries and keys differ widely."""
    with torch.no_grad():
        for n, (name, parameter) in enumerate(sorted(model.named_parameters())):
            noise = torch.empty_like(parameter).normal_(0, 1, generator=torch.Generator().manual_seed(n))
            if not name.endswith(("q_norm.weight", "k_norm.weight")):  # these have no equal here
                parameter.copy_(noise.mul_(0.3) if parameter.ndim == 2 else (not name.endswith("bias")) + noise * 0.3)
    return model.eval()


def theirs(kind: str, changes: dict[str, Any]) -> Any:
    """Return a small model of transformers with random weights."""
    import transformers

    shape = GPT2 if kind == "GPT2" else LLAMA
    config = getattr(transformers, f"{kind}Config")(**{
        "vocab_size": V, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None, **shape, **changes,
    })  # fmt: skip
    name = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    return disturb(getattr(transformers, name)(config))


def write(folder: Path, model: Any, **options: Any) -> Path:
    """Save a model of theirs with a tokenizer."""
    from minigpt.tokenizers.exporting import to_huggingface

    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text(json.dumps(to_huggingface(TOKENIZER)), "utf-8")
    return folder


def ids(vocab_size: int, length: int = 24) -> torch.Tensor:
    return torch.randint(vocab_size, (2, length), generator=torch.Generator().manual_seed(1))


def their_logits(model: Any, batch: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(batch).logits


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 0.1, "the logits say something"
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("kind", "changes"), THEIRS.values(), ids=THEIRS)
def test_a_model_of_theirs_gives_the_same_logits_here(kind, changes, tmp_path):
    model = theirs(kind, changes)
    found = load_huggingface(write(tmp_path, model))
    batch = ids(model.config.vocab_size)
    with torch.no_grad():
        assert_same(found.model(batch), their_logits(model, batch))
    assert found.tokenizer.vocab_size == found.model.vocab_size
    assert found.tokenizer.encode("the cat") == TOKENIZER.encode("the cat")
    written = TextGenerator(found).generate("the", max_new_tokens=5, temperature=0)  # the step in NumPy
    row = torch.tensor([[*TOKENIZER.encode("the"), *(token.token_id for token in written.tokens)]])
    expected = their_logits(model, row)[0, -len(written.tokens) - 1 : -1]
    expected[:, list(found.tokenizer.special_ids - {found.tokenizer.eos_id})] = -torch.inf  # these are never written
    assert [token.token_id for token in written.tokens] == expected.argmax(-1).tolist()


@pytest.mark.parametrize("changes", OURS.values(), ids=OURS)
def test_a_model_of_ours_gives_the_same_logits_there_and_comes_back(changes, tmp_path):
    import transformers

    config = TransformerConfig(num_layers=2, num_heads=4, d_model=32, sequence_length=24, **changes)
    model = disturb(Transformer(config, V))
    export_huggingface(SimpleNamespace(model=model, tokenizer=TOKENIZER), tmp_path / "out")
    there, said = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(said.values()), said
    batch = ids(V)
    with torch.no_grad():
        logits = model(batch)
        assert_same(their_logits(there.eval(), batch), logits)
        assert_same(load_huggingface(tmp_path / "out").model(batch), logits)


@pytest.mark.parametrize(
    "tokenizer",
    [TOKENIZER, ByteTokenizer(), CharacterTokenizer().train(TEXT + "é猫\n")],
    ids=["bpe", "byte", "character"],
)
def test_tokenizers_split_alike_on_both_sides_and_come_back(tokenizer, tmp_path):
    import transformers

    config = TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=24)
    model = Transformer(config, tokenizer.vocab_size)
    export_huggingface(SimpleNamespace(model=model, tokenizer=tokenizer), tmp_path / "out")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    here = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    for text in ("the cat sat", "  two\n\nlines é猫 12,345 it's", "q!?", ""):
        expected = tokenizer.encode(text)
        assert there(text)["input_ids"] == expected == here.encode(text)
        assert there.decode(expected) == tokenizer.decode(expected).replace("\ufffd", "<unk>") or "\ufffd" in text
    assert (there.bos_token_id, there.eos_token_id, there.pad_token_id) == (2, 3, 0)
    assert (here.bos_id, here.eos_id, here.pad_id) == (2, 3, 0)


# -- as a run


def test_an_imported_model_is_a_run_like_any_other(tmp_path):
    model = theirs("Llama", LLAMA | {"rope_parameters": LLAMA3})
    source = write(tmp_path / "smol", model, max_shard_size="8KB")
    assert len(list(source.glob("*.safetensors"))) > 3
    store = RunStore(tmp_path / "runs")
    folder = import_huggingface(source, store=store)
    assert (folder.info.name, folder.info.status, folder.steps()) == ("smol", "finished", [0])
    run = load_run(folder.id, store=store)
    batch = ids(V)
    with torch.no_grad():
        assert_same(run.model(batch), their_logits(model, batch))
    assert ModelEvaluator(run).evaluate(TEXT).perplexity > 1
    export_zip(folder, tmp_path / "run.zip")
    copy = load_run(store.import_zip(tmp_path / "run.zip").path)
    assert torch.equal(copy.model(batch), run.model(batch))
    with pytest.raises(RunExistsError):
        import_huggingface(source, store=store, path=folder.path)
    with pytest.raises(RunExistsError):
        export_huggingface(run, folder.path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_numbers_of_other_lengths_become_float32(dtype, tmp_path):
    model = theirs("GPT2", {}).to(dtype)
    found = load_huggingface(write(tmp_path, model))
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}
    batch = ids(V)
    with torch.no_grad():
        assert_same(found.model(batch), their_logits(model.float(), batch))


def test_the_first_files_of_gpt2_have_shorter_names_and_masks(tmp_path):
    model = theirs("GPT2", {})
    source = write(tmp_path, model)
    state = {
        name.removeprefix("transformer."): value for name, value in load_file(source / "model.safetensors").items()
    }
    state |= {"h.0.attn.bias": torch.ones(1, 1, 24, 24), "lm_head.weight": state["wte.weight"].clone()}
    save_file(state, source / "model.safetensors")
    batch = ids(V)
    with torch.no_grad():
        assert_same(load_huggingface(source).model(batch), their_logits(model, batch))


def test_a_tied_model_is_mapped_and_not_copied(tmp_path):
    found = load_huggingface(write(tmp_path, theirs("GPT2", {})))
    stored = {parameter.untyped_storage().data_ptr() for parameter in found.model.parameters()}
    assert len(stored) <= 16 + 12  # one for each tensor of the file, none for a copy
    assert found.model.blocks[0].attention.qkv.weight.mT.is_contiguous()  # a transposed view


# -- what cannot be used


def edited(**changes: Any):
    def edit(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text("utf-8"))
        values.update(changes)
        (folder / "config.json").write_text(json.dumps(values), "utf-8")

    return edit


def without(name: str, **instead: bytes):
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        for other, content in instead.items():
            (folder / other.replace("__", ".")).write_bytes(content)

    return edit


def cut(share: float):
    def edit(folder: Path) -> None:
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: int(share * len(content))])

    return edit


def header(values: dict[str, Any], length: int | None = None):
    def edit(folder: Path) -> None:
        text = json.dumps(values).encode()
        start = (len(text) if length is None else length).to_bytes(8, "little")
        (folder / "model.safetensors").write_bytes(start + text)

    return edit


def tensors(**changes: torch.Tensor | None):
    def edit(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        for name, value in changes.items():
            state.pop(name.replace("__", "."), None)
            if value is not None:
                state[name.replace("__", ".")] = value
        save_file(state, folder / "model.safetensors")

    return edit


def other_tokenizer(tokenizer: Any):
    from minigpt.tokenizers.exporting import to_huggingface

    return lambda folder: (folder / "tokenizer.json").write_text(json.dumps(to_huggingface(tokenizer)), "utf-8")


def tokenizer_kind(kind: str):
    return lambda folder: (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": kind, "vocab": {}}}))


def pipe(folder: Path) -> None:
    import os

    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


WTE = "transformer__wte__weight"
HUGE = {"transformer.wte.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
BAD: dict[str, tuple[Any, str]] = {
    "no configuration": (without("config.json"), "has no config.json"),
    "no tokenizer": (without("tokenizer.json"), "has no tokenizer.json"),
    "no weights": (without("model.safetensors"), "has no model.safetensors"),
    "pickled": (without("model.safetensors", pytorch_model__bin=b"\x80\x04."), "pickled .pytorch_model.bin"),
    "an index to nothing": (
        without("model.safetensors", model__safetensors__index__json=b'{"weight_map": {"a": "b.safetensors"}}'),
        "lacks b.safetensors",
    ),
    "an index that leaves the folder": (
        without("model.safetensors", model__safetensors__index__json=b'{"weight_map": {"a": "../b.safetensors"}}'),
        "lacks ../b.safetensors",
    ),
    "an index of numbers": (
        without("model.safetensors", model__safetensors__index__json=b'{"weight_map": {"a": 1}}'), "where the tensors are",
    ),
    "a pipe": (pipe, "is no file"),
    "configuration is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
    "configuration is a list": (lambda folder: (folder / "config.json").write_text("[1]"), "holds no fields"),
    "empty": (cut(0), "cannot be read as weights"),
    "truncated header": (cut(0.001), "cannot be read as weights"),
    "truncated numbers": (cut(0.9), "cannot be read as weights"),
    "a header without end": (header({}, 2**62), "longer than"),
    "a tensor without end": (header(HUGE), "cannot be read as weights"),
    "unknown architecture": (edited(architectures=["BertModel"]), "'BertModel'; GPT2LMHeadModel, "),
    "two architectures": (edited(architectures=["GPT2LMHeadModel"] * 2), "can be read"),
    "no architecture": (edited(architectures=None), "names no architecture"),
    "another activation": (edited(activation_function="mish"), "activation_function is 'mish'"),
    "no scale": (edited(scale_attn_weights=False), "scale_attn_weights is False"),
    "scale by layer": (edited(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx"),
    "cross-attention": (edited(add_cross_attention=True), "add_cross_attention"),
    "quantized": (edited(quantization_config={"bits": 4}), "quantization_config"),
    "heads do not divide": (edited(n_head=3), "not divisible by num_heads 3"),
    "a text for a number": (edited(n_layer="many"), "n_layer is 'many'"),
    "no layers": (edited(n_layer=0), "num_layers"),
    "very many layers": (edited(n_layer=10**15), "num_layers"),
    "a model for no machine": (edited(n_embd=16384, n_head=128, n_layer=96, vocab_size=10**6), "MB of memory"),
    "a vocabulary without end": (edited(vocab_size=10**12), "vocab_size"),
    "another width": (edited(n_embd=32), "has shape"),
    "one layer more": (edited(n_layer=3), "lacks .*h.2."),
    "one layer less": (edited(n_layer=1), "too much .*h.1."),
    "a tensor is missing": (tensors(**{WTE: None}), "lacks .*wte"),
    "a tensor too much": (tensors(adapter=torch.ones(2)), "too much .*adapter"),
    "whole numbers": (tensors(**{WTE: torch.ones(V, 16, dtype=torch.int64)}), "type I64"),
    "not finite": (tensors(**{WTE: torch.full((V, 16), torch.inf)}), "infinite or NaN"),
    "a larger tokenizer": (other_tokenizer(BPETokenizer(60).train(TEXT + "another text " * 9)), f"model knows {V}"),
    "a tokenizer of few characters": (other_tokenizer(CharacterTokenizer().train(TEXT)), f"model knows {V}"),
    "another kind of tokenizer": (tokenizer_kind("Unigram"), "'Unigram'"),
    "a tokenizer of words": (tokenizer_kind("WordLevel"), "'WordLevel'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("plain") / "gpt2", theirs("GPT2", {}))


@pytest.mark.parametrize(("edit", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_words_and_nothing_is_left(edit, message, plain, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(plain, source)
    edit(source)
    with pytest.raises(InputError, match=message) as caught:
        import_huggingface(source, store=RunStore(tmp_path / "runs"))
    assert caught.value.mend
    assert not list((tmp_path / "runs").glob("*"))


BAD_LLAMA: dict[str, tuple[dict[str, Any], str]] = {
    "wider heads": ({"head_dim": 16}, "head_dim is 16.*32 / 4 = 8"),
    "yarn": ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type is 'yarn'"),
    "dynamic, as version 4 writes it": (
        {"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type is 'dynamic'",
    ),
    "half of a head": ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
    "factor 0": ({"rope_parameters": {"rope_type": "linear", "factor": 0.0}}, "rotary_factor"),
    "gelu gate": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "shared unevenly": ({"num_key_value_heads": 3}, "num_kv_heads 3"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD_LLAMA.values(), ids=BAD_LLAMA)
def test_what_llamas_compute_and_we_do_not_is_refused_by_name(changes, message, tmp_path):
    source = write(tmp_path, theirs("Llama", {}))
    edited(**changes)(source)
    with pytest.raises(InputError, match=message):
        load_huggingface(source)


def test_entries_of_version_4_are_read(tmp_path):
    model = theirs("Llama", {"rope_parameters": LLAMA3})
    source = write(tmp_path, model)
    scaling = {name: value for name, value in LLAMA3.items() if name != "rope_theta"}
    edited(rope_parameters=None, rope_theta=500.0, rope_scaling=scaling)(source)
    with torch.no_grad():
        assert_same(load_huggingface(source).model(ids(V)), their_logits(model, ids(V)))


def test_learned_scales_of_queries_have_no_equal_here(tmp_path):
    model = theirs("Apertus", {"hidden_act": "relu2"})
    model.model.layers[1].self_attn.k_norm.weight.data[2] = 2
    with pytest.raises(InputError, match=r"layers.1.self_attn.k_norm.weight holds learned numbers"):
        load_huggingface(write(tmp_path, model))


NO_EQUAL: dict[str, tuple[dict[str, Any], str]] = {
    "post-norm": ({"norm_position": "post"}, "model.norm_position is post"),
    "chain": ({"residual": False}, "model.residual is false"),
    "window": ({"attention_window": 4}, "model.attention_window is 4"),
    "cap": ({"logit_cap": 5.0}, "model.logit_cap is 5.0"),
    "not causal": ({"causal": False}, "model.causal is false"),
    "convolution": ({"convolution": 3}, "model.convolution is 3"),
    "attention only": ({"d_ff": 0}, "model.d_ff is 0"),
    "alibi": ({"positions": "alibi"}, "model.positions is alibi"),
    "learned with rmsnorm": ({"positions": "learned"}, "model.positions is learned"),
    "rotary with layernorm": ({"norm": "layernorm"}, "model.positions is rotary"),
    "gated with layernorm": ({"norm": "layernorm", "positions": "learned", "activation": "swiglu"}, "model.activation"),
    "shared with layernorm": (
        {"norm": "layernorm", "positions": "learned", "num_kv_heads": 1},
        "model.num_kv_heads is 1",
    ),
    "normed with layernorm": ({"norm": "layernorm", "positions": "learned", "qk_norm": True}, "model.qk_norm is true"),
    "normed and gated": ({"qk_norm": True, "activation": "swiglu"}, "model.qk_norm is true"),
    "normed with biases": ({"qk_norm": True, "bias": True}, "model.bias is true"),
    "normed with another epsilon": ({"qk_norm": True, "norm_epsilon": 1e-6}, "model.norm_epsilon is 1e-06"),
}


@pytest.mark.parametrize(("changes", "message"), NO_EQUAL.values(), ids=NO_EQUAL)
def test_a_variant_without_an_equal_there_is_refused_by_the_name_of_its_setting(changes, message, tmp_path):
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=8, **changes)
    run = SimpleNamespace(model=Transformer(config, V), tokenizer=TOKENIZER)
    with pytest.raises(InputError, match=message):
        export_huggingface(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "There is no folder 'nowhere'"),
        ("../no/where", "There is no folder"),
        ("", "path is empty"),
        ("nobody/no-model", "cannot be fetched from huggingface.co: "),
    ],
)
def test_a_source_that_is_not_there_is_named(source, message, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # where nothing answers
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_huggingface(source)


def test_a_file_of_the_folder_is_answered_with_the_folder(plain):
    with pytest.raises(InputError, match="is a file; a model of Hugging Face is a folder"):
        load_huggingface(plain / "model.safetensors")


def test_a_model_from_the_hub_is_fetched_file_by_file_and_nothing_else(plain, tmp_path, monkeypatch):
    import huggingface_hub

    fetched: list[str] = []

    def download(repository: str, name: str) -> str:
        assert repository == "someone/gpt2"
        fetched.append(name)
        return str(plain / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    listed = ["README.md", "pytorch_model.bin", "onnx/model.safetensors", *(path.name for path in plain.iterdir())]
    monkeypatch.setattr(hub, "_listed", lambda name: listed)
    folder = import_huggingface("someone/gpt2", store=RunStore(tmp_path / "runs"))
    assert folder.info.name == "someone/gpt2"
    assert fetched == ["config.json", "tokenizer.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (urllib.error.HTTPError("", 401, "Unauthorized", None, None), "no model of this name"),
        (urllib.error.HTTPError("", 403, "Forbidden", None, None), "only those who have asked"),
        (urllib.error.HTTPError("", 502, "Bad Gateway", None, None), "answered 502 Bad Gateway"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "no connection to the internet"),
        (TimeoutError(), "did not answer in time"),
        (ValueError("is not JSON"), "is not JSON"),
    ],
)
def test_what_the_hub_answers_is_told_in_words(error, message, monkeypatch):
    def fail(name: str) -> list[str]:
        raise error

    monkeypatch.setattr(hub, "_listed", fail)
    with pytest.raises(InputError, match=message) as caught:
        load_huggingface("someone/some-model")
    assert "folder" in caught.value.mend


def test_a_model_that_was_fetched_before_needs_no_connection(plain, monkeypatch):
    import huggingface_hub

    def fail(name: str) -> list[str]:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "_listed", fail)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, local_files_only: str(plain))
    assert load_huggingface("someone/gpt2").architecture == "GPT2LMHeadModel"


def test_a_server_refuses_a_model_that_is_too_large_with_both_numbers(plain, tmp_path):
    from minigpt.runs.limits import load_limits

    limits = load_limits("hosted").model_copy(update={"max_parameters": 1000})
    with pytest.raises(LimitError, match=r"The model has [0-9,]+ parameters; this server allows 1,000"):
        import_huggingface(plain, store=RunStore(tmp_path), limits=limits)
