"""A run as it learns: its state and buttons, one sentence, the curve, what it writes now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import compact, duration, equally_likely, escape, has, number, size, t
from minigpt.app.train.form import start_calmer
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.forms import in_words
from minigpt.app.ui.status import status_badge
from minigpt.errors import MinigptError
from minigpt.runs.cost import disk_megabytes
from minigpt.runs.snapshots import RunSnapshot
from minigpt.runs.store import RunFolder
from minigpt.viz.training import (
    REFERENCES,
    first_step_below,
    layers_figure,
    line_figure,
    loss_figure,
    nats,
    schedule_figure,
    short,
)

POLL_SECONDS = 1.0
CHART_HEIGHT = 372
ICONS = {"pause": ":material/pause:", "resume": ":material/play_arrow:", "stop": ":material/stop:"}
NORMS = ("ratio", "update", "gradient")
"""What was measured in each layer; the first is shown first."""


def live_panel(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Draw the run; while the engine works on it, look again every second without running the page.

    The buttons stand outside the part that is drawn again and again, so that no click is lost between two drawings.
    """
    label = f"{status_badge(snapshot.status)} **{escape(ref.name)}**"
    if snapshot.status == "finished":  # a bar that is full says nothing more
        label += " · " + steps_done(snapshot)
    if snapshot.queue_position:
        label += " · " + t("train.queue", position=snapshot.queue_position)
    with st.container(horizontal=True, vertical_alignment="center", key="train_status"):
        st.markdown(label)
        if state.may_control(ref) and snapshot.status != "finished" and not snapshot.is_elsewhere:
            _buttons(ref, snapshot)
    error = st.session_state.pop("train:command_error", None)
    if error is not None:
        anatomy.explain_error(error)
    if snapshot.is_elsewhere:
        st.info(t("train.elsewhere"), icon=":material/terminal:")
    elif snapshot.is_active and not state.may_control(ref):
        st.caption(t("train.not_yours"))
    if snapshot.status == "failed":
        st.error(escape(in_words(snapshot.message)), icon=":material/error:")
    elif snapshot.message and not snapshot.is_elsewhere:
        ended_early = snapshot.status == "finished"
        (st.info if ended_early else st.caption)(escape(in_words(snapshot.message)))
    drawn = (snapshot.status, snapshot.queue_position)
    st.fragment(_panel, run_every=POLL_SECONDS if snapshot.is_active else None)(ref, drawn)


def _panel(ref: RunRef, drawn: tuple[str, int | None]) -> None:
    snapshot = runs.look(ref)
    if snapshot is None or (snapshot.status, snapshot.queue_position) != drawn:
        st.rerun()  # the whole page: other buttons, perhaps no timer any more
    if snapshot.status != "finished":
        _progress(snapshot)
    st.markdown(verdict(snapshot))
    left, right = st.columns([5, 2], gap="medium")
    with left:
        _chart(snapshot)
    with right:
        _samples(snapshot)
    _numbers(ref, snapshot)
    _inside(snapshot)


def steps_done(snapshot: RunSnapshot) -> str:
    """Say how far the training is."""
    return t("train.progress", step=number(snapshot.step), steps=number(snapshot.max_steps))


def _progress(snapshot: RunSnapshot) -> None:
    text = steps_done(snapshot)
    if snapshot.eta_seconds is not None and snapshot.status == "running":
        text += " · " + t("train.eta", time=duration(snapshot.eta_seconds))
    if snapshot.device != "auto":
        text += " · " + snapshot.device
    st.progress(min(1.0, snapshot.step / max(snapshot.max_steps, 1)), text=text)


def _buttons(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Offer what makes sense now; a run that was stopped or interrupted goes on from its last checkpoint."""
    if snapshot.is_diverged:
        again = t("train.do_again_calmer")
        st.button(again, key="train:calmer", icon=":material/replay:", on_click=start_calmer, args=(ref,))
        return
    offered = {
        "queued": ("stop",),
        "running": ("pause", "stop"),
        "paused": ("resume", "stop"),
    }.get(snapshot.status, ("resume",))
    for what in offered:
        st.button(t(f"train.do_{what}"), key=f"train:{what}", icon=ICONS[what], on_click=command, args=(ref.id, what))


def command(run_id: str, what: str) -> None:
    """Pass a command to the engine; what it refuses is told on the page."""
    try:
        runs.engine().command(run_id, state.owner_token(), what)
    except MinigptError as error:
        st.session_state["train:command_error"] = error


def verdict(snapshot: RunSnapshot) -> str:
    """Say in one or two sentences how well the run does, quoting the numbers on the chart."""
    validation = snapshot.curves.get("val_loss", ())
    curve = validation or snapshot.curves.get("loss_ema", ())
    if not curve:
        uniform = snapshot.baselines.get("uniform")
        if uniform is None:
            return t("train.verdict_waiting")
        return t("train.verdict_start", nats=f"{uniform:.2f}", choices=f"{math.exp(uniform):.0f}")
    whole = whole_loss(snapshot)
    loss = curve[-1][1] if whole is None else whole
    if snapshot.is_diverged or not math.isfinite(loss):
        return t("train.verdict_diverged")
    where = "whole" if whole is not None else "validation" if validation else "training"
    bits = nats(loss / math.log(2))
    said = t(f"train.verdict_{where}", nats=nats(loss), bits=bits, choices=equally_likely(loss))
    averaged = t("train.verdict_averaged") if validation and snapshot.config.training.weights_ema else ""
    return " ".join(filter(None, (said, averaged, _passed(curve, snapshot))))


def whole_loss(snapshot: RunSnapshot) -> float | None:
    """Return the final loss over the whole validation part, None where the curve itself was measured on all of it."""
    curve, loss = snapshot.curves.get("val_loss", ()), snapshot.val_loss
    return loss if curve and loss is not None and loss != curve[-1][1] else None


def _passed(curve: Sequence[tuple[int, float]], snapshot: RunSnapshot) -> str:
    """Say which yardstick was passed last, or that it gets worse again."""
    best_step, best = min(curve, key=lambda point: point[1])
    last_step, last = curve[-1]
    if last > 1.02 * best and last_step > best_step:
        # one that knows its text by heart does better on it than it ever did on other text
        train = snapshot.curves.get("loss_ema", ())
        by_heart = bool(train) and 1.02 * train[-1][1] < best
        said = t(f"train.verdict_{'overfit' if by_heart else 'worse'}", step=number(best_step), nats=f"{best:.2f}")
        return said if whole_loss(snapshot) is None else said + " " + t("train.verdict_sampled")
    for name in reversed(REFERENCES):
        level = snapshot.baselines.get(name)
        if level is None or last >= level:
            continue
        step = first_step_below(curve, level)
        if step is not None:
            return t(f"train.passed_{name}", step=number(step), nats=f"{level:.2f}")
    return t("train.passed_nothing")


def _chart(snapshot: RunSnapshot) -> None:
    curve = snapshot.curves.get("val_loss") or snapshot.curves.get("loss_ema") or ()
    alt = t("train.chart_alt_empty")
    if curve:
        alt = t("train.chart_alt", first=f"{curve[0][1]:.2f}", last=f"{curve[-1][1]:.2f}", step=number(curve[-1][0]))
    figure = loss_figure(
        snapshot.curves,
        snapshot.baselines,
        max_steps=snapshot.max_steps,
        best_step=snapshot.best_step,
        whole=whole_loss(snapshot),
        revision=snapshot.id,
        theme=theme.name(),
        height=CHART_HEIGHT,
    )
    live_chart(figure, key="train_loss", alt=alt)


def _samples(snapshot: RunSnapshot) -> None:
    """Show what the model writes now and, under it, what it wrote before, back to the first attempt."""
    with st.container(height=CHART_HEIGHT, border=False, key="train_samples"):
        if not snapshot.samples:
            st.caption(t("train.no_sample_yet" if snapshot.is_active else "train.no_sample"))
            return
        *earlier, (step, text) = snapshot.samples
        st.markdown(t("train.writes_now", step=number(step)))
        st.code(text, language=None, wrap_lines=True)
        for step, text in reversed(spaced(earlier, 3)):
            st.caption(t("train.wrote_then", step=number(step)))
            st.code(text, language=None, wrap_lines=True)


def spaced(samples: Sequence[tuple[int, str]], count: int) -> list[tuple[int, str]]:
    """Return at most `count` of the samples, always the first, each about twice as far into the training."""
    kept: list[tuple[int, str]] = []
    for step, text in samples:
        if not kept or step >= 2 * max(kept[-1][0], 1):
            kept.append((step, text))
    return [*kept[:1], *kept[1:][-(count - 1) :]] if kept else []


def passes(snapshot: RunSnapshot) -> float | None:
    """Return how often the run has gone through its text: tokens learned from by tokens there are to learn from."""
    there_are = int(snapshot.corpus.get("num_train_tokens", 0))
    return snapshot.tokens_seen / there_are if there_are else None


def _numbers(ref: RunRef, snapshot: RunSnapshot) -> None:
    def shown(value: float | None, pattern: str) -> str:
        return "–" if value is None else format(value, pattern)

    rates = {name: points[-1][1] if points else None for name, points in learning_rates(snapshot).items()}
    with st.container(horizontal=True, key="train_numbers", gap="large"):
        for name, value in (
            ("loss", "–" if snapshot.loss_ema is None else nats(snapshot.loss_ema, 3)),
            ("val_loss", "–" if snapshot.val_loss is None else nats(snapshot.val_loss, 3)),
            ("learning_rate", " · ".join(scientific(last) for last in rates.values())),
            ("tokens_per_second", shown(snapshot.tokens_per_second, ",.0f")),
            ("mfu", shown(snapshot.mfu, ".0%")),
            ("tokens_seen", compact(snapshot.tokens_seen)),
            ("passes", shown(passes(snapshot), ".2f")),
            ("seconds", duration(snapshot.seconds)),
        ):
            about = t(f"train.about_{name}")
            if name == "learning_rate" and len(rates) > 1:
                about += " " + t("train.about_learning_rates")
            st.metric(t(f"train.number_{name}"), value, width="content", help=about)
    st.caption(_disk(ref, snapshot))
    left, right = st.columns(2)
    shared: dict[str, Any] = {"max_steps": snapshot.max_steps, "revision": snapshot.id, "theme": theme.name()}
    plans, label = learning_rates(snapshot), t("train.number_learning_rate")
    if len(plans) > 1:
        figure = schedule_figure(plans, label=label, **shared)
    else:
        figure = line_figure(*plans.values(), label=label, value_format="~g", **shared)
    with left:
        live_chart(figure, key="train_learning_rate", alt=label, config={"displayModeBar": False})
    speed, label = snapshot.curves.get("tokens_per_second", ()), t("train.number_tokens_per_second")
    figure = line_figure(speed, label=label, value_format=",.0f", **shared)
    with right:
        live_chart(figure, key="train_tokens_per_second", alt=label, config={"displayModeBar": False})


def learning_rates(snapshot: RunSnapshot) -> dict[str, Sequence[tuple[int, float]]]:
    """Return the rate of each kind of weights so far: with muon that of the matrices, and that of the rest.

    Every group of weights has a fixed share of the schedule's rate, and the rest's is what is written down.
    """
    points, training = snapshot.curves.get("learning_rate", ()), snapshot.config.training
    if training.optimizer != "muon" or not points:
        return {t("train.rate"): points}
    share = training.muon_learning_rate / training.learning_rate
    return {t("train.rate_muon"): [(step, rate * share) for step, rate in points], t("train.rate_rest"): points}


def _disk(ref: RunRef, snapshot: RunSnapshot) -> str:
    """Say what the run takes on the disk and, while it may grow, what it may come to."""
    taken = size(RunFolder(ref.path).disk_bytes())
    tokens = int(snapshot.corpus.get("num_tokens", 0))
    if ref.bundled or snapshot.status == "finished" or not tokens:
        return t("train.disk", taken=taken)
    most = sum(disk_megabytes(snapshot.config, tokens, int(snapshot.corpus["vocab_size"])).values())
    return t("train.disk_growing", taken=taken, most=size(1e6 * most))


def _inside(snapshot: RunSnapshot) -> None:
    """Show, to those who open it, how long each layer's gradient is and how far it was moved."""
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
        values = {layer_title(layer): value for layer, value in snapshot.norms[kind].items()}
        label = t(f"train.axis_{kind}")
        figure = layers_figure(values, label=label, revision=f"{snapshot.id} {kind}", theme=theme.name())
        said = t(f"train.see_norms_{kind}") + " " + _extremes(values)
        live_chart(figure, key="train_norms", alt=said, config={"displayModeBar": False})
        st.markdown(said)


def layer_title(layer: str) -> str:
    """Return what a part of the model is called: blocks are counted from 1, as on all pages."""
    name, _, index = layer.partition(".")
    if name == "blocks":
        return t("train.layer_block", number=int(index) + 1)
    return t(f"train.layer_{name}") if has(f"train.layer_{name}") else name


def _extremes(values: Mapping[str, float]) -> str:
    if len(values) < 2:
        return ""
    least, most = min(values, key=lambda layer: values[layer]), max(values, key=lambda layer: values[layer])
    return t("train.norms_extremes", most=most, high=short(values[most]), least=least, low=short(values[least]))


def scientific(value: float | None) -> str:
    """Write a learning rate as people do.

    >>> scientific(3e-4), scientific(0.00123), scientific(0.025), scientific(None)
    ('3e-4', '1.23e-3', '0.025', '–')
    """
    if value is None:
        return "–"
    if value >= 0.01:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def live_explanation(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Explain the picture, again and again while it changes, so that the numbers said are those on the chart."""
    st.fragment(_explanation, run_every=POLL_SECONDS if snapshot.is_active else None)(ref)


def _explanation(ref: RunRef) -> None:
    snapshot = runs.look(ref)
    if snapshot is not None:  # otherwise it has just been deleted; the panel above runs the page again
        what_you_see(snapshot)


def what_you_see(snapshot: RunSnapshot) -> None:
    """Explain the picture with the numbers on it."""
    sentences = [t("train.see_lines")]
    references = [
        t(f"train.see_{name}", nats=f"{snapshot.baselines[name]:.2f}")
        for name in REFERENCES
        if name in snapshot.baselines
    ]
    if references:
        sentences.append(t("train.see_references") + " " + " ".join(references))
    train, validation = snapshot.loss_ema, snapshot.val_loss
    if train is not None and validation is not None and snapshot.status != "failed":
        gap = f"{validation - train:+.2f}"
        sentences.append(t("train.see_gap", gap=gap, train=f"{train:.2f}", validation=f"{validation:.2f}"))
    anatomy.what_you_see(sentences)
