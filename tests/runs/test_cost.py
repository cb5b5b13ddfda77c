"""What a run costs is close to what it takes; what is too much is refused before anything is made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from minigpt import resources
from minigpt.config import RunConfig, TrainingConfig, TransformerConfig, load_config
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import LimitError, StorageError
from minigpt.model.size import BYTES_PER_NUMBER, count_parameters
from minigpt.model.transformer import Transformer
from minigpt.runs import cost
from minigpt.runs.cost import (
    USUAL_MACHINE,
    Measured,
    check_disk,
    check_memory,
    disk_megabytes,
    measured,
    memory_megabytes,
    seconds_per_step,
    state_numbers,
)
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.training.optimizers import build_optimizer
from minigpt.training.weight_ema import WeightEMA

TEXT = "The cat sat on the mat. " * 40


def small(**training: object) -> RunConfig:
    model = TransformerConfig(num_layers=1, num_heads=2, d_model=16, sequence_length=16)
    return RunConfig(model=model, training=TrainingConfig(warmup_steps=0, **training))  # type: ignore[arg-type]


@pytest.mark.process
def test_asking_what_a_run_costs_does_not_import_torch() -> None:
    code = "import sys, minigpt.runs.cost, minigpt.runs.limits; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- memory


@pytest.mark.parametrize("norm", ["rmsnorm", "layernorm"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("vocab_size", [65, 2000])
def test_memory_is_close_to_what_the_backward_pass_keeps(norm, positions, vocab_size):
    config = TransformerConfig(num_layers=4, d_model=64, sequence_length=32, norm=norm, positions=positions)
    model = Transformer(config, vocab_size)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(8, 32, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(ids)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
    kept[logits.untyped_storage().data_ptr()] = logits.untyped_storage().nbytes()
    loss.backward()
    states = 4 * model.num_parameters() * BYTES_PER_NUMBER
    measured = (states + sum(kept.values())) / 1e6
    assert memory_megabytes(
        RunConfig(model=config, training=TrainingConfig(batch_size=8)), vocab_size
    ) == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
@pytest.mark.parametrize("weights_ema", [0.0, 0.9])
def test_what_is_held_for_parameters_is_what_the_optimizer_and_the_mean_really_hold(optimizer, beta1, weights_ema):
    config = TransformerConfig(
        num_layers=2, d_model=16, sequence_length=8, bias=True, convolution=3, positions="learned"
    )
    training = TrainingConfig(optimizer=optimizer, beta1=beta1, weights_ema=weights_ema)
    run = RunConfig(model=config, training=training)
    model = Transformer(config, 11)
    model(torch.zeros(1, 8, dtype=torch.int64)).sum().backward()
    held = [*model.parameters(), *(parameter.grad for parameter in model.parameters())]
    built = build_optimizer(model, training)
    built.step()
    held += [
        tensor for slots in built.state.values() for tensor in slots.values() if tensor is not None and tensor.ndim
    ]
    if weights_ema:
        held += WeightEMA(model, weights_ema).model.parameters()
    assert state_numbers(run, 11) == sum(tensor.numel() for tensor in held)


def test_the_memory_of_micro_batches_is_that_of_one():
    whole, parts = TrainingConfig(batch_size=16), TrainingConfig(batch_size=64, accumulation_steps=4)
    assert memory_megabytes(RunConfig(training=whole), 65) == memory_megabytes(RunConfig(training=parts), 65)


def test_the_memory_that_is_allowed_is_the_machines_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(batch_size=4096)
    needed = memory_megabytes(config, 20)
    check_memory(config, 20, int(needed) + 1)
    with pytest.raises(LimitError, match=rf"about {needed:,.0f} MB of memory; this machine allows 1 MB") as caught:
        check_memory(config, 20, 1)
    assert "training.batch_size" in caught.value.mend
    monkeypatch.setattr(cost, "machine_megabytes", lambda: 2)
    with pytest.raises(LimitError, match="allows 2 MB"):
        check_memory(config, 20)
    monkeypatch.setattr(cost, "machine_megabytes", lambda: None)
    check_memory(config, 20)


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("size", [2, 4])
def test_the_memory_of_several_processes_is_counted_for_each(size: int, is_sharded: bool) -> None:
    config = small(batch_size=64, accumulation_steps=4)
    whole = state_numbers(config, 20)
    total = count_parameters(config.model, 20).total
    shares = small(batch_size=64 // size, accumulation_steps=-(-4 // size))  # the windows of one of them
    activations = memory_megabytes(shares, 20) - BYTES_PER_NUMBER * whole / 1e6
    one = memory_megabytes(config, 20, num_processes=size, is_sharded=is_sharded)
    state = (one - activations) * 1e6 / BYTES_PER_NUMBER
    if is_sharded:
        assert whole / size < state < whole / size + 2 * total
    else:
        assert state == pytest.approx(whole + total)  # the buckets of DistributedDataParallel
    saved, weights = BYTES_PER_NUMBER * (whole - total) / 1e6, BYTES_PER_NUMBER * total / 1e6
    alone = one
    for local, is_resumed in ((1, False), (size, False), (size, True)):
        one = alone + (cost.PROCESS_MEGABYTES if local > 1 else 0)
        needed = local * one
        if is_sharded:
            gathered = saved + weights + (local - 1) * saved / size
            needed += max(gathered, local * saved) if is_resumed else gathered
        told = {"num_processes": size, "num_local": local, "is_sharded": is_sharded, "is_resumed": is_resumed}
        check_memory(config, 20, int(needed) + 1, **told)
        with pytest.raises(LimitError, match=rf"about {needed:,.0f} MB of memory") as caught:
            check_memory(config, 20, int(needed) - 1, **told)
        assert (f"{local} processes with {one:,.0f} MB each" in str(caught.value)) == (local > 1)
        assert ("fewer processes" in caught.value.mend) == (local > 1)
        assert ("MB for checkpoints" in str(caught.value)) == (is_sharded and local > 1)


# -- the disk


def test_what_a_run_may_take_on_the_disk_by_hand() -> None:
    """1 layer of width 16, 20 tokens: 20 x 16 + 12 x 16 x 16 + 3 x 16 = 3,440 parameters."""
    config = small(max_steps=100, keep_checkpoints=2, history_per_octave=1, history_megabytes=64.0)
    needed = disk_megabytes(config, 961, 20)
    assert needed == pytest.approx(
        {
            "the corpus": (960 + 1) / 1e6,  # one byte a token
            "checkpoints": 4 * 12 * 3440 / 1e6,  # two, the best, and the one that is being written
            "the history": (1 + 7) * 2 * 3440 / 1e6,  # steps 0, 1, 2, 4, ... 64
            "records": 300 * 100 / 1e6,
        }
    )
    wide = disk_megabytes(config, 961, 300)
    assert wide["the corpus"] == 2 * needed["the corpus"]
    capped = disk_megabytes(config.updated({"training.history_megabytes": 0.01}), 961, 20)
    assert capped["the history"] == 0.01
    averaged = disk_megabytes(config.updated({"training.weights_ema": 0.9}), 961, 20)
    assert averaged["checkpoints"] == pytest.approx(4 / 3 * needed["checkpoints"])


@pytest.mark.parametrize("weights_ema", [0.0, 0.9])
def test_no_run_takes_more_than_was_estimated(tmp_path: Path, weights_ema: float) -> None:
    settings = {"checkpoint_steps": 10, "eval_steps": 5, "eval_batches": 1, "sample_steps": 0, "num_threads": 1}
    config = small(max_steps=40, weights_ema=weights_ema, **settings)
    corpus = corpus_from_text(TEXT, name="cat")
    folder = create_run(config, corpus, path=tmp_path / "run")
    most = 0
    for _ in TrainingJob(folder).work():
        most = max(most, sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file()))
    plain = 50_000  # settings, vocabulary and the headers of files, which do not grow with anything
    assert most <= sum(disk_megabytes(config, len(TEXT) + 1, folder.tokenizer.vocab_size).values()) * 1e6 + plain


def test_a_run_that_the_disk_cannot_hold_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    asked: list[Path] = []

    def full(path: Path) -> object:
        asked.append(Path(path))
        return usage(free=100_000)

    monkeypatch.setattr(shutil, "disk_usage", full)
    corpus = corpus_from_text(TEXT, name="cat")
    with pytest.raises(StorageError, match=r"up to \d+ MB .* most of it for .* \(\d+ MB\); 0 MB are free") as caught:
        create_run(small(max_steps=100_000), corpus, path=tmp_path / "far" / "away")
    assert "training.keep_checkpoints" in caught.value.mend
    assert asked == [tmp_path], "the nearest folder that is there"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free=10**12))
    check_disk(small(), corpus, 20, tmp_path)


def test_a_disk_that_does_not_say_how_full_it_is_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(path: Path) -> object:
        raise OSError("not supported")

    monkeypatch.setattr(shutil, "disk_usage", silent)
    check_disk(small(max_steps=10_000_000), corpus_from_text(TEXT, name="cat"), 20, tmp_path)


# -- seconds


def test_what_was_measured_is_written_above_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = {
        "slow": "# slow: a model.\n# corpus: 1,000 characters of tales\n# seconds on two cores: 1,118, with other work\n"
        "# expected loss: 0.22 nats per character\n\nmodel:\n",
        "quick": "# quick: a model.\n# seconds on two cores: 7\n\nmodel:\n",
        "big": "# big: a model.\n# seconds on one H200: 3\n\nmodel:\n",
        "bare": "model:\n  num_layers: 1\n\n",
    }
    for name, head in heads.items():
        (tmp_path / f"{name}.yaml").write_text(head)
    monkeypatch.setattr(resources, "preset_path", lambda name: tmp_path / f"{name}.yaml")
    read = measured.__wrapped__
    assert read("slow") == Measured("1,000 characters of tales", "two cores", 1118.0, 0.22)
    assert read("quick") == Measured(None, "two cores", 7.0, None)
    assert read("bare") == Measured(None, None, None, None)
    assert read("big") == Measured(None, "one H200", 3.0, None)


@pytest.mark.parametrize("name", resources.preset_names())
def test_the_estimate_of_an_unchanged_preset_is_its_measured_time(name: str) -> None:
    found, config = measured(name), load_config(name, environment={})
    if found.machine == USUAL_MACHINE:
        foretold = seconds_per_step(config, vocab_size=64) * config.training.max_steps
        assert foretold == pytest.approx(found.seconds)
