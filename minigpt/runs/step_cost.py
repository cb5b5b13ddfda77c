"""Seconds of one weight update on this machine: a small model of the cost, whose constants are measured here.

    seconds = sum over kinds of work w of (amount of w in the update) * (seconds per unit of w on this machine)

The amounts follow from the settings (`work_of`). The seconds per unit are found by least squares from a few short
trainings of different shape (`measure_constants`), so they hold for this machine. The model then predicts any other
shape at once; `measure_step` tries one out.

What is timed is the processor time of one thread, in which torch computes. On an otherwise idle machine this is the
time that passes; what other programs take meanwhile is left out, so that the figures of a busy server can be compared.

Reads after: cost.py. torch is imported inside the functions that train.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np

from minigpt.config import RunConfig, TransformerConfig
from minigpt.model.size import size_map, tensor_shapes

KINDS = ("update", "layers", "matrices", "scores", "numbers", "parameters")
"""The kinds of work: once per update; once per micro-batch in each attention and feed-forward layer; multiplications in
matrices; attention scores; numbers that are read and written one by one; parameters that the optimizer updates."""

SHAPES: tuple[tuple[int, int, int, int, int, int], ...] = (
    (1, 1, 16, 16, 4, 32),
    (6, 2, 32, 16, 4, 32),
    (2, 4, 64, 64, 16, 64),
    (1, 2, 32, 256, 8, 64),
    (2, 8, 64, 128, 8, 64),
    (1, 4, 192, 32, 8, 128),
    (4, 4, 96, 48, 8, 64),
    (1, 2, 64, 32, 16, 2000),
    (3, 8, 192, 64, 16, 256),
)
"""Layers, heads, width, context, batch, and vocabulary of the trainings from which the constants are found."""
SECONDS = 0.25
"""How long each of them is timed; an update that takes longer is timed three times."""


def work_of(config: RunConfig, vocab_size: int) -> tuple[float, ...]:
    """Return how much of each of KINDS one weight update does.

    Args:
        config: All settings.
        vocab_size: Number of different tokens.

    >>> work_of(RunConfig().updated({"model.num_layers": 1, "model.num_heads": 1, "model.d_model": 4,
    ...     "model.sequence_length": 8, "training.batch_size": 2}), 10)
    (1.0, 2.0, 28416.0, 128.0, 2444.8, 244.0)
    """
    model, training = config.model, config.training
    tokens = training.batch_size * model.sequence_length
    scores = 4 * model.d_model * model.visible_length * model.num_layers
    flops = sum(part.flops for part in size_map(model, vocab_size)) - scores
    numbers = model.num_layers * _numbers_in_block(model) + 2 * vocab_size + 4 * model.d_model
    shapes = tensor_shapes(model, vocab_size)
    parameters = sum(map(math.prod, shapes.values()))
    matrices = 3.0 * tokens * flops
    if training.optimizer == "muon":
        matrices += sum(
            5 * (4 * min(shape) ** 2 * max(shape) + 2 * min(shape) ** 3)  # five steps of Newton and Schulz
            for name, shape in shapes.items()
            if name.startswith("blocks.") and len(shape) == 2 and "convolution" not in name
        )
    return (
        1.0,
        float(model.num_layers * (1 + model.has_feedforward) * training.accumulation_steps),
        matrices + 3.0 * tokens * scores,
        float(tokens * model.visible_length * model.num_heads * model.num_layers),
        float(tokens * numbers),
        float(parameters),
    )


_ACTIVATION = {"gelu": 1.3, "gelu_tanh": 1.3, "relu": 0.2, "relu2": 0.5, "swiglu": 2.5, "none": 0.0}
"""How often each number of the feed-forward layer is read and written for the activation, in both directions."""


def _numbers_in_block(model: TransformerConfig) -> float:
    """Return how many numbers of one token a block reads and writes one by one, in both directions.

    The weights of the parts are their measured times, compared with that of an addition to the stream, which counts 2:
    RMSNorm is written out and so takes twice as long as LayerNorm, which is one kernel.
    """
    width, layers = model.d_model, 1 + model.has_feedforward
    turned = width + model.kv_heads * model.d_head  # queries and keys
    norms = 0 if model.norm_position == "none" else layers * (5 if model.norm == "rmsnorm" else 2.5)
    around = norms + 2 * layers * model.residual + 5 * layers * (model.convolution > 1) + 4
    scores = 3 * ((model.positions == "rotary") + model.qk_norm)
    return around * width + scores * turned + _ACTIVATION[model.activation] * model.ff_width


@dataclass(frozen=True)
class MachineConstants:
    """Seconds that this machine needs for one unit of each of KINDS.

    Attributes:
        seconds: One number for each of KINDS, none of them negative.
    """

    seconds: tuple[float, ...]

    def predict(self, config: RunConfig, vocab_size: int) -> float:
        """Return the seconds of one weight update."""
        return float(np.dot(self.seconds, work_of(config, vocab_size)))


def fit_constants(work: Sequence[Sequence[float]], seconds: Sequence[float]) -> MachineConstants:
    """Find the constants, none of them negative, that explain measured times with the smallest relative errors.

    Args:
        work: For each measurement the amount of each of KINDS.
        seconds: What was measured.

    >>> fit_constants([[1, 0], [1, 2], [0, 4]], [3.0, 4.0, 2.0]).seconds
    (3.0, 0.5)
    """
    rows = np.array(work, dtype=np.float64) / np.array(seconds, dtype=np.float64)[:, None]
    scale = np.linalg.norm(rows, axis=0)
    scale[scale == 0] = 1
    rows /= scale
    target, constants = np.ones(len(rows)), np.zeros(rows.shape[1])
    for _ in range(20_000):  # one constant after the other; each is the best one while the others stay
        before = constants.copy()
        for kind in range(len(constants)):
            rest = target - rows @ constants + rows[:, kind] * constants[kind]
            constants[kind] = max(0.0, float(rows[:, kind] @ rest))
        if np.abs(constants - before).max() < 1e-12:
            break
    return MachineConstants(tuple(float(f"{value:.9g}") for value in constants / scale))


def measure_step(
    config: RunConfig,
    vocab_size: int,
    *,
    seconds: float = SECONDS,
    device: str = "cpu",
    clock: Callable[[], float] = time.thread_time,
    cancelled: Callable[[], bool] | None = None,
) -> float:
    """Train for a moment on random tokens and return the seconds of one weight update: the first quartile of several.

    Args:
        config: All settings; evaluations, samples and files are left out.
        vocab_size: Number of different tokens.
        seconds: How long to try; at least three updates are timed.
        device: Where to train.
        clock: What reads the time, in seconds. By default the processor time of this thread, which is right for one
            torch thread on a processor.
        cancelled: Called after each update; True ends the work.

    Raises:
        CancelledError: `cancelled` returned True.
        MinigptError: The model cannot be built or trained.
    """
    from minigpt.data.dataset import LanguageModelDataset
    from minigpt.model.transformer import Transformer
    from minigpt.training.trainer import Trainer

    config = config.updated(
        {
            "training.eval_steps": 0, "training.sample_steps": 0, "training.norm_steps": 0, "training.max_steps": 10**6,
            "training.max_seconds": None, "training.warmup_steps": 0, "training.compile": False, "training.track": [],
            "training.learning_rate": 1e-4, "training.muon_learning_rate": 1e-4,
        }
    )  # fmt: skip
    length = config.model.sequence_length + config.training.batch_size
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, vocab_size, length + 1)
    dataset = LanguageModelDataset(ids, config.model.sequence_length)
    trainer = Trainer(Transformer(config.model, vocab_size).to(device), dataset, None, config)
    times: list[float] = []
    trainer.step_once()  # the first update allocates the optimizer's state
    while len(times) < 3 or sum(times) < seconds:
        if cancelled is not None and cancelled():
            raise CancelledError
        start = clock()
        trainer.step_once()
        times.append(clock() - start)
    return float(np.quantile(times, 0.25))  # other work on the machine disturbs the slower ones more


def measure_constants(cancelled: Callable[[], bool] | None = None) -> MachineConstants:
    """Time the trainings of SHAPES and return the constants of this machine; it takes about three seconds.

    Args:
        cancelled: Called after each update; True ends the work.

    Raises:
        CancelledError: `cancelled` returned True.
    """
    work, seconds = [], []
    for layers, heads, width, context, batch, vocab_size in SHAPES:
        config = RunConfig().updated(
            {
                "model.num_layers": layers, "model.num_heads": heads, "model.d_model": width,
                "model.sequence_length": context, "training.batch_size": batch,
            }
        )  # fmt: skip
        work.append(work_of(config, vocab_size))
        seconds.append(measure_step(config, vocab_size, cancelled=cancelled))
    return fit_constants(work, seconds)
