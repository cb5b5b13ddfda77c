"""Circuits: what each part of the model does, and what breaks without it."""

import streamlit as st

from minigpt.app.circuits import heads as circuits_heads
from minigpt.app.circuits import lens as circuits_lens
from minigpt.app.circuits import neurons as circuits_neurons
from minigpt.app.circuits import parts as circuits_parts
from minigpt.app.circuits import patching as circuits_patching
from minigpt.app.circuits import switches as circuits_switches
from minigpt.app.circuits import vectors as circuits_vectors
from minigpt.app.session import state, subject
from minigpt.app.session.compute import Superseded
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import t
from minigpt.app.ui import anatomy
from minigpt.errors import MinigptError

VIEWS = {
    "switches": circuits_switches.draw,
    "heads": circuits_heads.draw,
    "lens": circuits_lens.draw,
    "parts": circuits_parts.draw,
    "patching": circuits_patching.draw,
    "neurons": circuits_neurons.draw,
    "vectors": circuits_vectors.draw,
}
WITHOUT_PROMPT = ("patching", "vectors")


@st.fragment
def look(run: RunRef) -> None:
    """Draw the chosen view; moving a control redraws only this."""
    view = st.segmented_control(
        t("circuits.view"),
        list(VIEWS),
        format_func=lambda view: t(f"circuits.view_{view}"),
        default="switches",
        required=True,
        key="circuits:view",
        label_visibility="collapsed",
        persist_state="session",
    )
    st.markdown(t(f"circuits.lead_{view}"))
    try:
        VIEWS[view](subject.choose(run, "circuits", with_prompt=view not in WITHOUT_PROMPT))
        code(view)
    except Superseded:
        st.stop()
    except MinigptError as error:
        anatomy.explain_error(error)
        st.stop()


def code(view: str) -> None:
    """Show the library's lines behind a view."""
    from minigpt.interpret import ablation, embeddings, heads, lens, neurons, patching

    shown = {
        "switches": (ablation.ablation_probe, ablation.importance),
        "heads": (heads.head_scores, heads.repeated_ids),
        "lens": (lens.logit_lens, lens.read_out),
        "parts": (lens.logit_attribution, lens.head_outputs),
        "patching": (patching.patch_probe, patching.patch_residual),
        "neurons": (neurons.unit_activations, neurons.top_snippets),
        "vectors": (embeddings.principal_components, embeddings.trail, embeddings.position_similarity),
    }
    anatomy.show_code(*shown[view])


def draw() -> None:
    """Draw the page."""
    anatomy.header("circuits")
    look(state.current_run())
