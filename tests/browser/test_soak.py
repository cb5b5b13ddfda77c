"""A server that many visitors use one after the other: its memory does not grow with their number."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from minigpt.app.texts import t

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FORGOTTEN_SECONDS = 140
"""After 120 s a server forgets a session whose browser is gone, see .streamlit/config.toml."""


def resident_megabytes(pid: int) -> float:
    """Return a process's memory, without what is mapped from files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_twenty_trainings_opened_and_closed(serve, chromium):
    server = serve(MINIGPT_PROFILE="classroom")

    def visit():
        context = chromium.new_context()
        context.set_default_timeout(180_000)
        page = context.new_page()
        page.goto(f"{server.url}/train")
        box = page.get_by_role("textbox", name=t("frame.field_training_max_steps"))
        box.fill("30")
        box.press("Enter")
        expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")
        page.get_by_role("button", name=t("train.start"), exact=True).click()
        expect(page).to_have_url(re.compile(r"run=[a-z2-7]{26}"))
        context.close()

    for _ in range(3):
        visit()
    time.sleep(FORGOTTEN_SECONDS)
    before = resident_megabytes(server.process.pid)
    for _ in range(20):
        visit()
    time.sleep(FORGOTTEN_SECONDS)
    assert (
        resident_megabytes(server.process.pid) - before < 60
    )  # 19 were measured, most of it not given back to the system
