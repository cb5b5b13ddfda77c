"""A person chooses a run by a click anywhere in its row, and gets the text in the download when asking for it."""

from __future__ import annotations

import time
import zipfile
from datetime import UTC, datetime

import pytest
from playwright.sync_api import TimeoutError as NotInTime
from playwright.sync_api import expect

from minigpt import resources

pytestmark = pytest.mark.browser

ROW = 36
"""Height of a row of the table, in pixels."""


def is_packed(page) -> bool | None:
    """Download the chosen run and return whether its text is in the zip; None if a rerun has swallowed the press."""
    try:
        with page.expect_download(timeout=15_000) as download:
            page.locator(".st-key-runs-download button").first.click()
    except NotInTime:
        return None
    packed = zipfile.ZipFile(download.value.path()).namelist()
    return any(name.endswith("data/train.bin") for name in packed)


def test_a_click_in_a_row_chooses_it_and_the_toggle_says_what_is_packed(serve, train_cats, open_page):
    server = serve()
    runs = [train_cats(server.home) for _ in range(2)]
    for folder, name, day in zip(runs, ("older", "newer"), (1, 2), strict=True):
        folder.update_info(name=name, created=datetime(2026, 1, day, tzinfo=UTC))
    page = open_page(f"{server.url}/runs?run={runs[0].id}")
    chosen = page.locator(".stMarkdown", has_text="Chosen:")
    expect(chosen).to_have_text("Chosen: older")
    table = page.get_by_test_id("stDataFrame").first
    table.locator("canvas").first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    box = table.bounding_box()
    rows = ["newer", "older", *resources.bundled_run_names()]
    for row, share in ((4, 0.5), (2, 0.95), (0, 0.02)):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + (row + 1.5) * ROW)
        expect(chosen).to_have_text(f"Chosen: {rows[row]}")
    for wanted in (False, True):
        if wanted:
            page.locator(".st-key-runs-with_data label").click()
            expect(page.get_by_role("switch", name="Pack the text too")).to_be_checked()
            page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        end = time.monotonic() + 60
        while is_packed(page) is not wanted:  # the switch moves at once, the button follows with the next rerun
            assert time.monotonic() < end
            page.wait_for_timeout(500)
