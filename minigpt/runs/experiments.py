"""Experiments that ship with their results: a training without the causal mask, and the birth of an induction head.

Each is a function of settings alone, so that anybody can do it again: `assets/make_mask_experiment.py` writes the
result that the app shows, a test does the first steps once more and compares.

Reads after: store.py, training/trainer.py. Shapes: N steps, L layers, H heads.
Source: Olsson et al. 2022, "In-context Learning and Induction Heads", for the birth of induction heads.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from minigpt import resources
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import Corpus, read_corpus
from minigpt.data.dataset import LanguageModelDataset
from minigpt.data.prepared import encode_corpus, train_tokenizer
from minigpt.data.split import split_ids
from minigpt.generation.generator import TextGenerator
from minigpt.interpret.heads import HeadScores, attention_patterns, head_scores, repeated_ids
from minigpt.interpret.trace import trace_forward
from minigpt.model.protocols import LanguageModel
from minigpt.model.transformer import Transformer
from minigpt.runs.folder import RunFolder
from minigpt.runs.store import load_run
from minigpt.tokenizers.base import BaseTokenizer, make_tokenizer
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, TrainerView
from minigpt.training.trainer import Trainer

MASK_RESULT = "mask_experiment.json"
"""Where under `assets/` the shipped result of `mask_experiment` lies."""
_PROMPT, _NUM_TOKENS = "Once upon a time", 120


# -- with and without the mask


@dataclass(frozen=True)
class Course:
    """How one training went and what its model writes.

    Attributes:
        causal: Whether it had the mask.
        losses: Training loss of every step, nats per token.
        val_losses: (step, nats per token) of each measurement on the validation part.
        text: What the model writes after the prompt, the dice deciding on its own probabilities.
    """

    causal: bool
    losses: tuple[float, ...]
    val_losses: tuple[tuple[int, float], ...]
    text: str


@dataclass(frozen=True)
class MaskExperiment:
    """Two trainings that differ in the causal mask and in nothing else, not even in the first weights.

    Attributes:
        masked: With the mask.
        unmasked: Without it.
        prompt: What both texts begin with.
        num_parameters: Of each model.
        settings: The settings that both share, as YAML holds them.
    """

    masked: Course
    unmasked: Course
    prompt: str
    num_parameters: int
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the experiment as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MaskExperiment:
        """Return the experiment that `to_dict` wrote."""
        courses = {name: _course(values[name]) for name in ("masked", "unmasked")}
        return cls(**{**values, **courses})


def _course(values: dict[str, Any]) -> Course:
    pairs = tuple((int(step), float(loss)) for step, loss in values["val_losses"])
    return Course(values["causal"], tuple(values["losses"]), pairs, values["text"])


def mask_settings() -> RunConfig:
    """Return the settings of the shipped experiment: the smallest preset, long enough for the first words."""
    return load_config("nano", environment={}, overrides={"training.max_steps": 1000, "training.eval_steps": 50})


def mask_experiment(
    config: RunConfig | None = None,
    corpus: Corpus | None = None,
    *,
    prompt: str = _PROMPT,
    num_tokens: int = _NUM_TOKENS,
    stop_step: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MaskExperiment:
    """Train a model with and one without the causal mask, from the same weights, and let both write.

    Without the mask a position can see the very token that it has to predict: the loss collapses, and nothing has been
    learned that helps with a token that is not there yet.

    Args:
        config: Settings of both, `model.causal` aside; None: those of the shipped result.
        corpus: What both learn from; None: the one that the settings name.
        prompt: What both texts begin with.
        num_tokens: Length of those texts.
        stop_step: End both trainings here, on schedules that run to `max_steps`; None: train to the end.
        cancelled: Asked after each piece of work; True ends it.
        progress: Called after each step with (steps done, steps in all), of both trainings together.

    Raises:
        CorpusError: The corpus is shorter than one window.
        CancelledError: `cancelled` said so.
    """
    config = mask_settings() if config is None else config
    corpus = read_corpus(config.data) if corpus is None else corpus
    tokenizer = train_tokenizer(make_tokenizer(config.tokenizer), corpus)
    ids = encode_corpus(corpus, tokenizer)
    parts = split_ids(ids, config.data.validation_fraction, config.data.max_validation_tokens)
    steps = config.training.max_steps if stop_step is None else min(stop_step, config.training.max_steps)
    courses: list[Course] = []
    for causal in (True, False):
        one = config.updated({"model.causal": causal})
        watch = _Watch(progress, before=len(courses) * steps, total=2 * steps)
        model = Transformer(one.model, tokenizer.vocab_size, seed=one.seed)
        _train(model, parts, one, steps, watch, cancelled)
        text = _write(model, tokenizer, prompt, num_tokens, one.seed)
        courses.append(Course(causal, tuple(watch.losses), tuple(watch.val_losses), text))
    settings = config.model_dump(mode="json")
    return MaskExperiment(courses[0], courses[1], prompt, model.num_parameters(), settings)


@functools.cache
def shipped_mask_experiment() -> MaskExperiment:
    """Return the result that ships with minigpt, made by `assets/make_mask_experiment.py`."""
    text = resources.asset_path(MASK_RESULT).read_text("utf-8")
    return MaskExperiment.from_dict(json.loads(text))


class _Watch(Callback):
    """Writes down the losses of a training and says how far it is: `before` steps were done when it began."""

    def __init__(self, progress: Callable[[int, int], None] | None, *, before: int, total: int) -> None:
        self.losses: list[float] = []
        self.val_losses: list[tuple[int, float]] = []
        self._progress, self._before, self._total = progress, before, total

    def on_step(self, trainer: TrainerView, record: Record) -> None:
        """Note the loss of a step."""
        self.losses.append(round(record["loss"], 4))
        if self._progress is not None:
            self._progress(self._before + trainer.step, self._total)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> None:
        """Note a measurement."""
        if not self.val_losses or self.val_losses[-1][0] != trainer.step:  # the last step is measured twice
            self.val_losses.append((trainer.step, round(record["val_loss"], 4)))


def _train(
    model: Transformer,
    parts: tuple[np.ndarray, np.ndarray],
    config: RunConfig,
    steps: int,
    watch: _Watch,
    cancelled: Callable[[], bool] | None,
) -> None:
    context = config.model.sequence_length
    trainer = Trainer(
        model,
        LanguageModelDataset(parts[0], context, config.data.stride or 1),
        LanguageModelDataset(parts[1], context, context, name="The validation part"),
        config,
        callbacks=[watch],
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


# -- the birth of an induction head


@dataclass(frozen=True)
class HeadHistory:
    """What every head was at each step of a run that is kept.

    Attributes:
        steps: The N steps, in order.
        scores: Of all heads at each step; `induction` and its like are (N, L, H).
        val_losses: (step, nats per token) of each measurement on the validation part.
    """

    steps: tuple[int, ...]
    scores: HeadScores
    val_losses: tuple[tuple[int, float], ...]


def head_history(
    folder: RunFolder, *, length: int = 16, num_texts: int = 4, cancelled: Callable[[], bool] | None = None
) -> HeadHistory:
    """Score all heads of a run on repeated random tokens, at every step whose weights are kept.

    Args:
        folder: The run.
        length: Random tokens that come twice; fewer where the context is too short for them.
        num_texts: How many such texts the scores are averaged over.
        cancelled: Asked before each step; True ends the work.

    Raises:
        RunNotFoundError: The run has no weights.
        CancelledError: `cancelled` said so.
    """
    steps = folder.steps()
    if not steps:
        folder.weights_path()  # says what is missing
    texts = _repeated_texts(folder, length, num_texts)
    by_step: list[list[HeadScores]] = []  # for each step, for each text
    for step in steps:
        if cancelled is not None and cancelled():
            raise CancelledError
        model = load_run(folder.path, step=step).model
        by_step.append([head_scores(attention_patterns(trace_forward(model, ids)), ids.numpy()) for ids in texts])

    def mean(kind: str) -> np.ndarray:
        every = np.array([[getattr(scores, kind) for scores in step] for step in by_step])  # (N, texts, L, H)
        return np.asarray(every.mean(axis=1), np.float32)

    measured = [record for record in folder.metrics() if record["kind"] == "evaluation"]
    return HeadHistory(
        tuple(steps),
        HeadScores(mean("previous"), mean("first"), mean("same_token"), mean("induction")),
        tuple((record["step"], record["val_loss"]) for record in measured),
    )


def _repeated_texts(folder: RunFolder, length: int, num_texts: int) -> list[torch.Tensor]:
    tokenizer, context = folder.tokenizer, folder.config.model.sequence_length
    bos = tokenizer.bos_id
    length = max(1, min(length, (context - (bos is not None)) // 2))
    return [repeated_ids(tokenizer.text_ids, length, seed=seed, bos_id=bos) for seed in range(num_texts)]
