"""Two tiny trainings that differ in the mask alone: the shipped result, and the same two trained again live.

The live trainings are ordinary runs of the engine, one after the other, since small servers train only one run of a
visitor at a time. They stay among the runs and can be opened like any other.
"""

from __future__ import annotations

import streamlit as st

from minigpt.app.attention.training_view import (
    KINDS,
    Training,
    live_trainings,
    progress,
    shipped_trainings,
    training_sentences,
)
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs, state
from minigpt.app.texts import plain, t
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.anatomy import Experiment
from minigpt.errors import MinigptError
from minigpt.runs.snapshots import RunSnapshot

LIVE, ERROR = "attention:live", "attention:live_error"
POLL_SECONDS = 1.0


def draw_training() -> None:
    """Draw the two trainings; while they are trained again, redraw them every second."""
    live: list[str] | None = st.session_state.get(LIVE)
    error: MinigptError | None = st.session_state.pop(ERROR, None)
    if error is not None:
        anatomy.explain_error(error)
    if live is None:
        (masked, unmasked), steps = shipped_trainings()
        _draw(masked, unmasked, steps)
        st.caption(t("attention.train_shipped"))
        anatomy.try_this([(t("attention.try_live"), _start)], key="attention:try_train")
        return
    is_over = len(live) == len(KINDS) and not any(shot and shot.is_active for shot in map(_snapshot, live))
    st.fragment(_draw_live, run_every=None if is_over else POLL_SECONDS)(is_over)
    experiments: list[Experiment] = [(t("attention.try_shipped"), lambda: st.session_state.pop(LIVE))]
    if is_over and _snapshot(live[1]) is not None:
        experiments.insert(0, (t("attention.try_open"), lambda: _open_unmasked(live[1])))
    anatomy.try_this(experiments, key="attention:try_train")


def _start() -> None:
    """Start the first of the two trainings; the second starts when the first is done."""
    if LIVE in st.session_state:  # the second press of a double click
        return
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
        live.append(run_id)  # append to this list: Streamlit can interrupt a write to the session state, but not this
    except MinigptError as error:
        st.session_state[ERROR] = error
        st.session_state.pop(LIVE)


def _open_unmasked(run_id: str) -> None:
    """Open the run that was trained without the mask, to show how its heads look ahead."""
    state.set_current_run(run_id)
    st.session_state["attention:section"] = "heads"
    st.session_state.pop("attention:head", None)  # the page then opens the head that looks ahead most


def _snapshot(run_id: str) -> RunSnapshot | None:
    try:
        return runs.engine().snapshot(run_id)
    except MinigptError:
        return None  # it has been deleted


def _draw_live(was_over: bool) -> None:
    """Draw the live trainings, and start the second when the first is done.

    Args:
        was_over: Whether both were done when the page was last drawn as a whole.
    """
    shots = [_snapshot(run_id) for run_id in st.session_state[LIVE]]
    running = next((shot for shot in shots if shot and shot.is_active), None)
    if running is None and len(shots) < len(KINDS):
        _submit_next()
        st.rerun()
    if running is None and not was_over:
        st.rerun()  # the whole page: the timer ends and the buttons change
    if running is not None:
        done = len(shots) - 1 + min(1.0, running.step / max(running.max_steps, 1))
        st.progress(done / len(KINDS), text=progress(running, KINDS[len(shots) - 1]))
    masked, unmasked = live_trainings(shots)
    _draw(masked, unmasked, next((shot.max_steps for shot in shots if shot), 1))


def _draw(masked: Training, unmasked: Training, steps: int) -> None:
    """Draw the loss of both trainings, and what the two models write."""
    trainings = dict(zip(KINDS, (masked, unmasked), strict=True))
    sentences = training_sentences(masked, unmasked)
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_losses(trainings, steps, " ".join(sentences))
    with right:
        for kind, training in trainings.items():
            st.header(t(f"attention.train_text_{kind}"), anchor=False)
            st.code(training.text or t("attention.train_waiting"), language=None, wrap_lines=True)
    anatomy.what_you_see(sentences)


def _draw_losses(trainings: dict[str, Training], steps: int, finding: str) -> None:
    from minigpt.viz.attention_lab import UnmaskedWords, unmasked_loss_figure

    st.header(t("attention.train_title"), anchor=False)
    masked = trainings["masked"].losses
    figure = unmasked_loss_figure(
        masked,
        trainings["unmasked"].losses,
        masked[0][1] if masked else 1.0,
        palette=theme.palette(),
        words=UnmaskedWords(
            step=t("attention.train_step"),
            loss=t("attention.train_loss"),
            masked=t("attention.train_masked"),
            unmasked=t("attention.train_unmasked"),
            uniform=t("attention.train_guess"),
        ),
        max_steps=steps,
    )
    live_chart(figure, key="attention:train", alt=t("attention.train_alt", finding=plain(finding)))
