"""The sidebar of every page: the current run with its status and a picker, what is kept, the version and the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from minigpt import resources
from minigpt.app.session import kept, profile, runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.shell import archive
from minigpt.app.texts import distinct, duration, escape, markdown, number, t
from minigpt.app.ui import anatomy
from minigpt.app.ui.status import status_badge
from minigpt.errors import MinigptError
from minigpt.version import __version__
from minigpt.wording import harmless

if TYPE_CHECKING:
    from minigpt.runs.snapshots import RunSnapshot

POLL_SECONDS = 2.0


def draw() -> None:
    """Draw the sidebar's part below the menu, once the visitor is known."""
    ref, own = state.current_run(), state.own_runs()
    snapshot = runs.snapshot_of(ref)
    _picker(ref, own)
    is_active = snapshot is not None and snapshot.is_active
    st.fragment(_card, run_every=POLL_SECONDS if is_active else None)(ref, is_active)
    _other_training(ref, own)
    _kept()
    _about()


def _picker(ref: RunRef, own: Sequence[RunSnapshot]) -> None:
    """Draw the picker of the bundled runs and the visitor's own; all pages follow the choice."""
    given = {name: t("frame.bundled", name=name) for name in resources.bundled_run_names()}
    for snapshot in own:
        given[snapshot.id] = harmless(snapshot.name)
    given.setdefault(ref.id, harmless(ref.name))
    names = dict(zip(given, distinct(list(given.values())), strict=True))
    # When the address or a page changes the run, a new picker is drawn. A single picker set to a new value can miss it
    # if the next rerun interrupts this one; the browser would then undo the change.
    # So can one whose value has got another name.
    key = f"frame:run:{ref.id}" if names[ref.id] == given[ref.id] else f"frame:run:{ref.id}:{names[ref.id]}"
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
    if snapshot.is_from_elsewhere:
        parts = [t("frame.trained_elsewhere")]
    if loss is not None:
        parts.append(t("frame.loss", loss=f"{loss:.2f}"))
    if snapshot.is_active:
        if snapshot.status == "running" and snapshot.eta_seconds is not None:
            parts.append(t("frame.eta", time=duration(snapshot.eta_seconds)))
        done = snapshot.step / max(snapshot.max_steps, 1) if snapshot.progress is None else snapshot.progress
        st.progress(min(1.0, done))
    st.markdown(status_badge(snapshot.status, snapshot.progress))
    st.caption(markdown(" · ".join(parts)))


def _other_training(ref: RunRef, own: Sequence[RunSnapshot]) -> None:
    """Offer a run of the visitor that trains while this page shows another one, as in a new tab."""
    training = next((snapshot for snapshot in own if snapshot.is_active and snapshot.id != ref.id), None)
    if training is not None:
        st.button(
            t("frame.in_training", name=escape(training.name)),
            key="frame:in_training",
            icon=":material/model_training:",
            type="tertiary",
            on_click=state.set_current_run,
            args=(training.id,),
        )


def _kept() -> None:
    """Say what is kept of what the visitor brought, where and how long, with the two ways to delete it."""
    limits = profile.limits()
    hours = limits.run_ttl_hours
    if kept.is_failing():
        st.warning(t("frame.kept_not"), icon=":material/save:")
    with st.popover(t("frame.kept"), icon=":material/shield_person:", key="frame:kept"):
        st.markdown(t("frame.kept_what"))
        st.markdown(t("frame.kept_where"))
        if hours is None:
            st.markdown(t("frame.kept_always", megabytes=number(limits.max_kept_megabytes)))
        else:
            st.markdown(t("frame.kept_until", time=t("frame.kept_days", days=round(hours / 24))))
        _leave_button("forget", kept.forget)
        st.caption(t("frame.kept_forget_help"))
        _leave_button("leave", kept.leave)
        st.caption(t("frame.kept_leave_owned" if limits.owner_tokens else "frame.kept_leave_open"))
        error: MinigptError | None = st.session_state.pop("frame:kept_error", None)
        if error is not None:
            anatomy.explain_error(error)


def _leave_button(name: str, leave: Callable[[], None]) -> None:
    def attempt() -> None:
        try:
            leave()
        except MinigptError as error:
            st.session_state["frame:kept_error"] = error

    st.button(t(f"frame.kept_{name}"), key=f"frame:kept_{name}", width="stretch", on_click=attempt)


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
