"""The subject of the pages under "Look inside": a run, one of its kept steps, and a prompt.

Every view asks through `Subject.ask`, so that all heavy work goes through the compute gate and its answers are cached
by run, step and request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt.app.session import profile, runs
from minigpt.app.session.ask import ask
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.run_text import PROPOSED, default_prompt
from minigpt.app.session.runs import RunRef
from minigpt.app.session.steps import kept_steps
from minigpt.app.session.typed import PROMPT, field, typed
from minigpt.app.texts import number, t
from minigpt.app.ui.controls import move, moved_slider

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

T = TypeVar("T")

NEWEST = "newest"
"""Choice on the slider of steps: the best weights of a finished run, or the latest weights of a run that trains."""


@dataclass(frozen=True)
class Subject:
    """The run, step and prompt that every view of a page analyses.

    Attributes:
        run: The run.
        step: A kept step; None: the best weights, or the latest ones while the run trains.
        weights: The step that `step` stands for; part of every cache key, so that no answer of older weights is used.
        prompt: The visitor's text.
    """

    run: RunRef
    step: int | None
    weights: int
    prompt: str

    def ask(self, view: str, work: Callable[[Run, Cancelled], T], *request: object) -> T:
        """Return the answer to one question about the run, through the compute gate.

        Args:
            view: The part of the page that asks; its newest request replaces its older ones.
            work: Computes the answer from the loaded run.
            *request: Everything else that the answer depends on.

        Raises:
            Superseded: A newer request of the visitor replaced this one.
            MinigptError: The run cannot be read, or the request cannot be answered.
        """
        return ask(self.run, f"inside-{view}", work, *request, step=self.step, weights=self.weights)


def prompt_key(run: RunRef, page: str) -> str:
    """Return the key of the prompt's field on a page; for each run its own, because the opening text depends on it."""
    return f"{page}:prompt_{run.id}"


def step_name(run: RunRef, page: str) -> str:
    """Return the name of a run's slider of steps on a page, as `controls.move` takes it."""
    return f"{page}:step_{run.id}"


def choose(run: RunRef, page: str, *, with_prompt: bool = True, length: int = PROPOSED) -> Subject:
    """Draw the row above all views, prompt and step, and return what the visitor chose.

    Args:
        run: The run.
        page: The page.
        with_prompt: Whether to draw the prompt field; the prompt is returned in any case.
        length: As in `default_prompt`.
    """
    steps, newest = kept_steps(run)
    snapshot = runs.snapshot_of(run)
    is_active = snapshot is not None and snapshot.is_active
    has_more = bool(steps) or is_active
    left, right = st.columns([13, 8], gap="medium", vertical_alignment="bottom") if has_more else (st.container(), None)
    opening = partial(default_prompt, run, page, length)
    if with_prompt:
        prompt = prompt_input(left, t("inside.prompt"), key=prompt_key(run, page), opening=opening)
    else:
        prompt = typed(PROMPT) or opening()
    if right is None:
        return Subject(run, None, newest, prompt)
    with right if with_prompt else left:
        step = _choose_step(run, page, [*steps, NEWEST], newest, is_active=is_active)
    return Subject(run, None, newest, prompt) if step == NEWEST else Subject(run, int(step), int(step), prompt)


def prompt_input(
    place: DeltaGenerator,
    label: str,
    *,
    key: str,
    opening: Callable[[], str],
    name: str = PROMPT,
    help: str | None = None,
) -> str:
    """Draw a field for a text that a model reads, and return the text.

    Args:
        place: Where to draw it.
        label: Its label.
        key: Key of the widget.
        opening: Returns the text that it opens with if the visitor has typed none.
        name: The kind of text, as in `typed`; fields of one kind share what the visitor types.
        help: Its tooltip.
    """
    most = profile.limits().max_prompt_chars
    arguments = field(name, key, opening)
    text: str = place.text_input(label, max_chars=most, live="400ms", persist_state="session", help=help, **arguments)
    return text


def _choose_step(run: RunRef, page: str, options: list[int | str], newest: int, *, is_active: bool) -> int | str:
    """Draw the slider of steps if there are several, and a button that refreshes while the run trains."""
    name = step_name(run, page)
    if st.session_state.get(f"{name}:options") != options:  # the slider keeps its position, which now is another step
        st.session_state[f"{name}:options"] = options
        kept = st.session_state.get(name, NEWEST)
        move(name, kept if kept in options else NEWEST)
    words = "inside.step_now" if is_active else "inside.step_best"
    step: int | str = NEWEST
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(options) > 1:
            step = moved_slider(
                name,
                t("inside.step"),
                options,
                format_func=lambda step: t(words, step=number(newest)) if step == NEWEST else number(step),
                help=t("inside.step_help"),
            )
        if is_active:  # draw the button at once, even before a step is kept
            st.button(t("inside.look_again"), key=f"{page}:again", icon=":material/refresh:")
    return step
