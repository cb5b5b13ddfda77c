"""Sampling: how the chances that a model gives become a text."""

import streamlit as st

from minigpt.app.sampling import branches, cache, copying, inspector, play, side
from minigpt.app.session import state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import t
from minigpt.app.ui import anatomy, controls

VIEWS = {
    "side": side.draw,
    "inspector": inspector.draw,
    "branches": branches.draw,
    "copying": copying.draw,
    "play": play.draw,
    "cache": cache.draw,
}


def draw() -> None:
    """Draw the page below its title."""
    _draw_run(state.current_run())


@st.fragment
def _draw_run(run: RunRef) -> None:
    """Draw the chosen view; moving a control redraws only this."""
    view = controls.choice("sampling", "view", list(VIEWS))
    st.markdown(t(f"sampling.lead_{view}"))
    VIEWS[view](run)
    code(view)


def code(view: str) -> None:
    """Show the library code that a view uses."""
    from minigpt.app.sampling import play_shannon_view
    from minigpt.evaluation import copying as evaluation_copying
    from minigpt.generation import beam, reading, samplers, truncation
    from minigpt.model import kv_cache

    functions = {
        "side": (samplers.draw, samplers.TemperatureSampler, truncation.TopKSampler, truncation.TopPSampler),
        "inspector": (
            samplers.SamplerChain.explain,
            samplers.TemperatureSampler.process,
            truncation.TopPSampler.process,
        ),
        "branches": (beam.beam_search,),
        "copying": (evaluation_copying.shared_spans, evaluation_copying.copied_share),
        "play": (samplers.draw, play_shannon_view.stated),
        "cache": (kv_cache.KVCache, reading.TextReader),
    }
    anatomy.show_code(*functions[view])
