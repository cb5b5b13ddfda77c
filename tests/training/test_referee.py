"""The share of right answers in the records of a training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text, load_corpus
from minigpt.data.generators import GENERATORS
from minigpt.runs.job import TrainingJob
from minigpt.runs.metrics import read_records
from minigpt.runs.preparation import create_run
from minigpt.runs.snapshots import snapshot_of
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.training.referee import NUM_QUESTIONS, Referee

ASKED = [name for name, generator in GENERATORS.items() if generator.questions is not None]


class Oracle(torch.nn.Module):
    """A model that knows some texts by heart and sees the newest tokens; `wrong` of the texts it ends with another."""

    device = torch.device("cpu")

    def __init__(self, texts, vocab_size, context, wrong):
        super().__init__()
        self.size, self.wrong = vocab_size, wrong
        self.texts = [text[max(0, len(text) - 1 - context) :] for text in texts]

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, self.size)
        for row, tokens in enumerate(ids.tolist()):
            number, text = next((n, t) for n, t in enumerate(self.texts) if tokens[: len(t) - 1] == t[:-1])
            logits[row, range(len(text) - 1), text[1:]] = 1
            if number < self.wrong:
                logits[row, len(text) - 2] = torch.arange(self.size) == 5
        return logits


@pytest.mark.parametrize("context", [64, 24])
@pytest.mark.parametrize("name", ASKED)
def test_an_answer_counts_if_each_token_is_the_likeliest(name, context):
    generator = GENERATORS[name]
    questions = generator.questions(NUM_QUESTIONS)
    tokenizer = CharacterTokenizer().train(generator.write(20_000))
    asked = [tokenizer.encode(f"\n{question.prompt}{question.answer}") for question in questions]
    texts = [list(text) for text in dict.fromkeys(map(tuple, asked))]
    config = RunConfig().updated({"model.sequence_length": context})
    for wrong in (0, 9):
        model = Oracle(texts, tokenizer.vocab_size, context, wrong)
        trainer = SimpleNamespace(eval_model=model, config=config, step=3)
        record = {}
        list(Referee(generator, tokenizer).on_evaluation(trainer, record))
        what = next(iter(record["right"]))
        bad = sum(text in texts[:wrong] for text in asked)
        assert record["judged"][what] == NUM_QUESTIONS
        assert record["right"][what] == pytest.approx(1 - bad / NUM_QUESTIONS, abs=1e-4)


TINY = {
    "model.num_layers": 1, "model.num_heads": 1, "model.d_model": 8, "model.sequence_length": 16,
    "training.max_steps": 4, "training.batch_size": 2, "training.eval_steps": 2, "training.eval_batches": 1,
    "training.sample_steps": 0, "training.history_per_octave": 0, "training.num_threads": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", ["addition", "tictactoe"])
def test_the_share_is_a_curve_of_the_run_and_the_same_when_resumed(name, tmp_path):
    corpus = load_corpus(name, num_chars=20_000)
    folder = create_run(RunConfig().updated(TINY), corpus, path=tmp_path / "run")
    assert folder.generator is GENERATORS[name]
    for _ in TrainingJob(folder).work():
        pass
    evaluations = [record for record in read_records(folder.path / "metrics.jsonl") if record["kind"] == "evaluation"]
    what = GENERATORS[name].referee("\n")[0].what
    assert [record["step"] for record in evaluations] == [0, 2, 4, 4]
    assert all(0 <= record["right"][what] <= 1 and record["judged"][what] > 0 for record in evaluations)
    snapshot = snapshot_of(folder)
    assert [step for step, _ in snapshot.right[what]] == [0, 2, 4]
    assert snapshot.judged[what] == evaluations[-1]["judged"][what]

    shorter = create_run(RunConfig().updated({**TINY, "training.max_steps": 4}), corpus, path=tmp_path / "other")
    job = TrainingJob(shorter)
    for piece in job.work():
        if piece.step == 2 and piece.kind == "evaluation":
            job.request_stop()
    for _ in TrainingJob(shorter).work():
        pass
    again = [record for record in read_records(shorter.path / "metrics.jsonl") if record["kind"] == "evaluation"]
    assert [record["right"] for record in again] == [record["right"] for record in evaluations]


def test_a_text_of_somebody_else_has_no_referee(tmp_path):
    text = GENERATORS["addition"].write(5000)
    folder = create_run(RunConfig().updated(TINY), corpus_from_text(text, name="addition"), path=tmp_path / "run")
    assert folder.generator is None
    for _ in TrainingJob(folder).work():
        pass
    assert all("right" not in record for record in read_records(folder.path / "metrics.jsonl"))
    assert not snapshot_of(folder).right
