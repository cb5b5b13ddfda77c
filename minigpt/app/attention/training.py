"""Two tiny trainings that differ in the mask alone: the shipped result, and the same done again while one watches.

The live ones are ordinary runs of the engine, one after the other, since a visitor may have but one in training on
small servers; they stay among the runs and can be opened like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs, state
from minigpt.app.texts import duration, number, plain, t
from minigpt.app.ui import anatomy, theme
from minigpt.errors import MinigptError
from minigpt.runs.snapshots import RunSnapshot

LIVE, ERROR = "attention:live", "attention:live_error"
POLL_SECONDS = 1.0
KINDS = ("masked", "unmasked")


@dataclass(frozen=True)
class Training:
    """One of the two trainings, as far as it has come.

    Attributes:
        losses: (step, nats per token) on the validation part.
        text: What the model writes; empty before it has written.
    """

    losses: Sequence[tuple[int, float]]
    text: str


def draw_training() -> None:
    """Draw the two trainings; while they are done again, look at them every second."""
    live: list[str] | None = st.session_state.get(LIVE)
    error: MinigptError | None = st.session_state.pop(ERROR, None)
    if error is not None:
        anatomy.explain_error(error)
    if live is None:
        _draw(*shipped())
        st.caption(t("attention.train_shipped"))
        anatomy.try_this([(t("attention.try_live"), start)], key="attention:try_train")
        return
    is_over = len(live) == len(KINDS) and not any(shot and shot.is_active for shot in map(_snapshot, live))
    st.fragment(_follow, run_every=None if is_over else POLL_SECONDS)(is_over)
    experiments = [(t("attention.try_shipped"), lambda: st.session_state.pop(LIVE))]
    if is_over and _snapshot(live[1]) is not None:
        experiments.insert(0, (t("attention.try_open"), lambda: open_unmasked(live[1])))
    anatomy.try_this(experiments, key="attention:try_train")


def shipped() -> tuple[Training, Training, int]:
    """Return both trainings of the shipped result, and how many steps they take."""
    from minigpt.runs.experiments import shipped_mask_experiment

    result = shipped_mask_experiment()
    trainings = [
        Training(course.val_losses, result.prompt + course.text) for course in (result.masked, result.unmasked)
    ]
    return trainings[0], trainings[1], len(result.masked.losses)


def start() -> None:
    """Begin the first of the two trainings; the second follows when it is done."""
    st.session_state[LIVE] = []
    _submit_next()


def _submit_next() -> None:
    from minigpt.data.corpora import read_corpus
    from minigpt.runs.experiments import mask_settings, shipped_mask_experiment

    live: list[str] = st.session_state[LIVE]
    kind = KINDS[len(live)]
    try:
        prompt = shipped_mask_experiment().prompt
        config = mask_settings().updated({"model.causal": kind == "masked", "training.sample_prompt": prompt})
        run_id = runs.engine().submit(
            config, read_corpus(config.data), state.owner_token(), name=t(f"attention.train_{kind}")
        )
        live.append(run_id)  # into the list at hand: a rerun cannot break this off, as it can a write to the session
    except MinigptError as error:
        st.session_state[ERROR] = error
        st.session_state.pop(LIVE)


def open_unmasked(run_id: str) -> None:
    """Open the run that was trained without the mask, to see its heads look ahead."""
    state.set_current_run(run_id)
    st.session_state["attention:section"] = "heads"
    st.session_state.pop("attention:head", None)  # the page then opens the head that looks ahead most


def _snapshot(run_id: str) -> RunSnapshot | None:
    try:
        return runs.engine().snapshot(run_id)
    except MinigptError:
        return None  # deleted meanwhile


def _follow(was_over: bool) -> None:
    """Draw the live trainings as they stand and begin the second when the first is done."""
    shots = [_snapshot(run_id) for run_id in st.session_state[LIVE]]
    running = next((shot for shot in shots if shot and shot.is_active), None)
    if running is None and len(shots) < len(KINDS):
        _submit_next()
        st.rerun()
    if running is None and not was_over:
        st.rerun()  # the whole page: no timer any more, other buttons
    steps = next((shot.max_steps for shot in shots if shot), 1)
    trainings = [_training(shot) for shot in shots] + [Training((), "")] * (len(KINDS) - len(shots))
    if running is not None:
        text = t(
            f"attention.train_progress_{KINDS[len(shots) - 1]}",
            step=number(running.step),
            steps=number(running.max_steps),
        )
        if running.queue_position:
            text = t("attention.train_queued", position=running.queue_position)
        elif running.eta_seconds is not None:
            text += " · " + t("attention.train_eta", time=duration(running.eta_seconds))
        st.progress((len(shots) - 1 + min(1.0, running.step / max(running.max_steps, 1))) / len(KINDS), text=text)
    _draw(trainings[0], trainings[1], steps)


def _training(shot: RunSnapshot | None) -> Training:
    if shot is None:
        return Training((), "")
    return Training(shot.curves.get("val_loss", ()), shot.samples[-1][1] if shot.samples else "")


def _draw(masked: Training, unmasked: Training, steps: int) -> None:
    from minigpt.viz.attention_lab import unmasked_loss_figure

    left, right = st.columns([11, 9], gap="large")
    seen = training_sentences(masked, unmasked)
    with left:
        st.subheader(t("attention.train_title"), anchor=False)
        trainings = zip(KINDS, (masked, unmasked), strict=True)
        figure = unmasked_loss_figure(
            [(t(f"attention.train_{kind}"), training.losses) for kind, training in trainings],
            masked.losses[0][1] if masked.losses else 1.0,
            palette=theme.palette(),
            step=t("attention.train_step"),
            loss=t("attention.train_loss"),
            guess=t("attention.train_guess"),
            max_steps=steps,
        )
        alt = t("attention.train_alt", finding=plain(" ".join(seen)))
        live_chart(figure, key="attention:train", alt=alt)
    with right:
        for kind, training in zip(KINDS, (masked, unmasked), strict=True):
            st.subheader(t(f"attention.train_text_{kind}"), anchor=False)
            st.code(training.text or t("attention.train_waiting"), language=None, wrap_lines=True)
    anatomy.what_you_see(seen)


def training_sentences(masked: Training, unmasked: Training) -> list[str]:
    """Return what the two curves say, with their last numbers."""
    said = []
    for kind, training in zip(KINDS, (masked, unmasked), strict=True):
        if training.losses:
            nats = training.losses[-1][1]
            choices = f"**{math.exp(nats):.1f}**"
            said.append(t(f"attention.see_train_{kind}", nats=f"**{nats:.2f}**", choices=choices))
    if unmasked.losses and masked.losses and unmasked.losses[-1][1] < masked.losses[-1][1] / 2:
        said.append(t("attention.see_train_why"))
    return said or [t("attention.see_train_wait")]
