"""Circuits, neurons: the snippets of a run's corpus that activate one unit of a feed-forward block most."""

from __future__ import annotations

import streamlit as st

from minigpt.app.circuits.neurons_view import Units, UnitView, strip_tokens, unit_of, unit_sentences, units_of
from minigpt.app.components.token_strip import token_strip
from minigpt.app.session.download import offer_download
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.run_text import to_fetch
from minigpt.app.session.subject import Subject
from minigpt.app.texts import number, t
from minigpt.app.ui import anatomy, forms
from minigpt.viz.labels import feedforward_name


def draw(subject: Subject) -> None:
    """Draw the view."""
    units = subject.ask("units", lambda run, cancelled: units_of(run, subject.prompt), subject.prompt)
    anatomy.notes(prompt_notes(units.reading, subject.prompt))
    layer, unit = _choose(subject, units)
    with st.spinner(t("circuits.searching")):
        view = subject.ask(
            "unit",
            lambda run, cancelled: unit_of(run, subject.run, layer, unit, subject.prompt, cancelled),
            layer,
            unit,
            subject.prompt,
            to_fetch(subject.run) is None,
        )
    if not view.is_corpus:
        st.info(t("circuits.no_corpus"), icon=":material/info:")
        offer_download(subject.run, "circuits")
    else:
        st.caption(t("circuits.searched", count=number(view.num_tokens)))
    _draw_snippets(view)
    anatomy.what_you_see(unit_sentences(view))
    next_unit, next_layer = units.next_unit(layer, unit), (layer + 1) % units.num_layers
    anatomy.try_this(
        [
            (t("circuits.try_unit", unit=next_unit + 1), lambda: _move(subject, layer, next_unit)),
            (t("circuits.try_layer", layer=next_layer + 1), lambda: _move(subject, next_layer)),
        ],
        key="circuits:try_neurons",
    )


def _move(subject: Subject, layer: int, unit: int | None = None) -> None:
    """Go to a unit of a layer; None: the unit chosen there before, at first the one that the prompt activates most."""
    st.session_state[f"circuits:layer_{subject.run.id}"] = layer
    if unit is not None:
        st.session_state[f"circuits:unit_{subject.run.id}_{layer}"] = forms.written(unit + 1)


def _choose(subject: Subject, units: Units) -> tuple[int, int]:
    """Draw the choice of a unit and return layer and unit, counted from 0."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    below = st.container()
    layer = left.segmented_control(
        t("circuits.feedforward"),
        range(units.num_layers),
        format_func=feedforward_name,
        default=0,
        required=True,
        key=f"circuits:layer_{subject.run.id}",
        persist_state="session",
    )
    with right:
        unit = forms.whole_number(
            t("circuits.unit", count=units.width), key=f"circuits:unit_{subject.run.id}_{layer}",
            low=1, high=units.width, start=units.strongest[layer][0] + 1, below=below,
        )  # fmt: skip
    if unit is None:  # the field says why
        st.stop()
    return layer, unit - 1


def _draw_snippets(view: UnitView) -> None:
    for row, snippet in enumerate(view.snippets):
        left, right = st.columns([1, 11], vertical_alignment="center")
        left.markdown(f"**{snippet.value:.2f}**")
        label = t("circuits.snippet_label", rank=row + 1, unit=view.unit + 1, layer=view.layer + 1)
        with right:
            token_strip(
                strip_tokens(view, snippet),
                key=f"circuits:snippet_{row}",
                labels=[t("circuits.activation")],
                words={"label": label, "also": ""},
                mark=snippet.peak,
                ground="attention",
            )
