"""Attention: where each head looks, head by head and stage by stage; no head looks ahead."""

import streamlit as st

from minigpt.app.attention.controls import QUERY, current_view
from minigpt.app.attention.heads import draw_heads
from minigpt.app.attention.mask import draw_mask
from minigpt.app.attention.reason import draw_reason
from minigpt.app.session import state
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef
from minigpt.app.session.subject import Subject, choose
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.app.ui.controls import choice, keep_position

SECTIONS = {"heads": draw_heads, "mask": draw_mask, "reason": draw_reason}


def draw() -> None:
    """Draw the page below its title."""
    _draw_run(state.current_run())


@st.fragment
def _draw_run(run: RunRef) -> None:
    """Draw everything below the lead; a change of text, step or section redraws only this."""
    subject = choose(run, "attention")
    section = choice("attention", "section", tuple(SECTIONS))
    _draw_section(subject)
    code(section)


@st.fragment
def _draw_section(subject: Subject) -> None:
    """Draw the chosen section; a change of head or position redraws only this, which halves the wait."""
    if state.current_run().id != subject.run.id:
        st.rerun()  # a button below has opened another run, so redraw the whole page with address and sidebar
    section = st.session_state["attention:section"]
    with errors_explained():
        with st.spinner(t("attention.computing")):
            view = current_view(subject)
        anatomy.notes(prompt_notes(view.reading, subject.prompt))
        length = len(view.reading.tokens)
        keep_position(QUERY, length, 2 * length // 3)  # the mask hides nothing from the last position
        SECTIONS[section](subject, view)


def code(section: str) -> None:
    """Show the library code that a section uses."""
    from minigpt.interpret import erasure, mask
    from minigpt.model.attention import causal_mask, explicit_attention

    functions = {
        "heads": (explicit_attention, causal_mask),
        "mask": (causal_mask, mask.change_effect, mask.unmasked_probe),
        "reason": (erasure.erasure_effects, erasure.disagreements),
    }
    anatomy.show_code(*functions[section])
