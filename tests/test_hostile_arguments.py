"""Whatever a caller gives to the public library, it answers with one of its own errors, or takes it.

Every public function and class is found by looking at the package, and has a call that works in `CALLS`. In that call
each argument in turn is replaced by values that no caller should give. A value of a wrong type may be a `TypeError`, as
in all of Python. Everything else has to be a `MinigptError`, whose message says what is allowed.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import minigpt
from minigpt.config import RunConfig
from minigpt.errors import MinigptError
from minigpt.interpret import (
    ablation,
    averages,
    embeddings,
    erasure,
    flow,
    forward,
    head_output,
    heads,
    lens,
    mask,
    neurons,
    patching,
)
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "the cat sat on the mat. " * 8
CONFIG = RunConfig().updated(
    {"model.num_layers": 2, "model.num_heads": 2, "model.d_model": 8, "model.sequence_length": 16, "device": "cpu"}
)
TOKENIZER = CharacterTokenizer().train(TEXT)
MODEL = Transformer(CONFIG.model, TOKENIZER.vocab_size, seed=1).eval()
RUN = SimpleNamespace(model=MODEL, tokenizer=TOKENIZER, config=CONFIG)
IDS = torch.tensor([TOKENIZER.encode("the cat ")])
OTHER = torch.tensor([TOKENIZER.encode("the sat ")])
LOGITS = torch.linspace(-1, 1, TOKENIZER.vocab_size)
TRACE = trace_forward(MODEL, IDS)
STREAM = np.array(TOKENIZER.encode(TEXT), np.uint8)
WINDOWS = minigpt.LanguageModelDataset(STREAM, 16)
MODEL_AND_IDS = {"model": MODEL, "ids": IDS}
PATCHED = {"model": MODEL, "clean_ids": IDS, "corrupt_ids": OTHER, "target": 5, "versus": 6}


def with_exported(use: Callable[[Path], Any]) -> Any:
    """Call a function with the folder of a model that was exported for Hugging Face's transformers."""
    with tempfile.TemporaryDirectory() as folder:
        minigpt.export_huggingface(RUN, Path(folder) / "model")  # type: ignore[arg-type]
        return use(Path(folder) / "model")


def with_parts(use: Callable[[Path], Any]) -> Any:
    """Call a function with a Python file that defines a block."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "parts.py").write_text("import minigpt\nclass Quiet(minigpt.Block): pass\n", "utf-8")
        return use(Path(folder) / "parts.py")


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "BatchOrder": (minigpt.BatchOrder, {"seed": 1, "num_windows": 9, "batch_size": 2, "rank": 0, "num_ranks": 1}),
    "BatchOrder.indices": (minigpt.BatchOrder(1, 9, 2).indices, {"step": 3}),
    "CharacterTokenizer": (minigpt.CharacterTokenizer, {"characters": ["a", "b"]}),
    "CharacterTokenizer.train": (lambda text: CharacterTokenizer().train(text), {"text": "ab"}),
    "CharacterTokenizer.encode": (TOKENIZER.encode, {"text": "the"}),
    "CharacterTokenizer.decode": (TOKENIZER.decode, {"ids": [5, 6]}),
    "ByteTokenizer": (lambda text: minigpt.ByteTokenizer().train(text).encode(text), {"text": "ab"}),
    "ByteTokenizer.decode": (minigpt.ByteTokenizer().decode, {"ids": [5, 6]}),
    "BPETokenizer": (
        lambda text, num_merges: minigpt.BPETokenizer(num_merges).train(text).encode(text),
        {"text": "abab", "num_merges": 2},
    ),
    "BPETokenizer.decode": (minigpt.BPETokenizer(2).train("abab").decode, {"ids": [5, 6]}),
    "LanguageModelDataset": (
        minigpt.LanguageModelDataset,
        {"ids": STREAM, "sequence_length": 8, "stride": 2, "name": "it"},
    ),
    "LanguageModelDataset[]": (WINDOWS.__getitem__, {"index": 0}),
    "GenerationSettings": (
        minigpt.GenerationSettings,
        {
            "max_new_tokens": 2,
            "temperature": 1.0,
            "top_k": 3,
            "top_p": 0.9,
            "min_p": 0.1,
            "stop": "x",
            "seed": 1,
            "row": 0,
            "num_runners_up": 1,
            "sampler": None,
            "use_cache": True,
        },
    ),
    "TemperatureSampler": (minigpt.TemperatureSampler, {"temperature": 1.0}),
    "TopKSampler": (minigpt.TopKSampler, {"k": 3}),
    "TopPSampler": (minigpt.TopPSampler, {"p": 0.5}),
    "MinPSampler": (minigpt.MinPSampler, {"p": 0.5}),
    "TypicalSampler": (minigpt.TypicalSampler, {"mass": 0.5}),
    "TopNSigmaSampler": (minigpt.TopNSigmaSampler, {"n": 1.0}),
    "MirostatSampler": (minigpt.MirostatSampler, {"tau": 3.0, "eta": 0.1}),
    "RepetitionPenalty": (minigpt.RepetitionPenalty, {"penalty": 1.2, "window": 9}),
    "FrequencyPenalty": (minigpt.FrequencyPenalty, {"penalty": 1.2, "window": 9}),
    "PresencePenalty": (minigpt.PresencePenalty, {"penalty": 1.2, "window": 9}),
    "DRYPenalty": (minigpt.DRYPenalty, {"multiplier": 1.0, "base": 1.5, "allowed_length": 2, "window": 9}),
    "LogitBias": (minigpt.LogitBias, {"bias": {1: 2.0}}),
    "BannedTokens": (minigpt.BannedTokens, {"ids": [1]}),
    "AllowedTokens": (minigpt.AllowedTokens, {"ids": [1]}),
    "NoRepeatedLetter": (minigpt.NoRepeatedLetter, {}),
    "Alliteration": (minigpt.Alliteration, {"letter": "s"}),
    "SyllableLines": (lambda first, second: minigpt.SyllableLines(first, second), {"first": 5, "second": 7}),
    "OnlyWords": (minigpt.OnlyWords, {"words": ["cat"]}),
    "Rhyme": (minigpt.Rhyme, {"word": "cat"}),
    "GreedySampler": (minigpt.GreedySampler().sample, {"logits": LOGITS, "seed": 0, "position": 0}),
    "Sampler": (minigpt.TopPSampler(0.9).sample, {"logits": LOGITS, "seed": 0, "position": 0}),
    "SamplerChain": (minigpt.SamplerChain, {"stages": [minigpt.TopKSampler(3)]}),
    "TextGenerator": (
        minigpt.TextGenerator(RUN).generate,
        {"prompt": "the", "max_new_tokens": 2, "temperature": 1.0, "top_k": 2, "stop": "q", "seed": 1, "row": 0},
    ),
    "TextGenerator.generate_batch": (
        minigpt.TextGenerator(RUN).generate_batch,
        {"prompts": ["the", "a"], "max_new_tokens": 2},
    ),
    "TextGenerator.search": (
        minigpt.TextGenerator(RUN).search,
        {"prompt": "the", "num_beams": 2, "max_new_tokens": 2, "length_penalty": 1.0, "num_results": 2},
    ),
    "TextGenerator.stream": (
        lambda **options: list(minigpt.TextGenerator(RUN).stream(**options)),
        {"prompt": "the", "max_new_tokens": 2, "num_runners_up": 2},
    ),
    "ModelEvaluator": (lambda **options: minigpt.ModelEvaluator(RUN, **options).evaluate("the cat"), {"batch_size": 2}),
    "ModelEvaluator.evaluate": (
        minigpt.ModelEvaluator(RUN).evaluate,
        {"text": "the cat", "stride": 4, "return_predictions": True, "num_candidates": 2},
    ),
    "Block": (minigpt.Block, {"config": CONFIG.model, "layer": 0}),
    "PositionScheme": (minigpt.PositionScheme, {"config": CONFIG.model}),
    "register_module": (minigpt.register_module, {"cls": type("Quiet", (minigpt.Block,), {})}),
    "load_modules": (
        lambda path: with_parts(lambda file: minigpt.load_modules(file if path == "own" else path)),
        {"path": "own"},
    ),
    "Transformer": (minigpt.Transformer, {"config": CONFIG.model, "vocab_size": 9, "seed": 1}),
    "Transformer.forward": (MODEL, {"ids": IDS}),
    "Trainer": (
        minigpt.Trainer,
        {
            "model": Transformer(CONFIG.model, TOKENIZER.vocab_size),
            "train": WINDOWS,
            "validation": WINDOWS,
            "config": CONFIG,
            "callbacks": (),
        },
    ),
    "RunConfig": (minigpt.RunConfig, {"seed": 1, "device": "cpu", "preset": None}),
    "RunConfig.updated": (CONFIG.updated, {"changes": {"seed": 3}}),
    "TransformerConfig": (minigpt.TransformerConfig, {"num_layers": 2, "d_model": 16, "dropout": 0.1, "bias": True}),
    "TrainingConfig": (minigpt.TrainingConfig, {"max_steps": 4, "learning_rate": 0.1, "track": (), "optimizer": "sgd"}),
    "GenerationConfig": (
        minigpt.GenerationConfig,
        {"max_new_tokens": 4, "temperature": 0.1, "top_k": 2, "stop": ("a",)},
    ),
    "corpus_from_text": (minigpt.corpus_from_text, {"text": "the cat", "name": "cats", "clean": True}),
    "load_corpus": (minigpt.load_corpus, {"name": "repeat", "num_chars": 100, "seed": 1}),
    "read_corpus": (
        minigpt.read_corpus,
        {"config": CONFIG.data.model_copy(update={"corpus": "repeat", "num_chars": 9})},
    ),
    "create_run": (
        lambda **options: minigpt.create_run(**options),
        {"config": CONFIG, "corpus": minigpt.corpus_from_text(TEXT, name="cats"), "name": "cats", "path": None},
    ),
    "export_huggingface": (
        lambda name: with_exported(lambda folder: minigpt.export_huggingface(RUN, folder.parent / name)),
        {"name": "other"},
    ),
    "load_huggingface": (
        lambda source, tokenizer: with_exported(
            lambda folder: minigpt.load_huggingface(
                folder if source == "own" else source, tokenizer=None if tokenizer == "own" else tokenizer
            )
        ),
        {"source": "own", "tokenizer": "own"},
    ),
    "import_huggingface": (
        lambda source, name, tokenizer: with_exported(
            lambda folder: minigpt.import_huggingface(
                folder if source == "own" else source,
                path=folder.parent / "run",
                name=name,
                tokenizer=None if tokenizer == "own" else tokenizer,
            )
        ),
        {"source": "own", "name": "cats", "tokenizer": "own"},
    ),
    "load_run": (minigpt.load_run, {"name": "tales", "step": None, "device": "cpu"}),
    "load_config": (minigpt.load_config, {"source": None, "overrides": {"seed": 1}, "environment": {}}),
    "dump_yaml": (minigpt.dump_yaml, {"config": CONFIG, "comments": True}),
    "trace_forward": (trace_forward, MODEL_AND_IDS),
    "ablation.ablated_logits": (
        ablation.ablated_logits,
        {**MODEL_AND_IDS, "ablation": ablation.Ablation(heads=frozenset({(0, 1)}))},
    ),
    "ablation.mean_activations": (ablation.mean_activations, MODEL_AND_IDS),
    "ablation.text_nats": (ablation.text_nats, MODEL_AND_IDS),
    "ablation.importance": (ablation.importance, {**MODEL_AND_IDS, "kind": "zero"}),
    "averages.head_averages": (averages.head_averages, {"model": MODEL, "windows": IDS}),
    "embeddings.token_vectors": (embeddings.token_vectors, {"model": MODEL}),
    "embeddings.principal_components": (embeddings.principal_components, {"matrix": np.eye(5), "dims": 2}),
    "embeddings.cosine_similarity": (embeddings.cosine_similarity, {"matrix": np.eye(5)}),
    "embeddings.nearest_neighbours": (embeddings.nearest_neighbours, {"matrix": np.eye(5), "count": 2}),
    "erasure.erasure_effects": (erasure.erasure_effects, {**MODEL_AND_IDS, "query": 3, "target": 5, "kind": "zero"}),
    "flow.record_flow": (flow.record_flow, {"run": RUN, "prompt": "the", "num_tokens": 2, "seed": 1}),
    "forward.forward_pass": (forward.forward_pass, {**MODEL_AND_IDS, "layer": 1}),
    "head_output.head_output": (head_output.head_output, {"trace": TRACE, "layer": 1, "head": 0}),
    "heads.head_stages": (heads.head_stages, {"trace": TRACE, "layer": 1, "head": 0}),
    "heads.score_heads": (heads.score_heads, MODEL_AND_IDS),
    "heads.repeated_ids": (heads.repeated_ids, {"token_ids": [5, 6, 7], "length": 3, "seed": 1, "bos_id": 2}),
    "lens.logit_lens": (lens.logit_lens, {**MODEL_AND_IDS, "k": 3}),
    "lens.logit_attribution": (lens.logit_attribution, {**MODEL_AND_IDS, "position": 3, "target": 5, "versus": 6}),
    "lens.head_outputs": (lens.head_outputs, MODEL_AND_IDS),
    "mask.change_effect": (mask.change_effect, {**MODEL_AND_IDS, "position": 3, "new_id": 5}),
    "mask.unmasked_stages": (mask.unmasked_stages, {**MODEL_AND_IDS, "layer": 1, "head": 0}),
    "neurons.unit_activations": (
        neurons.unit_activations,
        {"model": MODEL, "windows": IDS, "layer": 1, "unit": 3},
    ),
    "neurons.strongest_units": (neurons.strongest_units, {**MODEL_AND_IDS, "count": 2}),
    "neurons.top_snippets": (
        neurons.top_snippets,
        {"model": MODEL, "windows": IDS, "layer": 1, "unit": 3, "count": 2, "before": 1, "after": 1, "skipped": 0},
    ),
    "patching.patch_residual": (patching.patch_residual, PATCHED),
    "patching.patch_heads": (patching.patch_heads, PATCHED),
    "patching.turning_change": (patching.turning_change, {**MODEL_AND_IDS, "excluded": (0, 1), "tried": 2}),
}

NOT_CALLED = {
    "Run", "Corpus", "Evaluation", "Generation", "Trace",  # results, which the library makes itself
    "MinigptError", "InputError", "RunFault",
    "BaseTokenizer", "Callback", "TextRule",  # bases to derive from
    "TrainingJob",  # takes a run's folder, whose files have tests of their own
    "ablation.check_ablation", "checks.check_layer", "checks.check_feedforward", "checks.check_token", "checks.check_place",
    "embeddings.position_similarity", "heads.attention_patterns", "heads.score_heads_apart",
    "trace.trace_forward", "lens.read_out", "lens.stream_points", "patching.affordable_tokens", "source.lines_of_point",
    "source.lines_of_step",  # called by those above, or with one argument that is a model
}  # fmt: skip

NUMBERS = [None, True, -1, 0, 2**70, -(2**70), 1.5, math.nan, math.inf, -math.inf, 1e30, 10**12, "x", "", []]
TEXTS = [None, "", "\ud800", "\0", 1, b"x", [], ["a", None]]
TENSORS = [
    None, "the", IDS.tolist(), IDS.numpy(), torch.tensor(3), torch.zeros(0, dtype=torch.int64), IDS[:, :0],
    torch.cat([IDS, IDS]), torch.zeros(1, 99, dtype=torch.int64), torch.full((1, 4), 10**6), torch.full((1, 4), -1),
    torch.zeros(1, 4), IDS[None], IDS[:, :1], IDS.int(),
]  # fmt: skip
ROWS = [
    None, "x", [1.0], torch.zeros(0), torch.zeros(2, 0), torch.zeros(0, 4), torch.zeros(2, 3, 4),
    torch.zeros(4, dtype=torch.int64), torch.full((5,), math.nan), torch.full((5,), -math.inf),
    torch.full((5,), math.inf),
]  # fmt: skip
ARRAYS = [None, "x", [[1.0]], np.zeros(0), np.zeros((0, 0)), np.zeros(3), np.zeros((2, 3, 4)), np.array([["a"]]),
          np.full((3, 3), math.nan)]  # fmt: skip
LISTS = [None, "x", 5, [None], ["x"], [-1], [10**9], [1.5], [[]], [math.nan]]


def hostile(argument: str, value: Any) -> list[Any]:
    """Values to put in the place of one that works."""
    if argument == "logits":
        return ROWS
    if argument == "step":
        return NUMBERS
    for kind, values in (
        (torch.Tensor, TENSORS), (np.ndarray, ARRAYS), (int | float, NUMBERS), (str, TEXTS), (list | tuple, LISTS)
    ):  # fmt: skip
        if isinstance(value, kind):
            return values
    return []


CASES = [(name, argument) for name, (_, options) in CALLS.items() for argument in options]


def test_every_public_callable_is_tried() -> None:
    named = {name for name in minigpt.__all__ if callable(getattr(minigpt, name))}
    package = importlib.import_module("minigpt.interpret")
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != info.name:
                continue
            if next(iter(inspect.signature(value).parameters), "") in ("model", "trace", "run"):
                named.add(f"{info.name.rpartition('.')[2]}.{name}")
    assert named - NOT_CALLED - {name.removesuffix("[]") for name in CALLS} == set()
    assert sum(len(hostile(argument, CALLS[name][1][argument])) for name, argument in CASES) > 1400


@pytest.mark.filterwarnings("ignore")  # torch and numpy warn of some of these values; what counts is the outcome
@pytest.mark.parametrize("name", CALLS)
def test_hostile_values_end_in_an_error_of_ours(name: str, own_home: Path) -> None:
    call, options = CALLS[name]
    call(**options)
    for argument, value in options.items():
        for given in hostile(argument, value):
            try:
                call(**{**options, argument: given})
            except (MinigptError, TypeError):
                pass
            except IndexError:
                assert name.endswith("[]"), f"{name}({argument}={given!r})"
            except Exception as error:
                pytest.fail(f"{name}({argument}={given!r}) raised {type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lens.logit_lens(MODEL, torch.cat([IDS, IDS])), "must be one text"),
        (lambda: minigpt.TopKSampler(math.inf), "a whole number from 1 up"),  # type: ignore[arg-type]
        (lambda: minigpt.ModelEvaluator(RUN).evaluate("the cat", stride=True), "stride is True"),
        (lambda: minigpt.ModelEvaluator(RUN).evaluate(None), "A text was expected, not NoneType"),  # type: ignore[arg-type]
        (lambda: minigpt.TextGenerator(RUN).generate(None), "A text was expected, not NoneType"),  # type: ignore[arg-type]
        (lambda: MODEL("the"), "ids is a str"),
    ],
)
def test_the_message_says_what_was_given(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(MinigptError, match=message):
        call()
