"""What the pages that look inside look at: a run, one of its kept steps, and a text; and the way their questions take.

Every view asks through `Subject.ask`, so that all heavy work goes through the compute gate and is remembered by run,
step and request. torch is imported inside the work, so that opening a page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from minigpt.app.session import run_text, state
from minigpt.app.session.compute import Cancelled, gate
from minigpt.app.texts import has, number, t
from minigpt.app.ui import forms
from minigpt.runs.folder import RunFolder
from minigpt.viz.palette import visible_token

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun

T = TypeVar("T")

NEWEST = "newest"
"""Stands on the slider for the best weights of a finished run, and for those of this moment while it trains."""

MOST_STEPS = 32
"""Kept steps that a history is drawn from: each one is a model to load."""

PROPOSED = 36
"""Characters of a text that we propose, where it comes from the run."""


@dataclass(frozen=True)
class Subject:
    """What every view of a page looks at.

    Attributes:
        run: The run.
        step: A kept step; None: the best weights, or those of this moment while it trains.
        weights: The step that `step` stands for; part of every key, so that old answers are not taken for new ones.
        prompt: The visitor's text.
    """

    run: state.RunRef
    step: int | None
    weights: int
    prompt: str

    def ask(self, view: str, work: Callable[[LoadedRun, Cancelled], T], *request: object) -> T:
        """Return the answer to one question about the run, through the gate.

        Args:
            view: Which part of a page asks; its newest question replaces its older ones.
            work: Computes the answer from the loaded run.
            *request: Everything else that the answer depends on.

        Raises:
            Superseded: The visitor has asked something newer.
            MinigptError: The run cannot be read, or the request cannot be met.
        """

        def inside(cancelled: Cancelled) -> T:
            from minigpt.app.session.models import loaded_run

            return work(loaded_run(self.run, self.step), cancelled)

        key = ("inside", view, self.run.id, self.weights, *request)
        return gate().run(key, inside, session=state.session_id(), slot=f"inside-{view}")


def default_prompt(run: state.RunRef, page: str, length: int = PROPOSED) -> str:
    """Return a text of the kind that the run learns: from its own text, else what it wrote itself.

    Args:
        run: The run.
        page: The page that proposes it; of a bundled run each has its own.
        length: Characters of it at most, where it comes from the run.
    """
    if run.bundled and has(f"inside.prompt_{page}_{run.id}"):
        return shipped(f"inside.prompt_{page}_{run.id}")
    snapshot = state.look(run)
    if snapshot:
        length = min(length, snapshot.config.model.sequence_length)  # what we propose must fit the model
    if line := run_text.line_of(run, length):
        return line
    samples = RunFolder(run.path).samples()
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("inside.prompt_default")


def shipped(key: str) -> str:
    """Return a text of the catalogue that a model reads; ␣ stands for a space, which would be lost at its end."""
    return t(key).replace("␣", " ")


def prompt_key(run: state.RunRef, page: str) -> str:
    """Return where a run's text on a page lies in the session state."""
    return f"{page}:prompt_{run.id}"


def step_name(run: state.RunRef, page: str) -> str:
    """Return the name of a run's slider of steps on a page, for `forms.move`."""
    return f"{page}:step_{run.id}"


def choose(run: state.RunRef, page: str, *, with_prompt: bool = True, length: int = PROPOSED) -> Subject:
    """Draw the row above all views, text and step, and return what they choose.

    Args:
        run: The run.
        page: The page.
        with_prompt: Whether the view reads the text; one that does not gets it all the same, but does not show it.
        length: As in `default_prompt`.
    """
    key = prompt_key(run, page)
    if key not in st.session_state:
        st.session_state[key] = default_prompt(run, page, length)
    prompt = st.session_state[key]
    steps, newest = kept_steps(run)
    snapshot = state.look(run)
    is_active = snapshot is not None and snapshot.is_active
    has_more = bool(steps) or is_active
    left, right = st.columns([13, 8], gap="medium", vertical_alignment="bottom") if has_more else (st.container(), None)
    if with_prompt:
        prompt = left.text_input(t("inside.prompt"), key=key, **text_options())
    if right is None:
        return Subject(run, None, newest, prompt)
    with right if with_prompt else left:
        step = _choose_step(run, page, [*steps, NEWEST], newest, is_active=is_active)
    return Subject(run, None, newest, prompt) if step == NEWEST else Subject(run, int(step), int(step), prompt)


def text_options() -> dict[str, object]:
    """Return what every field for a text that a model reads is drawn with."""
    return {"max_chars": state.limits().max_prompt_chars, "live": "400ms", "persist_state": "session"}


def _choose_step(run: state.RunRef, page: str, options: list[int | str], newest: int, *, is_active: bool) -> int | str:
    """Draw the slider of steps, where there are several; while the run trains there is a button that looks again."""
    name = step_name(run, page)
    if st.session_state.get(f"{name}:options") != options:  # a slider remembers places, and these now mean others
        st.session_state[f"{name}:options"] = options
        kept = st.session_state.get(name, NEWEST)
        forms.move(name, kept if kept in options else NEWEST)
    words = "inside.step_now" if is_active else "inside.step_best"
    step: int | str = NEWEST
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(options) > 1:
            step = forms.moved_slider(
                name,
                t("inside.step"),
                options,
                format_func=lambda step: t(words, step=number(newest)) if step == NEWEST else number(step),
                help=t("inside.step_help"),
            )
        if is_active:  # from the first moment on, when nothing is kept yet
            st.button(t("inside.look_again"), key=f"{page}:again", icon=":material/refresh:")
    return step


def kept_steps(run: state.RunRef) -> tuple[list[int], int]:
    """Return the steps whose weights were kept to look back at, and the step of the newest choice.

    The newest choice is what `loaded_run` gives without a step: this moment's weights while the run trains, else the
    best, else the last. It is not among the first.
    """
    folder, snapshot = RunFolder(run.path), state.look(run)
    steps = folder.steps()
    if snapshot is not None and snapshot.is_active:
        newest = snapshot.step
    else:
        best = folder.best_step
        newest = best if best is not None else max(steps, default=0)
    return [step for step in steps if step != newest], newest


def history(run: state.RunRef) -> list[tuple[int, int | None]]:
    """Return the steps to draw a run's history from, in order: (step, what `loaded_run` takes for it).

    At most `MOST_STEPS`, evenly picked. Of a run in training only what is kept for good, so that the answer stays.
    """
    kept, newest = kept_steps(run)
    snapshot = state.look(run)
    steps: list[tuple[int, int | None]] = [(step, step) for step in kept]
    if snapshot is None or not snapshot.is_active:
        steps.append((newest, None))
    steps.sort(key=lambda pair: pair[0])
    if len(steps) <= MOST_STEPS:
        return steps
    return [steps[round(index * (len(steps) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]


def keep_position(name: str, length: int, begin: int) -> None:
    """Put a slider of positions at `begin` when it first sees a text of this length."""
    if st.session_state.get(f"{name}:length") != length:
        st.session_state[f"{name}:length"] = length
        forms.move(name, begin)


def choose_position(name: str, tokens: Sequence[str], label: str) -> int:
    """Draw the choice of a position in the text and return it, counted from 0; one token leaves no choice."""
    if len(tokens) == 1:
        return 0
    position: int = forms.moved_slider(
        name, label, range(len(tokens)), format_func=lambda index: f"{index + 1} · {visible_token(tokens[index])}"
    )
    return position


def is_compact() -> bool:
    """Return whether a picture has found itself on a phone."""
    return bool(st.session_state.get("inside:compact", False))


def remember_compact(compact: object) -> None:
    """Remember that a picture has found itself on a phone, or no longer so."""
    st.session_state["inside:compact"] = bool(compact)


def words_of_figures():
    """Return the words on figures of queries and keys from the catalogue."""
    from minigpt.viz.token_axes import Words

    return Words(**{name: t(f"inside.{name}") for name in ("query_axis", "key_axis", "weight", "score", "blocked")})
