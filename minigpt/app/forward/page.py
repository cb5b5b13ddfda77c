"""Forward: the whole model with a text flowing through it, every step with its numbers and its code."""

from functools import partial

import streamlit as st

from minigpt.app.forward.controls import POSITION, set_state
from minigpt.app.forward.panel import draw_lines, draw_panel
from minigpt.app.forward.picture import draw_picture
from minigpt.app.forward.size import draw_size
from minigpt.app.forward.view import FIRST, ForwardView, facts, sentences, view_of
from minigpt.app.session import state
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef
from minigpt.app.session.steps import kept_steps
from minigpt.app.session.subject import NEWEST, Subject, choose, step_name
from minigpt.app.texts import number, t
from minigpt.app.ui import anatomy, controls
from minigpt.app.ui.anatomy import Experiment
from minigpt.app.ui.controls import keep_position

PROPOSED = 24
"""Characters of a proposed text: short enough to be shown whole."""


def draw() -> None:
    """Draw the page below its title."""
    _draw_run(state.current_run())
    code()


@st.fragment
def _draw_run(run: RunRef) -> None:
    """Draw everything that follows the prompt; opening a box redraws only this."""
    subject = choose(run, "forward", length=PROPOSED)
    layer = st.session_state.setdefault("forward:layer", 0)
    with errors_explained(), st.spinner(t("forward.computing")):
        view = subject.ask("forward", lambda run, cancelled: view_of(run, subject.prompt, layer), subject.prompt, layer)
    anatomy.notes(prompt_notes(view.reading, subject.prompt))
    set_state(layer=view.layer)
    keep_position(POSITION, len(view.reading.tokens), len(view.reading.tokens) - 1)
    position = st.session_state[POSITION]
    box = view.find(st.session_state.setdefault("forward:box", FIRST))
    picture, panel = st.columns([13, 8], gap="medium")
    with picture:
        draw_picture(view, box, position)
        st.caption(facts(view.config))
        draw_lines(box)
    with panel:
        draw_panel(view, box, position)
    anatomy.what_you_see(sentences(view, position))
    anatomy.try_this(_experiments(subject, view), key="forward:try")
    draw_size(view)


def _experiments(subject: Subject, view: ForwardView) -> list[Experiment]:
    """Return the experiments: walk through all steps, open the mask, use the weights before training."""
    slider, steps = step_name(subject.run, "forward"), kept_steps(subject.run)[0]
    experiments: list[Experiment] = [
        (t("forward.try_start"), lambda: set_state(layer=0, box="ids")),
        (t("forward.try_mask", layer=view.layer + 1), lambda: set_state(box="attn_scores_masked")),
    ]
    if subject.step is not None:
        experiments.append((t("forward.try_trained"), partial(controls.move, slider, NEWEST)))
    elif steps:
        untrained = t("forward.try_untrained", step=number(steps[0]))
        experiments.append((untrained, partial(controls.move, slider, steps[0])))
    return experiments


def code() -> None:
    """Show the library code of the forward pass."""
    from minigpt.model.block import Block
    from minigpt.model.transformer import Transformer

    anatomy.show_code(Transformer.forward, Block.forward)
