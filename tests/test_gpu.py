"""The same model, training and writing on a CUDA GPU as on a processor. Skipped where there is none, as in CI."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from minigpt.config import RunConfig, TransformerConfig
from minigpt.data.dataset import LanguageModelDataset
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.generation.settings import GenerationSettings
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

VARIANTS: dict[str, dict[str, Any]] = {
    "textbook": {"norm": "layernorm", "positions": "learned", "activation": "gelu", "bias": True},
    "rotary": {"qk_norm": True, "num_kv_heads": 2},
    "alibi": {"positions": "alibi", "logit_cap": 5.0, "num_kv_heads": 1},
    "window": {"attention_window": 3, "activation": "swiglu"},
    "convolution": {"convolution": 3, "norm_position": "post", "positions": "sinusoidal"},
}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def without_tf32() -> None:
    assert not torch.backends.cuda.matmul.allow_tf32, "something changed torch's default precision"


def models(**config: Any) -> tuple[Transformer, Transformer]:
    """Return two equal models, on the processor and on the GPU, whose weights hide nothing by being zero."""
    shape = TransformerConfig(**{"num_layers": 2, "num_heads": 4, "d_model": 32, "sequence_length": 16} | config)
    model = Transformer(shape, 40, seed=3).eval()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)), alpha=0.2)
    return model, copy.deepcopy(model).to(GPU)


def run_of(model: Transformer) -> Any:
    class Endless(CharacterTokenizer):
        eos_id = None  # or a random model would soon end its text

    return SimpleNamespace(model=model, tokenizer=Endless().train("abcdefghijklmnopqrstuvwxyz .,!?ABCDE"))


def new_trainer(device: torch.device, **changes: Any) -> Trainer:
    """Return the training of a small model; settings are keywords with `__` in place of the dot."""
    config = RunConfig().updated(
        {
            "seed": 7,
            "model.num_layers": 2,
            "model.num_heads": 2,
            "model.d_model": 32,
            "model.sequence_length": 16,
            "training.batch_size": 8,
            "training.max_steps": 40,
            "training.warmup_steps": 4,
            "training.learning_rate": 3e-3,
            "training.eval_steps": 20,
            "training.num_threads": 1,
            "training.precision": "float32",
            **{name.replace("__", "."): value for name, value in changes.items()},
        }
    )
    ids = np.array([(i * i + i // 7) % 11 for i in range(4000)], dtype=np.uint8)
    part = LanguageModelDataset(ids, 16)
    return Trainer(Transformer(config.model, 11, seed=config.seed).to(device), part, part, config)


def losses_of(device: torch.device, **changes: Any) -> list[float]:
    """Return the loss of each step of a whole training."""
    trainer = new_trainer(device, **changes)
    losses = []
    for _ in range(trainer.config.training.max_steps):
        trainer.step_once()
        assert trainer.loss is not None
        losses.append(trainer.loss)
    assert trainer.model.device.type == device.type
    return losses


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_logits_and_gradients_are_the_processors(config: dict[str, Any]) -> None:
    ids = torch.randint(40, (3, 16), generator=torch.Generator().manual_seed(0))
    results = []
    for model in models(**config):
        logits = model.double()(ids.to(model.device))
        logits.logsumexp(-1).sum().backward()
        gradients = [p.grad.cpu() for p in model.parameters() if p.grad is not None]
        results.append((logits.detach().cpu(), gradients))
    (logits, gradients), (logits_gpu, gradients_gpu) = results
    torch.testing.assert_close(logits_gpu, logits, rtol=1e-9, atol=1e-9)
    for one, other in zip(gradients_gpu, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_the_loss_curve_is_the_processors(optimizer: str) -> None:
    on_cpu, on_gpu = (losses_of(device, training__optimizer=optimizer) for device in (CPU, GPU))
    assert on_gpu[:10] == pytest.approx(on_cpu[:10], abs=1e-4)
    assert on_gpu[-1] == pytest.approx(on_cpu[-1], abs=0.05)


@pytest.mark.process  # compiling starts some
@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16", "auto"])
@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_every_precision_learns_alike(precision: str, compiled: bool) -> None:
    full = losses_of(GPU)
    losses = losses_of(GPU, training__precision=precision, training__compile=compiled)
    assert full[-1] < full[0] - 0.3
    assert losses[-1] == pytest.approx(full[-1], abs=0.1)


def test_a_training_resumes_as_if_it_had_not_stopped() -> None:
    recipe: dict[str, Any] = {"model__dropout": 0.2, "training__optimizer": "muon"}
    whole = new_trainer(GPU, **recipe)
    whole.fit()
    first, second = new_trainer(GPU, **recipe), new_trainer(GPU, **recipe)
    for _ in range(23):
        first.step_once()
    second.load_state_dict(first.state_dict())
    second.fit()
    for one, other in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)  # a GPU adds in an order of its own


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no cache"])
def test_texts_are_the_processors_alone_and_side_by_side(config: dict[str, Any], use_cache: bool) -> None:
    """In double precision, with prompts of different lengths, past the context limit."""
    prompts = ["a", "the cat", "Who? A bird. And then", "b c d", "E"]
    each = [
        GenerationSettings(
            max_new_tokens=12 + 7 * row, seed=4, row=row, use_cache=use_cache, temperature=1.2, top_p=0.9
        )
        for row in range(len(prompts))
    ]
    texts = []
    for model in models(**config):
        generator = TextGenerator(run_of(model.double()))
        texts.append([generator.generate(prompt, one).text for prompt, one in zip(prompts, each, strict=True)])
        texts.append([result.text for result in generator.generate_batch(prompts, each)])
    assert all(len(text) > 4 for text in texts[0])
    assert texts[1] == texts[0]
    assert texts[2] == texts[0]
    assert texts[3] == texts[0]


def test_perplexity_is_the_processors() -> None:
    text = "The bird sat. A cat came, and then? " * 6
    scores = [ModelEvaluator(run_of(model)).evaluate(text, stride=5) for model in models(**VARIANTS["rotary"])]
    assert scores[1].perplexity == pytest.approx(scores[0].perplexity, rel=1e-5)
    assert scores[1].bits_per_char == pytest.approx(scores[0].bits_per_char, rel=1e-5)
