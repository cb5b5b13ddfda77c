from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from minigpt.cli.root import cli
from minigpt.cli.training import Watch, command_line, num_cores
from minigpt.config import RunConfig, allowed_values, dotted_fields, field_info
from minigpt.data.corpora import corpus_from_files
from minigpt.errors import StorageError
from minigpt.model import devices
from minigpt.model.size import flops_per_token
from minigpt.model.weights import load_weights
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import begin_run
from minigpt.runs.store import RunStore
from minigpt.training.events import Record
from minigpt.training.trainer import Trainer


def weights(folder: Path, step: int) -> dict[str, bytes]:
    """Every tensor, bit by bit; the file's header may have its metadata in any order."""
    tensors, _ = load_weights(RunFolder(folder).checkpoint_path(step) / "model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_json_says_what_scripts_rely_on(trained: tuple[Path, dict[str, Any]]) -> None:
    out, printed = trained
    assert set(printed) >= {"run", "steps", "loss", "val_loss", "seconds", "total_seconds", "tokens_per_second"}
    assert printed["run"] == str(out)
    assert printed["steps"] == 12
    assert printed["status"] == RunFolder(out).info.status == "finished"
    whole = [r for r in RunFolder(out).metrics() if r["kind"] == "evaluation" and r["step"] == 12 and r["whole"]]
    assert printed["val_loss"] == pytest.approx(whole[-1]["val_loss"], abs=1e-6)
    assert 0 < printed["seconds"] <= printed["total_seconds"]
    assert printed["tokens_per_second"] == pytest.approx(12 * 4 * 16 / printed["seconds"])
    assert 0 < printed["mfu"] < 1
    assert printed["best_step"] in (4, 8, 12)
    assert printed["early_end"] is None


@pytest.mark.parametrize(("eval_batches", "is_sampled"), [(1, True), (1000, False)])
def test_the_last_line_has_the_share_of_the_peak_and_the_best_step(
    call, tiny, corpus_file: Path, tmp_path: Path, eval_batches: int, is_sampled: bool
) -> None:
    hopeless = ["learning_rate=10", "eval_steps=2", "max_steps=100", "early_stopping=2", "warmup_steps=0"]
    hopeless.append(f"eval_batches={eval_batches}")
    options = [f"--set=training.{text}" for text in hopeless]
    result = call("train", *tiny, *options, "--data", corpus_file, "--out", tmp_path / "run")
    last = result.stdout.splitlines()[0]
    step, best = RunFolder(tmp_path / "run").checkpoints()[-1], RunFolder(tmp_path / "run").best_step
    assert best is not None
    assert step == best + 4
    assert f"{step} steps in" in last
    assert "% of the matrix peak of this machine" in last
    assert f"best at step {best}, with a validation loss of" in last
    assert ("measured on some of it" in last) == is_sampled
    assert f"Ended early at step {step} of 100" in result.stderr
    assert "the best so far" in result.stderr


def test_the_run_can_be_loaded_and_names_its_corpus(trained, corpus_file: Path) -> None:
    run = load_run(trained[0])
    assert run.name == trained[0].name
    assert run.config.data.paths == (corpus_file,)
    assert run.config.training.num_threads == 1


def test_progress_and_json_do_not_mix(call, tiny, tmp_path: Path) -> None:
    text = ("--set=data.corpus=tales", "--set=data.num_chars=30000")  # long enough for no warning
    result = call("train", *tiny, *text, "--out", tmp_path / "run", "--json")
    assert json.loads(result.stdout)
    assert result.stderr == ""


def test_people_get_a_line_for_each_measurement_and_the_next_command(
    call, tiny, corpus_file: Path, tmp_path: Path
) -> None:
    result = call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "my run")
    assert [int(step) for step in re.findall(r"^step (\d+) of 12: .*validation", result.stderr, re.M)][:4] == [
        0,
        4,
        8,
        12,
    ]
    assert "12 steps in" in result.stdout
    assert "\x1b" not in result.output, "no terminal, so no colours and no bar"
    assert f"minigpt generate {command_line(str(tmp_path / 'my run')).removeprefix('minigpt ')}" in result.stderr


def test_without_out_a_run_of_its_own_is_made_at_home(call, tiny, corpus_file: Path, own_home: Path) -> None:
    printed = json.loads(call("train", *tiny, "--data", corpus_file, "--json").stdout)
    assert Path(printed["run"]).parent == own_home
    listed = [json.loads(line) for line in call("runs", "--json").stdout.splitlines()]
    mine = next(row for row in listed if row["path"] == printed["run"])
    assert mine["status"] == "finished"
    assert mine["step"] == 12
    assert mine["bytes"] == RunFolder(Path(printed["run"])).disk_bytes() > 10_000
    assert f" {mine['bytes'] / 1e6:.1f} " in next(
        line for line in call("runs").stdout.splitlines() if Path(printed["run"]).name in line
    )
    assert Path(printed["run"]).name in call("runs").stdout


def test_in_a_narrow_terminal_the_name_alone_gives_way(
    call, tiny, own_home: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = json.loads(call("train", *tiny, "--data", corpus_file, "--json").stdout)
    folder = RunFolder(Path(printed["run"]))
    folder.update_info(name="a very long name of a run " * 4)
    line = next(line for line in call("runs").stdout.splitlines() if folder.id in line)
    assert "12 of 12" in line
    assert line.rstrip().endswith(str(folder.info.created.date()))


def test_no_runs_yet_says_how_to_make_one(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.resources.bundled_run_names", list)
    assert "minigpt train --config nano" in call("runs").stdout


def test_a_damaged_run_hides_no_other(call, tiny, own_home: Path, corpus_file: Path) -> None:
    call("train", *tiny, "--data", corpus_file)
    (own_home / "broken").mkdir()
    (own_home / "broken" / "run.json").write_text("{")
    result = call("runs", "--json")
    assert "broken" in result.stderr
    assert len([1 for line in result.stdout.splitlines() if json.loads(line)["status"] == "finished"]) >= 1


# -- what is given wrongly


def test_a_training_that_this_machine_cannot_hold_leaves_nothing_behind(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigpt.runs.cost.machine_megabytes", lambda: 4096)
    large = ["--set=training.batch_size=1000000", "--set=device=cpu", "--data", corpus_file]
    said = " ".join(call("train", *tiny, *large, "--out", tmp_path / "large", code=2).stderr.split())
    assert re.search(r"need about [\d,]+ MB of memory; this machine allows 4,096 MB", said)
    assert "training.batch_size" in said
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize("left", ["", "# nothing", "seed: 0\ndevice: cpu\nmodel:\n  d_mod", None])
def test_damaged_settings_are_one_fault_for_every_command(
    call, trained, corpus_file: Path, tmp_path: Path, left: str | None
) -> None:
    out = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (out / "config.yaml").unlink()
    if left is not None:
        (out / "config.yaml").write_text(left, "utf-8")
    for arguments in (
        ("train", "--resume", "--out", out),
        ("generate", out, "--max-new-tokens", "1"),
        ("evaluate", out, "--data", corpus_file),
    ):
        said = call(*arguments, code=1).stderr
        assert "is damaged" in said
        assert "preset" not in said


def test_no_command_to_resume_is_shown_if_it_would_fail_again(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Watch.on_step

    def spoil(self: Watch, trainer: Trainer, record: Record) -> None:
        (tmp_path / "run" / "run.json").write_text("{")
        real(self, trainer, record)

    monkeypatch.setattr(Watch, "on_step", spoil)
    said = call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "run", code=1).stderr
    assert "run.json" in said
    assert "Resume with" not in said


def test_nothing_to_learn_from(call) -> None:
    assert "--data" in call("train", code=2).stderr


def test_a_second_ctrl_c_stops_at_once_and_says_how_to_resume(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Watch, trainer: Trainer, record: Record) -> None:
        if trainer.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "on_step", interrupted)
    result = call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "run", code=130)
    assert f"Resume with: minigpt train --resume --out {tmp_path / 'run'}" in result.stderr
    monkeypatch.undo()
    assert "Resuming from step 4" in call("train", "--resume", "--out", tmp_path / "run").stderr


def test_resume_needs_a_folder(call) -> None:
    assert "--resume needs --out" in call("train", "--resume", code=2).stderr


def test_a_corpus_shorter_than_a_window_leaves_nothing_behind(call, tiny, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("cat")
    message = call("train", *tiny, "--data", short, "--out", tmp_path / "run", code=2).stderr
    assert "16" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\xff" * 50, b"\xff\xfeabc"])
def test_a_file_that_is_no_text_is_named(call, tiny, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.bin"
    path.write_bytes(content)
    assert "odd.bin" in call("train", *tiny, "--data", path, code=2).stderr


def test_what_was_guessed_and_repaired_is_said(call, tiny, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("Die Größe der Gärten, schön und grün.\r\n".encode("cp1252") * 60)
    said = call("train", *tiny, "--data", path, "--out", tmp_path / "run", "--json").stderr
    assert "old.txt: encoding guessed: Windows-1252" in said
    assert "60 line ends of Windows made uniform" in said
    assert "It should read properly: Die Größe der Gärten" in said
    chosen = call(
        "train", *tiny, "--data", path, "--set=data.encoding=mac-roman", "--out", tmp_path / "other", "--json"
    )
    assert "guessed" not in chosen.stderr
    assert "data.encoding" in call("train", "--set=data.encoding=latin-7", code=2).stderr
    scored = call("evaluate", tmp_path / "run", "--data", path, "--json")
    assert json.loads(scored.stdout)["num_unknown"] == 0
    assert "encoding guessed" in scored.stderr


def test_a_missing_file_is_named(call) -> None:
    assert "nothing.txt" in call("train", "--data", "nothing.txt", code=2).stderr


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.num_heads=3", "not divisible"),
        ("n_layer=3", "Did you mean model.num_layers?"),
        ("training.batch_size=0", "training.batch_size"),
        ("max_steps", "no value"),
    ],
)
def test_an_impossible_setting_is_explained(call, assignment: str, message: str) -> None:
    assert message in call("train", "--config", "nano", "--set", assignment, code=2).stderr


def test_a_run_is_not_written_over(call, tiny, trained, corpus_file: Path) -> None:
    before = weights(trained[0], 12)
    message = call("train", *tiny, "--data", corpus_file, "--out", trained[0], code=2).stderr
    assert "--resume" in message
    assert weights(trained[0], 12) == before


# -- data given beside a preset


def test_a_text_of_ones_own_takes_the_place_of_the_presets_corpus(
    call, tiny, corpus_file: Path, tmp_path: Path
) -> None:
    call("train", "--config", "nano", *tiny, "--data", corpus_file, "--out", tmp_path / "run")
    data = RunFolder(tmp_path / "run").config.data
    assert (data.corpus, data.num_chars, data.paths) == (None, None, (corpus_file,))


def test_also_where_a_file_builds_on_the_preset(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text("preset: nano\n")
    call("train", "--config", settings, *tiny, "--data", corpus_file, "--out", tmp_path / "run")
    assert RunFolder(tmp_path / "run").config.data.num_chars is None


def test_a_device_that_is_not_there_leaves_nothing_behind(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    message = call("train", *tiny, "--data", corpus_file, "--device", "mps", "--out", tmp_path / "run", code=2).stderr
    assert "mps" in message
    assert not (tmp_path / "run").exists()


# -- resuming


def test_resume_of_a_finished_run_is_done_at_once_and_says_the_same(call, trained) -> None:
    out, printed = trained
    again = json.loads(call("train", "--resume", "--out", out, "--json").stdout)
    assert {key: again[key] for key in ("run", "steps", "loss")} == {
        key: printed[key] for key in ("run", "steps", "loss")
    }
    assert again["val_loss"] == pytest.approx(printed["val_loss"], abs=1e-6)


def test_resume_where_there_is_no_run_begins_one(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    arguments = ["train", *tiny, "--data", corpus_file, "--out", tmp_path / "run", "--resume", "--json"]
    assert json.loads(call(*arguments).stdout)["steps"] == 12
    assert json.loads(call(*arguments).stdout)["steps"] == 12


def test_a_run_that_the_app_has_not_prepared_is_prepared_here(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "run")
    whole = RunFolder(tmp_path / "run")
    folder = begin_run(whole.config, corpus_from_files([corpus_file]), store=RunStore(tmp_path / "runs"))
    assert "no weights yet" in call("generate", folder.path, code=2).stderr
    arguments = ["train", "--out", folder.path, "--resume", "--data", corpus_file, "--json"]
    assert json.loads(call(*arguments).stdout)["status"] == "finished"
    assert weights(folder.path, 12) == weights(whole.path, 12)


def test_resume_of_a_mistyped_path_says_that_there_is_no_run(call, tmp_path: Path) -> None:
    message = call("train", "--resume", "--out", tmp_path / "mine", code=2).stderr
    assert f"There is no run at {tmp_path / 'mine'}" in message
    assert not (tmp_path / "mine").exists()


def test_resume_with_more_steps_trains_further(call, tiny, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    call("train", *tiny, "--data", corpus_file, "--out", out)
    result = call("train", "--resume", "--out", out, "--set", "max_steps=14")
    assert "Resuming from step 12 of 14." in result.stderr
    assert RunFolder(out).config.training.max_steps == 14


@pytest.mark.parametrize("extra", [["--seed", "9"], ["--set", "learning_rate=0.5"], ["--config", "nano"]])
def test_resume_with_other_settings_is_refused(call, trained, extra: list[str]) -> None:
    assert "other settings" in call("train", "--resume", "--out", trained[0], *extra, code=2).stderr


def test_resume_with_another_corpus_is_refused(call, trained, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("a completely different text. " * 40)
    assert "another corpus" in call("train", "--resume", "--out", trained[0], "--data", other, code=2).stderr


def test_the_environment_does_not_change_a_run_that_is_resumed(call, trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT__TRAINING__LEARNING_RATE", "0.5")
    call("train", "--resume", "--out", trained[0])
    assert RunFolder(trained[0]).config.training.learning_rate == RunConfig().training.learning_rate


# -- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_rest_ends_bit_identical(
    call,
    tiny,
    trained,
    corpus_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    out = tmp_path / "run"

    def interrupt(watch: Watch, trainer: Trainer, record: Record) -> None:
        if trainer.step == 6:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_step", interrupt)
        result = call("train", *tiny, "--data", corpus_file, "--out", out, "--json", code=code)
    printed = json.loads(result.stdout)
    assert (printed["steps"], printed["status"]) == (6, "stopped")
    assert RunFolder(out).info.status == "stopped"
    command = re.search(r"Resume with: minigpt (.*)", result.stderr)
    assert command is not None
    call(*command[1].split())
    assert weights(out, 12) == weights(trained[0], 12)


@pytest.mark.parametrize("fault", ["not a number", "a full disk"])
def test_a_fault_keeps_the_run_and_says_how_to_resume(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    import minigpt.training.trainer as module

    real = module.cross_entropy
    calls = {"n": 0}

    def explode(*arguments: Any, **keywords: Any) -> Any:
        calls["n"] += 1
        if calls["n"] > 6 and fault == "a full disk":
            raise StorageError("The disk is full.", mend="Free some space.")
        return real(*arguments, **keywords) * (float("nan") if calls["n"] > 6 else 1)

    monkeypatch.setattr(module, "cross_entropy", explode)
    result = call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "run", code=1)
    assert RunFolder(tmp_path / "run").info.status == "failed"
    # resuming would lead to the same loss again: the message says what to change in a new run
    assert ("Resume with: minigpt train --resume" in result.stderr) == (fault == "a full disk")
    assert ("In a new run, lower training.learning_rate" in result.stderr) == (fault == "not a number")


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_training_resumes_from_its_last_checkpoint(
    call, tiny, trained, corpus_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code = (
        "import os, signal, sys\nfrom minigpt.cli import main\nimport minigpt.cli.training as t\n"
        "def die(self, trainer, record):\n    if trainer.step == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.Watch.on_step = die\nmain(sys.argv[1:])\n"
    )
    arguments = ["train", *tiny, "--data", str(corpus_file), "--out", str(out)]
    killed = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert max(RunFolder(out).checkpoints()) == 4
    call("train", "--resume", "--out", out)
    assert weights(out, 12) == weights(trained[0], 12)


# -- small things


def test_help_lists_every_setting_with_its_description(call) -> None:
    shown = " ".join(call("train", "--help").stdout.split())
    for dotted in dotted_fields():
        if "." in dotted:
            assert dotted in shown
            assert " ".join(field_info(dotted).description.split()) in shown
            assert f"; {allowed_values(dotted)}]" in shown
    assert "how many numbers describe one position. [default: 128; a whole number, at least 4" in shown


def test_commands_can_be_pasted_into_a_shell() -> None:
    assert command_line("generate", "my runs/it's") == """minigpt generate 'my runs/it'"'"'s'"""


def test_cores_are_counted_by_what_is_allowed() -> None:
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


def test_stored_runs_are_found_by_their_id(call, tiny, own_home: Path, corpus_file: Path) -> None:
    call("train", *tiny, "--data", corpus_file)
    (folder,) = RunStore().list()
    result = CliRunner().invoke(cli, ["generate", folder.id, "--max-new-tokens", "3"])
    assert result.exit_code == 0


# -- trainings that are meant for a GPU


def test_a_missing_device_is_reported_before_anything_is_read(
    call, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    monkeypatch.setattr(devices, "_cuda", lambda: ("NVIDIA GPU", "PyTorch finds none."))
    said = call("train", "--config", "shakespeare-gpu", "--device", "cuda", code=2).stderr
    assert "device cuda cannot be used here: PyTorch finds none. Use auto or cpu" in said
    assert not own_home.exists()


def test_hours_on_a_processor_are_announced_before_they_begin(
    call, tiny, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "it is meant for a GPU"
    assert warning not in call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "quick").stderr
    monkeypatch.setattr("minigpt.cli.training.best_peak", lambda device, threads, precision: 100.0)
    monkeypatch.setattr("minigpt.cli.training.SLOW_PEAK", 1.0)
    said = call("train", *tiny, "--data", corpus_file, "--out", tmp_path / "slow").stderr
    model = RunFolder(tmp_path / "slow").config.model
    hours = 12 * 4 * 16 * flops_per_token(model, RunFolder(tmp_path / "slow").tokenizer.vocab_size) / 100 / 3600
    assert f"takes at least {hours:.1f} hours on this processor" in said
    assert said.index(warning) < said.index("step 0 of 12")
    bounded = call(
        "train", *tiny, "--set=training.max_seconds=0.1", "--data", corpus_file, "--out", tmp_path / "bounded"
    )
    assert warning not in bounded.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was a dark and stormy night, and it rained.\n" * 60, "copy of the training part"),
        ("word " * 900, "repeats itself"),
        ("天地玄黄宇宙洪荒日月盈昃辰宿列张" * 3 + "".join(map(chr, range(0x4E00, 0x5200))), "alphabet is large"),
    ],
)
def test_what_would_mislead_is_said_before_the_training_and_not_in_json(call, tiny, tmp_path: Path, text, said) -> None:
    (tmp_path / "text.txt").write_text(text, "utf-8")
    result = call("train", *tiny, "--data", tmp_path / "text.txt", "--out", tmp_path / "run", "--json")
    assert json.loads(result.stdout)
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert said in " ".join(warnings)
    share = RunFolder(tmp_path / "run").meta["copied_share"]
    assert (share >= 0.5) == ("alphabet" not in said)


def test_a_tokenizer_from_a_file_takes_the_place_of_one_that_is_learned(
    call, tiny, corpus_file: Path, tmp_path: Path
) -> None:
    from minigpt.tokenizers.bpe import BPETokenizer

    path = tmp_path / "tokenizer.json"
    BPETokenizer(5).train("the cat and the dog " * 9).save(path)
    out = tmp_path / "run"
    call("train", *tiny, "--data", corpus_file, "--tokenizer", path, "--out", out, "--json")
    assert (out / "tokenizer.json").read_text("utf-8") == path.read_text("utf-8")
    assert "tokenizer.json" in call("train", *tiny, "--data", corpus_file, "--tokenizer", corpus_file, code=2).stderr
