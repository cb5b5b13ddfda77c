"""The sidebar of every page: the current run with its status and a picker, the version and the source."""

from __future__ import annotations

import streamlit as st

from minigpt import resources
from minigpt.app.session import profile, runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.shell import archive
from minigpt.app.texts import duration, markdown, number, t
from minigpt.app.ui.status import status_badge
from minigpt.version import __version__

POLL_SECONDS = 2.0


def draw() -> None:
    """Draw the sidebar's part below the menu, once the visitor is known."""
    ref = state.current_run()
    snapshot = runs.snapshot_of(ref)
    _picker(ref)
    is_active = snapshot is not None and snapshot.is_active
    st.fragment(_card, run_every=POLL_SECONDS if is_active else None)(ref, is_active)
    _about()


def _picker(ref: RunRef) -> None:
    """Draw the picker of the bundled runs and the visitor's own; all pages follow the choice."""
    names = {name: t("frame.bundled", name=name) for name in resources.bundled_run_names()}
    for snapshot in state.own_runs():
        names[snapshot.id] = snapshot.name
    names.setdefault(ref.id, ref.name)
    # When the address or a page changes the run, a new picker is drawn. A single picker set to a new value can miss it
    # if the next rerun interrupts this one; the browser would then undo the change.
    key = f"frame:run:{ref.id}"
    if st.session_state.get(key, ref.id) != ref.id:
        del st.session_state[key]  # it was left by an interrupted rerun
    st.selectbox(
        t("frame.run"),
        list(names),
        index=list(names).index(ref.id),
        format_func=lambda run_id: names.get(run_id, run_id),
        key=key,
        on_change=_use_picked_run,
        args=(key, ref.id),
    )


def _use_picked_run(key: str, drawn_for: str) -> None:
    """Make the picked run the current one, unless the picker was drawn for a run that is no longer the current one.

    Until a rerun is complete, the browser still sends the value of the old picker, which the rerun no longer draws.
    Streamlit has forgotten that picker by then and treats its old value as a change.
    """
    if state.current_run().id == drawn_for:
        state.set_current_run(st.session_state[key])


def _card(ref: RunRef, was_active: bool) -> None:
    """Draw the current run's status; while it trains, only this part is refreshed."""
    snapshot = runs.snapshot_of(ref)
    if snapshot is None:
        st.caption(t("frame.run_gone"))
        return
    if was_active and not snapshot.is_active:
        st.rerun()
    loss = snapshot.val_loss if snapshot.val_loss is not None else snapshot.loss_ema
    parts = [t("frame.step", step=number(snapshot.step), steps=number(snapshot.max_steps))]
    if loss is not None:
        parts.append(t("frame.loss", loss=f"{loss:.2f}"))
    if snapshot.is_active:
        if snapshot.status == "running" and snapshot.eta_seconds is not None:
            parts.append(t("frame.eta", time=duration(snapshot.eta_seconds)))
        done = snapshot.step / max(snapshot.max_steps, 1) if snapshot.progress is None else snapshot.progress
        st.progress(min(1.0, done))
    st.markdown(status_badge(snapshot.status, snapshot.progress))
    st.caption(markdown(" · ".join(parts)))


def _about() -> None:
    source = profile.limits().source_url
    with st.container(key="frame_about", gap="small"):
        st.caption(t("frame.about", version=__version__))
        if source:
            st.link_button(t("frame.source"), source, type="tertiary", icon=":material/code:")
            return
        st.download_button(
            t("frame.source"),
            data=archive.source_archive,
            file_name=f"minigpt-{__version__}-source.zip",
            mime="application/zip",
            type="tertiary",
            icon=":material/code:",
            key="frame:source",
            on_click="ignore",
            help=t("frame.source_help"),
        )
