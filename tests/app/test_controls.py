"""Every control of every page does something when it is used, every link leads to a page, every download keeps its word.

The controls are discovered on the pages; no list names them. A machine can judge whether a control changes anything
beside itself, not whether the change is the one in its label; `SILENT` says which ones may change nothing, and why.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.state import session_state_proxy
from streamlit.testing.v1 import AppTest

from minigpt import resources
from minigpt.app import texts
from minigpt.app.session import kept, models
from minigpt.app.ui.navigation import PAGES
from minigpt.runs import manager

KINDS = (
    "button", "toggle", "checkbox", "selectbox", "multiselect", "segmented_control", "pills", "radio",
    "select_slider", "slider", "number_input", "text_input", "text_area",
)  # fmt: skip
SILENT = {
    r"runs:with_data": "it changes the bytes of the download, see below",
    r"runs:(name|notes)_.*": "a form, which acts when it is saved",
    r"runs:describe_.*": "saves what is in the form; here nothing has been changed",
    r".*:again": "looks again at a run that has not changed",
    r"corpus:again": "shows another place; in a short text it may be the same one",
    r".*:fetch": "needs the internet",
}
"""Keys of controls that may change nothing else on their page, with the reason."""


@dataclass(frozen=True)
class Control:
    """A control on a page, found again by its kind and key when the page is opened once more.

    Attributes:
        page: The page's script, for example `use/sampling.py`.
        views: The (key, label) of what was chosen before, so that the page shows the control.
        kind: Its kind, one of `KINDS`.
        key: Its key.
        option: The option to choose, for a control with options.
    """

    page: str
    views: tuple[tuple[str, str], ...]
    kind: str
    key: str
    option: str = ""

    def __str__(self) -> str:
        views = " > ".join((self.page, *(label for _, label in self.views)))
        return f"{views}: {self.kind} {self.key} {self.option}"

    @property
    def may_be_silent(self) -> bool:
        return any(re.fullmatch(pattern, self.key) for pattern in SILENT)


def item_of(at: AppTest, kind: str, key: str) -> Any:
    return next(item for item in getattr(at, kind) if item.key == key)


def opened(pages: Any, run_id: str, page: str, views: tuple[tuple[str, str], ...] = ()) -> AppTest:
    """Open a page and choose its views."""
    at = pages.open("" if page == "start/home.py" else page.removesuffix(".py"), run=run_id)
    for key, label in views:
        choose(item_of(at, "segmented_control", key), label).run()
    assert not at.exception, (page, views)
    return at


def choose(item: Any, label: str) -> Any:
    """Choose an option by the label that the page shows; AppTest takes the value behind it, which a page does not."""
    item.__class__ = type("Labelled", (type(item),), {"format_func": property(lambda self: str)})
    return item.set_value(label)


def controls(at: AppTest, page: str, views: tuple[tuple[str, str], ...]) -> Iterator[Control]:
    """Yield the enabled controls that a page shows, one with options once for each other option."""
    for kind in KINDS:
        for item in getattr(at, kind):
            if getattr(item, "disabled", False) or not item.key or item.key == "frame:show_code":
                continue
            options = list(getattr(item, "options", []))
            if kind not in ("segmented_control", "pills"):
                yield Control(page, views, kind, item.key)
                continue
            for option in options:
                if option not in item.formatted_values:
                    yield Control(page, views, kind, item.key, option)


def walk(pages: Any, run_id: str, page: str, *, depth: int = 2) -> list[Control]:
    """Return the controls of a page and of all its views, each control once."""
    seen: dict[tuple[str, str, str], Control] = {}

    def visit(views: tuple[tuple[str, str], ...]) -> None:
        here = list(controls(opened(pages, run_id, page, views), page, views))
        new = [c for c in here if seen.setdefault((c.kind, re.sub(r":slider_\d+$", "", c.key), c.option), c) is c]
        for control in new:
            if control.kind == "segmented_control" and len(views) < depth:
                visit((*views, (control.key, control.option)))

    visit(())
    return list(seen.values())


def shown(at: AppTest, control: Control) -> list[bytes]:
    """Return everything that a page shows, except the control itself."""
    return [
        item.proto.SerializeToString()
        for item in [*at.main, *at.sidebar]
        if getattr(item, "proto", None) is not None and getattr(item, "key", None) != control.key
    ]


def use(at: AppTest, control: Control) -> None:
    """Use a control as a person would: press it, or give it another value."""
    item = item_of(at, control.kind, control.key)
    if control.kind == "button":
        item.click()
    elif control.kind in ("toggle", "checkbox"):
        item.set_value(not item.value)
    elif control.kind in ("text_input", "text_area"):
        item.set_value("7" if item.value.replace(".", "").isdigit() else "the dog and the cat")
    elif control.kind in ("slider", "number_input"):
        item.set_value(item.value - item.step if item.value + item.step > item.max else item.value + item.step)
    elif control.option:
        choose(item, control.option)
    elif control.kind == "multiselect":
        item.set_value(item.value[:-1])
    else:
        choose(item, next(label for label in item.options if label != item.format_func(item.value)))
    item.run()


def faults(pages: Any, run_id: str, chosen: Iterator[Control] | list[Control]) -> list[str]:
    """Use each control on its freshly opened page, and return those that raise or change nothing beside themselves."""
    found = []
    for control in chosen:
        at = opened(pages, run_id, control.page, control.views)
        before, address = shown(at, control), pages.run_of(at)
        assert len(before) > 10
        use(at, control)
        for run in manager.get_engine().list():  # a control may have started one
            if run.is_active:
                manager.get_engine().command(run.id, "", "stop")
        if at.exception:
            found.append(f"{control}: {at.exception[0].message}")
        elif not control.may_be_silent and shown(at, control) == before and pages.run_of(at) == address:
            found.append(f"{control}: nothing changes")
    return found


@pytest.fixture
def run_id(pages, monkeypatch):
    monkeypatch.setattr(kept, "browser_key", lambda offered, **arguments: offered)  # each page has a new visitor
    models.reset()
    return pages.trained(training__history_per_octave=1)


def test_a_control_of_each_page_changes_something(pages, run_id):
    draw = random.Random(5)
    chosen = []
    for entry in PAGES:
        here = list(controls(opened(pages, run_id, entry.file), entry.file, ()))
        chosen.append(draw.choice([control for control in here if not control.key.startswith("frame:")]))
    assert faults(pages, run_id, chosen) == []


@pytest.mark.slow
@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.name)
def test_every_control_of_every_view_changes_something(pages, run_id, entry):
    chosen = walk(pages, run_id, entry.file)
    assert len(chosen) >= 3
    assert faults(pages, run_id, chosen) == []


# --- links ---


def test_every_link_of_every_page_leads_to_a_page(pages, run_id):
    files = {str(entry.path) for entry in PAGES}
    addresses = {"" if entry.name == "home" else entry.name for entry in PAGES}
    links = 0
    for entry in PAGES:
        at = opened(pages, run_id, entry.file)
        for link in at.page_link:
            links += 1
            assert link.proto.page in addresses | files, link.proto.page
    assert links >= 2


@pytest.mark.parametrize("page", sorted(path.stem for path in resources.asset_path("texts", "en").glob("*.yaml")))
def test_every_link_in_a_text_leads_to_a_page_or_another_site(page):
    addresses = {entry.name for entry in PAGES} | {""}
    for name, text in texts.catalogue(page).items():
        for target in re.findall(r"\]\(([^)\s]*)\)", text):
            assert target.startswith("https://") or target.strip("/").partition("?")[0] in addresses, (name, target)


# --- downloads ---


@pytest.fixture
def downloads(monkeypatch):
    """Keep what each download button would pack; `fetch` calls it as the server does, outside every script."""
    kept: dict[str, tuple[Callable[[], bytes | str], str]] = {}
    button = st.download_button

    def note(label, data=None, *arguments, **options):
        kept[options["key"]] = (data, options["file_name"])
        return button(label, data, *arguments, **options)

    monkeypatch.setattr(st, "download_button", note)

    def fetch(key: str) -> tuple[bytes, str]:
        data, name = kept[key]
        done: list[Any] = []

        def forbidden(*_: object) -> None:
            raise AssertionError(f"{key} reads st.session_state while it packs, where no control has a value")

        def pack() -> None:
            try:
                done.append(data())
            except BaseException as error:  # shown by the test's own thread
                done.append(error)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session_state_proxy, "get_session_state", forbidden)
            thread = threading.Thread(target=pack)
            thread.start()
            thread.join()
        if isinstance(done[0], BaseException):
            raise done[0]
        content = done[0].encode() if isinstance(done[0], str) else done[0]
        return content, name

    fetch.kept = kept
    return fetch


def test_every_download_packs_what_its_name_says_outside_the_script(pages, run_id, downloads):
    for entry in PAGES:
        opened(pages, run_id, entry.file)
    assert {"attention:csv", "frame:source", "runs:download"} <= set(downloads.kept)
    for key in downloads.kept:
        content, name = downloads(key)
        if name.endswith(".zip"):
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        elif name.endswith(".csv"):
            assert len({len(row) for row in csv.reader(io.StringIO(content.decode()))}) == 1
        elif name.endswith(".json"):
            json.loads(content)
        else:
            raise AssertionError(f"{key} packs {name}; say here how such a file is checked")


def test_the_text_is_packed_if_the_toggle_is_on_and_only_then(pages, run_id, downloads):
    at = opened(pages, run_id, "class/runs.py")
    for wanted in (False, True, False, True):
        at.toggle(key="runs:with_data").set_value(wanted).run()
        names = zipfile.ZipFile(io.BytesIO(downloads("runs:download")[0])).namelist()
        assert any(name.endswith("data/train.bin") for name in names) is wanted
        assert any(name.endswith("model.safetensors") for name in names)


def test_a_bundled_run_is_packed_without_a_text_it_does_not_have(pages, run_id, downloads):
    at = opened(pages, run_id, "class/runs.py")
    at.toggle(key="runs:with_data").set_value(True).run()
    at.session_state["runs:chosen"] = "tales"
    at.run()
    assert not at.toggle
    names = zipfile.ZipFile(io.BytesIO(downloads("runs:download")[0])).namelist()
    assert not [name for name in names if name.endswith(".bin")]


def test_a_control_read_while_a_download_packs_is_detected(downloads):
    st.download_button("x", lambda: str(st.session_state.get("x")).encode(), file_name="x.csv", key="x:csv")
    with pytest.raises(AssertionError, match="where no control has a value"):
        downloads("x:csv")
