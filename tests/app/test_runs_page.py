"""Runs: list, open, delete after a question, download, and import a valid or invalid zip."""

from __future__ import annotations

import io
import zipfile

import pytest

from minigpt import resources
from minigpt.runs import manager
from minigpt.runs.archive import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.lock import RunLock
from minigpt.runs.store import RunStore

PAGE = "class/runs"


def choose(at, row):
    at.session_state["runs_table"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return at.run()


def upload(at, name, content):
    return at.file_uploader(key="runs:zip").set_value((name, content, "application/zip")).run()


def exported(run_id, home):
    buffer = io.BytesIO()
    export_zip(RunFolder(home / run_id), buffer)
    return buffer.getvalue()


def test_an_empty_list_says_what_to_do(pages):
    at = pages.open(PAGE)
    assert "trained nothing yet" in pages.words(at)
    assert any(button.key == "runs:go_train" for button in at.button)


def test_runs_are_listed_with_their_numbers(pages):
    pages.trained("first")
    pages.trained("second")
    table = pages.open(PAGE).dataframe[0].value
    assert set(table["Name"][:2]) == {"first", "second"}
    assert table["Status"].tolist()[:2] == ["finished", "finished"]
    assert table["Steps"][0] == "12 / 12"
    assert table["Validation loss"][0] > 0
    assert len(table) == 2 + len(resources.bundled_run_names())


def test_opening_makes_it_the_current_run(pages):
    first, second = pages.trained("first"), pages.trained("second")
    at = pages.open(PAGE, run=second)
    at = choose(at, at.dataframe[0].value["Name"].tolist().index("first"))
    at.button(key="runs:open").click().run()
    assert pages.run_of(at) == first


def test_deleting_asks_first_and_then_deletes(pages, own_home):
    run_id = pages.trained("first")
    at = choose(pages.open(PAGE, run=run_id), 0)
    at.button(key="runs:delete").click().run()
    assert (own_home / run_id).is_dir()
    at.button(key="runs:delete_yes").click().run()
    assert not at.exception
    assert not (own_home / run_id).exists()
    assert "is deleted" in pages.words(at)


def test_a_run_in_training_is_not_deleted(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = choose(pages.open(PAGE, run=run_id), 0)
    assert at.button(key="runs:delete").disabled
    assert "still in training" in pages.words(at)
    manager.get_engine().command(run_id, "", "stop")


def test_a_run_in_training_elsewhere_is_stopped_there(pages, own_home):
    run_id = pages.trained("far away")
    RunFolder(own_home / run_id).update_info(status="running")
    with RunLock((own_home / run_id).resolve()):  # as the other process holds it
        at = choose(pages.open(PAGE, run=run_id), 0)
    assert at.button(key="runs:delete").disabled
    assert "Stop it there" in pages.words(at)


def test_a_zip_comes_back_as_a_run(pages, own_home):
    run_id = pages.trained("traveller")
    content = exported(run_id, own_home)
    RunStore().delete(run_id)
    at = upload(pages.open(PAGE), "minigpt.zip", content)
    assert not at.exception
    assert not at.error
    assert "traveller" in at.dataframe[0].value["Name"].tolist()
    assert pages.run_of(at)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_run_gets_one_message_and_changes_nothing(pages, content):
    run_id = pages.trained("mine")
    at = upload(pages.open(PAGE, run=run_id), "bad.zip", content)
    assert not at.exception
    assert len(at.error) == 1
    assert pages.run_of(at) == run_id
    assert "mine" in at.dataframe[0].value["Name"].tolist()


def test_a_zip_with_a_path_outside_its_folder_is_refused(pages, own_home):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../outside.txt", "gotcha")
        archive.writestr("run.json", "{}")
    at = upload(pages.open(PAGE), "evil.zip", buffer.getvalue())
    assert len(at.error) == 1
    assert not (own_home.parent / "outside.txt").exists()
