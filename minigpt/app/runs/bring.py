"""The part of the Runs page where a visitor brings a model of Hugging Face: it becomes a run in the background."""

from __future__ import annotations

import streamlit as st

from minigpt.app.session import imports, kept, profile, runs, state, typed
from minigpt.app.texts import compact, escape, t
from minigpt.errors import InputError, MinigptError
from minigpt.runs.limits import DEFAULT_PROFILE

POLL_SECONDS = 0.5
MAX_PATH = 1000
"""Longest path that can be typed, in characters."""


def take_result() -> None:
    """If an import has ended, make its run the current one, or leave the reason why there is none, and draw again."""
    ended = imports.take_result(kept.key())
    if ended is None:
        return
    if ended.run_id is not None:
        st.session_state["runs:bring_done"] = t("runs.imported", name=escape(runs.engine().snapshot(ended.run_id).name))
        st.session_state["runs:chosen"] = ended.run_id
        state.set_current_run(ended.run_id)
    elif ended.error is not None:
        st.session_state["runs:bring_error"] = ended.error
    else:
        st.session_state["runs:bring_done"] = t("runs.bring_stopped")
    st.rerun()


def bring_model() -> None:
    """Draw the fields for a model's files, or the progress while one is being imported."""
    is_busy = imports.current(kept.key()) is not None
    with st.expander(t("runs.bring_title"), icon=":material/input:", key="runs:bring", on_change="rerun"):
        if is_busy:
            st.fragment(_progress, run_every=POLL_SECONDS)()
        else:
            _fields()


def _progress() -> None:
    busy = imports.current(kept.key())
    if busy is None or busy.is_over:
        st.rerun()
    what = "stop" if busy.is_stopped else busy.what
    st.progress(min(1.0, max(0.0, busy.done)), t(f"runs.bring_doing_{what}"))
    st.button(
        t("runs.bring_cancel"),
        key="runs:bring_cancel",
        disabled=busy.is_stopped,
        on_click=imports.stop,
        args=(kept.key(),),
    )


def _fields() -> None:
    limits, path = profile.limits(), ""
    st.markdown(t("runs.bring_about", parameters=compact(limits.max_parameters)))
    if limits.profile == DEFAULT_PROFILE:  # on other servers, visitors have no business with its folders
        path = st.text_input(
            t("runs.bring_path"),
            max_chars=MAX_PATH,
            placeholder=t("runs.bring_path_example"),
            **typed.field(typed.MODEL, "runs:bring_path", str),
        )
    number = st.session_state.setdefault("runs:bring_number", 0)
    files = st.file_uploader(t("runs.bring_files"), accept_multiple_files=True, key=f"runs:bring_files_{number}")
    if not st.button(t("runs.bring_go"), key="runs:bring_go", type="primary", icon=":material/input:"):
        return
    try:
        if not files and not path.strip():
            raise InputError(t("runs.bring_nothing"), mend=t("runs.bring_nothing_mend"))
        source = [(file.name, file) for file in files] or path.strip()
        imports.start(kept.key(), state.owner_token(), source)
        st.session_state["runs:bring_number"] = number + 1  # an empty field for the next model
    except MinigptError as error:
        st.session_state["runs:bring_error"] = error
    st.rerun()
