"""State of one visitor's session: the current run, the session's name, and the owner's token.

Everything is in `st.session_state` under `app:...`. Only the run's id is also in the address, so that a reload or a
link finds it again. Nothing here imports torch.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from minigpt.app.session import kept, profile, runs
from minigpt.app.session.runs import DEFAULT_RUN, RunRef
from minigpt.errors import MinigptError

if TYPE_CHECKING:
    from minigpt.runs.engine import Command
    from minigpt.runs.snapshots import RunSnapshot

PRESS_SECONDS = 2.0
"""Two equal presses on a button that starts a run count as one for this time after the first."""


@dataclass
class Place:
    """The run that a visitor looks at, kept in the session as one object.

    Streamlit can interrupt a script whenever it accesses `st.session_state`, even in a callback; later writes of the
    callback are then lost. So a slow callback gets this object first and sets its attributes at the end: Streamlit
    cannot interrupt that.
    """

    run_id: str = DEFAULT_RUN
    """The current run."""
    asked_run_id: str = ""
    """The run that the address named when the session began, until `sync_run` has read it."""
    new_run_id: str | None = None
    """A run that this visitor has just started; the Train page scrolls up to it once."""
    last_press: object = None
    """What the last press on Start has started: settings and text."""
    pressed_at: float = 0.0
    """When that run had been started, in seconds of the monotonic clock."""
    is_shown: bool = True
    """Whether the page has been drawn to its end since then."""
    starting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a press starts a run: Streamlit calls back for the next press in another thread at the same time."""

    def note_press(self, press: object) -> None:
        """Remember that a press on Start has started a run."""
        self.last_press, self.pressed_at, self.is_shown = press, time.monotonic(), False

    def forget_press(self) -> None:
        """Take the next press on Start for a new one: the visitor has seen the run and stopped or deleted it."""
        self.last_press = None

    def is_pressed_again(self, press: object) -> bool:
        """Return whether a press belongs to the one before, as in a double click.

        Its settings and text are the same, and the visitor cannot yet have seen what the first press did.
        """
        is_soon = not self.is_shown or time.monotonic() - self.pressed_at < PRESS_SECONDS
        return press == self.last_press and is_soon


def place() -> Place:
    """Return the visitor's `Place`."""
    found: Place = st.session_state.setdefault("app:place", Place())
    return found


def note_address() -> None:
    """Remember the run in the address of a new session; the frame calls it before anything else.

    `sync_run` comes later, with the browser's key. A visitor who opens another page before that empties the address.
    """
    if asked := st.query_params.get("run"):
        here = place()
        if "app:address" not in st.session_state:
            here.asked_run_id = asked


def sync_run() -> str | None:
    """Read the current run from the address if that has changed, then write the current run into the address.

    The frame calls it on every rerun once the visitor is known: Streamlit empties the address when the page changes,
    and loses what a callback writes there, so only this function writes it.

    Returns:
        An id in the address that belongs to no run, for a message to the visitor; else None.
    """
    here, written = place(), st.query_params.get("run")
    asked, lost = written or here.asked_run_id, None
    if not asked:
        _restore_run()
    elif asked != st.session_state.get("app:address"):
        if runs.find_run(asked) is None:
            lost = asked
        else:
            here.run_id = asked
    here.asked_run_id = ""
    run_id = current_run().id
    if run_id == DEFAULT_RUN:
        st.query_params.pop("run", None)
    elif written != run_id:
        st.query_params["run"] = run_id
    st.session_state["app:address"] = run_id
    kept.put("run", None if run_id == DEFAULT_RUN else run_id)
    return lost


def _restore_run() -> None:
    """In a new session whose address names no run, look at the run that the visitor looked at last, in any tab."""
    if "app:address" not in st.session_state and isinstance(run_id := kept.get("run"), str):
        place().run_id = run_id


def current_run() -> RunRef:
    """Return the current run: the one in the address, else the last one, else the bundled tales."""
    return runs.find_run(place().run_id) or runs.default_run()


def set_current_run(run_id: str) -> None:
    """Make another run the current one on all pages, from the next rerun. For callbacks, or before `st.rerun`."""
    place().run_id = run_id


def session_id() -> str:
    """Return the name of this session for the compute gate; it cannot be guessed and is never shown."""
    return str(st.session_state.setdefault("app:session", secrets.token_urlsafe(12)))


def owner_token() -> str:
    """Return the token that proves that a run is this visitor's; empty if the profile requires none."""
    if not profile.limits().owner_tokens:
        return ""
    return kept.key()


def command(run_id: str, what: Command) -> None:
    """Pass a command for a run to the engine. After a stop or a deletion, the same press on Start starts another run.

    Raises:
        MinigptError: The run is not this visitor's, or the command is not possible now.
    """
    here = place()
    runs.engine().command(run_id, owner_token(), what)
    if what in ("stop", "delete"):
        here.forget_press()


def own_runs() -> list[RunSnapshot]:
    """Return snapshots of this visitor's runs, newest first."""
    try:
        return runs.engine().list(owner_token())
    except MinigptError:
        return []


def may_control(ref: RunRef) -> bool:
    """Return whether this visitor may pause, stop and delete a run."""
    if ref.bundled:
        return False
    if not profile.limits().owner_tokens:
        return True
    from minigpt.runs.folder import RunFolder

    try:
        return RunFolder(ref.path).is_owner(owner_token())
    except MinigptError:
        return False
