"""What one visitor's session knows: which run is looked at, which corpus is at hand, whose token it is.

Everything lies in `st.session_state` under `app:...`; only the run's id also stands in the address, so that a reload
or a link finds it again. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from minigpt import resources

if TYPE_CHECKING:
    from minigpt.data.corpora import Corpus
    from minigpt.runs.engine import RunEngine
    from minigpt.runs.limits import Limits

DEFAULT_RUN = "tales"
ALIVE = ("queued", "running", "paused")
"""States in which a run still belongs to the engine."""


@dataclass(frozen=True)
class RunRef:
    """A run that can be looked at: a bundled one or one that was trained here."""

    id: str
    name: str
    bundled: bool
    path: Path


def find_run(run_id: str) -> RunRef | None:
    """Return the run of that id or bundled name, None where there is none."""
    if run_id in resources.bundled_run_names():
        return RunRef(run_id, run_id, True, resources.bundled_runs_path() / run_id)
    if not (run_id.isascii() and run_id.isalnum() and len(run_id) <= 64):
        return None  # never part of a path
    path = resources.home() / run_id
    try:
        info = json.loads((path / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return RunRef(run_id, str(info.get("name") or run_id), False, path)


def sync_run() -> str | None:
    """Take the current run from the address, or keep the session's, and write it back into the address.

    The frame calls it on every rerun, because Streamlit empties the address when the page changes.

    Returns:
        An id from the address that leads nowhere, to be told to the visitor; else None.
    """
    asked, lost = st.query_params.get("run"), None
    if asked and find_run(asked) is None:
        lost = asked
    elif asked:
        st.session_state["app:run"] = asked
    set_current_run(current_run().id)
    return lost


def current_run() -> RunRef:
    """Return the run that this visitor looks at: the address's, else the last one, else the bundled tales."""
    found = find_run(st.session_state.get("app:run", DEFAULT_RUN))
    return found or RunRef(DEFAULT_RUN, DEFAULT_RUN, True, resources.bundled_runs_path() / DEFAULT_RUN)


def set_current_run(run_id: str) -> None:
    """Look at another run from now on; every page follows."""
    st.session_state["app:run"] = run_id
    if run_id == DEFAULT_RUN:
        st.query_params.pop("run", None)
    elif st.query_params.get("run") != run_id:
        st.query_params["run"] = run_id


def session_id() -> str:
    """Return a name for this session, unguessable and never shown; the compute gate keeps sessions apart by it."""
    return str(st.session_state.setdefault("app:session", secrets.token_urlsafe(12)))


def owner_token() -> str:
    """Return what proves that a run is this visitor's; the local profile asks for nothing, so it is empty there."""
    if not limits().owner_tokens:
        return ""
    return str(st.session_state.setdefault("app:owner", secrets.token_urlsafe(24)))


@functools.cache
def limits() -> Limits:
    """Return what this server's profile allows."""
    from minigpt.runs.limits import load_limits

    return load_limits()


def engine_if_awake() -> RunEngine | None:
    """Return the training engine if torch is already there, else None: nothing can be training yet."""
    if "minigpt.training.trainer" not in sys.modules:
        return None
    return engine()


def engine() -> RunEngine:
    """Return the process-wide training engine; the first call may import torch."""
    from minigpt.runs import manager

    return manager.get_engine()


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

    return load_corpus("tales")
