"""Sampling rules of one's own on the page, from the Python file that the server was started with.

The file is run. So only the person who starts a server can name it, only in the profile `local`, and no page takes one.
"""

from __future__ import annotations

import os

import streamlit as st

from minigpt.app.sampling import own_view
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.session import profile, state
from minigpt.app.session.compute import Superseded, gate
from minigpt.app.ui import anatomy
from minigpt.errors import MinigptError
from minigpt.runs.limits import SAMPLER_FILE_VARIABLE


def rule_file() -> RuleFile:
    """Return the server's file of rules, loaded again if it has changed.

    A file that cannot be used is explained on the page, which goes on without it.
    """
    path = os.environ.get(SAMPLER_FILE_VARIABLE)
    if not path:
        return NO_FILE
    try:
        profile.limits().check_own_file(SAMPLER_FILE_VARIABLE)
        return _loaded(path)
    except MinigptError as error:
        anatomy.explain_error(error)
        return NO_FILE
    except Superseded:  # a newer script already draws the page
        st.stop()


def _loaded(path: str) -> RuleFile:
    source = own_view.content(path)
    return gate().run(
        ("sampler-file", path, source),
        lambda _: own_view.loaded(path, source),
        session=state.session_id(),
        slot="sampler-file",
    )
