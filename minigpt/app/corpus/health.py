"""The health check on the Corpus page: a line of good news, or the findings with a button each, and what was mended."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from minigpt.app.corpus import health_view, view
from minigpt.app.corpus.view import CorpusView
from minigpt.app.session import corpora, draft
from minigpt.app.session.mend_step import Step
from minigpt.app.texts import escape, t
from minigpt.data.health import Finding, Health
from minigpt.data.statistics import TextStatistics
from minigpt.errors import MinigptError

BOXES: dict[str, tuple[Callable[..., object], str]] = {
    "blocking": (st.error, ":material/block:"),
    "warning": (st.warning, ":material/warning:"),
    "note": (st.info, ":material/info:"),
}
"""How a finding of each severity is shown, and its icon."""


def draw(seen: CorpusView, health: Health) -> None:
    """Draw the findings, the worst first; a text without any worse than a note is called good in one line."""
    if health.is_good:
        st.success(view.good(seen), icon=":material/check_circle:")
    else:
        st.markdown(t("corpus.found", name=escape(seen.name)))
    for finding in health.findings:
        _finding(finding)
    if health.is_sampled:
        st.caption(t("corpus.sampled"))
    _mended()


def _finding(finding: Finding) -> None:
    box, icon = BOXES[finding.severity]
    with st.container(horizontal=True, vertical_alignment="center", key=f"corpus_finding_{finding.kind}"):
        box(health_view.sentence(finding), icon=icon)
        if label := health_view.button(finding):
            st.button(
                label, key=f"corpus:mend_{finding.kind}", icon=":material/healing:", on_click=_press, args=(finding,)
            )


def _mended() -> None:
    """Draw what was mended so far, with a button that undoes the last mend."""
    steps = corpora.mend_steps()
    for index, step in enumerate(steps, start=1):
        with st.container(horizontal=True, vertical_alignment="center", key=f"corpus_mended_{index}"):
            st.markdown(f":material/check: {health_view.step_words(step)}", width="content")
            if index == len(steps):
                st.button(t("corpus.undo"), key="corpus:undo", icon=":material/undo:", type="tertiary", on_click=_undo)


def _press(finding: Finding) -> None:
    try:
        _mend(finding)
    except MinigptError as error:
        st.session_state["corpus:errors"] = [error]


def _undo() -> None:
    try:
        _undo_last()
    except MinigptError as error:
        st.session_state["corpus:errors"] = [error]


def _mend(finding: Finding) -> None:
    """Do what a finding offers.

    Raises:
        CorpusError: Nothing to learn from would be left of the text; everything stays as it is.
    """
    steps = corpora.mend_steps()
    if finding.mend:
        before = corpora.current_statistics()
        corpora.use_mends([*(step.mend for step in steps if step.mend), finding.mend])
        step = Step(mend=finding.mend, counts=_counts(before, corpora.current_statistics()))
    else:
        changes = draft.current_changes()
        step = Step(changes=finding.changes, before={n: changes[n] for n in finding.changes if n in changes})
        draft.change(finding.changes)
    corpora.keep_mend_steps([*steps, step])


def _undo_last() -> None:
    """Undo the last mend: the text, or the settings unless they have been changed again since, are as they were."""
    *steps, last = corpora.mend_steps()
    if last.mend:
        corpora.use_mends([step.mend for step in steps if step.mend])
    else:
        changes = draft.current_changes()
        same = [name for name, value in last.changes.items() if changes.get(name) == value]
        draft.change({name: last.before.get(name) for name in same})
    corpora.keep_mend_steps(steps)


def _counts(before: TextStatistics, after: TextStatistics) -> dict[str, tuple[int, int]]:
    names = {"characters": "num_chars", "lines": "num_lines", "distinct": "num_distinct"}
    return {name: (getattr(before, field), getattr(after, field)) for name, field in names.items()}
