"""The settings of the next run: a preset, a few numbers in one row, the rest behind Expert."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt import config as settings
from minigpt import resources
from minigpt.app import anatomy, corpora, estimate, frame, sidebar, state
from minigpt.app.forms import config_widget
from minigpt.app.texts import compact, duration, escape, has, number, t
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus
from minigpt.data.split import count_windows, largest_context, split_counts
from minigpt.errors import CorpusError, MinigptError
from minigpt.model.size import count_parameters, training_megabytes
from minigpt.tokenizers.base import SPECIAL_TOKENS

EXPERT = {
    "shape": (
        "model.num_layers",
        "model.num_heads",
        "model.d_model",
        "model.sequence_length",
        "model.positions",
        "model.norm",
        "model.dropout",
        "model.tie_embeddings",
    ),
    "learning": (
        "training.learning_rate",
        "training.schedule",
        "training.warmup_steps",
        "training.batch_size",
        "training.accumulation_steps",
        "training.weight_decay",
        "training.max_grad_norm",
        "seed",
    ),
    "watching": (
        "training.eval_steps",
        "training.sample_steps",
        "training.sample_prompt",
        "data.validation_fraction",
    ),
}
"""Which settings stand behind Expert, group by group; the command line has them all."""


def preset_title(name: str) -> str:
    """Return what a preset is called."""
    return t(f"train.preset_{name}") if has(f"train.preset_{name}") else name


@functools.cache
def presets() -> list[str]:
    """Return the names of all presets, the quickest first."""

    def seconds(name: str) -> float:
        config = settings.load_config(name, environment={})
        return estimate.seconds_per_step(config, vocab_size=64) * config.training.max_steps

    return sorted(resources.preset_names(), key=seconds)


def draw(above: DeltaGenerator, below: DeltaGenerator) -> None:
    """Draw the settings of the next run.

    Args:
        above: Takes the row with preset, steps, device and Start, and the line that says what it costs.
        below: Takes the rest, behind Expert.
    """
    changes: dict[str, Any] = {}
    with above, st.container(horizontal=True, vertical_alignment="bottom", key="train_row"):
        preset = st.segmented_control(
            t("train.preset"),
            presets(),
            format_func=preset_title,
            default=state.draft_preset() if state.draft_preset() in presets() else presets()[0],
            required=True,
            key="train:preset",
        )
        base = settings.load_config(preset)
        kept = state.draft_changes() if preset == state.draft_preset() else {}
        with st.container(width=130):
            _setting("training.max_steps", preset, base, kept, changes)
        _device_picker(preset, base, kept, changes)
        place_of_start = st.container(width="content")
    with below, st.expander(t("train.expert"), icon=":material/tune:"):
        for group, fields in EXPERT.items():
            st.markdown(f"**{t(f'train.group_{group}')}**")
            columns = st.columns(4)
            for index, dotted in enumerate(fields):
                with columns[index % 4]:
                    _setting(dotted, preset, base, kept, changes)
    state.set_draft(preset, changes)
    error, config = None, None
    try:
        config = settings.load_config(preset, overrides=changes)
        state.limits().check_run(config, state.current_corpus(), vocab_size())
        check_length(config, state.current_corpus())
    except MinigptError as found:
        error = found
    place_of_start.button(
        t("train.start"),
        type="primary",
        icon=":material/play_arrow:",
        key="train:start",
        disabled=error is not None,
        on_click=start,
    )
    with above:
        for told in (st.session_state.pop("train:error", None), error):
            if told is not None:
                anatomy.explain_error(told)
        if config is not None:
            _cost(config)


def _value(config: RunConfig, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def _setting(dotted: str, preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> None:
    """Draw one setting; a value that differs from the preset's is a change."""
    standard = _value(base, dotted)
    value = config_widget(dotted, key=f"train:{preset}:{dotted}", value=kept.get(dotted, standard))
    if value != standard:
        changes[dotted] = value


def device_title(title: str, name: str) -> str:
    """Return what a device is called on a button; what a driver calls itself must not be read as Markdown."""
    return t("train.device_cpu") if name == "cpu" else escape(title)


def _device_picker(preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> None:
    """Offer every kind of device; one that this machine lacks is greyed and says why."""
    from minigpt.model.devices import describe_devices, resolve_device

    chosen = kept.get("device", base.device)
    devices = describe_devices()
    titles = {info.name: info.title for info in devices}
    actual = str(resolve_device("auto")) if chosen == "auto" else chosen

    def choose(name: str) -> None:
        state.set_draft(preset, {**state.draft_changes(), "device": name})

    with st.popover(
        device_title(titles.get(actual, actual), actual), icon=":material/memory:", help=t("train.device_choice")
    ):
        for info in devices:
            st.button(
                device_title(info.title, info.name),
                key=f"train:device_{info.name}",
                type="primary" if info.name == actual else "secondary",
                disabled=not info.available,
                on_click=choose,
                args=(info.name,),
                width="stretch",
            )
            if info.reason:
                st.caption(escape(info.reason))
    if chosen != base.device:
        changes["device"] = chosen


def vocab_size() -> int:
    """Return how many different tokens the current corpus will have."""
    return corpora.current_statistics().num_distinct + len(SPECIAL_TOKENS)


def check_length(config: RunConfig, corpus: Corpus) -> None:
    """Refuse a context that the text has no window for, before anybody starts.

    Raises:
        CorpusError: The part that is learned from is shorter than one window.
    """
    num_training, _ = split_counts(
        corpora.num_tokens(corpus), config.data.validation_fraction, config.data.max_validation_tokens
    )
    context = config.model.sequence_length
    if not count_windows(num_training, context):
        raise CorpusError(
            f"{corpus.name} leaves {num_training} tokens to learn from; a context of {context} needs {context + 1}.",
            mend=f"Under Expert set a context of {largest_context(num_training) or 2} or less, or bring a longer text.",
        )


def start(label: str | None = None, **extra: Any) -> None:
    """Start a run on the current corpus and look at it; what goes wrong is told on the page.

    Args:
        label: What the run is called after its corpus; None: the preset's title.
        **extra: Settings on top of those on the page, `training__max_steps=50` for `training.max_steps`.
    """
    _submit(state.current_corpus(), label, {name.replace("__", "."): value for name, value in extra.items()})


def start_on_part(label: str, num_chars: int, **extra: Any) -> None:
    """Start a run on the first characters of the current corpus; the corpus itself stays.

    Args:
        label: What the run is called after its corpus.
        num_chars: How many of them.
        **extra: As for `start`.
    """
    part = state.current_corpus().head(num_chars)
    _submit(part, label, {name.replace("__", "."): value for name, value in extra.items()})


def _submit(corpus: Corpus, label: str | None, extra: Mapping[str, Any]) -> None:
    try:
        preset, changes = _at_this_moment()
        # The corpus in hand is what is learned, whatever text the preset was made for.
        given = {"data.corpus": None, "data.num_chars": None}
        config = settings.load_config(preset, overrides={**changes, **extra, **given})
        name = free_name(corpus.name, label or preset_title(preset).lower())
        run_id = state.engine().submit(config, corpus, state.owner_token(), name=name)
    except MinigptError as error:
        st.session_state["train:error"] = error
        return
    state.set_current_run(run_id)


def _at_this_moment() -> tuple[str, dict[str, Any]]:
    """Return the preset and the changes as the widgets hold them now.

    Whoever types a number and clicks Start at once is faster than the rerun that would have put it into the draft.
    """
    preset = st.session_state.get("train:preset") or state.draft_preset()
    base = settings.load_config(preset)
    changes = state.draft_changes() if preset == state.draft_preset() else {}
    for dotted in ("training.max_steps", *(field for fields in EXPERT.values() for field in fields)):
        key = f"train:{preset}:{dotted}"
        if key in st.session_state:
            changes[dotted] = st.session_state[key]
            if changes[dotted] == _value(base, dotted):
                del changes[dotted]
    return preset, changes


def free_name(corpus: str, label: str) -> str:
    """Return a name for a new run that no run of the visitor has: corpus and label, numbered if need be."""
    taken = {snapshot.name for snapshot in sidebar.own_runs()}
    base = f"{corpus[:60]}, {label}"
    return next(
        name for number in range(1, 10_000) if (name := base if number == 1 else f"{base} {number}") not in taken
    )


def _cost(config: RunConfig) -> None:
    """Say in one line what the settings come to: parameters, memory, time, and on which text."""
    corpus, size = state.current_corpus(), vocab_size()
    each = estimate.seconds_per_step(config, size) * estimate.correction(reversed(sidebar.own_runs()))
    line = t(
        "train.cost",
        parameters=compact(count_parameters(config.model, size).total),
        megabytes=number(training_megabytes(config.model, size, config.training)),
        time=duration(each * config.training.max_steps),
        corpus=escape(corpus.name),
        characters=compact(corpus.num_chars),
    )
    with st.container(horizontal=True, vertical_alignment="center", key="train_cost"):
        st.markdown(line, width="content")
        st.page_link(frame.page_path("corpus"), label=t("train.other_corpus"), icon=":material/menu_book:")
