"""A recording sampler changes nothing and keeps what the other one did."""

from __future__ import annotations

import torch

from minigpt.generation.recording import RecordingSampler
from minigpt.generation.truncation import TopKSampler


def test_it_keeps_the_distribution_before_and_after() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    recording = RecordingSampler(TopKSampler(2))
    after, _ = recording.process(logits)
    expected, _ = TopKSampler(2).process(logits)
    assert torch.equal(after, expected)
    assert torch.allclose(recording.before, torch.softmax(logits[0].double(), -1))
    assert (recording.after > 0).tolist() == [False, False, True, True]
    assert recording.count == 1
    assert recording.describe() == TopKSampler(2).describe()
