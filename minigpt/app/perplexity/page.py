"""Perplexity: where a text surprised the model, and by how many bits."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.token_strip import token_strip
from minigpt.app.perplexity import view as perplexity_view
from minigpt.app.perplexity.view import MOST_DRAWN, Score
from minigpt.app.session import kept, kept_controls, profile, state, typed
from minigpt.app.session.ask import ask
from minigpt.app.session.compute import Superseded
from minigpt.app.session.corpora import UploadedFile
from minigpt.app.session.openings import choose_opening, opening_text
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.texts import escape, markdown, number, t, template
from minigpt.app.ui import anatomy, controls, theme
from minigpt.data.corpora import DOCUMENT_SEPARATOR
from minigpt.data.documents import Options, read_file
from minigpt.errors import MinigptError

TALLEST = 380
SOURCES, SOURCE = ("write", "upload"), "perplexity:source"
FILE = "scored_file"
"""The field that keeps the file to score."""


def text_key(run: RunRef) -> str:
    """Return the session-state key of the text to score; each run opens with a text of its own."""
    return f"perplexity:text_{run.id}"


def given_text(run: RunRef) -> tuple[str, str] | None:
    """Draw the input of the text and return its name and content; None while no file has been chosen yet.

    Raises:
        MinigptError: The file is too large or cannot be read.
    """
    source = controls.choice(
        "perplexity",
        "source",
        SOURCES,
        first=kept_controls.first("perplexity", SOURCE, SOURCES[0], SOURCES.__contains__),
    )
    kept_controls.keep("perplexity", {SOURCE: SOURCES[0]})
    if source == "write":
        key = text_key(run)
        text = st.text_area(
            t("perplexity.text"),
            height=100,
            max_chars=profile.limits().max_score_chars,
            placeholder=t("perplexity.text_placeholder"),
            label_visibility="collapsed",
            persist_state="session",
            **typed.field(typed.PASSAGE, key, lambda: opening_text(run, key)),
        )
        choose_opening(run, "perplexity", typed.PASSAGE, key)
        return "", text
    return given_file()


def given_file() -> tuple[str, str] | None:
    """Draw the upload and the file that is scored; return the name and content of that file.

    Raises:
        MinigptError: The uploaded file is too large or cannot be read. The one before it stays.
    """
    limits, place = profile.limits(), st.empty()
    file = draw_upload(place)
    if file is not None:
        limits.check_upload(file.name, file.size)
        options = Options(clean=False, most_bytes=limits.max_upload_bytes, most_chars=limits.max_score_chars)
        contents = read_file(file.getvalue(), file.name, options)
        text = DOCUMENT_SEPARATOR.join(map(str, contents.sources))
        limits.check_score_text(text)
        said = " ".join(filter(None, (reading.sentence for reading in contents.readings)))
        kept.put(FILE, {"name": file.name, "text": text, "reading": said})
        st.session_state["perplexity:uploads"] = st.session_state.get("perplexity:uploads", 0) + 1
        draw_upload(place)  # an empty one: the file is named below, as it is after a reload
    given = kept_file()
    if given is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            words = t("perplexity.uploaded", name=escape(given[0]), count=number(len(given[1])))
            st.caption(words, width="content")
            words = t("perplexity.remove")
            st.button(
                words,
                key="perplexity:remove",
                icon=":material/close:",
                type="tertiary",
                on_click=kept.put,
                args=(FILE, None),
            )
        if isinstance(sentence := kept.get(FILE).get("reading"), str) and sentence:
            st.caption(markdown(sentence))
    return given


def draw_upload(place: DeltaGenerator) -> UploadedFile | None:
    """Draw the upload; after each file that was taken it is a new widget, which holds none."""
    file: UploadedFile | None = place.file_uploader(
        t("perplexity.upload"),
        key=f"perplexity:file_{st.session_state.get('perplexity:uploads', 0)}",
        help=t("perplexity.upload_help"),
        label_visibility="collapsed",
    )
    return file


def kept_file() -> tuple[str, str] | None:
    """Return the name and content of the file that was uploaded last, also in an earlier session."""
    value = kept.get(FILE)
    name, text = (value.get("name"), value.get("text")) if isinstance(value, dict) else (None, None)
    if not (isinstance(name, str) and isinstance(text, str) and text):
        return None
    try:
        profile.limits().check_score_text(text)
    except MinigptError:  # the profile allowed more before
        return None
    return name, text


def scored(run: RunRef, text: str, stride: int, *, with_tokens: bool = True) -> Score:
    """Return the score of a text, computed through the gate."""
    return ask(
        run,
        "perplexity",
        lambda loaded, cancelled: perplexity_view.score(
            loaded, run.path, text, stride, cancelled, with_tokens=with_tokens
        ),
        *(text, stride, with_tokens),
        slot=f"perplexity-{with_tokens}",
    )


def draw_figures(shown: Score) -> None:
    """Draw the text's figures in one row."""
    with st.container(horizontal=True, key="perplexity_figures"):
        for figure in perplexity_view.figures(shown):
            st.metric(figure.label, figure.value, help=figure.help, border=True)


def draw_text(shown: Score) -> None:
    """Draw the text coloured by surprise; a long text is drawn in parts."""
    st.header(t("perplexity.text_title"), anchor=False)
    total, start = len(shown.predictions), 0
    if total > MOST_DRAWN:
        start = st.select_slider(
            t("perplexity.part"),
            range(0, total, MOST_DRAWN),
            format_func=lambda first: perplexity_view.part_label(first, total),
            key="perplexity:part",
        )
    tokens = perplexity_view.strip_tokens(shown, start, start + MOST_DRAWN)
    token_strip(
        tokens,
        key="perplexity:strip",
        labels=[t(f"perplexity.tip_{name}") for name in ("bits", "chance", "rank")],
        title=template("perplexity.tip_title"),
        first=start + 1,
        words={
            "label": t("perplexity.strip_label", count=number(len(tokens))),
            "also": t("perplexity.tip_also"),
            **{name: t(f"perplexity.{name}", unit=shown.unit) for name in ("none", "much", "hint")},
        },
        tallest=TALLEST,
    )


def draw_along(shown: Score, finding: str) -> None:
    """Draw the surprise along the text, with the losses of the reference guesses as lines."""
    from minigpt.viz.surprise import SurpriseWords, surprise_figure

    st.header(t("perplexity.along_title"), anchor=False)
    figure = surprise_figure(
        shown.bits,
        shown.predictions.words(),
        {t(f"perplexity.reference_{name}"): level for name, level in shown.references.items()},
        palette=theme.palette(),
        words=SurpriseWords(
            axis=t("perplexity.axis"),
            position=t("perplexity.position"),
            bits=t("perplexity.axis_bits"),
            mean=t("perplexity.mean_label"),
        ),
    )
    live_chart(figure, key="perplexity:along", alt=perplexity_view.along_alt(shown, finding))


def draw_score(shown: Score, whole: Score | None) -> None:
    """Draw the whole result for a scored text."""
    sentences = perplexity_view.sentences(shown)
    draw_figures(shown)
    unknown = perplexity_view.unknown_words(shown)
    if unknown:
        st.info(unknown, icon=":material/help:")
    left, right = st.columns([6, 5], gap="large")
    with left:
        draw_text(shown)
        st.header(t("perplexity.places_title"), anchor=False)
        st.dataframe(pd.DataFrame(perplexity_view.places(shown)), hide_index=True, key="perplexity:places")
    with right:
        draw_along(shown, sentences[0])
        st.caption(perplexity_view.stride_words(shown, whole))
    anatomy.what_you_see(sentences)


@st.fragment
def draw_run(run: RunRef) -> None:
    """Draw the text input and the result; a change of the text redraws only this."""
    error: MinigptError | None = None
    given: tuple[str, str] | None = None
    left, right = st.columns([7, 3], gap="large")
    context = perplexity_view.context_of(run)
    try:
        with left:
            given = given_text(run)
        with right:
            stride = stride_slider(run, context, len(given[1]) if given else 0)
        if given and given[1]:
            show(run, given[1], stride, context)
            st.session_state["perplexity:last"] = (run.id, given[1], stride)
    except Superseded:
        st.stop()
    except MinigptError as raised:
        error = raised
    if error is not None:
        anatomy.explain_error(error)
    elif given is None:
        st.info(t("perplexity.waiting"), icon=":material/upload_file:")
    elif not given[1]:
        st.info(t("perplexity.empty"), icon=":material/edit:")
    if error is not None or not (given and given[1]):
        show_last(run, context)
    experiments(run, context)


def stride_slider(run: RunRef, context: int, num_chars: int) -> int:
    """Draw the choice of the stride and return it."""
    offered = perplexity_view.strides(context, num_chars)
    if st.session_state.get("perplexity:offered") != offered:
        st.session_state["perplexity:offered"] = offered
        before = st.session_state.get("perplexity:stride", context)
        controls.move("perplexity:stride", perplexity_view.nearest_stride(before, offered))
    if len(offered) < 2:
        return context
    stride: int = controls.moved_slider(
        "perplexity:stride", t("perplexity.stride"), offered, help=t("perplexity.stride_help", unit=token_unit(run))
    )
    return stride


def show(run: RunRef, text: str, stride: int, context: int) -> None:
    """Score a text and draw the whole result."""
    with st.spinner(t("perplexity.computing", count=number(len(text)))):
        shown = scored(run, text, stride)
        whole = scored(run, text, context, with_tokens=False) if stride < context else None
    draw_score(shown, whole)


def show_last(run: RunRef, context: int) -> None:
    """Draw the previous result if it is of this run. The session keeps only the request; the gate caches the answer."""
    last: tuple[str, str, int] | None = st.session_state.get("perplexity:last")
    if last is None or last[0] != run.id:
        return
    st.caption(t("perplexity.kept"))
    try:
        show(run, last[1], last[2], context)
    except Superseded:
        st.stop()
    except MinigptError:
        return  # the run cannot be read any more; the error is already shown above


def experiments(run: RunRef, context: int) -> None:
    """Draw the experiments."""

    def write(text: str) -> None:
        typed.offer(typed.PASSAGE, key, text)
        st.session_state[SOURCE] = "write"

    key = text_key(run)
    text = st.session_state.get(key) or opening_text(run, key)
    quarter = perplexity_view.nearest_stride(context // 4, perplexity_view.strides(context, len(text)))
    anatomy.try_this(
        [
            (t("perplexity.try_other"), lambda: write(t("perplexity.text_other"))),
            (t("perplexity.try_shuffle"), lambda: write(perplexity_view.shuffled(text))),
            (t("perplexity.try_stride", unit=token_unit(run)), lambda: controls.move("perplexity:stride", quarter)),
        ],
        key="perplexity:try",
    )


def code() -> None:
    """Show the library code that the page uses."""
    from minigpt.evaluation.perplexity import ModelEvaluator, windows

    anatomy.show_code(windows, ModelEvaluator.evaluate)


def draw() -> None:
    """Draw the page below its title."""
    draw_run(state.current_run())
    code()
