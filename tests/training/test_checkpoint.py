from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from minigpt import storage
from minigpt.errors import CheckpointError, StorageError
from minigpt.tokenizers.base import load_tokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training import checkpoint
from minigpt.training.checkpoint import (
    check_checkpoint,
    load_checkpoint,
    parse_step,
    save_checkpoint,
    step_name,
    verify_checkpoint,
)
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
SmallFiles = Callable[[int], AbstractContextManager[None]]
FILES = ["model.safetensors", "tokenizer.json", "trainer.safetensors", "trainer.json"]


@pytest.fixture
def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer().train("abcdefg")


@pytest.fixture
def trainer(make_trainer: MakeTrainer) -> Trainer:
    trainer = make_trainer(model__dropout=0.1)
    for _ in range(3):
        trainer.step_once()
    return trainer


@pytest.fixture
def saved(tmp_path: Path, trainer: Trainer, tokenizer: CharacterTokenizer) -> Path:
    path = tmp_path / "checkpoints" / step_name(3)
    save_checkpoint(path, trainer, tokenizer)
    return path


def test_names_of_steps() -> None:
    assert [parse_step(step_name(step)) for step in (0, 1200, 99_999_999)] == [0, 1200, 99_999_999]
    assert [parse_step(name) for name in ("best", "step-12", "step-0000001x", "step-0000001.tmp")] == [None] * 4


def test_its_files(saved: Path, trainer: Trainer) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([*FILES, "manifest.json"])
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]  # no temporary folder beside it
    check_checkpoint(saved)
    assert load_tokenizer(saved / "tokenizer.json").vocab_size == 11
    assert json.loads((saved / "manifest.json").read_text())["files"].keys() == set(FILES)
    loaded = load_checkpoint(saved)
    assert loaded.step == 3
    assert loaded.environment["torch"] == torch.__version__
    assert loaded.environment["num_threads"] == torch.get_num_threads()
    assert "embedding.weight.exp_avg_sq" in loaded.state.optimizer


def test_resuming_from_disk_is_exact(saved: Path, trainer: Trainer, make_trainer: MakeTrainer) -> None:
    other = make_trainer(model__dropout=0.1)
    other.load_state_dict(load_checkpoint(saved).state)
    one, two = trainer.fit(), other.fit()
    assert (one.loss, one.val_loss, one.steps) == (two.loss, two.val_loss, two.steps)
    for (name, a), b in zip(trainer.model.named_parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert trainer.seconds != other.seconds  # each measures its own time


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "shorter", "one bit"])
def test_any_damage_is_seen(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(data[:-1] if name != "manifest.json" else data[: len(data) // 2])
    else:
        # in the manifest it is a digit of a hash, in other files any byte
        at = data.index(b'"sha256": "') + 15 if name == "manifest.json" else len(data) // 2
        data[at] ^= 1
        path.write_bytes(data)
    assert not verify_checkpoint(saved)
    with pytest.raises(CheckpointError, match="damaged") as error:
        load_checkpoint(saved)
    assert str(saved) in str(error.value)
    assert "Use another checkpoint" in error.value.mend


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"format_version": 1, "files": {}}',
        '{"format_version": 1, "files": {"model.safetensors": {}}}',
        '{"format_version": 1, "files": {"../model.safetensors": {"bytes": 1, "sha256": "0"}}}',
        "\udcff",
    ],
)
def test_a_manifest_that_is_none(saved: Path, manifest: str) -> None:
    (saved / "manifest.json").write_bytes(manifest.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match="manifest"):
        check_checkpoint(saved)


def test_a_newer_format_is_refused(saved: Path) -> None:
    path = saved / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CheckpointError, match=r"format 2.*Update minigpt"):
        check_checkpoint(saved)


def test_weights_alone_are_whole_but_cannot_be_resumed(saved: Path) -> None:
    for name in ("trainer.safetensors", "trainer.json"):
        (saved / name).unlink()
    checkpoint.write_manifest(saved)
    assert verify_checkpoint(saved)
    with pytest.raises(CheckpointError, match="weights alone"):
        load_checkpoint(saved)


def test_saving_again_replaces(saved: Path, trainer: Trainer, tokenizer: CharacterTokenizer) -> None:
    (saved / "model.safetensors").write_bytes(b"damaged")
    save_checkpoint(saved, trainer, tokenizer)
    check_checkpoint(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("limit", [0, 100, 2_000, 10_000, 40_000])
def test_a_full_disk_costs_nothing_that_was_there(
    saved: Path,
    trainer: Trainer,
    tokenizer: CharacterTokenizer,
    small_files: SmallFiles,
    limit: int,
) -> None:
    largest = max(path.stat().st_size for path in saved.iterdir())
    assert largest > 40_000
    trainer.step_once()
    with small_files(limit):
        with pytest.raises(StorageError, match="could not be written"):
            save_checkpoint(saved.with_name(step_name(4)), trainer, tokenizer)
        with pytest.raises(StorageError):
            save_checkpoint(saved, trainer, tokenizer)  # the folder that it would replace stays too
    check_checkpoint(saved)
    assert load_checkpoint(saved).step == 3
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_folder_that_cannot_be_written(tmp_path: Path, trainer: Trainer, tokenizer: CharacterTokenizer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a part of its path is a file, not a folder"):
        save_checkpoint(tmp_path / "file" / step_name(3), trainer, tokenizer)


def test_killed_at_any_moment_of_a_save(
    saved: Path, trainer: Trainer, tokenizer: CharacterTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process can be killed at any moment: under the checkpoint's name there is a complete checkpoint or nothing."""
    trainer.step_once()
    seen: list[bool | None] = []
    target = saved.with_name(step_name(4))

    def look(path: Path) -> None:
        seen.append(verify_checkpoint(target) if target.exists() else None)
        copy = tmp_path / "copy"
        shutil.copytree(saved.parent, copy)  # what is on the disk if the process is killed here
        whole = [p.name for p in copy.iterdir() if parse_step(p.name) is not None and verify_checkpoint(p)]
        named = [p.name for p in copy.iterdir() if parse_step(p.name) is not None]
        assert whole == named
        shutil.rmtree(copy)

    monkeypatch.setattr(checkpoint, "flush", look)
    monkeypatch.setattr(storage, "flush", look)
    save_checkpoint(target, trainer, tokenizer)
    assert len(seen) > 5
    assert seen[0] is None
    assert seen[-1] is True
