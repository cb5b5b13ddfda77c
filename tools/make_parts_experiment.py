"""Write `assets/parts_experiment.json`: what the Model page shows of trainings with one part of the model changed.

    python tools/make_parts_experiment.py [CORPUS] [OUT]

CORPUS is the name of a built-in corpus, by default `tales`; the result names it. It takes two minutes on one core. Run
it again when the corpus changes. A test repeats the first steps and compares.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import read_corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import encode_corpus, train_tokenizer
from minigpt.data.split import split_ids
from minigpt.evaluation.by_position import lengthened, loss_by_position
from minigpt.generation.generator import TextGenerator
from minigpt.model.protocols import LanguageModel
from minigpt.model.transformer import Transformer
from minigpt.runs.parts import CHANGES, LONGER, PARTS_RESULT, POSITIONS, PartResult, PartsExperiment, parts_settings
from minigpt.storage import write_text
from minigpt.tokenizers.base import BaseTokenizer, make_tokenizer
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, TrainerView
from minigpt.training.trainer import Trainer

PROMPT, NUM_TOKENS = "The ", 120


def main(corpus: str = "tales", out: str = "") -> None:
    """Do the experiment.

    Args:
        corpus: Name of a built-in corpus.
        out: Where to write; empty: into `assets/`.
    """
    torch.set_num_threads(1)  # the numbers depend on the number of threads
    path = Path(out) if out else resources.asset_path(PARTS_RESULT)
    result = parts_experiment(corpus)
    write_text(path, json.dumps(result.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
    for name, part in result.results.items():
        print(f"{name:18} {part.num_parameters:8,} {part.loss:.3f} nats, writes {part.text[:70]!r}")
    for kind, losses in result.by_position.items():
        near, far = losses[result.trained_length - 1], losses[-1]
        print(f"{kind:18} {near:.3f} nats at the end of the trained context, {far:.3f} at {len(losses)}")
    print(f"{path}: {path.stat().st_size:,} bytes")


def parts_experiment(corpus: str = "tales", *, stop_step: int | None = None) -> PartsExperiment:
    """Train the same model with each change of `CHANGES` and each kind of positions, from the same seed.

    Args:
        corpus: Name of a built-in corpus.
        stop_step: End every training after this step; None: train to the end.
    """
    base = parts_settings(corpus)
    text = read_corpus(base.data)
    tokenizer = train_tokenizer(make_tokenizer(base.tokenizer), text)
    parts = split_ids(encode_corpus(text, tokenizer), base.data.validation_fraction, base.data.max_validation_tokens)
    results: dict[str, PartResult] = {}
    models: dict[str, Transformer] = {}
    for name, changes in {**CHANGES, **{kind: {"model.positions": kind} for kind in POSITIONS}}.items():
        config = base.updated(changes)
        known = next((other for other, one in results.items() if base.updated(one.changes) == config), None)
        if known is not None:  # the default kind of positions, and none
            models[name] = models[known]
            continue
        model = Transformer(config.model, tokenizer.vocab_size, seed=config.seed)
        losses = _train(model, parts, config, stop_step)
        written = _write(model, tokenizer, PROMPT, config.seed)
        results[name], models[name] = PartResult(changes, model.num_parameters(), losses, written), model
    context = base.model.sequence_length
    return PartsExperiment(
        corpus=corpus,
        num_chars=text.num_chars,
        prompt=PROMPT,
        settings=base.model_dump(mode="json"),
        trained_length=context,
        results={name: results[name] for name in CHANGES},
        by_position={kind: _by_position(models[kind], parts[1], LONGER * context) for kind in POSITIONS},
    )


class _Recorder(Callback):
    """Records the measurements of a training."""

    def __init__(self) -> None:
        self.val_losses: list[tuple[int, float]] = []

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Record a measurement; the last step is measured twice, the second time on the whole validation part."""
        if self.val_losses and self.val_losses[-1][0] == trainer.step:
            del self.val_losses[-1]
        self.val_losses.append((trainer.step, round(record["val_loss"], 4)))


def _train(
    model: Transformer, parts: tuple[np.ndarray, np.ndarray], config: RunConfig, stop_step: int | None
) -> tuple[tuple[int, float], ...]:
    context, recorder = config.model.sequence_length, _Recorder()
    trainer = Trainer(
        model,
        LanguageModelDataset(parts[0], context, config.data.stride or 1),
        LanguageModelDataset(parts[1], context, context, name="The validation part"),
        config,
        callbacks=[recorder],
    )
    for _ in trainer.work():
        if stop_step is not None and trainer.step >= stop_step:
            trainer.stop()
    return tuple(recorder.val_losses)


def _by_position(model: Transformer, ids: np.ndarray, length: int) -> tuple[float, ...]:
    """Return the loss after each position of windows of the validation part, which overlap so that there are many."""
    starts = range(0, len(ids) - length - 1, 16)
    windows = np.stack([ids[start : start + length + 1] for start in starts]).astype(np.int64)
    losses = loss_by_position(lengthened(model, length), torch.from_numpy(windows))
    return tuple(round(float(loss), 4) for loss in losses)


@dataclass(frozen=True)
class _Pair:
    """A model with its tokenizer, as the generator takes them."""

    model: Transformer
    tokenizer: BaseTokenizer


def _write(model: Transformer, tokenizer: BaseTokenizer, prompt: str, seed: int) -> str:
    run: LanguageModel = _Pair(model, tokenizer)
    options: dict[str, Any] = {"max_new_tokens": NUM_TOKENS, "temperature": 1.0, "seed": seed}
    return TextGenerator(run).generate(prompt, **options).completion


if __name__ == "__main__":
    main(*sys.argv[1:])
