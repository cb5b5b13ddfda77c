"""Circuits, head scores: how much each head is of each known kind, and since when in the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import runs
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.reading import prompt_notes, read_few
from minigpt.app.session.run_text import fixed_passage
from minigpt.app.session.steps import history
from minigpt.app.session.subject import NEWEST, Subject, step_name
from minigpt.app.texts import number, percent, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.viz.labels import head_name

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.app.session.runs import RunRef

KINDS = ("previous", "first", "same_token", "induction")
"""The attributes of `HeadScores`, in the order of the page."""
NAMED = 0.35
"""From this share of its weight on a head is called after a kind."""
BORN = 0.5
"""An induction head counts as born at this score."""
BLOCK = 25
"""Random tokens that come twice in the text on which heads are measured."""
ON_REPEATS = ("same_token", "induction")
"""The kinds that only show where a text repeats itself and nothing but looking back helps."""
TEXTS = ("suited", "prompt")


Scores = dict[str, np.ndarray]
"""Kind to scores, (L, H) of one step or (N, L, H) of N steps."""


def scores_of(run: LoadedRun, ref: RunRef, ids: tuple[int, ...], *, suited: bool) -> Scores:
    """Score all heads of a run.

    Args:
        run: The run at one step.
        ref: The same, as the page knows it.
        ids: The prompt.
        suited: Measure each kind on a text that suits it, random tokens that come twice or the fixed passage, instead
            of on the prompt.

    Returns:
        Kind to scores (L, H).
    """
    import torch

    from minigpt.interpret.heads import attention_patterns, head_scores
    from minigpt.interpret.trace import trace_forward

    def measure(tensor):
        return head_scores(attention_patterns(trace_forward(run.model, tensor)), tensor.numpy())

    if not suited:
        scores = measure(torch.tensor([ids]))
        return {kind: getattr(scores, kind) for kind in KINDS}
    passage = torch.from_numpy(fixed_passage(ref, run, ids).ids)[None]
    usual, repeats = measure(passage), measure(random_twice(run))
    return {kind: getattr(repeats if kind in ON_REPEATS else usual, kind) for kind in KINDS}


def random_twice(run: LoadedRun):
    """Return random tokens that come twice, as long as the context allows: (1, T), int64."""
    from minigpt.interpret.heads import repeated_ids

    tokenizer = run.tokenizer
    room = run.model.config.sequence_length - (tokenizer.bos_id is not None)
    length = max(1, min(BLOCK, room // 2))
    ids = repeated_ids(tokenizer.text_ids, length, bos_id=tokenizer.bos_id)
    return ids[:, : run.model.config.sequence_length]


def scores_over(
    ref: RunRef, steps: list[int | None], ids: tuple[int, ...], cancelled: Cancelled, *, suited: bool
) -> Scores:
    """Score all heads at several steps of a run; inside the gate.

    Args:
        ref: The run.
        steps: Kept steps, None for the newest weights.
        ids: As in `scores_of`.
        cancelled: Asked before each step.
        suited: As in `scores_of`.

    Returns:
        Kind to scores (N, L, H).
    """
    from minigpt.app.session.models import loaded_run

    every: list[Scores] = []
    for step in steps:
        if cancelled():
            break
        every.append(scores_of(loaded_run(ref, step), ref, ids, suited=suited))
    return {kind: np.stack([scores[kind] for scores in every]) for kind in KINDS}


def best(scores: np.ndarray) -> tuple[int, int, float]:
    """Return layer, head and score of the highest."""
    layer, head = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return int(layer), int(head), float(scores[layer, head])


def sentence(scores: Scores, layer: int, head: int, *, suited: bool, bold: str = "**") -> str:
    """Say in plain words what one head does; on a text that suits no job, only where its weight goes there."""
    kind = max(KINDS, key=lambda kind: float(scores[kind][layer, head]))
    share = float(scores[kind][layer, head])
    name = f"{bold}{head_name(layer, head)}{bold}"
    if suited and share < NAMED:
        return t("circuits.head_none", head=name, kind=t(f"circuits.kind_{kind}"), share=percent(share))
    return t(_key(kind, suited), head=name, share=f"{bold}{percent(share)}{bold}")


def _key(kind: str, suited: bool) -> str:
    """Return which text names a kind; a head has a job only if it does it on a text where nothing else looks alike."""
    return f"circuits.{'head' if suited else 'here'}_{kind}"


def birth(steps: list[int], induction: np.ndarray) -> tuple[int, int] | None:
    """Return between which two kept steps the strongest induction head of the end was born.

    Args:
        steps: The N steps.
        induction: Scores (N, L, H).

    Returns:
        The last step below `BORN` and the first from which it stays above; None where there is no such moment.
    """
    layer, head, share = best(induction[-1])
    if share < BORN or len(steps) < 2:
        return None
    below = [index for index, score in enumerate(induction[:, layer, head]) if score < BORN]
    return (steps[below[-1]], steps[below[-1] + 1]) if below else None


def draw(subject: Subject) -> None:
    """Draw the view."""
    text = st.segmented_control(
        t("circuits.measured_on"),
        TEXTS,
        format_func=lambda name: t(f"circuits.text_{name}"),
        default=TEXTS[0],
        required=True,
        key="circuits:text",
        help=t("circuits.suited"),
        persist_state="session",
    )
    suited = text == "suited"
    reading = subject.ask("reading", lambda run, cancelled: read_few(run, subject.prompt), subject.prompt)
    if not suited:
        anatomy.notes(prompt_notes(reading, subject.prompt))
    scores = subject.ask(
        "heads", lambda run, cancelled: scores_of(run, subject.run, reading.ids, suited=suited), reading.ids, suited
    )
    left, right = st.columns([9, 11], gap="large")
    with left:
        _draw_scores(scores)
    with right:
        born = _draw_history(subject, reading.ids, suited)
    anatomy.what_you_see(_seen(scores, born, suited))
    other = "prompt" if suited else "suited"
    experiments = [(t(f"circuits.try_{other}"), lambda: st.session_state.update({"circuits:text": other}))]
    if born is not None:
        back = born[0] if subject.weights != born[0] else NEWEST
        label = t("circuits.try_before", step=number(born[0])) if back != NEWEST else t("circuits.try_newest")
        experiments.insert(0, (label, lambda: controls.move(step_name(subject.run, "circuits"), back)))
    anatomy.try_this(experiments, key="circuits:try_heads")
    _draw_words(scores, suited)


def _draw_scores(scores: Scores) -> None:
    from minigpt.viz.circuits import ScoresWords, scores_figure

    st.subheader(t("circuits.scores_title"), anchor=False)
    st.caption(t("circuits.scores_caption"))
    words = ScoresWords({kind: t(f"circuits.kind_{kind}") for kind in KINDS})
    figure = scores_figure(scores, palette=theme.palette(), words=words)
    layer, head, share = best(scores["induction"])
    alt = t("circuits.scores_alt", head=head_name(layer, head), share=percent(share))
    live_chart(figure, key="circuits:scores", alt=alt)


def _draw_history(subject: Subject, ids: tuple[int, ...], suited: bool) -> tuple[int, int] | None:
    """Draw one kind's scores over the run's history under its loss; return when the induction head was born."""
    from minigpt.viz.circuits_history import BirthWords, birth_figure

    st.subheader(t("circuits.history_title"), anchor=False)
    pairs = history(subject.run)
    steps = [step for step, _ in pairs]
    if len(steps) < 2:
        st.info(t("circuits.history_none"), icon=":material/info:")
        return None
    latest = Subject(subject.run, pairs[-1][1], steps[-1], subject.prompt)
    over = latest.ask(
        "history",
        lambda run, cancelled: scores_over(subject.run, [step for _, step in pairs], ids, cancelled, suited=suited),
        tuple(steps),
        ids,
        suited,
    )
    key = f"circuits:kind_{subject.run.id}"
    if key not in st.session_state:  # what this run has most to show of
        st.session_state[key] = max(("induction", "previous"), key=lambda kind: float(over[kind][-1].max()))
    kind = st.segmented_control(
        t("circuits.history_kind"),
        KINDS,
        format_func=lambda kind: t(f"circuits.kind_{kind}"),
        required=True,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    snapshot = runs.look(subject.run)
    figure = birth_figure(
        snapshot.curves if snapshot else {},
        steps,
        over[kind],
        palette=theme.palette(),
        at=subject.weights,
        words=BirthWords(
            loss=t("circuits.axis_loss"),
            score=t("circuits.axis_score"),
            step=t("circuits.axis_step"),
            training=t("circuits.axis_training"),
            validation=t("circuits.axis_validation"),
        ),
        revision=f"{subject.run.id}-{kind}",
    )
    layer, head, share = best(over[kind][-1])
    alt = t(
        "circuits.history_alt",
        kind=t(f"circuits.kind_{kind}"),
        head=head_name(layer, head),
        share=percent(share),
        first=percent(float(over[kind][0, layer, head])),
    )
    live_chart(figure, key="circuits:history", alt=alt)
    return birth(steps, over["induction"]) if suited else None


def _draw_words(scores: Scores, suited: bool) -> None:
    layers, heads = scores["first"].shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    table = {
        t("circuits.column_head"): [head_name(*place) for place in places],
        t("circuits.column_words"): [sentence(scores, *place, suited=suited, bold="") for place in places],
        **{t(f"circuits.kind_{kind}"): [100 * float(scores[kind][place]) for place in places] for kind in KINDS},
    }
    st.subheader(t("circuits.words_title"), anchor=False)
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height=min(38 + 35 * len(places), 260),
        column_config={
            t("circuits.column_head"): st.column_config.TextColumn(width=60),
            t("circuits.column_words"): st.column_config.TextColumn(width="large"),
            **{t(f"circuits.kind_{kind}"): st.column_config.NumberColumn(format="%.0f %%") for kind in KINDS},
        },
        key="circuits:words",
    )


def _seen(scores: Scores, born: tuple[int, int] | None, suited: bool) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    said = []
    for kind in ("previous", "induction"):
        layer, head, share = best(scores[kind])
        key = f"circuits.nobody_{kind}" if suited and share < NAMED else _key(kind, suited)
        said.append(t(key, head=f"**{head_name(layer, head)}**", share=f"**{percent(share)}**"))
    if born is not None:
        said.append(t("circuits.see_birth", below=f"**{number(born[0])}**", above=f"**{number(born[1])}**"))
    return said
