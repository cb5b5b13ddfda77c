"""The frame: navigation, the current run across pages, the sidebar, the source."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.commands import page_config

from minigpt import resources
from minigpt.app.session import profile, runs
from minigpt.app.shell import archive, frame, server
from minigpt.app.texts import t
from minigpt.app.ui import navigation


def test_every_page_of_the_menu_opens_inside_the_frame(pages):
    for entry in navigation.PAGES:
        at = pages.open(entry.file.removesuffix(".py"))
        assert at.title, entry.name
        assert [box.label for box in at.sidebar.selectbox] == [t("frame.run")]
        assert any("AGPL" in caption.value for caption in at.sidebar.caption)


def test_a_run_in_the_address_is_the_current_run_and_stays_when_the_page_changes(pages):
    run_id = pages.trained("my cats")
    at = pages.open("build/train", run=run_id)
    assert at.sidebar.selectbox[0].value == run_id
    assert pages.run_of(at) == run_id
    at.switch_page("pages/class/runs.py").run()
    assert pages.run_of(at) == run_id
    assert at.sidebar.selectbox[0].value == run_id


def test_a_page_that_is_opened_before_the_visitor_is_known_keeps_the_run_of_the_address(pages, monkeypatch):
    """Streamlit empties the address when the page changes, and the first script run does not know the visitor."""
    run_id = pages.trained("my cats")
    with monkeypatch.context() as patched:
        patched.setattr(frame.kept, "identify", lambda script: False)
        at = pages.open("build/train", run=run_id)
        assert not at.sidebar.selectbox
    at.query_params.clear()
    at.switch_page("pages/class/runs.py").run()
    assert at.sidebar.selectbox[0].value == run_id
    assert pages.run_of(at) == run_id


def test_picking_a_run_in_the_sidebar_changes_the_address(pages):
    first, second = pages.trained("first"), pages.trained("second")
    at = pages.open("class/runs", run=first)
    at.sidebar.selectbox[0].set_value(second).run()
    assert pages.run_of(at) == second
    assert not at.exception


def test_a_picker_that_is_gone_has_no_effect(pages):
    """A browser sends the value of the old picker once more if something else requests a rerun at that moment."""
    first, second = pages.trained("first"), pages.trained("second")
    at = pages.open("class/runs", run=first)
    old = at.sidebar.selectbox[0]
    old.set_value(second).run()
    late = at._tree.get_widget_states()
    late.widgets.append(old.set_value(first)._widget_state)
    at._run(late)
    assert pages.run_of(at) == second


@pytest.mark.parametrize("lost", ["../../etc/passwd", "no-such-run", "m4hq2k3x7t5b6n2v4c7z3a5d2e", "<script>", ""])
def test_an_unknown_run_in_the_address_is_reported_once_and_removed(pages, lost):
    at = pages.open("", run=lost)
    assert not at.exception
    assert runs.DEFAULT_RUN in at.sidebar.selectbox[0].value
    assert "run" not in at.query_params
    assert len(at.warning) == (1 if lost else 0)


def test_the_sidebar_quotes_the_runs_progress_and_loss(pages):
    run_id = pages.trained("cats")
    at = pages.open("class/runs", run=run_id)
    words = " ".join([item.value for item in at.sidebar.markdown] + [item.value for item in at.sidebar.caption])
    assert "finished" in words
    assert "12 of 12" in words
    assert "loss" in words


def test_a_damaged_run_breaks_no_page(pages, own_home):
    run_id = pages.trained("cats")
    (own_home / run_id / "config.yaml").write_text("model: [")
    for page in ("build/train", "class/runs"):
        at = pages.open(page, run=run_id)
        assert not at.exception


def test_a_name_is_shown_as_it_is_and_never_as_markdown(pages):
    run_id = pages.trained("**bold** :red[x] <b>")
    at = pages.open("build/train", run=run_id)
    assert r"\*\*bold\*\*" in pages.words(at)
    assert "**bold**" not in pages.words(at)


def test_the_source_is_the_app_itself():
    with zipfile.ZipFile(io.BytesIO(archive.source_archive())) as packed:
        names = {name.partition("/")[2] for name in packed.namelist()}
    assert {"LICENSE", "streamlit_app.py", "minigpt/app/shell/frame.py", "pages/build/train.py"} <= names
    assert "assets/texts/en/frame.yaml" in names
    assert {".streamlit/config.toml", "tools/make_repeat_run.py"} <= names
    assert not any("__pycache__" in name or name.startswith("runs/") for name in names)


def test_a_profile_may_link_its_source_instead(pages, monkeypatch):
    limits = profile.limits().model_copy(update={"source_url": "https://example.org/source"})
    monkeypatch.setattr(profile, "limits", lambda: limits)
    at = pages.open("class/runs")
    assert not at.exception
    links = at.sidebar.get("link_button")
    assert [link.proto.url for link in links] == ["https://example.org/source"]


def test_if_tokens_are_required_only_the_owner_may_control(pages, monkeypatch):
    monkeypatch.setenv("MINIGPT_PROFILE", "classroom")
    profile.limits.cache_clear()
    run_id = pages.submit("hers", owner="the-token-of-somebody", training__max_steps=2000)
    at = pages.open("build/train", run=run_id)
    assert not [button for button in at.button if button.key == "train:stop"]
    assert "You are watching" in pages.words(at)


TO_THE_TITLE = """
import sys
from minigpt.app.shell import frame
heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'streamlit.emojis'}
def title(page):
    print(heavy & {*sys.modules})
    sys.exit()
print(heavy & {*sys.modules})
frame.anatomy.header = title
frame.run()
"""


@pytest.mark.process
def test_nothing_heavy_is_imported_before_the_title():
    # neither for the server's first answer nor for the frame's first elements
    out = subprocess.run([sys.executable, "-c", TO_THE_TITLE], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["set()", "set()"]


def test_the_page_is_configured_as_streamlit_does_it(monkeypatch):
    sent = []
    for module in (frame, page_config):
        monkeypatch.setattr(module, "get_script_run_ctx", lambda: SimpleNamespace(enqueue=sent.append))
    frame._configure()
    icon = resources.asset_path("images", "icon.svg")
    st.set_page_config(page_title=t("frame.product"), page_icon=icon, layout="wide", initial_sidebar_state="auto")
    ours, theirs = sent
    assert ours == theirs


def test_the_headers_are_added_once():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"referrer-policy", b"no-referrer")]})

    sent = []

    async def keep(message):
        sent.append(message)

    def answer():
        asyncio.run(server.SecurityHeaders(app)({"type": "http"}, None, keep))

    with ThreadPoolExecutor(1) as pool:  # if a browser test ran before, this thread already has an event loop
        pool.submit(answer).result()
    headers = sent[0]["headers"]
    assert (b"x-content-type-options", b"nosniff") in headers
    assert [value for name, value in headers if name == b"referrer-policy"] == [b"no-referrer"]
