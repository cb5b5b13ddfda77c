from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training.callbacks import (
    Callback,
    Checkpoints,
    EarlyStopping,
    Progress,
    Records,
    Samples,
    Throughput,
    WeightHistory,
    is_history_step,
)
from minigpt.training.events import Record
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


class Reports(Callback):
    """Keeps what other callbacks report."""

    def __init__(self, kept: list[Record]) -> None:
        self._kept = kept

    def on_record(self, trainer: Trainer, record: Record) -> None:
        self._kept.append(record)


@pytest.fixture
def tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer().train("abcdefg")  # 4 special tokens and 7 letters: 11, as the tiny model has


@given(st.integers(1, 16), st.integers(0, 10**7))
def test_history_steps_against_the_list(per_octave: int, step: int) -> None:
    every = {0, *(round(2 ** (k / per_octave)) for k in range(per_octave * 24 + 1))}
    assert is_history_step(step, per_octave) == (step in every)


def test_history_of_a_long_training_is_short() -> None:
    assert sum(is_history_step(step, 4) for step in range(100_001)) < 4 * math.log2(100_000) + 2
    assert not any(is_history_step(step, 0) for step in range(10))


def test_weight_history_and_checkpoints_are_called_when_due(make_trainer: MakeTrainer) -> None:
    history: list[int] = []
    saves: list[int] = []
    trainer = make_trainer(
        training__history_per_octave=1,
        training__checkpoint_steps=5,
        training__eval_steps=0,
        callbacks=[
            WeightHistory(lambda trainer: history.append(trainer.step)),
            Checkpoints(lambda trainer: saves.append(trainer.step)),
        ],
    )
    kinds = [(work.step, work.kind) for work in trainer.work()]
    assert history == [0, 1, 2, 4, 8]
    assert saves == [5, 10, 12]
    assert sum(kind == "save" for _, kind in kinds) == 8


def test_checkpoint_when_it_is_the_best_and_only_once(make_trainer: MakeTrainer) -> None:
    saves: list[tuple[int, int | None]] = []
    checkpoints = Checkpoints(lambda trainer: saves.append((trainer.step, trainer.best_step)))
    trainer = make_trainer(training__checkpoint_steps=0, callbacks=[checkpoints])
    trainer.fit()
    assert [step for step, _ in saves] == [
        4,
        8,
        12,
    ]  # each evaluation is better than the one before, and the last step is always saved
    assert all(step == best for step, best in saves)
    assert list(checkpoints.save(trainer)) == []


@pytest.mark.parametrize("steps", [999, 10_000, 1_000_000])
def test_records_of_any_training_are_few(steps: int) -> None:
    records = Records(lambda record: None)
    due = [step for step in range(1, steps + 1) if records.is_due(step)]
    assert due[:999] == list(range(1, 1000))
    assert len(due) <= 1000 + 500 * math.ceil(math.log2(max(steps / 1000, 1)) + 1)
    assert max(b - a for a, b in itertools.pairwise(due)) <= max(1, 2 * steps / 1000)


def test_records_are_written_with_the_last_step(make_trainer: MakeTrainer) -> None:
    written: list[Record] = []
    make_trainer(callbacks=[Records(written.append, every_step_until=3)], training__max_steps=11).fit()
    assert [record["step"] for record in written if record["kind"] == "step"] == [1, 2, 3, 4, 6, 8, 11]
    assert [record["step"] for record in written if record["kind"] == "evaluation"] == [0, 4, 8, 11]
    assert set(written[1]) == {
        "kind", "step", "epoch", "seconds", "loss", "loss_ema", "learning_rate", "grad_norm", "tokens_seen",
    }  # fmt: skip
    assert written[1]["epoch"] == pytest.approx(6 / 492, abs=1e-4)


def test_throughput_is_over_the_last_updates(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    throughput, record = Throughput(window=2), Record()
    throughput.on_start(trainer)
    for seconds, tokens, expected in ((1.0, 10, 10.0), (2.0, 30, 15.0), (3.0, 70, 30.0)):
        trainer.seconds, trainer.tokens_seen = seconds, tokens
        throughput.on_step(trainer, record)
        assert record["tokens_per_second"] == expected


def test_samples_from_noise_to_the_end(make_trainer: MakeTrainer, tokenizer: CharacterTokenizer) -> None:
    written: list[Record] = []
    trainer = make_trainer(callbacks=[Samples(tokenizer), Reports(written)], training__sample_prompt="ab")
    kinds = [work.kind for work in trainer.work()]
    assert [record["step"] for record in written] == [0, 4, 8, 12]
    assert all(record["text"].startswith("ab") and record["prompt"] == "ab" for record in written)
    assert kinds.count("sample") == sum(len(record["text"]) - 2 for record in written)
    assert trainer.model.training


def test_samples_use_the_same_random_numbers(make_trainer: MakeTrainer, tokenizer: CharacterTokenizer) -> None:
    texts = []
    for _ in range(2):
        written: list[Record] = []
        make_trainer(callbacks=[Samples(tokenizer), Reports(written)], training__learning_rate=1e-12).fit()
        texts.append([record["text"] for record in written])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 1  # nearly the same weights and the same random numbers: the same text


def test_samples_follow_the_runs_own_strategy(make_trainer: MakeTrainer, tokenizer: CharacterTokenizer) -> None:
    def texts(**settings: object) -> list[str]:
        written: list[Record] = []
        make_trainer(callbacks=[Samples(tokenizer), Reports(written)], **settings).fit()
        return [record["text"] for record in written]

    assert texts(generation__top_k=1) == texts(generation__temperature=0.0)
    assert texts(generation__temperature=3.0) != texts(generation__temperature=0.0)
    assert texts(training__sample_steps=0) == []


# -- an early end


def test_early_stopping_ends_with_all_that_belongs_to_the_last_step(make_trainer: MakeTrainer) -> None:
    written: list[Record] = []
    saves: list[int] = []
    trainer = make_trainer(
        callbacks=[EarlyStopping(), Records(written.append), Checkpoints(lambda trainer: saves.append(trainer.step))],
        training__max_steps=400,
        training__learning_rate=10.0,  # too high to learn anything after the first steps
        training__warmup_steps=0,
        training__eval_steps=2,
        training__eval_batches=1,
        training__checkpoint_steps=0,
        training__early_stopping=3,
    )
    result = trainer.fit()
    assert trainer.is_finished
    assert result.steps == trainer.step < 400
    assert trainer.best_step is not None
    assert trainer.step == trainer.best_step + 3 * 2
    assert saves[-1] == trainer.step
    (ended,) = [record for record in written if record["kind"] == "early_end"]
    assert ended["step"] == trainer.step
    assert ended["text"] == trainer.early_end
    assert f"step {trainer.best_step}, in 3 measurements" in ended["text"]
    evaluations = [record for record in written if record["kind"] == "evaluation"]
    assert evaluations[-1]["whole"]
    assert [record["step"] for record in evaluations[-5:-1]] == [trainer.step - n for n in (6, 4, 2, 0)]
    best = min(record["val_loss"] for record in evaluations[1:-1])
    assert [record["step"] for record in evaluations[1:-1] if record["val_loss"] == best] == [trainer.best_step]


def test_without_early_stopping_it_trains_to_the_last_step(make_trainer: MakeTrainer) -> None:
    settings = {"training__max_steps": 30, "training__learning_rate": 10.0, "training__eval_steps": 2}
    trainer = make_trainer(callbacks=[EarlyStopping()], **settings)
    trainer.fit()
    assert (trainer.step, trainer.early_end) == (30, None)
    assert not EarlyStopping.is_due(trainer)


def test_progress_says_a_line_for_each_measurement(make_trainer: MakeTrainer) -> None:
    lines: list[str] = []
    make_trainer(callbacks=[Throughput(), EarlyStopping(), Progress(lines.append)], training__eval_batches=1).fit()
    assert [line.split(":")[0] for line in lines] == [f"step {step} of 12" for step in (0, 4, 8, 12, 12)]
    assert "loss" not in lines[0].replace("validation", "")
    assert ["the best so far" in line for line in lines] == [False, True, True, True, False]
    assert "tokens per second" in lines[1]
    assert "(all of it)" in lines[-1]
    assert all("perplexity " in line for line in lines)
    assert all("learning rate " in line for line in lines[1:])
    lines.clear()
    make_trainer(
        callbacks=[Progress(lines.append), EarlyStopping()],
        training__max_steps=400, training__learning_rate=10.0, training__eval_steps=1, training__early_stopping=1,
    ).fit()  # fmt: skip
    assert lines[-1].endswith("in one measurement.")


@pytest.mark.parametrize(
    ("windows_in_a_step", "max_steps", "ends"),
    [(41, 60, [12, 24, 36, 48, 60]), (6, 81, []), (6, 165, [82, 164])],
)
def test_progress_says_a_line_for_each_epoch(
    make_trainer: MakeTrainer, windows_in_a_step: int, max_steps: int, ends: list[int]
) -> None:
    """Learning rate, smoothed loss, perplexity and throughput, as they were in the record of that step."""
    lines: list[str] = []
    records: dict[int, Record] = {}
    watch = Records(lambda record: records.update({record["step"]: record} if record["kind"] == "step" else {}))
    make_trainer(
        callbacks=[Throughput(), watch, Progress(lines.append)], training__batch_size=windows_in_a_step,
        training__max_steps=max_steps, training__eval_steps=0, training__warmup_steps=0,
    ).fit()  # fmt: skip
    told = [line for line in lines if line.startswith("epoch")]
    assert [re.search(r"at step (\d+)", line)[1] for line in told] == [str(step) for step in ends]  # type: ignore[index]
    for line, step in zip(told, ends, strict=True):
        record = records[step]
        assert f"loss {record['loss_ema']:.4f}, perplexity {math.exp(record['loss_ema']):.4g}, " in line
        assert (
            f"learning rate {record['learning_rate']:.3g}, {record['tokens_per_second']:,.0f} tokens per second" in line
        )


def test_many_short_epochs_do_not_flood_the_terminal(make_trainer: MakeTrainer) -> None:
    lines: list[str] = []
    make_trainer(
        callbacks=[Progress(lines.append)], training__batch_size=492, training__max_steps=120,
        training__eval_steps=0, training__warmup_steps=0,
    ).fit()  # fmt: skip
    assert 30 < sum(line.startswith("epoch") for line in lines) <= Progress.MOST_EPOCHS
