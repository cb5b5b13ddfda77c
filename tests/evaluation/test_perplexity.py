import math
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import RunConfig, TransformerConfig
from minigpt.errors import CorpusError, InputError
from minigpt.evaluation import perplexity
from minigpt.evaluation.perplexity import ModelEvaluator, windows
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.base import BOS_ID, UNK_ID
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "a bad cab faced a deaf dad; a bee fed a cad. " * 3


def real_run(context=8, **config):
    tokenizer = CharacterTokenizer().train(TEXT)
    config = TransformerConfig(num_layers=2, num_heads=2, d_model=16, sequence_length=context, **config)
    model = Transformer(config, tokenizer.vocab_size, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return SimpleNamespace(model=model, tokenizer=tokenizer)


class UniformModel(torch.nn.Module):
    """Gives all tokens the same probability, and records the shapes of its inputs."""

    def __init__(self, vocab_size, context=8):
        super().__init__()
        self.config, self.vocab_size, self.device = (
            SimpleNamespace(sequence_length=context),
            vocab_size,
            torch.device("cpu"),
        )
        self.shapes = []

    def forward(self, ids, *, cache=None, probe=None):
        assert torch.is_inference_mode_enabled()
        self.shapes.append(tuple(ids.shape))
        return torch.zeros(*ids.shape, self.vocab_size)


def uniform_run(alphabet="abcd", context=8):
    tokenizer = CharacterTokenizer().train(alphabet)
    return SimpleNamespace(model=UniformModel(tokenizer.vocab_size, context), tokenizer=tokenizer)


def slow_nats(run, text, stride):
    """Score one prediction per forward pass, with the context that its window gives it."""
    ids = [BOS_ID, *run.tokenizer.encode(text)]
    context, nats = run.model.config.sequence_length, []
    run.model.eval()
    for target in range(1, len(ids)):
        begin = max(0, math.ceil((target - context) / stride) * stride)  # the first window that reaches the target
        with torch.no_grad():
            logits = run.model(torch.tensor([ids[begin:target]]))[0, -1].double()
        nats.append(-torch.log_softmax(logits, -1)[ids[target]].item())
    return nats


@given(st.integers(1, 60), st.integers(2, 12), st.data())
def test_windows_score_each_prediction_once(length, context, data):
    stride = data.draw(st.integers(1, context))
    plan = list(windows(length, context, stride))
    scored = [position for window in plan for position in range(window.end - window.num_scored, window.end)]
    assert scored == list(range(length))
    for window in plan[1:]:
        assert 1 <= window.end - window.begin <= context
        assert window.num_scored <= stride
        assert window.end - window.num_scored - window.begin == context - stride  # what is read before the first scored
    assert plan[-1].end == length


@pytest.mark.parametrize("stride", [1, 3, 7, 8, None])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 100])
def test_equal_to_scoring_one_at_a_time(stride, length):
    run = real_run()
    text = TEXT[:length]
    nats = slow_nats(run, text, stride or 8)
    found = ModelEvaluator(run, batch_size=3).evaluate(text, stride=stride, return_predictions=True)
    assert found.loss == pytest.approx(sum(nats) / len(nats), rel=1e-5)
    assert [score.nats for score in found.predictions] == pytest.approx(nats, rel=1e-3, abs=1e-5)
    assert "".join(score.text for score in found.predictions) == text
    assert found.num_tokens_scored == length


def test_a_uniform_model_costs_ln_v_by_hand():
    found = ModelEvaluator(uniform_run()).evaluate("abcdabcdab")  # 4 characters and 4 special tokens: V = 8
    assert found.loss == pytest.approx(math.log(8))
    assert found.perplexity == pytest.approx(8)
    assert found.bits_per_char == pytest.approx(3)
    assert found.bits_per_byte == pytest.approx(3)
    assert (found.num_tokens, found.num_tokens_scored, found.num_chars, found.num_bytes) == (10, 10, 10, 10)
    assert (found.stride, found.context, found.num_unknown, found.predictions) == (8, 8, 0, None)


def test_bits_per_byte_differ_from_bits_per_char_where_characters_take_more_bytes():
    found = ModelEvaluator(uniform_run("aéбв")).evaluate("aéбв")
    assert found.num_bytes == 7
    assert found.bits_per_char == pytest.approx(3)
    assert found.bits_per_byte == pytest.approx(12 / 7)


def test_a_stride_computes_positions_again_but_scores_each_once():
    found = ModelEvaluator(uniform_run()).evaluate("abcd" * 5, stride=2)
    assert (found.num_tokens, found.num_tokens_scored) == (8 * 7, 20)


def test_more_context_is_worth_something():
    """A model that repeats the token six positions back predicts well only if it can see that token."""

    class Copier(UniformModel):
        def forward(self, ids, *, cache=None, probe=None):
            logits = super().forward(ids)
            for t in range(5, ids.shape[1]):
                logits[:, t, :].scatter_(-1, ids[:, t - 5, None], 9.0)
            return logits

    run = uniform_run("abcdef")
    run.model = Copier(run.tokenizer.vocab_size, 8)
    losses = [ModelEvaluator(run).evaluate("abcdef" * 8, stride=stride).loss for stride in (1, 4, 8)]
    assert losses[0] < losses[1] < losses[2]


def test_the_loss_is_pooled_not_averaged():
    run = real_run()
    parts = [ModelEvaluator(run).evaluate(TEXT[:8]), ModelEvaluator(run).evaluate(TEXT[8:9])]
    predictions = ModelEvaluator(run).evaluate(TEXT[:9], return_predictions=True).predictions
    pooled = sum(score.nats for score in predictions) / 9
    assert ModelEvaluator(run).evaluate(TEXT[:9]).loss == pytest.approx(pooled)
    assert pooled != pytest.approx(sum(part.loss for part in parts) / 2, rel=1e-3)


# --- the first character, short texts ---


@pytest.mark.parametrize("text", ["", "a"])
def test_too_little_to_score_without_bos(text, monkeypatch):
    monkeypatch.setattr(CharacterTokenizer, "bos_id", None)
    with pytest.raises(CorpusError, match="nothing to score"):
        ModelEvaluator(uniform_run()).evaluate(text)


def test_an_empty_text_is_refused():
    with pytest.raises(CorpusError, match="the text is empty"):
        ModelEvaluator(uniform_run()).evaluate("")


def test_one_character_after_bos_suffices():
    assert ModelEvaluator(uniform_run()).evaluate("a").num_tokens_scored == 1


def test_without_bos_the_first_token_is_context_only(monkeypatch):
    monkeypatch.setattr(CharacterTokenizer, "bos_id", None)
    found = ModelEvaluator(uniform_run()).evaluate("ab日", return_predictions=True)
    assert found.num_tokens_scored == 2
    assert [score.text for score in found.predictions] == ["b", "日"]


# --- unknown characters ---


def test_unknown_characters_are_charged_and_reported():
    found = ModelEvaluator(uniform_run()).evaluate("aé日b", return_predictions=True)
    escape = math.log(1_114_112 - 4)
    assert found.num_unknown == 2
    assert found.escape_nats == pytest.approx(escape)
    assert found.loss == pytest.approx(math.log(8) + 2 * escape / 4)
    assert [(score.text, score.is_unknown) for score in found.predictions] == [
        ("a", False), ("é", True), ("日", True), ("b", False)
    ]  # fmt: skip
    assert found.predictions[1].token_id == UNK_ID
    assert found.predictions[1].nats == pytest.approx(math.log(8) + escape)
    assert found.predictions[1].probability == pytest.approx(1 / 8)
    assert sum(score.nats for score in found.predictions) / 4 == pytest.approx(found.loss)


def test_a_lone_surrogate_is_one_more_unknown_character_unless_the_text_is_cleaned():
    run = uniform_run()
    assert ModelEvaluator(run).evaluate("a\ud800").num_chars == 1
    run.config = RunConfig().updated({"data.clean": False})
    assert ModelEvaluator(run).evaluate("a\ud800").num_unknown == 1


# --- predictions ---


def test_predictions_say_rank_and_candidates():
    run = real_run()
    found = ModelEvaluator(run).evaluate(TEXT[:6], return_predictions=True, num_candidates=3)
    ids = [BOS_ID, *run.tokenizer.encode(TEXT[:6])]
    with torch.no_grad():
        probs = torch.softmax(run.model(torch.tensor([ids[:-1]]))[0], -1)
    for position, score in enumerate(found.predictions):
        order = probs[position].argsort(descending=True).tolist()
        assert order.index(score.token_id) + 1 == score.rank
        assert [candidate.token_id for candidate in score.top] == order[:3]
        assert score.probability == pytest.approx(probs[position, score.token_id].item(), rel=1e-4)
        assert score.bits == pytest.approx(-math.log2(score.probability), rel=1e-4)


# --- running ---


def test_windows_are_computed_side_by_side(monkeypatch):
    run = uniform_run()
    ModelEvaluator(run, batch_size=4).evaluate("abcd" * 12 + "a")
    assert run.model.shapes == [(4, 8), (2, 8), (1, 1)]
    monkeypatch.setattr(perplexity, "MAX_LOGITS", 2 * 8 * 8)
    run.model.shapes.clear()
    ModelEvaluator(run, batch_size=4).evaluate("abcd" * 8)
    assert run.model.shapes == [(2, 8), (2, 8)]


def test_progress_is_reported_and_cancelling_works():
    run, calls = uniform_run(), []
    ModelEvaluator(run, batch_size=2).evaluate("abcd" * 10, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(16, 40), (32, 40), (40, 40)]
    with pytest.raises(CancelledError):
        ModelEvaluator(run).evaluate("abcd", cancelled=lambda: True)


def test_the_model_keeps_its_mode_and_dropout_is_off():
    run = real_run(dropout=0.5)
    run.model.train()
    losses = {ModelEvaluator(run).evaluate(TEXT).loss for _ in range(3)}
    assert len(losses) == 1
    assert run.model.training


@pytest.mark.parametrize("stride", [0, -1, 9, 1.5])
def test_a_stride_outside_the_context_is_refused(stride):
    with pytest.raises(InputError, match=f"stride is {stride}; .* from 1 to 8"):
        ModelEvaluator(real_run()).evaluate(TEXT, stride=stride)


@pytest.mark.parametrize(
    "tokenizer", [ByteTokenizer(), BPETokenizer(12).train("aé日 aé日 — — " * 9)], ids=["byte", "bpe"]
)
@pytest.mark.parametrize("text", ["aé日", "é", "日 — x\U0001f600", "abc"])
def test_bits_are_per_character_and_byte_of_the_text_whatever_tokens_cut(tokenizer, text):
    run = SimpleNamespace(model=UniformModel(tokenizer.vocab_size), tokenizer=tokenizer)
    evaluation = ModelEvaluator(run).evaluate(text, return_predictions=True)
    bits = math.log2(tokenizer.vocab_size) * len(tokenizer.encode(text))
    assert evaluation.bits_per_char == pytest.approx(bits / len(text))
    assert evaluation.bits_per_byte == pytest.approx(bits / len(text.encode()))
    assert (evaluation.num_unknown, evaluation.num_chars) == (0, len(text))
    assert [score.text for score in evaluation.predictions] == tokenizer.token_pieces(text)
