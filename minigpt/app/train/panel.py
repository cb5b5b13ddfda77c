"""A run as it learns: its status and buttons, the verdict, the loss curve, its latest sample."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import compact, duration, escape, markdown, number, t, template
from minigpt.app.train import view
from minigpt.app.train.form import start_with_lower_rate
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.gloss import gloss
from minigpt.app.ui.messages import message_words
from minigpt.app.ui.status import queue_words, status_badge, status_words
from minigpt.errors import MinigptError
from minigpt.runs.engine import Command
from minigpt.runs.snapshots import RunSnapshot
from minigpt.viz.labels import nats
from minigpt.viz.training import (
    LayersWords,
    LineWords,
    ScheduleWords,
    SharesWords,
    layers_figure,
    line_figure,
    loss_figure,
    schedule_figure,
    shares_figure,
)

POLL_SECONDS = 1.0
FIRST_POLL_SECONDS = 0.1
"""In the first seconds of a run: a small text is prepared and measured sooner than within a second."""
CHART_HEIGHT = 372
BADGE_WIDTH, BUTTON_WIDTH = 112, 112
"""Pixels of the status and of each button beside it, whatever they say."""
ICONS = {"pause": ":material/pause:", "resume": ":material/play_arrow:", "stop": ":material/stop:"}
NORMS = ("ratio", "update", "gradient")
"""The measurements of each layer; the first is shown at first."""


def live_panel(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Draw the run; while it trains, refresh every second, at first more often, without a rerun of the page.

    The buttons are outside the refreshed part, so that no click is lost between two refreshes.
    """
    label = f"**{escape(ref.name)}**"
    if snapshot.status == "finished":  # there is no use in a full progress bar
        label += " · " + view.steps_done(snapshot)
    if snapshot.queue_position:
        label += " · " + queue_words(snapshot.queue_position)
    with st.container(horizontal=True, vertical_alignment="center", key="train_status"):
        st.markdown(label, width="content")
        # of one width, since a press on a button is lost that moves between the finger's touching and leaving it
        st.markdown(status_badge(snapshot.status), width=BADGE_WIDTH)
        if state.may_control(ref) and snapshot.status != "finished" and not snapshot.is_elsewhere:
            with st.container(horizontal=True, width="content"):  # on a phone they come below, side by side
                _buttons(ref, snapshot)
    error = st.session_state.pop("train:command_error", None)
    if error is not None:
        anatomy.explain_error(error)
    if snapshot.is_elsewhere:
        st.info(t("train.elsewhere"), icon=":material/terminal:")
    elif snapshot.is_active and not state.may_control(ref):
        st.caption(t("train.not_yours"))
    if snapshot.status == "failed":
        st.error(markdown(message_words(snapshot.message)), icon=":material/error:")
    elif snapshot.message and not snapshot.is_elsewhere:
        ended_early = snapshot.status == "finished"
        (st.info if ended_early else st.caption)(markdown(message_words(snapshot.message)))
    seconds = FIRST_POLL_SECONDS if view.is_awaited(snapshot) else POLL_SECONDS
    st.fragment(_panel, run_every=seconds if snapshot.is_active else None)(ref, _drawn(snapshot))


def _drawn(snapshot: RunSnapshot) -> tuple[str, int | None, bool]:
    """Return what the buttons and the timer depend on; if it changes, the whole page is drawn again."""
    return snapshot.status, snapshot.queue_position, view.is_awaited(snapshot)


def _panel(ref: RunRef, drawn: tuple[str, int | None, bool]) -> None:
    snapshot = runs.snapshot_of(ref)
    if snapshot is None or _drawn(snapshot) != drawn:
        # The whole page: its buttons and its timer change. First, since a press on a button that the next rerun draws
        # again at once would be lost.
        st.rerun()
    if snapshot.status != "finished":
        _progress(snapshot)
    verdict = view.verdict(snapshot)
    with st.container(key="train_verdict"):  # the style sheet keeps its room: it grows as the run gets better
        st.markdown(verdict, help=gloss(verdict))
    left, right = st.columns([5, 2], gap="medium")
    with left:
        _chart(snapshot)
        _right(snapshot)
    with right:
        _samples(snapshot)
    _numbers(ref, snapshot)
    _layers(snapshot)
    _log(ref)


def _progress(snapshot: RunSnapshot) -> None:
    if snapshot.progress is not None:
        st.progress(snapshot.progress, text=status_words(snapshot.status, snapshot.progress))
        return
    text = view.steps_done(snapshot)
    if snapshot.eta_seconds is not None and snapshot.status == "running":
        text += " · " + t("train.eta", time=duration(snapshot.eta_seconds))
    if snapshot.device != "auto":
        text += " · " + snapshot.device
    st.progress(min(1.0, snapshot.step / max(snapshot.max_steps, 1)), text=text)
    if snapshot.activity:
        st.caption(markdown(message_words(snapshot.activity)))


def _buttons(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Draw a button for each possible command; a stopped or interrupted run resumes from its last checkpoint.

    Stop comes first. While a page is drawn again, Streamlit shows Pause beside the Resume of before, and what comes
    after them moves when that goes.
    """
    if snapshot.is_diverged:
        again = t("train.do_again_calmer")
        st.button(again, key="train:calmer", icon=":material/replay:", on_click=start_with_lower_rate, args=(ref,))
        return
    commands: dict[str, tuple[Command, ...]] = {
        "preparing": ("stop",),
        "queued": ("stop",),
        "running": ("stop", "pause"),
        "paused": ("stop", "resume"),
    }
    for what in commands.get(snapshot.status, ("resume",)):
        st.button(
            t(f"train.do_{what}"), key=f"train:{what}", icon=ICONS[what], width=BUTTON_WIDTH,
            on_click=command, args=(ref.id, what),
        )  # fmt: skip


def command(run_id: str, what: Command) -> None:
    """Pass a command to the engine; an error is shown on the page."""
    try:
        state.command(run_id, what)
    except MinigptError as error:
        st.session_state["train:command_error"] = error


def _chart(snapshot: RunSnapshot) -> None:
    curve = snapshot.curves.get("val_loss") or snapshot.curves.get("loss_ema") or ()
    alt = t("train.chart_alt_empty")
    if curve:
        alt = t("train.chart_alt", first=f"{curve[0][1]:.2f}", last=f"{curve[-1][1]:.2f}", step=number(curve[-1][0]))
    figure = loss_figure(
        snapshot.curves,
        snapshot.baselines,
        palette=theme.palette(),
        words=view.loss_words(),
        max_steps=snapshot.max_steps,
        best_step=snapshot.best_step,
        whole=view.whole_loss(snapshot),
        entropy=view.entropy(snapshot),
        revision=snapshot.id,
        height=CHART_HEIGHT,
    )
    live_chart(figure, key="train_loss", alt=alt)


def _right(snapshot: RunSnapshot) -> None:
    """Draw the share of right items under the loss, if the run's text has a referee."""
    if curves := view.right_curves(snapshot):
        words = SharesWords(
            step=t("train.chart_step"), share=t("train.chart_right"), hover=template("train.right_hover")
        )
        figure = shares_figure(
            curves, palette=theme.palette(), words=words, max_steps=snapshot.max_steps, revision=snapshot.id
        )
        live_chart(figure, key="train_right", alt=view.right_sentence(snapshot), config={"displayModeBar": False})


def _samples(snapshot: RunSnapshot) -> None:
    """Show the latest sample and, below it, earlier ones back to the first."""
    with st.container(height=CHART_HEIGHT, border=False, key="train_samples"):
        if not snapshot.samples:
            st.caption(t("train.no_sample_yet" if snapshot.is_active else "train.no_sample"))
            return
        *earlier, (step, text) = snapshot.samples
        st.markdown(t("train.writes_now", step=number(step)))
        st.code(text, language=None, wrap_lines=True)
        for step, text in reversed(view.spaced(earlier, 3)):
            st.caption(t("train.wrote_then", step=number(step)))
            st.code(text, language=None, wrap_lines=True)


def _numbers(ref: RunRef, snapshot: RunSnapshot) -> None:
    def shown(value: float | None, pattern: str) -> str:
        return "–" if value is None else format(value, pattern)

    rates = {name: points[-1][1] if points else None for name, points in view.learning_rates(snapshot).items()}
    with st.container(horizontal=True, key="train_numbers", gap="large"):
        for name, value in (
            ("loss", "–" if snapshot.loss_ema is None else nats(snapshot.loss_ema, 3)),
            ("val_loss", "–" if snapshot.val_loss is None else nats(snapshot.val_loss, 3)),
            ("learning_rate", " · ".join(view.scientific(last) for last in rates.values())),
            ("tokens_per_second", shown(snapshot.tokens_per_second, ",.0f")),
            ("mfu", shown(snapshot.mfu, ".0%")),
            ("tokens_seen", compact(snapshot.tokens_seen)),
            ("passes", shown(view.passes(snapshot), ".2f")),
            ("seconds", duration(snapshot.seconds)),
        ):
            about = t(f"train.about_{name}")
            if name == "learning_rate" and len(rates) > 1:
                about += " " + t("train.about_learning_rates")
            st.metric(t(f"train.number_{name}"), value, width="content", help=about)
    st.caption(view.disk(snapshot, ref.path, bundled=ref.bundled))
    left, right = st.columns(2)
    shared: dict[str, Any] = {"palette": theme.palette(), "max_steps": snapshot.max_steps, "revision": snapshot.id}
    step = t("train.chart_step")
    plans, label = view.learning_rates(snapshot), t("train.number_learning_rate")
    if len(plans) > 1:
        words = ScheduleWords(step=step, rate=label, hover=template("train.rate_hover"))
        figure = schedule_figure(plans, words=words, **shared)
    else:
        figure = line_figure(*plans.values(), words=LineWords(step, label), value_format="~g", **shared)
    with left:
        live_chart(figure, key="train_learning_rate", alt=label, config={"displayModeBar": False})
    speed, label = snapshot.curves.get("tokens_per_second", ()), t("train.number_tokens_per_second")
    figure = line_figure(speed, words=LineWords(step, label), value_format=",.0f", **shared)
    with right:
        live_chart(figure, key="train_tokens_per_second", alt=label, config={"displayModeBar": False})


def _layers(snapshot: RunSnapshot) -> None:
    """Draw an expander with the gradient norm and the update norm of each layer."""
    if not snapshot.norms:
        return
    box = st.expander(t("train.inside"), icon=":material/layers:", on_change="rerun", key="train:inside")
    with box:
        if not box.open:
            return
        kind = st.segmented_control(
            t("train.norms_of"),
            NORMS,
            default=NORMS[0],
            required=True,
            format_func=lambda name: t(f"train.norms_{name}"),
            key="train:norms",
            label_visibility="collapsed",
        )
        values = {view.layer_title(layer): value for layer, value in snapshot.norms[kind].items()}
        label = t(f"train.axis_{kind}")
        figure = layers_figure(
            values, palette=theme.palette(), words=LayersWords(value=label), revision=f"{snapshot.id} {kind}"
        )
        sentence = t(f"train.see_norms_{kind}") + " " + view.extremes(values)
        live_chart(figure, key="train_norms", alt=sentence, config={"displayModeBar": False})
        st.markdown(sentence)


def _log(ref: RunRef) -> None:
    """Draw an expander with the newest lines of the run's log, if there are any, for those who may control the run."""
    lines = runs.log_of(ref) if state.may_control(ref) else ""
    if not lines:
        return
    box = st.expander(t("train.log"), icon=":material/terminal:", on_change="rerun", key="train:log")
    with box:
        if box.open:
            st.caption(t("train.log_about"))
            st.code(lines, language=None, wrap_lines=True)


def live_explanation(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Explain the chart; the explanation is refreshed with it, so that both have the same numbers."""
    st.fragment(_explanation, run_every=POLL_SECONDS if snapshot.is_active else None)(ref)


def _explanation(ref: RunRef) -> None:
    snapshot = runs.snapshot_of(ref)
    if snapshot is not None:  # None: it has just been deleted, and the panel above reruns the page
        anatomy.what_you_see(view.sentences(snapshot))
