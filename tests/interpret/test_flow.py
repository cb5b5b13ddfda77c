"""The recording of the flow: every number in it is the model's own, at every step of the writing."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.interpret.flow import NUM_CANDIDATES, Flow, record_flow
from minigpt.interpret.trace import trace_forward
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.character import CharacterTokenizer

PROMPT, NEW = "once ", 6


@pytest.fixture(scope="module")
def run() -> SimpleNamespace:
    tokenizer = CharacterTokenizer().train("once upon a time there was a bear\n")
    config = TransformerConfig(num_layers=2, num_heads=2, d_model=32, sequence_length=16)
    return SimpleNamespace(model=Transformer(config, tokenizer.vocab_size, seed=1), tokenizer=tokenizer)


@pytest.fixture(scope="module")
def flow(run: SimpleNamespace) -> Flow:
    return record_flow(run, PROMPT, num_tokens=NEW)


def test_it_is_json_of_a_text_and_its_continuation(flow: Flow, run: SimpleNamespace) -> None:
    assert flow.num_prompt == len(PROMPT)
    assert "".join(flow.tokens).startswith(PROMPT)
    assert len(flow.tokens) == len(flow.ids) == len(PROMPT) + NEW
    assert json.loads(json.dumps(flow.to_dict()))["num_parameters"] == run.model.num_parameters()


@pytest.mark.parametrize("step", range(NEW))
def test_each_step_is_what_the_model_computed_then(flow: Flow, run: SimpleNamespace, step: int) -> None:
    read = flow.num_prompt + step
    trace = trace_forward(run.model, torch.tensor([flow.ids[:read]]))
    total = len(flow.tokens)
    recorded = np.frombuffer(base64.b64decode(flow.attention), np.uint8).reshape(2, 2, total, total)[..., :read, :read]
    exact = np.stack([pattern[0].numpy() for pattern in trace.attn_pattern])
    assert np.abs(recorded / 255 - exact).max() <= 0.5 / 255 + 1e-6
    choice = flow.choices[step]
    probabilities = trace.probabilities[0, -1]
    ids = {run.tokenizer.token_text(token): token for token in range(run.tokenizer.vocab_size)}
    for text, probability in choice.candidates:
        assert probability == pytest.approx(float(probabilities[ids[text]]), abs=1e-4)
    assert choice.candidates[choice.chosen][0] == flow.tokens[read]
    assert len(choice.candidates) == NUM_CANDIDATES
    assert 0 <= choice.u < 1


def test_embeddings_are_the_first_numbers_of_each_token(flow: Flow, run: SimpleNamespace) -> None:
    recorded = np.frombuffer(base64.b64decode(flow.embeddings), np.int8).reshape(len(flow.tokens), -1)
    exact = trace_forward(run.model, torch.tensor([flow.ids])).embed[0].detach().numpy()[:, : recorded.shape[1]]
    np.testing.assert_allclose(recorded / 127, exact / np.abs(exact).max(), atol=0.5 / 127 + 1e-6)
