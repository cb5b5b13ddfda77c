"""From a name to a run, in every way a person may name one, and from a run to its model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import ArchiveError, CheckpointError, InputError, NonFiniteLossError, RunNotFoundError
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.generation.generator import TextGenerator
from minigpt.model.weights import load_weights, save_weights
from minigpt.runs.export import bundle_run, export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import find_run, load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore, new_run_id
from minigpt.training.checkpoint import write_manifest
from minigpt.training.trainer import Trainer


def test_no_message_contains_the_ids_of_others(small_run: RunConfig) -> None:
    secret = RunStore().create(small_run, name="diary").id
    for wrong in (new_run_id(), "nothing", "tales2"):
        with pytest.raises(RunNotFoundError) as error:
            find_run(wrong)
        assert secret not in str(error.value)
        assert "diary" not in str(error.value)


def test_find_run_in_every_way(copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(copied.path).id == copied.id
    assert find_run(str(copied.path)).id == copied.id
    assert find_run(copied.id).path == copied.path
    export_zip(copied, tmp_path / "run.zip")
    unpacked = find_run(tmp_path / "run.zip")
    assert unpacked.info.parent == copied.id
    assert find_run(str(tmp_path / "run.zip")).path == unpacked.path  # unpacked once
    bundled = bundle_run(copied, tmp_path / "bundled" / "little")
    monkeypatch.setattr(resources, "bundled_runs_path", lambda: tmp_path / "bundled")
    assert find_run("little").path == bundled.path
    with pytest.raises(RunNotFoundError, match=r"nothing.*bundled run \(little\)"):
        find_run("nothing")
    with pytest.raises(RunNotFoundError, match=r"no run\.json"):
        find_run(tmp_path)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArchiveError, match="no zip"):
        find_run(tmp_path / "letter.txt")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(RunNotFoundError, match="There is no run"):
        find_run("a" * 5000)


def test_load_run(small_run: RunConfig, copied: RunFolder) -> None:
    run = load_run(copied.id, step="last")
    assert (run.step, run.id, run.name, run.path) == (8, copied.id, "cats", copied.path)
    assert run.config == small_run
    assert not run.model.training
    assert run.tokenizer.vocab_size == run.model.vocab_size
    assert len(TextGenerator(run).generate("the ", max_new_tokens=4).tokens) == 4
    early = load_run(copied.path, step=0)
    assert early.step == 0
    assert next(early.model.parameters()).dtype == torch.float32  # from half precision
    assert not torch.equal(early.model.embedding.weight, run.model.embedding.weight)


@pytest.mark.parametrize("kind", [TextGenerator, ModelEvaluator])
def test_from_checkpoint_takes_every_name_of_a_run(
    copied: RunFolder, tmp_path: Path, kind: type[TextGenerator] | type[ModelEvaluator]
) -> None:
    """By id, folder, checkpoint inside and outside its run, and zip, a step chosen: each is what `load_run` opens."""
    alone = shutil.copytree(copied.checkpoint_path(6), tmp_path / "step-0000006")
    export_zip(copied, tmp_path / "run.zip")

    def told(made: TextGenerator | ModelEvaluator) -> object:
        if isinstance(made, TextGenerator):
            return [token.probability for token in made.generate("the ", max_new_tokens=6, temperature=1.0).tokens]
        return made.evaluate("the cat sat")

    for name, step in (
        (copied.id, None), (str(copied.path), "last"), (copied.path, 6), (copied.path, 0), (copied.checkpoint_path(6), None),
        (alone, None), (tmp_path / "run.zip", None), ("tales", None),
    ):  # fmt: skip
        assert told(kind.from_checkpoint(name, step=step)) == told(kind(load_run(name, step=step)))
    assert told(kind.from_checkpoint(alone)) == told(kind.from_checkpoint(copied.id, step=6))
    assert told(kind.from_checkpoint(alone)) != told(kind.from_checkpoint(copied.id, step=0))
    for name, step, error in (
        ("nothing", None, RunNotFoundError), (copied.id, 7777, RunNotFoundError), (alone, 6, InputError),
    ):  # fmt: skip
        with pytest.raises(error):
            kind.from_checkpoint(name, step=step)


def test_load_run_with_a_tokenizer_of_another_run(small_run: RunConfig, copied: RunFolder) -> None:
    other = RunStore().create(small_run)
    create_run(small_run, corpus_from_text("abcd" * 50, name="x"), path=other.path / "sub")
    shutil.copy(other.path / "sub" / "tokenizer.json", copied.path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="tokenizer has 8 tokens"):
        load_run(copied.path)


@pytest.mark.process
def test_looking_at_runs_does_not_load_torch(copied: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from minigpt.runs.loading import find_run; from minigpt.runs.store import RunStore\n"
        f"folder = find_run({str(copied.path)!r}); folder.metrics(), folder.checkpoints(), folder.weights_path()\n"
        "RunStore().list(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- one step of a run


def test_a_checkpoints_folder_stands_for_its_run_at_that_step(copied: RunFolder, tmp_path: Path) -> None:
    for step in copied.checkpoints():
        path = copied.checkpoint_path(step)
        run, same = load_run(path), load_run(copied.path, step=step)
        assert (run.step, run.id, run.name, run.path, run.config) == (step, copied.id, "cats", copied.path, same.config)
        assert torch.equal(run.model.embedding.weight, same.model.embedding.weight)
        assert find_run(path).path == copied.path
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(path)
        assert load_run(tmp_path / "link").step == step
        for chosen in (step, "last"):
            with pytest.raises(InputError, match="its step cannot be chosen"):
                load_run(path, step=chosen)  # type: ignore[arg-type]


def test_a_checkpoint_can_be_used_by_itself(copied: RunFolder, tmp_path: Path) -> None:
    step = copied.checkpoints()[-1]
    alone = shutil.copytree(copied.checkpoint_path(step), tmp_path / copied.checkpoint_path(step).name)
    run, same = load_run(alone), load_run(copied.path, step=step)
    assert (run.step, run.path, run.config.model) == (step, alone, same.config.model)
    assert TextGenerator(run).generate("the ", max_new_tokens=5) == replace(
        TextGenerator(same).generate("the ", max_new_tokens=5),
        seconds=ANY,
        tokens_per_second=ANY,
    )
    with pytest.raises(RunNotFoundError, match="a checkpoint without its run"):
        find_run(alone)
    (alone / "model.safetensors").write_bytes(b"x" * (alone / "model.safetensors").stat().st_size)
    with pytest.raises(CheckpointError, match="other contents"):
        load_run(alone)


def spoil(folder: RunFolder, step: int, value: float) -> None:
    """Put one number that is not finite into the weights of a step, as a training that diverged would."""
    in_checkpoint = folder.checkpoint_path(step).is_dir()
    path = folder.checkpoint_path(step) / "model.safetensors" if in_checkpoint else folder.history_path(step)
    state, metadata = load_weights(path)
    next(iter(state.values())).view(-1)[-1] = value
    save_weights(path, state, metadata=metadata)
    if in_checkpoint:
        write_manifest(folder.checkpoint_path(step))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_never_used(copied: RunFolder, value: float) -> None:
    *earlier, last = copied.checkpoints()
    *_, before, _ = copied.steps()
    spoil(copied, last, value)
    for step in (last, "last", *([None, "best"] if copied.best_step == last else [])):
        with pytest.raises(CheckpointError, match=f"step {last} .* not finite.* --step {before}"):
            load_run(copied.path, step=step)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="not finite"):
        load_run(copied.checkpoint_path(last))
    assert load_run(copied.path, step=before).step == before, "the advice can be followed"
    for step in copied.steps():
        if not copied.checkpoint_path(step).is_dir():
            spoil(copied, step, value)
    for step in earlier:
        spoil(copied, step, value)
    with pytest.raises(CheckpointError, match="None of its weights can be used"):
        load_run(copied.path)


def test_a_training_does_not_save_weights_that_are_not_finite(
    small_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_run.updated(
        {"training.keep_checkpoints": 1, "training.checkpoint_steps": 2, "training.eval_steps": 0}
    )
    folder = create_run(config, corpus_from_text("the cat sat on the mat. " * 20, name="cats"))
    apply = Trainer._apply

    def diverge(trainer: Trainer, *arguments: object) -> None:
        apply(trainer, *arguments)  # type: ignore[arg-type]
        if trainer.step == 3:
            with torch.no_grad():
                trainer.model.embedding.weight[0, 0] = float("inf")

    monkeypatch.setattr(Trainer, "_apply", diverge)
    with pytest.raises(NonFiniteLossError, match=r"in update 4\. In a new run, lower"):
        for _ in TrainingJob(folder).work():
            pass
    assert folder.checkpoints() == [2]
    assert folder.info.status == "failed"
    assert load_run(folder.path).step == 2
