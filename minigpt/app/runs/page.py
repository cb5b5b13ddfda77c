"""Runs: the list of all runs, and what can be done with each."""

from __future__ import annotations

import io
from collections.abc import Sequence

import streamlit as st

from minigpt.app.runs import view
from minigpt.app.runs.view import Listed
from minigpt.app.session import profile, runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import escape, size, t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path
from minigpt.errors import MinigptError
from minigpt.runs.archive import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.snapshots import RunSnapshot
from minigpt.runs.store import RunStore


def draw() -> None:
    """Draw the page."""
    anatomy.header("runs")
    report()
    own = state.own_runs()
    lines = view.listed(own)
    if not own:
        with st.container(horizontal=True, vertical_alignment="center", key="runs_none"):
            st.info(t("runs.none"), icon=":material/model_training:")
            if st.button(t("runs.go_train"), type="primary", key="runs:go_train"):
                st.switch_page(page_path("train"))
    if lines:
        chosen = table(lines)
        actions(chosen.ref, chosen.snapshot)
    import_zip()
    if lines:
        anatomy.what_you_see(view.sentences(lines))
    anatomy.show_code(export_zip, RunStore.import_zip)


def report() -> None:
    """Show the result of the last command, or its error."""
    if message := st.session_state.pop("runs:done", None):
        st.success(message, icon=":material/check_circle:")
    if error := st.session_state.pop("runs:error", None):
        anatomy.explain_error(error)
        st.caption(t("runs.kept"))


def table(lines: Sequence[Listed]) -> Listed:
    """Draw the list and return the chosen run: the row that was clicked, else the current run, else the first."""
    event = st.dataframe(
        view.table(lines),
        hide_index=True,
        key="runs_table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            t("runs.val_loss"): st.column_config.NumberColumn(format="%.3f"),
            t("runs.created"): st.column_config.DatetimeColumn(format="distance"),
        },
    )
    st.caption(t("runs.table_help"))
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(lines):
        return lines[picked[0]]
    current = state.current_run().id
    return next((line for line in lines if line.ref.id == current), lines[0])


def actions(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Draw what can be done with the chosen run."""
    st.markdown(t("runs.chosen", name=escape(snapshot.name)))
    is_current, may_control = ref.id == state.current_run().id, state.may_control(ref)
    with st.container(horizontal=True, vertical_alignment="center", key="runs_actions"):
        st.button(
            t("runs.is_open" if is_current else "runs.open"),
            key="runs:open",
            type="primary",
            icon=":material/visibility:",
            disabled=is_current,
            on_click=state.set_current_run,
            args=(ref.id,),
        )
        st.download_button(
            t("runs.download"),
            data=lambda: view.packed(ref.path, with_data=st.session_state.get("runs:with_data", False)),
            file_name=f"minigpt-{ref.id if ref.bundled else ref.id[:8]}.zip",
            mime="application/zip",
            key="runs:download",
            icon=":material/download:",
            help=t("runs.download_help"),
            on_click="ignore",
        )
        if not ref.bundled:
            if st.button(
                t("runs.delete"),
                key="runs:delete",
                icon=":material/delete:",
                disabled=not may_control or snapshot.is_active,
            ):
                _confirm_deletion(ref)
            st.toggle(t("runs.download_with_data"), key="runs:with_data")
    if not ref.bundled and not may_control:
        st.caption(t("runs.not_yours"))
    elif snapshot.is_elsewhere:
        st.caption(t("runs.running_elsewhere"))
    elif snapshot.is_active:
        st.caption(t("runs.running_first"))


@st.dialog(t("runs.delete_title"))
def _confirm_deletion(ref: RunRef) -> None:
    st.markdown(t("runs.delete_ask", name=escape(ref.name), size=size(RunFolder(ref.path).disk_bytes())))
    with st.container(horizontal=True):
        if st.button(t("runs.delete_yes"), type="primary", key="runs:delete_yes", on_click=_delete, args=(ref,)):
            st.rerun()
        if st.button(t("runs.delete_no"), key="runs:delete_no"):
            st.rerun()


def _delete(ref: RunRef) -> None:
    try:
        runs.engine().command(ref.id, state.owner_token(), "delete")
    except MinigptError as error:
        st.session_state["runs:error"] = error
        return
    if state.current_run().id in (ref.id, runs.DEFAULT_RUN):
        state.set_current_run(runs.DEFAULT_RUN)
    st.session_state["runs:done"] = t("runs.deleted", name=escape(ref.name))


def import_zip() -> None:
    """Draw the upload of a zip; import it once and make its run the current one."""
    with st.expander(t("runs.import_title"), icon=":material/folder_zip:"):
        file = st.file_uploader(t("runs.import_help"), type=["zip"], key="runs:zip")
    if file is None or st.session_state.get("runs:zip_read") == file.file_id:
        return
    st.session_state["runs:zip_read"] = file.file_id
    try:
        profile.limits().check_upload(file.name, file.size)
        folder = RunStore().import_zip(io.BytesIO(file.getvalue()))
        if profile.limits().owner_tokens:
            folder.update_info(owner_token_sha256=state.owner_token_sha256())
        st.session_state["runs:done"] = t("runs.imported", name=escape(folder.name))
        state.set_current_run(folder.id)
    except MinigptError as error:
        st.session_state["runs:error"] = error
    st.rerun()
