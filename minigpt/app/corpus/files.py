"""The files of the Corpus page: their upload, how they were read, and other ways to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from minigpt.app.corpus import files_view
from minigpt.app.session import corpora, profile
from minigpt.app.session.corpora import Choice, Uploaded, UploadedFile
from minigpt.app.texts import escape, size, t
from minigpt.data.readings import Reading


def upload(attempt: Callable[[Callable[[], None]], None]) -> None:
    """Draw the upload of files.

    Args:
        attempt: Runs a function, and shows its error on the page if it fails.
    """
    files = st.file_uploader(
        t("corpus.upload"),
        accept_multiple_files=True,
        key="corpus:files",
        help=t("corpus.upload_help", size=size(profile.limits().max_upload_bytes)),
    )
    choices = [choice_of(file.file_id) for file in files]
    # Streamlit reruns the page often; each set of files is read only once.
    identity = [(file.file_id, choice) for file, choice in zip(files, choices, strict=True)]
    if files and st.session_state.get("corpus:files_read") != identity:
        st.session_state["corpus:files_read"] = identity
        with st.spinner(t("corpus.loading", name=escape(", ".join(file.name for file in files)))):
            attempt(lambda: read(files, choices))
    st.caption(t("corpus.upload_too_large_here" if profile.limits().owner_tokens else "corpus.upload_too_large"))


def read(files: Sequence[UploadedFile], choices: Sequence[Choice]) -> None:
    """Make the files the current text; for each that cannot be used, the page says why."""
    uploaded = corpora.use_files(files, choices)
    st.session_state["corpus:uploaded"] = uploaded
    st.session_state["corpus:errors"] = uploaded.left_out
    st.session_state["corpus:others_used"] = len(uploaded.left_out) < len(files)


def choice_of(file_id: str) -> Choice:
    """Return how a file is to be read, from the fields that `draw_choices` draws for it."""
    state = st.session_state
    return Choice(state.get(f"corpus:encoding_{file_id}") or "auto", state.get(f"corpus:column_{file_id}") or "")


def draw_choices() -> None:
    """Draw the encoding and the column of each uploaded file for which there is something to choose."""
    uploaded: Uploaded | None = st.session_state.get("corpus:uploaded")
    files = st.session_state.get("corpus:files") or []
    if uploaded is None or len(files) != len(uploaded.readings):
        return
    for place, (file, readings) in enumerate(zip(files, uploaded.readings, strict=True), start=1):
        choice = choice_of(file.file_id)
        columns = files_view.columns(readings, choice.column)
        if not (columns or files_view.is_guessed(readings, choice.encoding)):
            continue
        with st.container(border=True):
            # the labels have a number: a screen reader would read the backslashes of an escaped name
            st.markdown(t("corpus.file", place=place, name=escape(file.name)))
            places = iter(st.columns(2))
            if files_view.is_guessed(readings, choice.encoding):
                names = files_view.encodings(readings)
                next(places).selectbox(
                    t("corpus.encoding_of", place=place),
                    list(names),
                    format_func=names.__getitem__,
                    key=f"corpus:encoding_{file.file_id}",
                    help=t("corpus.encoding_help"),
                )
            if columns:
                next(places).selectbox(
                    t("corpus.column_of", place=place),
                    list(columns),
                    format_func=columns.__getitem__,
                    key=f"corpus:column_{file.file_id}",
                    help=t("corpus.column_help"),
                )
            draw_proofs(readings)


def draw_proofs(readings: Sequence[Reading]) -> None:
    """Show a line of each text whose encoding was guessed."""
    for reading in readings:
        if reading.is_guessed and reading.proof:
            st.caption(t("corpus.proof", name=escape(reading.name), encoding=escape(reading.encoding_in_words)))
            st.code(reading.proof, language=None, wrap_lines=True)


def draw_readings() -> None:
    """Show how the visitor's documents were read, and what was repaired."""
    if readings := corpora.current_readings():
        is_open = any(reading.sentence for reading in readings)
        with st.expander(t("corpus.reading"), icon=":material/fact_check:", expanded=is_open):
            st.dataframe(files_view.reading_rows(readings), hide_index=True)
            st.caption(t("corpus.cleaning"))
