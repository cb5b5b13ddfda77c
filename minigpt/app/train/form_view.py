"""Checks and texts of the form for the next run: its cost, its name, and limits of the device and the text."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from minigpt.app.texts import compact, duration, escape, number, size, t
from minigpt.app.train import presets
from minigpt.app.train.expert_view import get
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.data.health import Finding, Health
from minigpt.data.split import count_windows, largest_context, split_counts
from minigpt.errors import CorpusError
from minigpt.model.size import count_parameters
from minigpt.runs import cost as run_cost
from minigpt.runs.snapshots import RunSnapshot
from minigpt.wording import visible


def all_presets() -> str:
    """Return a list of all presets with a sentence on each, as Markdown."""
    lines = [f"- **{escape(presets.title(name))}**: {presets.about(name)}" for name in presets.names()]
    return "\n".join(lines)


@dataclass(frozen=True)
class OfferedDevice:
    """A device to choose: its name in the settings, its title on a button, and why it cannot be chosen."""

    name: str
    title: str
    is_available: bool = True
    reason: str = ""


def devices(chosen: str) -> tuple[list[OfferedDevice], OfferedDevice]:
    """Return all kinds of device, and the one that a setting selects.

    Args:
        chosen: The setting: `auto`, or the name of a device.
    """
    from minigpt.model.devices import describe_devices, resolve_device

    offered = [
        OfferedDevice(info.name, _device_title(info.title, info.name), info.available, info.reason)
        for info in describe_devices()
    ]
    actual = str(resolve_device("auto")) if chosen == "auto" else chosen
    known = {device.name: device for device in offered}
    return offered, known.get(actual) or OfferedDevice(actual, _device_title(actual, actual))


def _device_title(title: str, name: str) -> str:
    """Return a device's title as Markdown; a driver's name for its device is escaped."""
    return t("train.device_cpu") if name == "cpu" else escape(title)


def check_precision(config: RunConfig) -> None:
    """Refuse a precision that the chosen device does not support, before a run starts.

    Raises:
        ConfigError: float16 or tf32 on a device other than an NVIDIA GPU.
    """
    if config.training.precision in ("float16", "tf32"):  # the others run anywhere, so torch need not be loaded
        from minigpt.model.devices import resolve_device
        from minigpt.training import precision

        precision.check_precision(config.training.precision, resolve_device(config.device))


def check_length(config: RunConfig, corpus: Corpus, num_tokens: int) -> None:
    """Refuse a context longer than the training part, before a run starts.

    Raises:
        CorpusError: The training part is shorter than one window.
    """
    num_training, _ = split_counts(num_tokens, config.data.validation_fraction, config.data.max_validation_tokens)
    context = config.model.sequence_length
    if not count_windows(num_training, context):
        raise CorpusError(
            f"{visible(corpus.name)} leaves {num_training} tokens to learn from; "
            f"a context of {context} needs {context + 1}.",
            mend=f"Under Expert set a context of {largest_context(num_training) or 2} or less, or bring a longer text.",
        )


def worst(health: Health) -> Finding | None:
    """Return the worst finding about a text, None if all are notes. What blocks a run has an error of its own."""
    return next((finding for finding in health.findings if finding.severity == "warning"), None)


def free_name(corpus: str, label: str, taken: Collection[str]) -> str:
    """Return a name for a new run that is not taken: corpus and label, numbered if need be."""
    base = f"{corpus[:60]}, {label}"
    return next(
        name for number in range(1, 10_000) if (name := base if number == 1 else f"{base} {number}") not in taken
    )


def lower_learning_rates(config: RunConfig) -> dict[str, float]:
    """Return a third of the learning rates of a run that diverged: dotted field to value."""
    rates = ["training.learning_rate"] + ["training.muon_learning_rate"] * (config.training.optimizer == "muon")
    return {rate: float(f"{get(config, rate) / 3:.2g}") for rate in rates}


def cost(
    config: RunConfig, corpus: Corpus, *, num_tokens: int, vocab_size: int, past_runs: Iterable[RunSnapshot]
) -> str:
    """Return one line on the cost of a run: parameters, memory, disk, time, and its text.

    Args:
        config: The settings.
        corpus: The text.
        num_tokens: Tokens of the text.
        vocab_size: Size of its vocabulary.
        past_runs: Snapshots of earlier runs, the newest last; their speed corrects the estimate of the time.
    """
    each = run_cost.seconds_per_step(config, vocab_size) * run_cost.machine_factor(past_runs)
    disk = sum(run_cost.disk_megabytes(config, num_tokens, vocab_size).values())
    return t(
        "train.cost",
        parameters=compact(count_parameters(config.model, vocab_size).total),
        megabytes=number(run_cost.memory_megabytes(config, vocab_size)),
        disk=size(1e6 * disk),
        time=duration(each * config.training.max_steps),
        corpus=escape(corpus.name),
        characters=compact(corpus.num_chars),
    )
