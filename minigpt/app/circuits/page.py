"""Circuits: what each part of the model does, and what breaks without it."""

import streamlit as st

from minigpt.app.circuits import heads, lens, neurons, parts, patching, switches, vectors
from minigpt.app.session import state
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.runs import RunRef
from minigpt.app.session.subject import choose
from minigpt.app.texts import t
from minigpt.app.ui import anatomy, controls

VIEWS = {
    "switches": switches.draw,
    "heads": heads.draw,
    "lens": lens.draw,
    "parts": parts.draw,
    "patching": patching.draw,
    "neurons": neurons.draw,
    "vectors": vectors.draw,
}
WITHOUT_PROMPT = ("patching", "vectors")


def draw() -> None:
    """Draw the page below its title."""
    _draw_run(state.current_run())


@st.fragment
def _draw_run(run: RunRef) -> None:
    """Draw the chosen view; moving a control redraws only this."""
    view = controls.choice("circuits", "view", list(VIEWS))
    st.markdown(t(f"circuits.lead_{view}"))
    with errors_explained():
        VIEWS[view](choose(run, "circuits", with_prompt=view not in WITHOUT_PROMPT))
        code(view)


def code(view: str) -> None:
    """Show the library code that a view uses."""
    from minigpt.interpret import ablation, embeddings, heads, lens, neurons, patching

    functions = {
        "switches": (ablation.ablation_probe, ablation.importance),
        "heads": (heads.head_scores, heads.repeated_ids),
        "lens": (lens.logit_lens, lens.read_out),
        "parts": (lens.logit_attribution, lens.head_outputs),
        "patching": (patching.patch_probe, patching.patch_residual),
        "neurons": (neurons.unit_activations, neurons.top_snippets),
        "vectors": (embeddings.principal_components, embeddings.trail, embeddings.position_similarity),
    }
    anatomy.show_code(*functions[view])
