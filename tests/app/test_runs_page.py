"""Runs: list, open, delete after a question, download, and import a valid or invalid zip."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile

import pytest

from minigpt import resources
from minigpt.app.runs import view
from minigpt.app.session import profile, runs
from minigpt.errors import InputError, OwnerError
from minigpt.runs import manager
from minigpt.runs.export import export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.lock import RunLock
from minigpt.runs.store import RunStore

PAGE = "class/runs"


def choose(at, run_id):
    """Choose a run as a click on its row does; tests/browser clicks on the row itself."""
    at.session_state["runs:chosen"] = run_id
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
    at = choose(at, first)
    at.button(key="runs:open").click().run()
    assert pages.run_of(at) == first


def test_deleting_asks_first_and_then_deletes(pages, own_home):
    run_id = pages.trained("first")
    at = choose(pages.open(PAGE, run=run_id), run_id)
    at.button(key="runs:delete").click().run()
    assert (own_home / run_id).is_dir()
    at.button(key="runs:delete_yes").click().run()
    assert not at.exception
    assert not (own_home / run_id).exists()
    assert "is deleted" in pages.words(at)


def test_a_run_in_training_is_not_deleted(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    at = choose(pages.open(PAGE, run=run_id), run_id)
    assert at.button(key="runs:delete").disabled
    assert "still in training" in pages.words(at)
    manager.get_engine().command(run_id, "", "stop")


def test_a_run_in_training_elsewhere_is_stopped_there(pages, own_home):
    run_id = pages.trained("far away")
    RunFolder(own_home / run_id).update_info(status="running")
    with RunLock((own_home / run_id).resolve()):  # as the other process holds it
        at = choose(pages.open(PAGE, run=run_id), run_id)
    assert at.button(key="runs:delete").disabled
    assert "Stop it there" in pages.words(at)


def test_a_zip_comes_back_as_a_run(pages, own_home):
    run_id = pages.trained("traveller")
    manager.get_engine().describe(run_id, "", name="traveller", notes="seen the world")
    content = exported(run_id, own_home)
    RunStore().delete(run_id)
    at = upload(pages.open(PAGE), "minigpt.zip", content)
    assert not at.exception
    assert not at.error
    assert "traveller" in at.dataframe[0].value["Name"].tolist()
    assert pages.run_of(at)
    assert RunFolder(own_home / pages.run_of(at)).info.notes == "seen the world"


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


# --- another person's run ---


@pytest.fixture
def owners(monkeypatch):
    """A server on which runs belong to people."""
    limits = profile.limits().model_copy(update={"owner_tokens": True})
    monkeypatch.setattr(profile, "limits", lambda: limits)
    monkeypatch.setattr(manager.get_engine(), "limits", limits)


def test_a_link_to_another_persons_run_opens_with_that_run_chosen(pages, own_home, owners):
    run_id = pages.trained("somebody's")
    RunFolder(own_home / run_id).update_info(owner_token_sha256="0" * 64)
    at = pages.open(PAGE, run=run_id)
    assert "Chosen: **somebody" in pages.words(at)
    assert "belongs to another person" in pages.words(at)
    assert at.dataframe[0].value["Name"].tolist()[0] == "somebody's"
    assert not [box for box in at.text_input if str(box.key).startswith("runs:name")]
    assert at.button(key="runs:delete").disabled


def test_the_chosen_run_stays_chosen_when_the_list_changes(pages):
    first = pages.trained("first")
    at = choose(pages.open(PAGE), first)
    pages.trained("newer")
    at.run()
    assert "Chosen: **first**" in pages.words(at)
    RunStore().delete(first)
    at.run()
    assert "Chosen: **tales**" in pages.words(at)  # the current run
    assert not at.exception


# --- names and notes ---


def described(at, run_id, name, notes):
    at.text_input(key=f"runs:name_{run_id}").set_value(name)
    at.text_area(key=f"runs:notes_{run_id}").set_value(notes)
    at.button(key=f"runs:describe_{run_id}").click().run()
    assert not at.exception
    return at


@pytest.mark.parametrize(
    ("name", "notes", "kept"),
    [
        ("A better name", "why\nhow", ("A better name", "why\nhow")),
        ("  spaces \t inside  ", "\n\nlines\n", ("spaces inside", "lines")),
        (
            "<b>*x*</b> $y$ :red[z]",
            "# <script>alert(1)</script>",
            ("<b>*x*</b> $y$ :red[z]", "# <script>alert(1)</script>"),
        ),
        ("سلام 猫 👩\u200d🔬", "می\u200cشود", ("سلام 猫 👩\u200d🔬", "می\u200cشود")),
        ("", "gone", None),
        ("   ", "gone", None),
        ("gpj\u202etxt.exe", "gone", None),
        ("fine", "a\x1b[2J", None),
        ("zero\u200bwidth", "", None),
    ],
)
def test_a_run_gets_a_name_and_notes_or_one_message(pages, own_home, name, notes, kept):
    run_id = pages.trained("before")
    at = described(choose(pages.open(PAGE, run=run_id), run_id), run_id, name, notes)
    info = RunFolder(own_home / run_id).info
    assert (info.name, info.notes) == (kept or ("before", ""))
    assert len(at.error) == (kept is None)
    assert at.dataframe[0].value["Name"].tolist()[0] == info.name
    assert (at.multiselect[0].options[0], at.multiselect[0].value[0]) == (info.name, run_id)
    if kept:
        assert [text.value for text in at.text] == [kept[1]]  # plain text, neither Markdown nor HTML
        assert runs.find_run(run_id).name == kept[0]


@pytest.mark.parametrize(
    ("name", "notes"), [("x" * 200, "y" * 9000), ("a\u202eb", "\u202e \x1b[2J"), ("$x$", "\t\n" * 9)]
)
def test_a_name_and_notes_that_another_program_wrote_are_shown(pages, own_home, name, notes):
    run_id = pages.trained()
    path = own_home / run_id / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"name": name, "notes": notes}), "utf-8")
    at = pages.open(PAGE, run=run_id)
    assert not at.exception
    assert len(at.error) == 0
    at.button(key=f"runs:describe_{run_id}").click().run()
    assert not at.exception


def test_a_run_in_training_shows_its_new_name_at_once(pages):
    run_id = pages.submit(training__max_steps=100_000)
    pages.wait(run_id, "running")
    manager.get_engine().describe(run_id, "", name="renamed", notes="")
    assert manager.get_engine().snapshot(run_id).name == "renamed"
    manager.get_engine().command(run_id, "", "stop")


@pytest.mark.parametrize("name", ["x" * 81, "x" * 10_000])
def test_a_name_that_is_too_long_is_refused(pages, name):
    run_id = pages.trained("before")
    with pytest.raises(InputError, match="80 are allowed"):
        manager.get_engine().describe(run_id, "", name=name, notes="")


def test_only_the_owner_names_a_run_and_a_bundled_one_keeps_its_name(pages, own_home, owners):
    run_id = pages.trained("mine")
    RunFolder(own_home / run_id).update_info(owner_token_sha256="0" * 64)
    with pytest.raises(OwnerError):
        manager.get_engine().describe(run_id, "guessed", name="stolen", notes="")
    with pytest.raises(InputError, match="bundled"):
        manager.get_engine().describe("tales", "", name="stolen", notes="")
    assert RunFolder(own_home / run_id).name == "mine"


# --- several curves ---


def snapshots(*ids):
    return [runs.snapshot_of(runs.find_run(run_id)) for run_id in ids]


def named(*found):
    return dict(zip(view.distinct_names(found), found, strict=True))


def test_two_runs_are_drawn_on_the_same_axes_in_bits_per_character(pages):
    first, second = pages.trained("same"), pages.trained("same", training__max_steps=8)
    at = pages.open(PAGE, run=first)
    box = at.multiselect[0]
    assert first in box.value
    box.set_value([first, second]).run()
    data = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert sorted(curve["name"] for curve in data) == ["same (1)", "same (2)"]
    drawn = {curve["name"]: curve for curve in data}
    for number, run in enumerate(manager.get_engine().list(), 1):
        curve = drawn[f"same ({number})"]
        loss, tokens, chars = (
            run.curves["val_loss"][-1][1],
            *(run.corpus[f"num_validation_{what}"] for what in ("tokens", "chars")),
        )
        assert curve["y"][-1] == pytest.approx(loss * tokens / chars / math.log(2))
    assert "bits per character at step" in pages.words(at)
    assert "different texts" not in pages.words(at)
    box.set_value([]).run()
    assert not at.get("plotly_chart")
    assert not at.exception


def test_two_runs_of_one_name_can_each_be_picked(pages):
    """The browser sends the name of what was picked, not its place."""
    first, second = pages.trained("same"), pages.trained("same", training__max_steps=8)
    at = pages.open(PAGE, run=first)
    for wanted in (second, first, second):
        picker = next(box for box in at.selectbox if str(box.key).startswith("frame:run"))
        picker.set_value(wanted).run()
        assert pages.run_of(at) == wanted


def test_a_comparison_says_what_keeps_its_curves_from_being_compared(pages):
    own = snapshots(pages.trained("own"))[0]
    bundled = snapshots("tales", "repeat", "shakespeare")
    found = view.comparison(named(own, *bundled))
    assert found.unit == "bits"
    assert "different texts" in " ".join(found.sentences)
    assert "in tokens: 64 to" in " ".join(found.sentences)
    without = dataclasses.replace(own, corpus={"sha256": own.corpus["sha256"]})
    unmeasured = dataclasses.replace(own, name="empty", curves={})
    diverged = dataclasses.replace(own, name="gone wrong", curves={"val_loss": ((1, math.nan), (2, math.inf))})
    found = view.comparison(named(own, without, unmeasured, diverged))
    assert found.unit == "nats"
    assert found.curves[0][1] == own.curves["val_loss"]
    assert "nats per token, which compares runs only if" in " ".join(found.sentences)
    assert "empty, gone wrong" in found.sentences[-1]
    assert len(found.curves) == 2
    assert view.comparison({}).curves == ()


def test_a_deleted_run_leaves_the_comparison(pages):
    first, second = pages.trained("first"), pages.trained("second")
    at = pages.open(PAGE)
    at.multiselect[0].set_value([first, second]).run()
    RunStore().delete(first)
    at.run()
    assert at.multiselect[0].value == [second]
    assert not at.exception


def test_a_sentence_about_one_run_needs_no_comparison(pages):
    assert len(view.comparison(named(*snapshots("tales"))).sentences) == 1


def test_a_run_whose_validation_part_is_a_copy_is_not_the_best(pages):
    honest, copied = snapshots(pages.trained("honest"), pages.trained("copied"))
    copied = dataclasses.replace(copied, val_loss=0.01, corpus={**copied.corpus, "copied_share": 0.98})
    honest = dataclasses.replace(honest, corpus={**honest.corpus, "copied_share": 0.1})
    lines = [view.Listed(runs.find_run(snapshot.id), snapshot) for snapshot in (honest, copied)]
    best, left_out, *_ = view.sentences(lines)
    assert "honest" in best
    assert "copied" in left_out
    assert "memory" in left_out
