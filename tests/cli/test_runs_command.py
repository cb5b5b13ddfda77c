"""`minigpt runs`: look at runs, compare them, delete them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from minigpt.cli.root import cli
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.lock import RunLock
from minigpt.runs.log import write_line
from minigpt.runs.store import new_run_id


@pytest.fixture
def mine(trained: tuple[Path, dict[str, Any]], own_home: Path) -> list[RunFolder]:
    """Three runs in the home: finished today, stopped 10 days ago, failed 100 days ago."""
    made = []
    for status, days in (("finished", 0), ("stopped", 10), ("failed", 100)):
        folder = RunFolder(shutil.copytree(trained[0], own_home / (run_id := new_run_id())))
        created = datetime.now(UTC) - timedelta(days=days)
        folder.update_info(id=run_id, name=f"cats {status}", status=status, created=created)
        made.append(folder)
    return made


def test_a_run_is_shown_as_the_library_knows_it(call, mine: list[RunFolder]) -> None:
    mine[0].update_info(tags=("first",), notes="a note")
    told = json.loads(call("runs", "show", mine[0].id, "--json").stdout)
    run = load_run(mine[0].path)
    assert told["num_parameters"] == sum(each.numel() for each in run.model.parameters())
    assert (told["vocab_size"], told["tokenizer"]) == (run.tokenizer.vocab_size, "character")
    assert (told["step"], told["status"], told["weights"]) == (12, "finished", mine[0].steps())
    assert told["log"] == []
    for number in range(12):
        write_line(mine[0].path, f"line {number}")
    shown = call("runs", "show", mine[0].path).stdout
    for words in (f"{told['val_loss']:.4f}", f"{told['num_parameters']:,} parameters", "first", "a note", "cats.txt"):
        assert words in shown
    assert "\nlog                 " in shown
    assert [line.rpartition(" ")[2] for line in shown.splitlines()[-10:]] == [str(number) for number in range(2, 12)]


def test_a_step_of_a_run_is_shown_with_what_was_recorded_up_to_it(call, mine: list[RunFolder]) -> None:
    run = mine[0]
    records = run.metrics()
    for given, step in ((str(step), step) for step in run.steps()):
        told = json.loads(call("runs", "show", run.path, "--step", given, "--json").stdout)
        before = [record for record in records if record["step"] <= step]
        evaluated = [record["val_loss"] for record in before if record["kind"] == "evaluation"]
        losses = [None, *(record["loss"] for record in before if record["kind"] == "step")]
        assert (told["step"], told["val_loss"], told["loss"]) == (step, evaluated[-1], losses[-1])
        assert Path(told["weights_file"]) == run.weights_path(step)
        assert told["weights"] == run.steps()
        assert f"step {step:,} of" in call("runs", "show", run.path, "--step", given).stdout
    assert json.loads(call("runs", "show", run.path, "--step=last", "--json").stdout)["step"] == 12
    assert "keeps no weights of step 9" in call("runs", "show", run.path, "--step=9", code=2).stderr


def test_a_comparison_names_exactly_the_settings_that_differ(call, mine: list[RunFolder]) -> None:
    mine[1].write_config(mine[1].config.updated({"training.learning_rate": 0.5, "seed": 9}))
    names = [folder.id for folder in mine[:2]]
    first, second = (json.loads(line) for line in call("runs", "compare", *names, "--json").stdout.splitlines())
    assert first["different"] == {"seed": 0, "training.learning_rate": mine[0].config.training.learning_rate}
    assert second["different"] == {"seed": 9, "training.learning_rate": 0.5}
    result = call("runs", "compare", *names)
    assert [line.split() for line in result.stdout.splitlines()[4:]][1:] == [
        ["seed", "0", "9"],
        ["training.learning_rate", str(mine[0].config.training.learning_rate), "0.5"],
    ]
    assert "different texts" not in result.stderr
    assert "different texts" in call("runs", "compare", names[0], "tales").stderr


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (["--status=failed"], {2}),
        (["--status=failed", "--status=stopped"], {1, 2}),
        (["--older-than=50"], {2}),
        (["--older-than=5"], {1, 2}),
        (["--older-than=5", "--status=stopped"], {1}),
        (["--older-than=1000"], set()),
        (["{0}", "{1}", "{0}"], {0, 1}),
        (["{0}", "{2}", "--status=failed"], {2}),
    ],
)
def test_exactly_the_described_runs_are_deleted(
    call, mine: list[RunFolder], options: list[str], gone: set[int]
) -> None:
    options = [option.format(*(folder.id for folder in mine)) for option in options]
    would = [json.loads(line) for line in call("runs", "prune", *options, "--dry-run", "--json").stdout.splitlines()]
    assert {each["run"] for each in would} == {mine[place].id for place in gone}
    if gone:  # nothing goes without a word
        assert "Give --yes" in call("runs", "prune", *options, code=2).stderr
    assert all(folder.path.exists() for folder in mine)
    call("runs", "prune", *options, "--yes")
    assert {place for place, folder in enumerate(mine) if not folder.path.exists()} == gone


def test_damaged_runs_are_deleted_by_name_or_as_damaged_ones(call, mine: list[RunFolder]) -> None:
    for folder in mine[:2]:
        (folder.path / "run.json").write_text('{"id": ')
    call("runs", "prune", mine[0].path, "--yes")
    assert [folder.path.exists() for folder in mine] == [False, True, True]
    told = json.loads(call("runs", "prune", "--status=damaged", "--yes", "--json").stdout)
    assert (told["run"], told["deleted"]) == (mine[1].path.name, True)
    assert [folder.path.exists() for folder in mine] == [False, False, True]


def test_what_may_not_be_deleted_stays(call, mine: list[RunFolder], tmp_path: Path) -> None:
    (tmp_path / "run.zip").write_bytes(b"")
    with RunLock(mine[1].path):
        mine[1].update_info(status="running")
        for name, why in (
            ("tales", "ships with minigpt"),
            (mine[1].id, "is being trained"),
            ("nothing", "no run 'nothing'"),
            (str(tmp_path / "run.zip"), "is a file"),
        ):
            assert why in call("runs", "prune", mine[0].id, name, "--yes", code=2).stderr
        call("runs", "prune", "--older-than=0", "--yes")
    assert [folder.path.exists() for folder in mine] == [False, True, False]
    assert "Name the runs" in call("runs", "prune", "--yes", code=2).stderr


def test_a_person_is_asked_and_may_say_no(mine: list[RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.cli.runs.is_asked", lambda: True)
    for answer, code in (("n", 1), ("y", 0)):
        assert all(folder.path.exists() for folder in mine)
        result = CliRunner().invoke(cli, ["runs", "prune", "--status=failed"], input=f"{answer}\n")
        assert result.exit_code == code
        assert "Delete 1 run" in result.stderr
    assert not mine[2].path.exists()


def test_a_word_that_is_no_command_is_named(call) -> None:
    assert "No such command 'lits'" in call("runs", "lits", code=2).stderr


def test_exporting_and_importing_are_here_too(call, mine: list[RunFolder], tmp_path: Path) -> None:
    call("runs", "export", mine[0].id, "--out", tmp_path / "run.zip")
    opened = json.loads(call("runs", "import", tmp_path / "run.zip", "--json").stdout)["run"]
    assert RunFolder(Path(opened)).info.parent == mine[0].id
