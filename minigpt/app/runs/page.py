"""Runs: the list of all runs, and what can be done with each."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.runs import bring, view
from minigpt.app.runs.view import Listed
from minigpt.app.session import profile, runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import escape, size, t
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.navigation import page_path
from minigpt.errors import MinigptError
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.info import MAX_NAME, MAX_NOTES
from minigpt.runs.snapshots import RunSnapshot
from minigpt.runs.store import RunStore
from minigpt.wording import harmless, visible


def draw() -> None:
    """Draw the page below its title."""
    bring.take_result()
    report()
    own = state.own_runs()
    lines = view.listed(own, state.current_run())
    if not own:
        with st.container(horizontal=True, vertical_alignment="center", key="runs_none"):
            st.info(t("runs.none"), icon=":material/model_training:")
            if st.button(t("runs.go_train"), type="primary", key="runs:go_train"):
                st.switch_page(page_path("train"))
    if lines:
        chosen = table(lines)
        actions(chosen.ref, chosen.snapshot)
        compare(lines, chosen)
    import_zip()
    report("zip_")
    bring.bring_model()
    report("bring_")
    if lines:
        anatomy.what_you_see(view.sentences(lines))
    anatomy.show_code(export_zip, RunStore.import_zip)


def report(what: str = "") -> None:
    """Show the result of the last command, or its error.

    Args:
        what: Of which command; those of imports are shown where the visitor has given the file.
    """
    if message := st.session_state.pop(f"runs:{what}done", None):
        st.success(message, icon=":material/check_circle:")
    if error := st.session_state.pop(f"runs:{what}error", None):
        anatomy.explain_error(error)
        st.caption(t("runs.kept"))


def table(lines: Sequence[Listed]) -> Listed:
    """Draw the list and return the chosen run: that of the row which was clicked last, else the current run."""
    ids = [line.ref.id for line in lines]

    def choose() -> None:
        """Keep the id of the run, because its row moves when the list changes."""
        if cells := st.session_state["runs_table"]["selection"]["cells"]:
            st.session_state["runs:chosen"] = ids[cells[0][0]]

    st.dataframe(
        view.table(lines),
        hide_index=True,
        key="runs_table",
        on_select=choose,
        placeholder="–",
        selection_mode="single-cell",  # a click anywhere in a row; row modes react only to a box at its edge
        column_config={
            t("runs.val_loss"): st.column_config.NumberColumn(format="%.3f", help=t("runs.val_loss_help")),
            t("runs.created"): st.column_config.DatetimeColumn(format="distance"),
        },
    )
    st.caption(t("runs.table_help"))
    wanted = st.session_state.get("runs:chosen")
    current = state.current_run().id
    return lines[ids.index(wanted if wanted in ids else current if current in ids else ids[0])]


def actions(ref: RunRef, snapshot: RunSnapshot) -> None:
    """Draw what can be done with the chosen run."""
    st.markdown(t("runs.chosen", name=escape(snapshot.name)))
    is_current, may_control = ref.id == state.current_run().id, state.may_control(ref)
    if notes := RunFolder(ref.path).info.notes:
        st.text(harmless(notes[:MAX_NOTES]))
    with_data = not ref.bundled and bool(st.session_state.get("runs:with_data", False))
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
            # the download calls this outside the script, where no control can be read
            data=functools.partial(view.packed, ref.path, with_data=with_data),
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
    if may_control:
        describe(ref)


def describe(ref: RunRef) -> None:
    """Draw the fields for the name and the notes of a run of the visitor's own."""
    info = RunFolder(ref.path).info
    with st.expander(t("runs.describe"), icon=":material/edit:"), st.form(f"runs_describe_{ref.id}", border=False):
        name = st.text_input(t("runs.new_name"), info.name, max_chars=MAX_NAME, key=f"runs:name_{ref.id}")
        notes = st.text_area(
            t("runs.notes"),
            info.notes,
            max_chars=MAX_NOTES,
            height=100,
            key=f"runs:notes_{ref.id}",
            help=t("runs.notes_help"),
        )
        if not st.form_submit_button(t("runs.describe_save"), key=f"runs:describe_{ref.id}"):
            return
    try:
        runs.engine().describe(ref.id, state.owner_token(), name=name, notes=notes)
        st.session_state["runs:done"] = t("runs.described", name=escape(name))
    except MinigptError as error:
        st.session_state["runs:error"] = error
    st.rerun()


def compare(lines: Sequence[Listed], chosen: Listed) -> None:
    """Draw the validation curves of several runs on shared axes."""
    from minigpt.viz.comparison import MOST_CURVES, comparison_figure

    found = {line.ref.id: line.snapshot for line in lines}
    names = dict(zip(found, view.distinct_names(list(found.values())), strict=True))
    first = [chosen.ref.id, *(run_id for run_id, run in found.items() if view.finite_curve(run))]
    kept = st.session_state.get("runs:compared", list(dict.fromkeys(first))[:2])
    st.header(t("runs.compare_title"), anchor=False)
    picked = st.multiselect(
        t("runs.compare"),
        list(found),
        [run_id for run_id in kept if run_id in found],
        format_func=lambda run_id: names[run_id],
        max_selections=MOST_CURVES,
        key=f"runs:compare_{hash(tuple(names.items()))}",  # the browser sends names, so new names need a new field
        placeholder=t("runs.compare_none"),
    )
    st.session_state["runs:compared"] = picked
    result = view.comparison({names[run_id]: found[run_id] for run_id in picked})
    if result.curves:
        words = view.comparison_words(result.unit)
        curves = [(visible(name), points) for name, points in result.curves]
        figure = comparison_figure(curves, palette=theme.palette(), words=words, revision=" ".join(picked))
        live_chart(figure, key="runs:curves", alt=view.comparison_alt(result))
    for sentence in result.sentences:
        st.caption(sentence)


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
        state.command(ref.id, "delete")
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
        run_id = runs.engine().import_zip(file, state.owner_token())
        st.session_state["runs:zip_done"] = t("runs.imported", name=escape(runs.engine().snapshot(run_id).name))
        state.set_current_run(run_id)
    except MinigptError as error:
        st.session_state["runs:zip_error"] = error
    st.rerun()
