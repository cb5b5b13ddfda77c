"""What the Circuits page looks at: a run, one of its kept steps, and a prompt; and the way its questions take.

Every view asks through `Subject.ask`, so that all heavy work goes through the compute gate and is remembered by run,
step and request. torch is imported inside the work, so that opening the page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from minigpt.app import forms, state
from minigpt.app.attention_view import Reading, quoted, read_prompt
from minigpt.app.compute import gate
from minigpt.app.home_flow import written_samples
from minigpt.app.texts import has, number, t
from minigpt.runs.folder import RunFolder
from minigpt.viz.palette import visible_token

if TYPE_CHECKING:
    from minigpt.app.models import LoadedRun

T = TypeVar("T")
Cancelled = Callable[[], bool]

NEWEST = "newest"
"""Stands on the slider for the best weights of a finished run, and for those of this moment while it trains."""

MAX_TOKENS = 64
"""Longer prompts are cut: a picture of more tokens could not be read, and patching runs the model once a token."""


MOST_STEPS = 32
"""Kept steps that a history is drawn from: each one is a model to load."""


@dataclass(frozen=True)
class Subject:
    """What every view of the page looks at.

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
            view: Which part of the page asks; its newest question replaces its older ones.
            work: Computes the answer from the loaded run.
            *request: Everything else that the answer depends on.

        Raises:
            Superseded: The visitor has asked something newer.
            MinigptError: The run cannot be read, or the request cannot be met.
        """

        def inside(cancelled: Cancelled) -> T:
            from minigpt.app.models import loaded_run

            return work(loaded_run(self.run, self.step), cancelled)

        key = ("circuits", view, self.run.id, self.weights, *request)
        return gate().run(key, inside, session=state.session_id(), slot=f"circuits-{view}")


def default_prompt(run: state.RunRef) -> str:
    """Return a text in the manner of what the run has learned."""
    if run.bundled and has(f"circuits.prompt_{run.id}"):
        return shipped(f"circuits.prompt_{run.id}")
    samples, snapshot = written_samples(run.path), state.look(run)
    length = min(36, snapshot.config.model.sequence_length) if snapshot else 36
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("circuits.prompt_default")


def shipped(key: str) -> str:
    """Return a text of the catalogue that a model reads; ␣ stands for a space, which would be lost at its end."""
    return t(key).replace("␣", " ")


def prompt_key(run: state.RunRef) -> str:
    """Return where a run's prompt lies in the session state; each run has its own."""
    return f"circuits:prompt_{run.id}"


def step_name(run: state.RunRef) -> str:
    """Return the name of a run's slider of steps, for `forms.move`."""
    return f"circuits:step_{run.id}"


def choose(run: state.RunRef, *, with_prompt: bool = True) -> Subject:
    """Draw the row above all views, prompt and step, and return what they choose.

    Args:
        run: The run.
        with_prompt: Whether the view reads the prompt; one that does not gets it all the same, but does not show it.
    """
    if prompt_key(run) not in st.session_state:
        st.session_state[prompt_key(run)] = default_prompt(run)
    prompt = st.session_state[prompt_key(run)]
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    if with_prompt:
        prompt = left.text_input(
            t("circuits.prompt"),
            key=prompt_key(run),
            max_chars=state.limits().max_prompt_chars,
            live="400ms",
            persist_state="session",
        )
    steps, newest = kept_steps(run)
    if not steps:
        return Subject(run, None, newest, prompt)
    with right if with_prompt else left:
        step = _choose_step(run, [*steps, NEWEST], newest)
    return Subject(run, None, newest, prompt) if step == NEWEST else Subject(run, step, step, prompt)


def _choose_step(run: state.RunRef, options: list[int | str], newest: int) -> int | str:
    """Draw the slider of steps; while the run trains there is a button beside it that looks again."""
    name, snapshot = step_name(run), state.look(run)
    is_active = snapshot is not None and snapshot.is_active
    if st.session_state.get(f"{name}:options") != options:  # a slider remembers places, and these now mean others
        st.session_state[f"{name}:options"] = options
        kept = st.session_state.get(name, NEWEST)
        forms.move(name, kept if kept in options else NEWEST)
    words = "circuits.step_now" if is_active else "circuits.step_best"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        step: int | str = forms.moved_slider(
            name,
            t("circuits.step"),
            options,
            format_func=lambda step: t(words, step=number(newest)) if step == NEWEST else number(step),
            help=t("circuits.step_help"),
        )
        if is_active:
            st.button(t("circuits.look_again"), key="circuits:again", icon=":material/refresh:")
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


def read(run: LoadedRun, text: str) -> Reading:
    """Cut a prompt into tokens, the last `MAX_TOKENS` that fit the context."""
    return read_prompt(run.tokenizer, text, min(run.model.config.sequence_length, MAX_TOKENS))


def notes(reading: Reading, text: str) -> list[str]:
    """Return what has to be said about a prompt that is empty, too long, or written in unknown characters."""
    said = [] if text else [t("circuits.note_empty")]
    if reading.num_given > len(reading.ids):
        said.append(t("circuits.note_long", given=number(reading.num_given), shown=len(reading.ids)))
    if reading.unknown:
        listed = ", ".join(f"{quoted(character)} × {count}" for character, count in list(reading.unknown.items())[:8])
        more = len(reading.unknown) - 8
        listed += t("circuits.note_unknown_more", count=more) if more > 0 else ""
        said.append(t("circuits.note_unknown", listed=listed))
    return said


def say(reading: Reading, text: str) -> None:
    """Write the notes about a prompt, in a place of their own: what stands below keeps its place and its focus."""
    with st.container():
        for note in notes(reading, text):
            st.info(note, icon=":material/info:")


def choose_position(reading: Reading) -> int:
    """Draw the slider of positions and return where it stands; a prompt of another length puts it on the last token."""
    length = len(reading.tokens)
    if st.session_state.get("circuits:length") != length:
        st.session_state["circuits:length"] = length
        forms.move("circuits:position", length - 1)
    if length < 2:
        return 0
    return forms.moved_slider(
        "circuits:position",
        t("circuits.position"),
        range(length),
        format_func=lambda index: f"{index + 1} · {visible_token(reading.tokens[index])}",
    )
