"""Write `assets/mask_experiment.json`: what the causal mask lab shows of two trainings, with and without the mask.

    python tools/make_mask_experiment.py

It takes some ten seconds on one core. A test repeats the first steps of both trainings and compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, read_corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import encode_corpus, train_tokenizer
from minigpt.data.split import split_ids
from minigpt.generation.generator import TextGenerator
from minigpt.model.protocols import LanguageModel
from minigpt.model.transformer import Transformer
from minigpt.runs.experiments import MASK_RESULT, Course, MaskExperiment, mask_settings
from minigpt.storage import write_text
from minigpt.tokenizers.base import BaseTokenizer, make_tokenizer
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, TrainerView
from minigpt.training.trainer import Trainer

PROMPT, NUM_TOKENS = "Once upon a time", 120


def main(out: str = "") -> None:
    """Do the experiment.

    Args:
        out: Where to write; empty: into `assets/`.
    """
    torch.set_num_threads(1)  # the numbers depend on the number of threads
    path = Path(out) if out else resources.asset_path(MASK_RESULT)
    result = mask_experiment()
    write_text(path, json.dumps(result.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
    for course in (result.masked, result.unmasked):
        print(f"mask {course.causal!s:>5}: validation {course.val_losses[-1][1]:.3f} nats, writes {course.text!r}")
    print(f"{path}: {path.stat().st_size:,} bytes")


def mask_experiment(
    config: RunConfig | None = None,
    corpus: Corpus | None = None,
    *,
    prompt: str = PROMPT,
    num_tokens: int = NUM_TOKENS,
    stop_step: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MaskExperiment:
    """Train one model with and one without the causal mask, from the same weights, and let both write.

    Without the mask a position can see the token that it has to predict. It learns to copy that token: the loss falls
    to almost nothing, and the model cannot predict a token that does not exist yet.

    Args:
        config: Settings of both, except `model.causal`; None: those of the shipped result.
        corpus: The text that both learn; None: the one that the settings name.
        prompt: The beginning that both models continue.
        num_tokens: How many tokens each model writes.
        stop_step: End both trainings after this step, with schedules made for `max_steps`; None: train to the end.
        cancelled: Called after each piece of work; when it returns True, the experiment ends.
        progress: Called after each step with (steps done, all steps), counted over both trainings.

    Raises:
        CorpusError: The corpus is shorter than one window.
        CancelledError: `cancelled` returned True.
    """
    config = mask_settings() if config is None else config
    corpus = read_corpus(config.data) if corpus is None else corpus
    tokenizer = train_tokenizer(make_tokenizer(config.tokenizer), corpus)
    ids = encode_corpus(corpus, tokenizer)
    parts = split_ids(ids, config.data.validation_fraction, config.data.max_validation_tokens)
    steps = config.training.max_steps if stop_step is None else min(stop_step, config.training.max_steps)
    courses: list[Course] = []
    for causal in (True, False):
        settings = config.updated({"model.causal": causal})
        recorder = _Recorder(progress, before=len(courses) * steps, total=2 * steps)
        model = Transformer(settings.model, tokenizer.vocab_size, seed=settings.seed)
        _train(model, parts, settings, steps, recorder, cancelled)
        text = _write(model, tokenizer, prompt, num_tokens, settings.seed)
        courses.append(Course(causal, tuple(recorder.losses), tuple(recorder.val_losses), text))
    return MaskExperiment(courses[0], courses[1], prompt, model.num_parameters(), config.model_dump(mode="json"))


class _Recorder(Callback):
    """Records the losses of a training and reports its progress; `before` counts the steps of the training before."""

    def __init__(self, progress: Callable[[int, int], None] | None, *, before: int, total: int) -> None:
        self.losses: list[float] = []
        self.val_losses: list[tuple[int, float]] = []
        self._progress, self._before, self._total = progress, before, total

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Record the loss of a step."""
        self.losses.append(round(record["loss"], 4))
        if self._progress is not None:
            self._progress(self._before + trainer.step, self._total)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Record a measurement."""
        if not self.val_losses or self.val_losses[-1][0] != trainer.step:  # the last step is measured twice
            self.val_losses.append((trainer.step, round(record["val_loss"], 4)))


def _train(
    model: Transformer,
    parts: tuple[np.ndarray, np.ndarray],
    config: RunConfig,
    steps: int,
    recorder: _Recorder,
    cancelled: Callable[[], bool] | None,
) -> None:
    context = config.model.sequence_length
    trainer = Trainer(
        model,
        LanguageModelDataset(parts[0], context, config.data.stride or 1),
        LanguageModelDataset(parts[1], context, context, name="The validation part"),
        config,
        callbacks=[recorder],
    )
    for _ in trainer.work():
        if cancelled is not None and cancelled():
            raise CancelledError
        if trainer.step >= steps:
            trainer.stop()


@dataclass(frozen=True)
class _Pair:
    """A model with its tokenizer, as the generator takes them."""

    model: Transformer
    tokenizer: BaseTokenizer


def _write(model: Transformer, tokenizer: BaseTokenizer, prompt: str, num_tokens: int, seed: int) -> str:
    run: LanguageModel = _Pair(model, tokenizer)
    return TextGenerator(run).generate(prompt, max_new_tokens=num_tokens, temperature=1.0, seed=seed).completion


if __name__ == "__main__":
    main(*sys.argv[1:])
