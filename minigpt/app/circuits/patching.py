"""Circuits, activation patching: a piece of one text's stream is copied into another's run to change the answer."""

from __future__ import annotations

import streamlit as st

from minigpt.app.circuits.patching_view import PatchMaps, PatchView, one_changed, patched, patching_sentences
from minigpt.app.circuits.view import place_names
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.run_text import default_prompt, shipped
from minigpt.app.session.subject import Subject, prompt_input
from minigpt.app.session.typed import typed, write
from minigpt.app.texts import has, plain, quoted, t
from minigpt.app.ui import anatomy, theme
from minigpt.errors import ShapeError

CLEAN, CORRUPT = "clean", "corrupt"
"""The kinds of text of the two fields, see `typed`."""


def draw(subject: Subject) -> None:
    """Draw the view."""
    first_key, second_key = (f"circuits:{name}_{subject.run.id}" for name in (CLEAN, CORRUPT))
    left, right = st.columns(2, gap="medium")
    first = prompt_input(
        left,
        t("circuits.clean"),
        key=first_key,
        opening=lambda: _opening_texts(subject)[0],
        name=CLEAN,
    )
    second = prompt_input(
        right,
        t("circuits.corrupt"),
        key=second_key,
        opening=lambda: _find_second(subject, first) if typed(CLEAN) else _opening_texts(subject)[1],
        name=CORRUPT,
        help=t("circuits.corrupt_help"),
    )

    def swap() -> None:
        write(CLEAN, first_key, second)
        write(CORRUPT, second_key, first)

    try:
        with st.spinner(t("circuits.patching")):
            view = subject.ask("patching", lambda run, cancelled: patched(run, first, second, cancelled), first, second)
    except ShapeError as error:
        anatomy.explain_error(error)  # the message names a button that is drawn below
    else:
        _draw_answer(view, first, second)
    anatomy.try_this(
        [
            (t("circuits.try_find"), lambda: write(CORRUPT, second_key, _find_second(subject, first))),
            (t("circuits.try_swap"), swap),
        ],
        key="circuits:try_patching",
    )


def _opening_texts(subject: Subject) -> tuple[str, str]:
    """Return two texts to start with: those of a bundled run, else a line of the run's own text and a variant."""
    run = subject.run
    if run.bundled and has(f"circuits.clean_{run.id}"):
        return shipped(f"circuits.clean_{run.id}"), shipped(f"circuits.corrupt_{run.id}")
    first = default_prompt(run, "circuits")
    return first, _find_second(subject, first)


def _find_second(subject: Subject, text: str) -> str:
    """Return a variant of a text with one token changed that leads to another answer, computed through the gate."""
    return subject.ask("one-changed", lambda run, cancelled: one_changed(run, text), text)


def _draw_answer(view: PatchView, first: str, second: str) -> None:
    for reading, text in ((view.clean, first), (view.corrupt, second)):
        anatomy.notes(prompt_notes(reading, text))
    if view.maps is None:
        st.info(t("circuits.same_answer", token=quoted(view.target)), icon=":material/info:")
        return
    sentences = patching_sentences(view, view.maps)
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_stream(view, view.maps, sentences[1])
    with right:
        _draw_heads(view.maps, sentences[2])
    anatomy.what_you_see(sentences)


def _draw_stream(view: PatchView, maps: PatchMaps, finding: str) -> None:
    from minigpt.viz.circuits_stream import PatchWords, patch_figure

    st.header(t("circuits.stream_title"), anchor=False)
    st.caption(t("circuits.stream_caption"))
    figure = patch_figure(
        maps.residual,
        view.clean.tokens,
        view.corrupt.tokens,
        palette=theme.palette(),
        words=PatchWords(recovered=t("circuits.comes_back")),
        places=place_names(len(maps.residual)),
    )
    live_chart(figure, key=f"circuits:patch_{len(view.clean.tokens)}", alt=plain(finding))


def _draw_heads(maps: PatchMaps, finding: str) -> None:
    from minigpt.viz.circuits_stream import HeadsWords, heads_figure

    st.header(t("circuits.patch_heads_title"), anchor=False)
    st.caption(t("circuits.patch_heads_caption"))
    figure = heads_figure(
        maps.heads,
        palette=theme.palette(),
        words=HeadsWords(
            value=t("circuits.comes_back"), layer=t("circuits.board_layer"), head=t("circuits.board_head")
        ),
    )
    live_chart(figure, key="circuits:patch_heads", alt=plain(finding))
