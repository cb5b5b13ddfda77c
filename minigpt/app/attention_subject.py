"""What the Attention page looks at: a run, one of its kept steps, and a text; drawn as the row above all views."""

from __future__ import annotations

import streamlit as st

from minigpt.app import forms, state
from minigpt.app.attention_view import AttentionView, view_of
from minigpt.app.circuits_subject import NEWEST, Subject, kept_steps
from minigpt.app.home_flow import written_samples
from minigpt.app.texts import has, number, t


def default_prompt(run: state.RunRef) -> str:
    """Return a text in the manner of what the run has learned."""
    if run.bundled and has(f"attention.prompt_{run.id}"):
        return t(f"attention.prompt_{run.id}")
    samples, snapshot = written_samples(run.path), state.look(run)
    length = min(36, snapshot.config.model.sequence_length) if snapshot else 36  # what we propose must fit the model
    return (samples[-1].text.strip()[:length].strip() if samples else "") or t("attention.prompt_default")


def prompt_key(run: state.RunRef) -> str:
    """Return where a run's text lies in the session state; each run has its own."""
    return f"attention:prompt_{run.id}"


def choose(run: state.RunRef) -> Subject:
    """Draw the row above all views, text and step, and return what they choose."""
    if prompt_key(run) not in st.session_state:
        st.session_state[prompt_key(run)] = default_prompt(run)
    steps, newest = kept_steps(run)
    left, right = st.columns([5, 3], gap="medium", vertical_alignment="bottom") if steps else (st.container(), None)
    prompt = left.text_input(
        t("attention.prompt"),
        key=prompt_key(run),
        max_chars=state.limits().max_prompt_chars,
        live="400ms",
        persist_state="session",
    )
    step: int | str = NEWEST
    if right is not None:
        with right:
            step = _step(run, steps, newest)
    return Subject(run, None, newest, prompt) if step == NEWEST else Subject(run, int(step), int(step), prompt)


def _step(run: state.RunRef, steps: list[int], newest: int) -> int | str:
    """Draw the choice of a step; while the run trains there is a button that looks again."""
    snapshot, name = state.look(run), f"attention:step_{run.id}"
    is_active = snapshot is not None and snapshot.is_active
    options: list[int | str] = [*steps, NEWEST]
    if st.session_state.get(f"{name}:options") != options:  # a slider remembers places, and these now mean others
        st.session_state[f"{name}:options"] = options
        kept = st.session_state.get(name, NEWEST)
        forms.move(name, kept if kept in options else NEWEST)
    words = "attention.step_now" if is_active else "attention.step_best"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        step: int | str = forms.moved_slider(
            name,
            t("attention.step"),
            options,
            format_func=lambda step: t(words, step=number(newest)) if step == NEWEST else number(step),
            help=t("attention.step_help"),
        )
        if is_active:
            st.button(t("attention.look_again"), key="attention:again", icon=":material/refresh:")
    return step


def view_now(subject: Subject) -> AttentionView:
    """Return all heads on the text and the open one in full, through the gate.

    Raises:
        Superseded: The visitor has asked something newer.
        MinigptError: The run cannot be read, or the text cannot.
    """
    head = st.session_state.get("attention:head")
    return subject.ask("attention", lambda run, cancelled: view_of(run, subject.prompt, head), subject.prompt, head)


def words_of_figures():
    """Return the words on the figures from the catalogue."""
    from minigpt.viz.token_axes import Words

    return Words(**{name: t(f"attention.{name}") for name in ("query_axis", "key_axis", "weight", "score", "blocked")})


def is_compact() -> bool:
    """Return whether the grid has found itself on a phone."""
    return bool(st.session_state.get("attention:compact", False))


def set_state(**values: object) -> None:
    """Change what is shown; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"attention:{name}"] = value


def choice(name: str, options: tuple[str, ...], **arguments: object) -> str:
    """Draw a choice between views and return it; `attention.<name>_<option>` says what each is called."""
    return st.segmented_control(
        t(f"attention.{name}"),
        options,
        format_func=lambda option: t(f"attention.{name}_{option}"),
        default=options[0],
        required=True,
        key=f"attention:{name}",
        label_visibility="collapsed",
        persist_state="session",
        **arguments,
    )


def position_slider(name: str, tokens: tuple[str, ...], label: str) -> int:
    """Draw the choice of a position in the text and return it, counted from 0; one token leaves no choice."""
    from minigpt.viz.palette import visible_token

    if len(tokens) == 1:
        return 0
    return forms.moved_slider(
        name, label, range(len(tokens)), format_func=lambda index: f"{index + 1} · {visible_token(tokens[index])}"
    )


def pick_head(view: AttentionView) -> None:
    """Draw the choice of the open head as a list, where the grid is not on screen."""
    from minigpt.app.attention_view import captions
    from minigpt.viz.palette import head_name

    said = captions(view.habits)
    layers, heads = view.habits.previous.shape
    options = [(layer, head) for layer in range(layers) for head in range(heads)]
    st.session_state["attention:head_pick"] = (view.layer, view.head)
    st.selectbox(
        t("attention.pick_head"),
        options,
        format_func=lambda place: f"{head_name(*place)} · {said[place[0]][place[1]]}",
        key="attention:head_pick",
        on_change=lambda: set_state(head=st.session_state["attention:head_pick"]),
    )
