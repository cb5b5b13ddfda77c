"""What a referee says, on every face: Train, Sampling and the command line judge the same text alike."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from minigpt.app.sampling import side_rules, side_texts, side_view
from minigpt.app.session.compute import Task
from minigpt.app.texts import has
from minigpt.app.train import view as train_view
from minigpt.cli.root import cli
from minigpt.config import RunConfig
from minigpt.data.corpora import load_corpus
from minigpt.data.generators import GENERATORS
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import load_run
from minigpt.runs.metrics import append_record
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import snapshot_of

TINY = {
    "model.num_layers": 1, "model.num_heads": 1, "model.d_model": 8, "model.sequence_length": 16,
    "training.max_steps": 2, "training.batch_size": 2, "training.eval_batches": 1, "training.sample_steps": 0,
    "training.history_per_octave": 0, "training.num_threads": 1,
}  # fmt: skip
JUDGED = [name for name, generator in GENERATORS.items() if generator.referee is not None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    corpus = load_corpus("tictactoe", num_chars=20_000)
    folder = create_run(RunConfig().updated(TINY), corpus, path=tmp_path_factory.mktemp("runs") / "games")
    for _ in TrainingJob(folder).work():
        pass
    return folder


@pytest.mark.parametrize("name", JUDGED)
def test_every_item_has_words(name):
    for count in GENERATORS[name].referee(GENERATORS[name].write(300)):
        assert has(f"frame.item_{count.what}")


def test_the_faces_count_the_same(folder):
    prompt, options = "a1 b2 c3 ", {"max_new_tokens": 30, "temperature": 1.0, "seed": 4}
    (column,) = side_texts.write(load_run(folder.path), [side_rules.Rule("temperature=1")], prompt, 30, 4, Task())
    verdict = side_view.verdict_on(column, folder.path)
    moves = verdict[0]
    assert moves.right >= 3
    assert f"**{moves.right} of {moves.total}** moves right" in side_view.figures(column, verdict)

    arguments = ["generate", str(folder.path), "--prompt", prompt]
    arguments += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    printed = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert printed["referee"] == {count.what: {"right": count.right, "total": count.total} for count in verdict}
    plain = CliRunner().invoke(cli, arguments)
    assert f"right: {moves.right} of {moves.total} moves, " in plain.stderr
    assert "right:" not in plain.stdout


def test_train_draws_the_entropy_and_the_shares_in_words(folder):
    snapshot = snapshot_of(folder)
    entropy = train_view.entropy(snapshot)
    assert entropy == pytest.approx(GENERATORS["tictactoe"].entropy_bits_per_char() * math.log(2), rel=2e-3)
    assert list(train_view.right_curves(snapshot)) == ["moves", "results"][: len(snapshot.right)]
    text = " ".join(train_view.sentences(snapshot))
    assert f"{entropy:.2f} nats for each character" in text
    assert f"of {snapshot.judged['moves']} moves" in text


def test_a_record_of_somebody_else_adds_no_words(folder):
    record = {"kind": "evaluation", "step": 9, "val_loss": 1.0, "whole": False}
    for right in ({"<b>bold</b>": 0.5}, {"moves": "many"}, ["moves"], {"moves": True}, {"moves": {"moves": 1}}):
        append_record(folder.path / "metrics.jsonl", {**record, "right": right, "judged": right})
    snapshot = snapshot_of(folder)
    assert set(train_view.right_curves(snapshot)) <= {"moves", "results"}
    assert "<b>" not in " ".join(train_view.sentences(snapshot))
