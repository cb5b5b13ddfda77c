"""Runs: the list, and what can be done with one of them."""

import io

import pandas as pd
import streamlit as st

from minigpt import resources
from minigpt.app.session import profile, runs, state
from minigpt.app.texts import compact, equally_likely, escape, number, size, t
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path
from minigpt.errors import MinigptError
from minigpt.model.size import count_parameters
from minigpt.runs.archive import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.store import RunStore


def draw() -> None:
    """Draw the page."""
    anatomy.header("runs")
    told()
    snapshots = [found for name in resources.bundled_run_names() if (found := runs.look(runs.find_run(name)))]
    own = state.own_runs()
    snapshots = own + snapshots
    if not own:
        with st.container(horizontal=True, vertical_alignment="center", key="runs_none"):
            st.info(t("runs.none"), icon=":material/model_training:")
            if st.button(t("runs.go_train"), type="primary", key="runs:go_train"):
                st.switch_page(page_path("train"))
    if snapshots:
        chosen = table(snapshots)
        actions(runs.find_run(chosen.id), chosen)
    import_zip()
    if snapshots:
        _explain(snapshots)
    anatomy.show_code(export_zip, RunStore.import_zip)


def told() -> None:
    """Tell what the last command did, or why it did not."""
    if message := st.session_state.pop("runs:told", None):
        st.success(message, icon=":material/check_circle:")
    if error := st.session_state.pop("runs:error", None):
        anatomy.explain_error(error)
        st.caption(t("runs.kept"))


def _num_parameters(snapshot) -> int:
    return count_parameters(snapshot.config.model, int(snapshot.corpus.get("vocab_size") or 0)).total


def table(snapshots):
    """Draw the list and return the chosen run: the row that was clicked, else the current run, else the first."""
    current = state.current_run().id
    rows = []
    for snapshot in snapshots:
        ref = runs.find_run(snapshot.id)
        rows.append(
            {
                t("runs.name"): snapshot.name,
                t("runs.status"): t("runs.bundled") if ref.bundled else t(f"frame.status_{snapshot.status}"),
                t("runs.steps"): f"{number(snapshot.step)} / {number(snapshot.max_steps)}",
                t("runs.val_loss"): snapshot.val_loss,
                t("runs.parameters"): compact(_num_parameters(snapshot)),
                t("runs.corpus"): str(snapshot.corpus.get("name", "")),
                t("runs.created"): pd.Timestamp(snapshot.created).tz_convert("UTC"),
                t("runs.size"): size(RunFolder(ref.path).disk_bytes()),
            }
        )
    event = st.dataframe(
        pd.DataFrame(rows),
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
    if picked and picked[0] < len(snapshots):
        return snapshots[picked[0]]
    return next((snapshot for snapshot in snapshots if snapshot.id == current), snapshots[0])


def actions(ref, snapshot) -> None:
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
            data=lambda: packed(ref, st.session_state.get("runs:with_data", False)),
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


def packed(ref, with_data: bool) -> bytes:
    """Return the run as one zip."""
    buffer = io.BytesIO()
    export_zip(RunFolder(ref.path), buffer, include_data=with_data)
    return buffer.getvalue()


@st.dialog(t("runs.delete_title"))
def _confirm_deletion(ref) -> None:
    st.markdown(t("runs.delete_ask", name=escape(ref.name), size=size(RunFolder(ref.path).disk_bytes())))
    with st.container(horizontal=True):
        if st.button(t("runs.delete_yes"), type="primary", key="runs:delete_yes", on_click=_delete, args=(ref,)):
            st.rerun()
        if st.button(t("runs.delete_no"), key="runs:delete_no"):
            st.rerun()


def _delete(ref) -> None:
    try:
        runs.engine().command(ref.id, state.owner_token(), "delete")
    except MinigptError as error:
        st.session_state["runs:error"] = error
        return
    if state.current_run().id in (ref.id, runs.DEFAULT_RUN):
        state.set_current_run(runs.DEFAULT_RUN)
    st.session_state["runs:told"] = t("runs.deleted", name=escape(ref.name))


def import_zip() -> None:
    """Take a zip, read it once, and look at the run that was in it."""
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
        st.session_state["runs:told"] = t("runs.imported", name=escape(folder.name))
        state.set_current_run(folder.id)
    except MinigptError as error:
        st.session_state["runs:error"] = error
    st.rerun()


def _explain(snapshots) -> None:
    measured = [snapshot for snapshot in snapshots if snapshot.val_loss is not None]
    if not measured:
        anatomy.what_you_see(t("runs.see_none"))
        return
    best = min(measured, key=lambda snapshot: snapshot.val_loss)
    sentence = t(
        "runs.see_best",
        name=escape(best.name),
        loss=f"{best.val_loss:.2f}",
        choices=equally_likely(best.val_loss),
        parameters=compact(_num_parameters(best)),
    )
    anatomy.what_you_see([sentence, t("runs.see_compare")])
