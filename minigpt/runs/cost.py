"""What a run will cost: memory, disk and seconds, estimated from its settings before it starts.

Parameters and operations are exact; they come from model/size.py. Memory, disk and seconds are estimates based on them.
The error messages for a run that is too large for the memory or the disk are here, for the command line and the pages.
Importing this module does not import torch.

Reads after: model/size.py.
"""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt import resources
from minigpt.config import RunConfig, TransformerConfig, load_config
from minigpt.data.shards import ShardedCorpus
from minigpt.data.split import split_counts
from minigpt.errors import LimitError, StorageError
from minigpt.model.size import BYTES_PER_NUMBER, count_parameters, flops_per_token, tensor_shapes
from minigpt.tokenizers.base import make_tokenizer, smallest_id_type
from minigpt.wording import visible

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.runs.snapshots import RunSnapshot


# -- memory

PROCESS_MEGABYTES = 270
"""Memory of Python with torch that processes of one machine do not share, measured."""


def state_numbers(config: RunConfig, vocab_size: int) -> int:
    """Return how many numbers a training holds for its parameters: weights, gradients, optimizer state and weight EMA.

    AdamW keeps two numbers for each parameter, Muon one for each number in a matrix of the blocks and two for the
    rest, SGD one if it has momentum.

    >>> config = RunConfig().updated(  # 244 parameters, 192 of them in the matrices of the block
    ...     {"model.num_layers": 1, "model.num_heads": 1, "model.d_model": 4, "model.sequence_length": 8})
    >>> state_numbers(config, 10), state_numbers(config.updated({"training.optimizer": "muon"}), 10)
    (976, 784)
    """
    shapes, training = tensor_shapes(config.model, vocab_size), config.training
    total = sum(map(math.prod, shapes.values()))
    optimizer = {"adamw": 2, "muon": 2, "sgd": int(training.beta1 > 0)}[training.optimizer] * total
    if training.optimizer == "muon":
        optimizer -= sum(
            math.prod(shape)
            for name, shape in shapes.items()
            if name.startswith("blocks.") and len(shape) == 2 and "convolution" not in name
        )
    return 2 * total + optimizer + (total if training.weights_ema else 0)


def memory_megabytes(config: RunConfig, vocab_size: int, *, num_processes: int = 1, is_sharded: bool = False) -> float:
    """Estimate the memory that a training takes beyond the program itself, in MB (10^6 bytes).

    The numbers held for each parameter are exact. Of the activations that the backward pass needs, the inputs of each
    operation are counted in float32; on a processor, without attention dropout, this is right to about a fifth.

    Args:
        config: All settings.
        vocab_size: Number of different tokens, or an estimate of it.
        num_processes: Processes that train together; the memory is that of one of them. Each has its share of the
            windows, all weights, and its gradients a second time, in the buckets in which they are sent.
        is_sharded: Whether weights, gradients and optimizer state are divided between the processes. Each has its
            share, and one whole block with its gradients.
    """
    model, training = config.model, config.training
    windows = -(-training.batch_size // num_processes)
    batch = -(-windows // -(-training.accumulation_steps // num_processes))
    width, inner, kv_width = model.d_model, model.ff_width, model.kv_heads * model.d_head
    # The backward pass reads again: inputs and outputs of two norms, q, k, v and z, and the numbers of the
    # feed-forward layer before and after the non-linearity; with a cap also the scores, before and after it.
    norms = 0 if model.norm_position == "none" else 2 * width * (1 + model.has_feedforward)
    block = norms + 2 * width + 2 * kv_width + 2 * inner
    if model.logit_cap is not None:
        block += 3 * model.num_heads * model.sequence_length
    position = model.num_layers * block + 2 * width + 2 * vocab_size  # logits and their log-probabilities
    state = state_numbers(config, vocab_size)
    if num_processes > 1:
        shapes = tensor_shapes(model, vocab_size)
        total = sum(map(math.prod, shapes.values()))
        largest = max(_numbers_of_groups(shapes).values())
        state = state // num_processes + 2 * largest if is_sharded else state + total
    return BYTES_PER_NUMBER * (state + batch * model.sequence_length * position) / 1e6


def _numbers_of_groups(shapes: Mapping[str, tuple[int, ...]]) -> Counter[str]:
    """Return how many parameters each block has, and under an empty name all others together."""
    found: Counter[str] = Counter()
    for name, shape in shapes.items():
        found[".".join(name.split(".")[:2]) if name.startswith("blocks.") else ""] += math.prod(shape)
    return found


def generation_megabytes(model: TransformerConfig, vocab_size: int) -> float:
    """Return the memory of generation beyond the program itself, in MB: the weights, and the cache of a full context.

    >>> round(generation_megabytes(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=8), 10), 6)
    0.001232
    """
    cache = 2 * model.num_layers * model.kv_heads * model.d_head * model.sequence_length if model.causal else 0
    return BYTES_PER_NUMBER * (count_parameters(model, vocab_size).total + cache) / 1e6


def machine_megabytes() -> int | None:
    """Return the memory of this machine in MB, None if the system does not report it (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(
    config: RunConfig,
    vocab_size: int,
    allowed: int | None = None,
    *,
    num_processes: int = 1,
    num_local: int = 1,
    is_sharded: bool = False,
    is_resumed: bool = False,
) -> None:
    """Refuse a training that needs too much memory.

    Args:
        config: All settings.
        vocab_size: Number of different tokens, or an estimate of it.
        allowed: Memory that it may take, in MB; None: as much as the machine has.
        num_processes: Processes that train together, on all machines.
        num_local: How many of them are on this machine.
        is_sharded: Whether weights and optimizer state are divided between them. For each checkpoint every process
            copies its part, and one then holds all of it, with a whole model.
        is_resumed: Whether they begin from a checkpoint, which each of them reads as a whole.

    Raises:
        LimitError: It needs more; the message has both numbers.
    """
    allowed = machine_megabytes() if allowed is None else allowed
    one = memory_megabytes(config, vocab_size, num_processes=num_processes, is_sharded=is_sharded)
    if num_local > 1:
        one += PROCESS_MEGABYTES
    checkpoint = 0.0
    if is_sharded:
        weights = BYTES_PER_NUMBER * count_parameters(config.model, vocab_size).total / 1e6
        whole = BYTES_PER_NUMBER * state_numbers(config, vocab_size) / 1e6 - weights  # gradients are not saved
        checkpoint = whole + weights + (num_local - 1) * whole / num_processes
        if is_resumed:
            checkpoint = max(checkpoint, num_local * whole)
    needed = num_local * one + checkpoint
    if allowed is not None and needed > allowed:
        how, fewer = "", "Lower"
        if num_local > 1:
            how, fewer = f": {num_local} processes with {one:,.0f} MB each", "Start fewer processes, or lower"
            if is_sharded:
                how += f", and {checkpoint:,.0f} MB for checkpoints"
        raise LimitError(
            f"The training would need about {needed:,.0f} MB of memory{how}; this machine allows {allowed:,} MB.",
            mend=f"{fewer} training.batch_size or model.sequence_length, or raise training.accumulation_steps; "
            "if the model itself is too large, lower model.d_model or model.num_layers.",
        )


def check_weights(model: TransformerConfig, vocab_size: int, allowed: int | None = None) -> None:
    """Refuse a model whose weights do not fit into the memory.

    Args:
        model: Its shape.
        vocab_size: V.
        allowed: Memory that they may take, in MB; None: as much as the machine has.

    Raises:
        LimitError: They need more; the message has both numbers.
    """
    allowed = machine_megabytes() if allowed is None else allowed
    parameters = count_parameters(model, vocab_size).total
    needed = BYTES_PER_NUMBER * parameters / 1e6
    if allowed is not None and needed > allowed:
        raise LimitError(
            f"The model has {parameters:,} parameters, which take {needed:,.0f} MB of memory; this machine has "
            f"{allowed:,} MB.",
            mend="Take a smaller model.",
        )


# -- disk

RECORD_BYTES = 300
"""Most bytes that one step writes into `metrics.jsonl`."""


def disk_megabytes(config: RunConfig, num_tokens: int, vocab_size: int) -> dict[str, float]:
    """Estimate the disk that a run takes, part by part, in MB (10^6 bytes).

    The estimate is an upper bound. Checkpoints: those that are kept, the best one and the one being written, each with
    the weights, AdamW's two numbers for each weight, and the weight EMA if there is one. History: its budget or, if
    that is less, every step that is due. Records: one for each step.

    Args:
        config: All settings.
        num_tokens: Length of the encoded corpus.
        vocab_size: Number of different tokens.
    """
    training = config.training
    parameters = count_parameters(config.model, vocab_size).total
    numbers = 4 if training.weights_ema else 3
    snapshots = 1 + training.history_per_octave * max(1, training.max_steps.bit_length())
    sizes = {
        "the corpus": num_tokens * smallest_id_type(vocab_size).itemsize,
        "checkpoints": (training.keep_checkpoints + 2) * numbers * BYTES_PER_NUMBER * parameters,
        "the history": min(training.history_megabytes * 1e6, snapshots * 2 * parameters),
        "records": RECORD_BYTES * training.max_steps if training.max_seconds is None else 0,
    }
    return {part: size / 1e6 for part, size in sizes.items()}


def check_disk(config: RunConfig, corpus: Corpus | ShardedCorpus, vocab_size: int, path: Path) -> None:
    """Refuse a run that its disk cannot hold, before anything is written.

    Args:
        config: All settings.
        corpus: The text to learn from; counting its characters may read its files. Of a corpus in shards the run writes
            only the validation part.
        vocab_size: Number of different tokens.
        path: The folder of the run; it need not exist.

    Raises:
        StorageError: It needs more than is free; the message has both numbers.
    """
    data = config.data
    if isinstance(corpus, ShardedCorpus):
        _, num_tokens = split_counts(corpus.num_tokens, data.validation_fraction, data.max_validation_tokens)
    else:
        num_tokens = make_tokenizer(config.tokenizer).expected_num_tokens(corpus.num_chars, len(corpus.sources))
    parts = disk_megabytes(config, num_tokens, vocab_size)
    needed = sum(parts.values())
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        free = shutil.disk_usage(place).free / 1e6
    except OSError:  # a file system that does not report it
        return
    if needed > free:
        largest = max(parts, key=lambda part: parts[part])
        raise StorageError(
            f"The run would need up to {needed:,.0f} MB on the disk of {visible(str(path))}, most of it for {largest} "
            f"({parts[largest]:,.0f} MB); {free:,.0f} MB are free.",
            mend="Free some space, put the run on another disk (--out, MINIGPT_HOME), or lower data.num_chars, "
            "model.d_model, training.keep_checkpoints or training.history_megabytes.",
            on_page="Delete runs that you no longer need, take a shorter text, or lower model.d_model, "
            "training.keep_checkpoints or training.history_megabytes.",
        )


# -- seconds

USUAL_MACHINE = "two cores"
"""The machine on which most presets were measured; estimates of time are made for it."""
_SECONDS_PER_STEP = 0.004
"""Optimizer and bookkeeping."""
_SECONDS_PER_LAYER = 0.0015
_USUAL_VOCAB_SIZE = 64
_FLOPS_PER_SECOND = {"cpu": 4.0e10, "cuda": 1.0e13, "mps": 1.0e12}


def step_flops(config: RunConfig, vocab_size: int) -> int:
    """Return the floating-point operations of one weight update, forward and backward; see `flops_per_token`."""
    return config.training.batch_size * config.model.sequence_length * flops_per_token(config.model, vocab_size)


def seconds_per_step(config: RunConfig, vocab_size: int, device: str = "cpu") -> float:
    """Estimate the seconds that one weight update takes.

    A rough model has two terms: a fixed cost for the operations of each layer, and the arithmetic. What it leaves out
    (the optimizer's own work, faster number formats) is corrected by the time that was measured with the preset.

    Args:
        config: All settings.
        vocab_size: Number of different tokens.
        device: Where it computes: `cpu`, `cuda` or `mps`.
    """
    return _rough_seconds(config, vocab_size, device) * (_preset_factor(config.preset) if device == "cpu" else 1.0)


def machine_factor(snapshots: Iterable[RunSnapshot]) -> float:
    """Return how many times slower (above 1) or faster this machine is than `seconds_per_step` says.

    Args:
        snapshots: Runs of this process, the newest last; the last one that has been timed decides.
    """
    factor = 1.0
    for snapshot in snapshots:
        if snapshot.step >= 20 and snapshot.seconds > 0:
            vocab_size = int(snapshot.corpus.get("vocab_size", 0)) or 100
            expected = seconds_per_step(snapshot.config, vocab_size, snapshot.device)
            factor = snapshot.seconds / snapshot.step / expected
    return factor


def _rough_seconds(config: RunConfig, vocab_size: int, device: str) -> float:
    rate = _FLOPS_PER_SECOND.get(device.partition(":")[0], _FLOPS_PER_SECOND["cpu"])
    layers = config.model.num_layers * config.training.accumulation_steps
    return _SECONDS_PER_STEP + _SECONDS_PER_LAYER * layers + step_flops(config, vocab_size) / rate


@functools.cache
def _preset_factor(preset: str | None) -> float:
    """Return measured / rough seconds of a preset on the usual machine, 1 if it was not measured there."""
    if preset not in resources.preset_names():
        return 1.0
    found, config = measured(preset), load_config(preset, environment={})
    if found.machine != USUAL_MACHINE or not found.seconds:
        return 1.0
    return found.seconds / config.training.max_steps / _rough_seconds(config, _USUAL_VOCAB_SIZE, "cpu")


@dataclass(frozen=True)
class Measured:
    """What was measured in one training with a preset; None if the preset's file does not say.

    Attributes:
        corpus: The text.
        machine: For example `two cores`.
        seconds: How long the training took.
        loss: Validation loss, in nats per character.
    """

    corpus: str | None
    machine: str | None
    seconds: float | None
    loss: float | None


@functools.cache
def measured(preset: str) -> Measured:
    """Read what was measured with a preset from the comment at the head of its file."""
    head = resources.preset_path(preset).read_text("utf-8").partition("\n\n")[0]

    def line(pattern: str) -> re.Match[str] | None:
        return re.search(rf"^# {pattern}", head, re.MULTILINE)

    corpus, loss = line(r"corpus: (.+)$"), line(r"expected loss: ([\d.]+)")
    seconds = line(r"seconds on ([^:]+): ([\d.,]+\d)") or line(r"seconds on ([^:]+): (\d)")
    return Measured(
        corpus[1] if corpus else None,
        seconds[1] if seconds else None,
        float(seconds[2].replace(",", "")) if seconds else None,
        float(loss[1]) if loss else None,
    )
