"""Numbers and words of the Model page: its parts for the picture, its cost, what each setting does, and its code."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minigpt.app.texts import compact, duration, escape, number, size, t
from minigpt.app.ui.messages import in_words, label_of
from minigpt.config import RunConfig, TransformerConfig, allowed_values, field_info, load_config
from minigpt.config.fields import OWN
from minigpt.data.corpora import corpus_infos
from minigpt.model.size import count_parameters, flops_per_token
from minigpt.runs.cost import generation_megabytes, memory_megabytes

if TYPE_CHECKING:
    from minigpt.runs.step_cost import MachineConstants
    from minigpt.viz.architecture import ArchitecturePart

GROUPS: dict[str, tuple[str, ...]] = {
    "size": ("num_layers", "d_model", "num_heads", "d_ff", "sequence_length", "tie_embeddings"),
    "attention": (
        "num_kv_heads", "positions", "attention_window", "logit_cap", "qk_norm", "causal", "attention_dropout",
        "convolution",
    ),
    "layers": (
        "activation", "norm", "norm_position", "norm_gain", "residual", "bias", "dropout", "initialization", "block",
    ),
    "fine": ("norm_epsilon", "rotary_base", "rotary_factor", "rotary_length", "rotary_low", "rotary_high"),
}  # fmt: skip
"""The fields of the architecture by tab; together they are all fields of `TransformerConfig`."""

MOST_SECONDS, MOST_MEGABYTES = 1.0, 400.0
"""A shape is tried out only if an update is expected to take at most so long, and its memory at most so much."""


# -- the picture


def architecture_parts(config: TransformerConfig, vocab_size: int) -> list[ArchitecturePart]:
    """Return the parts that a token passes, in order, one block standing for all; only parts that the model has."""
    from minigpt.viz.architecture import ArchitecturePart, Role

    parts: list[ArchitecturePart] = []

    def add(role: Role, name: str, detail: str = "", *, inside: bool = False, begins: bool = False) -> None:
        parts.append(ArchitecturePart(role, t(f"model.part_{name}"), detail, inside, begins))

    def layer(role: Role, detail: str) -> None:
        begins = config.residual
        if config.norm_position == "pre":
            add("norm", f"norm_{config.norm}", inside=True, begins=begins)
            begins = False
        if config.convolution > 1:
            add("convolution", "convolution", t("model.detail_convolution", count=config.convolution),
                inside=True, begins=begins)  # fmt: skip
            begins = False
        add(role, role, detail, inside=True, begins=begins)
        if config.residual:
            add("plus", "plus", inside=True)
        if config.norm_position == "post":
            add("norm", f"norm_{config.norm}", inside=True)

    shape = f"{number(vocab_size)} × {config.d_model}"
    add("embedding", "embedding", shape)
    if config.positions in ("learned", "sinusoidal"):
        add("positions", f"positions_{config.positions}", f"{number(config.sequence_length)} × {config.d_model}")
    if config.block != "usual":
        parts.append(ArchitecturePart("attention", config.block, _attention_detail(config), inside=True))
    else:
        layer("attention", _attention_detail(config))
    if config.block == "usual" and config.has_feedforward:
        activation = t(f"model.activation_{config.activation}")
        layer("feedforward", f"{config.d_model} → {number(config.ff_width)} → {config.d_model} · {activation}")
    if config.norm_position == "pre":
        add("norm", f"norm_{config.norm}")
    tied = t("model.detail_tied" if config.tie_embeddings else "model.detail_untied", shape=shape)
    add("head", "head", tied)
    return parts


def _attention_detail(config: TransformerConfig) -> str:
    """Return the heads and what is special about their scores, in one line."""
    said = [t("model.detail_heads", count=config.num_heads, width=config.d_head)]
    if config.kv_heads < config.num_heads:
        said.append(t("model.detail_kv", count=config.kv_heads))
    if config.positions in ("rotary", "alibi"):
        said.append(t(f"model.detail_{config.positions}"))
    if config.positions.startswith(OWN):
        said.append(config.positions)
    if config.qk_norm:
        said.append(t("model.detail_qk_norm"))
    if config.visible_length < config.sequence_length:
        said.append(t("model.detail_window", count=number(config.attention_window or 0)))
    if config.logit_cap is not None:
        said.append(t("model.detail_cap", cap=f"{config.logit_cap:g}"))
    if not config.causal:
        said.append(t("model.detail_open"))
    return " · ".join(said)


def architecture_alt(config: TransformerConfig, vocab_size: int) -> str:
    """Return a text alternative for the picture: its parts in order."""
    parts = architecture_parts(config, vocab_size)
    inside = ", ".join(part.name for part in parts if part.inside)
    before = ", ".join(part.name for part in parts[: [part.inside for part in parts].index(True)])
    after = ", ".join(part.name for part in parts if not part.inside).removeprefix(before).removeprefix(", ")
    return t("model.picture_alt", before=before, inside=inside, layers=config.num_layers, after=after)


def stream_sentence(config: TransformerConfig) -> str:
    """Return a sentence on how the layers in the picture are joined."""
    return t("model.see_picture" if config.residual else "model.see_picture_chain")


# -- the cost


def size_sentence(config: RunConfig, vocab_size: int) -> str:
    """Return one sentence on memory and operations; `ui.sizes` has one on the parameters."""
    return t(
        "model.cost",
        training=size(1e6 * memory_megabytes(config, vocab_size)),
        generating=size(1e6 * generation_megabytes(config.model, vocab_size)),
        flops=compact(flops_per_token(config.model, vocab_size)),
        forward=compact(flops_per_token(config.model, vocab_size) / 3),
    )


@dataclass(frozen=True)
class StepCost:
    """The seconds of one update: predicted from this machine's constants, and measured if it was tried out."""

    predicted: float
    measured: float | None


def step_cost(config: RunConfig, vocab_size: int, constants: MachineConstants, cancelled: Any = None) -> StepCost:
    """Predict the seconds of one update and, if it is small enough, try it out."""
    from minigpt.runs.step_cost import measure_step

    predicted = constants.predict(config, vocab_size)
    small = predicted <= MOST_SECONDS and memory_megabytes(config, vocab_size) <= MOST_MEGABYTES
    return StepCost(predicted, measure_step(config, vocab_size, cancelled=cancelled) if small else None)


def step_sentence(cost: StepCost, config: RunConfig) -> str:
    """Return the sentence on seconds per step and on the whole training."""
    seconds = cost.predicted if cost.measured is None else cost.measured
    key = "model.step_predicted" if cost.measured is None else "model.step_measured"
    return t(
        key,
        windows=number(config.training.batch_size),
        context=number(config.model.sequence_length),
        predicted=_short(cost.predicted),
        measured=_short(seconds),
        steps=number(config.training.max_steps),
        whole=duration(seconds * config.training.max_steps),
    )


def _short(seconds: float) -> str:
    """Write a short time.

    >>> _short(0.0123), _short(1.25)
    ('12.3 ms', '1.25 s')
    """
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


# -- the fields


def field_rows(config: TransformerConfig, vocab_size: int) -> list[dict[str, str]]:
    """Return a row for each field: its name, value, meaning, allowed values, and effect on size and learning."""
    rows = []
    for name in (name for group in GROUPS.values() for name in group):
        dotted, value = f"model.{name}", getattr(config, name)
        shown = t("frame.automatic") if value is None else str(value).lower()
        rows.append(
            {
                t("model.column_field"): label_of(dotted),
                t("model.column_value"): shown,
                t("model.column_meaning"): in_words(field_info(dotted).description),
                t("model.column_allowed"): in_words(allowed_values(dotted)),
                t("model.column_effect"): " ".join(
                    filter(None, (t(f"model.effect_{name}"), _size_effect(config, name, vocab_size)))
                ),
            }
        )
    return rows


def _size_effect(config: TransformerConfig, name: str, vocab_size: int) -> str:
    """Return how many parameters a field's value adds compared with its default, "" if none."""
    try:
        usual = config.model_validate({**config.model_dump(), name: type(config).model_fields[name].default})
    except ValueError:  # the default does not go with the other settings
        return ""
    more = count_parameters(config, vocab_size).total - count_parameters(usual, vocab_size).total
    return t("model.more_parameters", count=f"{more:+,}") if more else ""


@functools.cache
def preset_rows(vocab_size: int) -> list[dict[str, Any]]:
    """Return what the presets' models are, one row for each, with the name of the preset under `preset`.

    Args:
        vocab_size: Size of the vocabulary of the visitor's text.
    """
    from minigpt import resources

    rows = []
    for name in resources.preset_names():
        config = load_config(name, environment={})
        model = config.model
        rows.append(
            {
                "preset": name,
                "parameters": count_parameters(model, vocab_size).total,
                "layers": model.num_layers,
                "heads": model.num_heads,
                "width": model.d_model,
                "context": model.sequence_length,
                "batch": config.training.batch_size,
                "flops": flops_per_token(model, vocab_size),
                "memory": memory_megabytes(config, vocab_size),
            }
        )
    return sorted(rows, key=lambda row: int(row["parameters"]))


# -- the code


def changes_of(preset: str, config: RunConfig) -> dict[str, Any]:
    """Return the settings in which a configuration differs from its preset: dotted field to value."""
    base, own = (_flat(each) for each in (load_config(preset, environment={}), config))
    return {name: value for name, value in own.items() if value != base[name]}


def _changes_beside_source(preset: str, config: RunConfig) -> dict[str, Any]:
    """Return the same without the settings that name the text, which the page knows better."""
    changes = changes_of(preset, config)
    return {name: value for name, value in changes.items() if name not in ("data.corpus", "data.paths")}


def _flat(config: RunConfig) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, Mapping):
            values |= {f"{name}.{field}": inner for field, inner in value.items()}
        else:
            values[name] = value
    return values


def script(preset: str, config: RunConfig, corpus: str) -> str:
    """Return a Python script that trains this configuration and lets it write.

    Args:
        preset: The preset that the settings start from.
        config: The settings.
        corpus: Name of the text; a text of the visitor's own is read from a file.
    """
    source = {"data.corpus": corpus} if _is_built_in(corpus) else {"data.paths": ["text.txt"]}
    own = {
        name: value for name, value in changes_of(preset, config).items() if name not in ("data.corpus", "data.paths")
    }
    changes = "".join(f"        {json.dumps(name)}: {value!r},\n" for name, value in {**source, **own}.items())
    note = "" if _is_built_in(corpus) else f"# {t('model.code_file')}\n"
    return f"""import minigpt

{note}config = minigpt.load_config("{preset}").updated(
    {{
{changes}    }}
)
folder = minigpt.create_run(config, minigpt.read_corpus(config.data))
job = minigpt.TrainingJob(folder)
for _ in job.work():
    pass
print(job.trainer.model.num_parameters(), job.trainer.val_loss)
print(minigpt.TextGenerator(minigpt.load_run(folder.path)).generate("The ", max_new_tokens=200).text)
"""


def command(preset: str, config: RunConfig, corpus: str) -> str:
    """Return the command that trains this configuration in a terminal; the arguments are those of `script`."""
    changes = _changes_beside_source(preset, config)
    said = [f"--set {shlex.quote(f'{name}={_written(value)}')}" for name, value in changes.items()]
    said.append(f"--set data.corpus={shlex.quote(corpus)}" if _is_built_in(corpus) else "--data text.txt")
    return " \\\n    ".join([f"minigpt train --config {preset}", *said])


def _written(value: Any) -> str:
    """Return a value as `--set` reads it, which is YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _is_built_in(corpus: str) -> bool:
    return corpus in {info.name for info in corpus_infos()}


# -- take a part away


def part_title(name: str) -> str:
    """Return the title of one training of the experiment."""
    return t(f"model.take_{name}")


def part_sentence(name: str) -> str:
    """Return why a part is in the network, with the losses that show it."""
    from minigpt.runs.parts import BASE, shipped_parts_experiment

    results = shipped_parts_experiment().results
    whole, one = results[BASE], results[name]
    return t(
        f"model.why_{name}",
        whole=f"**{whole.loss:.2f}**",
        loss=f"**{one.loss:.2f}**",
        difference=f"**{one.loss - whole.loss:+.2f}**",
        parameters=compact(one.num_parameters),
    )


def position_sentence() -> str:
    """Return what the losses beyond the trained context show, with the numbers on screen."""
    from minigpt.runs.parts import shipped_parts_experiment

    found = shipped_parts_experiment()
    trained = found.trained_length

    def mean(losses: tuple[float, ...], first: int, last: int) -> float:
        return sum(losses[first:last]) / (last - first)

    rises = {
        kind: mean(losses, len(losses) - trained, len(losses)) - mean(losses, trained // 2, trained)
        for kind, losses in found.by_position.items()
    }
    best, worst = min(rises, key=rises.__getitem__), max(rises, key=rises.__getitem__)
    return t(
        "model.see_positions",
        trained=trained,
        longest=max(map(len, found.by_position.values())),
        best=t(f"model.kind_{best}"),
        best_rise=f"**{rises[best]:+.2f}**",
        worst=t(f"model.kind_{worst}"),
        worst_rise=f"**{rises[worst]:+.2f}**",
    )


def about_experiment() -> str:
    """Return one sentence on how the shipped trainings were made."""
    from minigpt.runs.parts import BASE, shipped_parts_experiment

    found = shipped_parts_experiment()
    model, training = found.settings["model"], found.settings["training"]
    return t(
        "model.about_experiment",
        corpus=escape(found.corpus),
        parameters=compact(found.results[BASE].num_parameters),
        layers=model["num_layers"],
        width=model["d_model"],
        context=model["sequence_length"],
        steps=number(training["max_steps"]),
    )
