from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional

from minigpt.errors import CheckpointError, NonFiniteLossError
from minigpt.training.callbacks import Callback
from minigpt.training.events import Record, Work
from minigpt.training.schedules import learning_rate_at
from minigpt.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
Weights = Callable[[Trainer], torch.Tensor]


class Log(Callback):
    """Keeps every record, and the names of the hooks in the order of their calls."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.hooks: list[str] = []

    def on_start(self, trainer: Trainer) -> None:
        self.hooks.append("start")

    def on_budget(self, trainer: Trainer, record: Record) -> None:
        self.records.append(record)
        self.hooks.append("budget")

    def on_step(self, trainer: Trainer, record: Record) -> None:
        self.records.append(record)
        self.hooks.append(f"step {record['step']}")

    def on_evaluation(self, trainer: Trainer, record: Record) -> None:
        self.records.append(record)
        self.hooks.append(f"evaluation {record['step']}")

    def on_step_end(self, trainer: Trainer) -> None:
        self.hooks.append(f"end of step {trainer.step}")

    def on_end(self, trainer: Trainer) -> None:
        self.hooks.append("end")

    def kind(self, kind: str) -> list[Record]:
        return [record for record in self.records if record["kind"] == kind]


# fmt: off
GOLDEN = [
    2.424905, 2.397674, 2.355337, 2.332300, 2.308009, 2.245819, 2.209288, 2.165884, 2.198565, 2.172332,
    2.171637, 2.087921, 2.130344, 2.102766, 2.096052, 2.093449, 2.120475, 2.066272, 2.137551, 2.054104,
]
# fmt: on
"""The first 20 losses of the tiny training; a change of the code that moves them changes the results of all runs."""


def test_golden_losses(make_trainer: MakeTrainer) -> None:
    log = Log()
    # a low learning rate: with a high one rounding errors reach the fourth digit within 20 steps
    make_trainer(training__max_steps=20, training__learning_rate=2e-3, training__eval_steps=0, callbacks=[log]).fit()
    assert [record["loss"] for record in log.kind("step")] == pytest.approx(GOLDEN, abs=1e-4)


def test_it_learns(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(training__max_steps=150, training__eval_steps=0)
    result = trainer.fit()
    assert result.steps == 150
    assert result.loss is not None
    assert result.val_loss is not None
    assert result.val_loss < math.log(11) - 0.8  # equal probabilities give ln 11 = 2.40
    assert result.tokens_per_second == pytest.approx(150 * 6 * 8 / result.seconds)
    assert result.total_seconds >= result.seconds > 0


def test_hooks_come_in_order(make_trainer: MakeTrainer) -> None:
    log = Log()
    make_trainer(training__max_steps=3, training__eval_steps=2, training__eval_batches=1, callbacks=[log]).fit()
    assert log.hooks == [
        "start", "evaluation 0", "end of step 0", "step 1", "end of step 1", "step 2", "evaluation 2", "end of step 2",
        "step 3", "evaluation 3", "end of step 3", "evaluation 3", "end",
    ]  # fmt: skip


def test_work_comes_in_bounded_pieces(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        training__max_steps=2, training__eval_steps=2, training__warmup_steps=0, training__accumulation_steps=3
    )
    kinds = [(work.kind, work.step) for work in trainer.work()]
    # 6 batches of 2 windows and the rest are the whole validation part, so the end needs no second evaluation
    evaluation = ["evaluation_batch"] * 7 + ["evaluation"]
    update = ["micro_batch"] * 3 + ["update"]
    assert [kind for kind, _ in kinds] == evaluation + update + update + evaluation
    assert [step for kind, step in kinds if kind == "update"] == [1, 2]


def test_a_hook_may_work_in_pieces(make_trainer: MakeTrainer) -> None:
    class Slow(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> Iterator[Work]:
            for _ in range(3):
                yield Work("sample", trainer.step)

    trainer = make_trainer(training__max_steps=1, training__warmup_steps=0, validation=False, callbacks=[Slow()])
    assert [work.kind for work in trainer.work()] == ["micro_batch", "sample", "sample", "sample", "update"]


def test_what_a_hook_raises_ends_the_training(make_trainer: MakeTrainer) -> None:
    class Failing(Callback):
        def on_step(self, trainer: Trainer, record: Record) -> None:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        make_trainer(callbacks=[Failing()]).fit()


# -- the update


def update_by_hand(trainer: Trainer, step: int) -> list[torch.Tensor]:
    """Return the gradient of a whole batch in the direct way: mean loss, one backward pass."""
    inputs, targets = trainer._train.gather(trainer._order.indices(step))
    loss = functional.cross_entropy(trainer.model(inputs).flatten(0, 1), targets.flatten())
    return list(torch.autograd.grad(loss, list(trainer.model.parameters())))


@pytest.mark.parametrize("parts", [1, 2, 4, 5, 6])
def test_accumulation_changes_nothing_but_memory(make_trainer: MakeTrainer, weights: Weights, parts: int) -> None:
    # 6 windows in 4 parts are 2 + 2 + 1 + 1, in 5 parts 2 + 1 + 1 + 1 + 1
    whole, cut = make_trainer(), make_trainer(training__accumulation_steps=parts)
    expected = update_by_hand(cut, 0)
    work = cut.work()
    while next(work).kind != "micro_batch":
        pass
    for _ in range(parts - 1):
        assert next(work).kind == "micro_batch"
    found = [parameter.grad for parameter in cut.model.parameters()]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, found, strict=True) if b is not None)
    one, other = whole.fit(), cut.fit()
    assert torch.allclose(weights(whole), weights(cut), atol=1e-4)
    assert one.loss == pytest.approx(other.loss, abs=1e-4)
    assert whole.tokens_seen == cut.tokens_seen == 12 * 6 * 8


def test_targets_that_do_not_count_have_no_weight(make_trainer: MakeTrainer) -> None:
    """Micro-batches with different numbers of targets: the mean of their means would be a different loss."""
    trainer = make_trainer(training__accumulation_steps=2, training__eval_steps=0, training__max_steps=3)
    gather = trainer._train.gather

    def masked(indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = gather(indices)
        targets[0, :7] = -100
        targets[1] = -1
        return inputs, targets

    trainer._train.gather = masked  # type: ignore[method-assign, assignment]
    inputs, targets = masked(trainer._order.indices(0))
    flat = targets.flatten().masked_fill(targets.flatten() == -1, -100)
    expected = functional.cross_entropy(trainer.model(inputs).flatten(0, 1), flat).item()
    trainer.step_once()
    assert trainer.loss == pytest.approx(expected, abs=1e-5)
    assert trainer.tokens_seen == 6 * 8 - 7 - 8


def test_gradients_are_shortened(make_trainer: MakeTrainer) -> None:
    log, free = Log(), Log()
    make_trainer(training__max_grad_norm=1e-3, training__max_steps=3, callbacks=[log]).fit()
    trainer = make_trainer(training__max_grad_norm=1e-3, training__max_steps=3)
    expected = update_by_hand(trainer, 0)
    trainer.step_once()
    found = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    assert found.norm().item() == pytest.approx(1e-3, rel=1e-3)
    norm = torch.cat([grad.flatten() for grad in expected]).norm().item()
    assert log.kind("step")[0]["grad_norm"] == pytest.approx(norm, abs=1e-4)  # the norm before clipping
    make_trainer(training__max_grad_norm=0, training__max_steps=3, callbacks=[free]).fit()
    assert free.kind("step")[0]["grad_norm"] == pytest.approx(norm, abs=1e-4)
    assert free.kind("step")[2]["loss"] != log.kind("step")[2]["loss"]


def test_learning_rate_is_the_schedules(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(callbacks=[log])
    trainer.fit()
    rates = [record["learning_rate"] for record in log.kind("step")]
    assert rates == [learning_rate_at(step, trainer.config.training) for step in range(12)]


def test_smoothed_loss_is_corrected_for_its_start(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(callbacks=[log], training__loss_ema=0.8)
    assert trainer.loss_ema is None
    trainer.fit()
    losses = [record["loss"] for record in log.kind("step")]
    for number, record in enumerate(log.kind("step"), start=1):
        shares = [0.8**age for age in range(number - 1, -1, -1)]
        mean = sum(s * loss for s, loss in zip(shares, losses[:number], strict=True)) / sum(shares)
        assert record["loss_ema"] == pytest.approx(mean, abs=1e-5)
    assert log.kind("step")[0]["loss_ema"] == log.kind("step")[0]["loss"]


# -- random numbers


@pytest.mark.parametrize("where", ["model__dropout", "model__attention_dropout"])
def test_dropout_is_keyed(make_trainer: MakeTrainer, weights: Weights, where: str) -> None:
    one, other, without = make_trainer(**{where: 0.5}), make_trainer(**{where: 0.5}), make_trainer()
    one.fit()
    work, disturbed = other.work(), False
    for piece in work:  # other code may draw from the global generator
        if piece.kind == "update" and not disturbed:
            torch.randn(3, generator=torch.default_generator)
            disturbed = True
    without.fit()
    assert torch.equal(weights(one), weights(other))
    assert not torch.equal(weights(one), weights(without))


def test_every_micro_batch_drops_other_numbers(make_trainer: MakeTrainer) -> None:
    trainer, keys = make_trainer(model__dropout=0.5, training__accumulation_steps=3), []
    trainer.model.seed_dropout = lambda generator: keys.append(generator.initial_seed())  # type: ignore[method-assign]
    for block in trainer.model.modules():
        if hasattr(block, "probability"):
            block.probability = 0.0  # type: ignore[assignment]
    trainer.fit()
    assert len(keys) == len(set(keys)) == 12 * 3


def test_evaluations_and_samples_change_nothing(make_trainer: MakeTrainer, weights: Weights) -> None:
    often, never = (
        make_trainer(training__eval_steps=1, model__dropout=0.2),
        make_trainer(training__eval_steps=0, model__dropout=0.2),
    )
    often.fit()
    never.fit()
    assert torch.equal(weights(often), weights(never))
    assert often.model.training


def test_another_seed_is_another_training(make_trainer: MakeTrainer, weights: Weights) -> None:
    one, other = make_trainer(seed=1), make_trainer(seed=2)
    one.step_once()
    other.step_once()
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # fork, from Python 3.12 on
def test_worker_processes_gather_the_same_batches(make_trainer: MakeTrainer, weights: Weights) -> None:
    alone, helped = make_trainer(training__max_steps=4), make_trainer(training__max_steps=4, data__num_workers=1)
    alone.fit()
    helped.fit()
    assert torch.equal(weights(alone), weights(helped))


# -- evaluation


def test_an_evaluation_is_the_mean_over_every_token(make_trainer: MakeTrainer) -> None:
    """Compare with the whole validation part, token by token, in windows without overlap and with the rest."""
    trainer = make_trainer(training__max_steps=2, training__eval_steps=0, training__warmup_steps=0)
    result = trainer.fit()
    ids = torch.from_numpy(trainer._validation.dataset.ids.astype(np.int64))  # type: ignore[union-attr]
    nats = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, 8):
            window = ids[start : start + 9]
            scores = trainer.model(window[None, :-1])[0].log_softmax(-1)
            nats += [-scores[n, target].item() for n, target in enumerate(window[1:].tolist())]
    assert len(nats) == len(ids) - 1
    assert result.val_loss == pytest.approx(sum(nats) / len(nats), abs=1e-5)


def test_without_eval_steps_there_is_one_evaluation_at_the_end(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(training__eval_steps=0, callbacks=[log])
    trainer.fit()
    assert [(record["step"], record["whole"]) for record in log.kind("evaluation")] == [(12, True)]
    assert trainer.best_step is None
    assert trainer.best_val_loss is None


def test_no_validation_part(make_trainer: MakeTrainer) -> None:
    log = Log()
    result = make_trainer(validation=False, callbacks=[log]).fit()
    assert log.kind("evaluation") == []
    assert result.val_loss is None


def test_the_same_windows_each_time(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(
        training__eval_steps=4, training__eval_batches=1, training__learning_rate=1e-12, callbacks=[log]
    )
    trainer.fit()
    regular = [record["val_loss"] for record in log.kind("evaluation") if not record["whole"]]
    assert len(regular) == 4
    assert max(regular) - min(regular) < 1e-5  # the weights hardly change, so the loss must not either
    windows, is_all = trainer._validation.windows(whole=False)  # type: ignore[union-attr]
    assert windows.tolist() == [0, 2, 4, 6, 8, 11]  # of 12, spread evenly
    assert not is_all
    assert [record["step"] for record in log.kind("evaluation") if record["whole"]] == [12]


def test_best_is_the_lowest_of_the_regular_measurements(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(
        training__max_steps=40,
        training__eval_steps=5,
        training__learning_rate=0.5,
        training__eval_batches=1,
        callbacks=[log],
    )
    trainer.fit()
    regular = {r["step"]: r["val_loss"] for r in log.kind("evaluation") if not r["whole"] and r["step"] > 0}
    assert trainer.best_step == min(regular, key=lambda step: regular[step])
    assert trainer.best_val_loss == pytest.approx(min(regular.values()), abs=1e-5)


def test_an_untrained_model_is_never_the_best(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(training__max_steps=4, training__eval_steps=2, training__learning_rate=5, callbacks=[log])
    trainer.fit()
    losses = [record["val_loss"] for record in log.kind("evaluation")]
    assert min(losses) == losses[0]
    assert trainer.best_step in (2, 4)


# -- errors


def test_non_finite_loss_leaves_the_weights(make_trainer: MakeTrainer, weights: Weights) -> None:
    trainer = make_trainer()
    for _ in range(3):
        trainer.step_once()
    with torch.no_grad():
        trainer.model.embedding.weight[2, 0] = math.inf
    before = weights(trainer)
    with pytest.raises(NonFiniteLossError, match=r"after 3 updates.*learning_rate") as error:
        trainer.step_once()
    assert "kept" in error.value.mend
    assert torch.equal(weights(trainer), before)
    assert trainer.step == 3


def test_an_exploding_training_says_what_to_do(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        training__learning_rate=10, training__max_grad_norm=0, training__max_steps=5, training__eval_steps=0
    )
    with torch.no_grad():
        trainer.model.final_norm.weight.fill_(3e38)
    with pytest.raises(
        NonFiniteLossError,
        match=r"lower training\.learning_rate, for example to 3\.3, .* set training\.max_grad_norm to 1",
    ):
        trainer.fit()


def test_an_exploding_training_with_muon_names_both_rates(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(training__optimizer="muon", training__muon_learning_rate=0.3, training__eval_steps=0)
    with torch.no_grad():
        trainer.model.embedding.weight.fill_(math.inf)
    with pytest.raises(NonFiniteLossError, match=r"and training\.muon_learning_rate to 0\.1, or"):
        trainer.fit()


# -- running


def test_step_once_gives_the_same_as_fit(make_trainer: MakeTrainer, weights: Weights) -> None:
    driven, fitted = make_trainer(), make_trainer()
    fitted.fit()
    steps = 0
    while driven.step_once():
        steps += 1
        assert driven.step == steps
    assert steps == 12
    assert torch.equal(weights(driven), weights(fitted))
    assert driven.val_loss == fitted.val_loss


def test_interrupted_in_the_middle_of_an_update(make_trainer: MakeTrainer, weights: Weights) -> None:
    broken, whole = make_trainer(training__accumulation_steps=3), make_trainer(training__accumulation_steps=3)
    work = broken.work()
    while next(work).step < 5:
        pass
    assert next(work).kind == "micro_batch"
    assert next(work).kind == "micro_batch"
    work.close()  # type: ignore[attr-defined]
    assert broken.step == 5
    broken.fit()
    whole.fit()
    assert torch.equal(weights(broken), weights(whole))


def test_stop_ends_after_the_step_with_all_that_belongs_to_it(make_trainer: MakeTrainer) -> None:
    log = Log()
    trainer = make_trainer(callbacks=[log])
    for work in trainer.work():
        if work.step == 3 and work.kind == "micro_batch":
            trainer.stop()
    assert trainer.step == 4
    assert log.hooks[-3:] == ["step 4", "evaluation 4", "end of step 4"]


def test_two_trainings_in_turns_do_not_touch_each_other(make_trainer: MakeTrainer, weights: Weights) -> None:
    alone = make_trainer(model__dropout=0.1)
    alone.fit()
    pair = make_trainer(model__dropout=0.1), make_trainer(model__dropout=0.1, seed=8)
    running = [trainer.work() for trainer in pair]
    while running:
        running = [work for work in running if next(work, None) is not None]
    assert torch.equal(weights(pair[0]), weights(alone))


def test_gradients_stay_on_for_the_thread_between_pieces(make_trainer: MakeTrainer) -> None:
    for _ in make_trainer(training__max_steps=4).work():
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_in_another_thread(make_trainer: MakeTrainer, weights: Weights) -> None:
    here, there = make_trainer(), make_trainer()
    here.fit()
    thread = threading.Thread(target=lambda: (torch.set_num_threads(1), there.fit()))
    thread.start()
    thread.join()
    assert torch.equal(weights(here), weights(there))


# -- saving and loading


@pytest.mark.parametrize("at", [0, 1, 5, 11, 12])
def test_continuing_from_a_copy_is_exact(make_trainer: MakeTrainer, weights: Weights, at: int) -> None:
    settings = {"model__dropout": 0.2, "training__accumulation_steps": 2}
    whole, first, second = (make_trainer(**settings) for _ in range(3))
    expected = whole.fit()
    for _ in range(at):
        first.step_once()
    state = first.state_dict()
    first.fit()  # later updates do not change the copy
    second.load_state_dict(state)
    assert second.step == at
    found = second.fit()
    assert torch.equal(weights(second), weights(whole))
    assert (found.loss, found.val_loss) == (expected.loss, expected.val_loss)
    assert (second.loss_ema, second.tokens_seen) == (whole.loss_ema, whole.tokens_seen)
    later = second.state_dict().optimizer
    assert all(torch.equal(value, later[name]) for name, value in whole.state_dict().optimizer.items())


def test_a_state_of_another_model_is_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(CheckpointError, match="do not fit"):
        make_trainer().load_state_dict(make_trainer(model__d_model=32).state_dict())


def test_progress_that_is_damaged_is_refused(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    state = trainer.state_dict()
    del state.progress["tokens_seen"]
    with pytest.raises(CheckpointError, match="tokens_seen"):
        trainer.load_state_dict(state)


def test_no_copy_of_half_an_update(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.is_whole = False
    with pytest.raises(CheckpointError, match="interrupted"):
        trainer.state_dict()


# -- max_seconds


def test_time_becomes_steps_once(make_trainer: MakeTrainer, weights: Weights) -> None:
    log = Log()
    timed = make_trainer(
        training__max_seconds=0.3, training__warmup_steps=None, training__eval_steps=0, callbacks=[log]
    )
    timed.step_once()
    (budget,) = log.kind("budget")
    settled = timed.config.training
    assert settled.max_seconds is None
    assert budget["max_steps"] == settled.max_steps >= 1
    assert budget["seconds"] == 0.3
    assert timed.step == 1
    assert timed.tokens_seen == 6 * 8  # the timed updates were undone
    again = make_trainer(training__max_steps=settled.max_steps, training__warmup_steps=None, training__eval_steps=0)
    again.step_once()
    assert torch.equal(weights(timed), weights(again))
    assert log.hooks[:2] == ["start", "budget"]


def test_a_warm_up_that_was_asked_for_leaves_room(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(training__max_seconds=0.2, training__warmup_steps=100_000, training__eval_steps=0)
    trainer.step_once()
    settled = trainer.config.training
    assert settled.warmup_steps == settled.max_steps // 5
