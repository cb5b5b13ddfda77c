"""What one visitor's session knows: which run is looked at, which corpus is at hand, whose token it is.

Everything lies in `st.session_state` under `app:...`; only the run's id also stands in the address, so that a reload
or a link finds it again. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from minigpt import resources
from minigpt.errors import MinigptError

if TYPE_CHECKING:
    from minigpt.config import RunConfig
    from minigpt.data.corpora import Corpus
    from minigpt.runs.engine import RunEngine
    from minigpt.runs.limits import Limits
    from minigpt.runs.snapshots import RunSnapshot

DEFAULT_RUN = "tales"
DEFAULT_CORPUS = "tales"
DEFAULT_PRESET = "nano"


@dataclass(frozen=True)
class RunRef:
    """A run that can be looked at: a bundled one or one that was trained here."""

    id: str
    name: str
    bundled: bool
    path: Path


@dataclass
class Place:
    """Where a visitor is: kept in the session as one object.

    Streamlit may break a script off wherever it touches `st.session_state`, in a callback too, and what the callback
    had still to write is then lost. A callback that does something slow takes the place first and writes into it after;
    writing into an object cannot be broken off.
    """

    run_id: str = DEFAULT_RUN
    """The run that is looked at."""
    arrived: str | None = None
    """A run that was begun just now, to be shown to its owner once."""


def place() -> Place:
    """Return where this visitor is."""
    found: Place = st.session_state.setdefault("app:place", Place())
    return found


def find_run(run_id: str) -> RunRef | None:
    """Return the run of that id or bundled name, None where there is none."""
    from minigpt.runs.store import RunFolder, is_valid_id

    if run_id in resources.bundled_run_names():
        return RunRef(run_id, run_id, True, resources.bundled_runs_path() / run_id)
    if not is_valid_id(run_id):
        return None  # what comes from an address never becomes part of a path unchecked
    path = resources.home() / run_id
    try:
        return RunRef(run_id, RunFolder(path).name, False, path)
    except MinigptError:
        return None


def sync_run() -> str | None:
    """Take the current run from the address if that has changed, and write the current run back into it.

    The frame calls it on every rerun: Streamlit empties the address when the page changes, and what a callback writes
    there is lost again, so this is the only place that writes it.

    Returns:
        An id from the address that leads nowhere, to be told to the visitor; else None.
    """
    asked, lost = st.query_params.get("run"), None
    if asked and asked != st.session_state.get("app:address"):
        if find_run(asked) is None:
            lost = asked
        else:
            place().run_id = asked
    run_id = current_run().id
    if run_id == DEFAULT_RUN:
        st.query_params.pop("run", None)
    elif asked != run_id:
        st.query_params["run"] = run_id
    st.session_state["app:address"] = run_id
    return lost


def current_run() -> RunRef:
    """Return the run that this visitor looks at: the address's, else the last one, else the bundled tales."""
    return find_run(place().run_id) or RunRef(
        DEFAULT_RUN, DEFAULT_RUN, True, resources.bundled_runs_path() / DEFAULT_RUN
    )


def set_current_run(run_id: str) -> None:
    """Look at another run from the next rerun on; every page follows. For callbacks, or before `st.rerun`."""
    place().run_id = run_id


def session_id() -> str:
    """Return a name for this session, unguessable and never shown; the compute gate keeps sessions apart by it."""
    return str(st.session_state.setdefault("app:session", secrets.token_urlsafe(12)))


def owner_token() -> str:
    """Return what proves that a run is this visitor's; the local profile asks for nothing, so it is empty there."""
    if not limits().owner_tokens:
        return ""
    return str(st.session_state.setdefault("app:owner", secrets.token_urlsafe(24)))


def owner_token_sha256() -> str:
    """Return what a run's folder stores of the owner's token."""
    from minigpt.runs.store import token_sha256

    return token_sha256(owner_token())


@functools.cache
def limits() -> Limits:
    """Return what this server's profile allows."""
    from minigpt.runs.limits import load_limits

    return load_limits()


def engine() -> RunEngine:
    """Return the process-wide training engine; it does not import torch before something is trained."""
    from minigpt.runs import manager

    return manager.get_engine()


def look(ref: RunRef) -> RunSnapshot | None:
    """Return what there is to see of a run, None where it is gone or cannot be read."""
    try:
        return engine().snapshot(ref.id)
    except MinigptError:
        return None


def own_runs() -> list[RunSnapshot]:
    """Return snapshots of this visitor's runs, newest first."""
    try:
        return engine().list(owner_token())
    except MinigptError:
        return []


def may_control(ref: RunRef) -> bool:
    """Return whether this visitor may pause, stop and delete a run."""
    if ref.bundled:
        return False
    if not limits().owner_tokens:
        return True
    from minigpt.runs.store import RunFolder

    try:
        return RunFolder(ref.path).is_owner(owner_token())
    except MinigptError:
        return False


def theme() -> str:
    """Return `light` or `dark`, as the visitor's browser shows the page."""
    return "dark" if st.context.theme.type == "dark" else "light"


def current_corpus() -> Corpus:
    """Return the text that the next run will learn; the bundled tales until another one was brought."""
    if "app:corpus" not in st.session_state:
        st.session_state["app:corpus"] = default_corpus()
    return st.session_state["app:corpus"]


def set_current_corpus(corpus: Corpus) -> None:
    """Learn from this text from now on."""
    st.session_state["app:corpus"] = corpus


@functools.cache
def default_corpus() -> Corpus:
    """Return the built-in tales, made once a process: everybody's first corpus, and nobody's own."""
    from minigpt.data.corpora import load_corpus

    return load_corpus(DEFAULT_CORPUS)


def draft_config() -> RunConfig:
    """Return the settings of the next run, as chosen on Train so far; the preset's where those cannot be."""
    from minigpt.config import load_config
    from minigpt.errors import ConfigError

    base = load_config(draft_preset())
    try:
        return base.updated(draft_changes())
    except ConfigError:  # Train itself says what is wrong with them
        return base


def draft_preset() -> str:
    """Return the preset that the next run starts from."""
    return str(st.session_state.get("app:preset", DEFAULT_PRESET))


def draft_changes() -> dict[str, Any]:
    """Return what was changed from the preset for the next run: dotted field to value."""
    return dict(st.session_state.get("app:changes", {}))


def set_draft(preset: str, changes: Mapping[str, Any]) -> None:
    """Keep the settings of the next run across pages."""
    st.session_state["app:preset"] = preset
    st.session_state["app:changes"] = dict(changes)
