"""Our rules against the logits processors of the transformers library, where both define the same rule."""

from __future__ import annotations

import pytest
import torch

from minigpt.generation.penalties import RepetitionPenalty
from minigpt.generation.samplers import SamplerChain, TemperatureSampler
from minigpt.generation.truncation import MinPSampler, TopKSampler, TopPSampler, TypicalSampler

PAIRS = [
    (TemperatureSampler(0.7), lambda rules: [rules.TemperatureLogitsWarper(0.7)]),
    (TopKSampler(7), lambda rules: [rules.TopKLogitsWarper(7)]),
    (TopPSampler(0.8), lambda rules: [rules.TopPLogitsWarper(0.8)]),
    (TopPSampler(0.05), lambda rules: [rules.TopPLogitsWarper(0.05)]),
    (MinPSampler(0.1), lambda rules: [rules.MinPLogitsWarper(0.1)]),
    (TypicalSampler(0.6), lambda rules: [rules.TypicalLogitsWarper(0.6)]),
    (RepetitionPenalty(1.4), lambda rules: [rules.RepetitionPenaltyLogitsProcessor(1.4)]),
    (
        SamplerChain([RepetitionPenalty(1.2), TemperatureSampler(1.5), TopKSampler(20), TopPSampler(0.9)]),
        lambda rules: [
            rules.RepetitionPenaltyLogitsProcessor(1.2), rules.TemperatureLogitsWarper(1.5),
            rules.TopKLogitsWarper(20), rules.TopPLogitsWarper(0.9),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "make_theirs"), PAIRS, ids=[ours.describe() for ours, _ in PAIRS])
def test_the_same_distribution_as_transformers(ours, make_theirs):
    rules = pytest.importorskip("transformers.generation.logits_process", reason="transformers is not installed")
    generator = torch.Generator().manual_seed(5)
    for scale in (0.1, 1.0, 3.0, 12.0):  # from nearly even to nearly certain
        # float64: in float32 a cumulative sum can fall on either side of p
        logits = torch.randn(25, 60, generator=generator, dtype=torch.float64) * scale
        ids = torch.randint(60, (25, 9), generator=generator)
        theirs = logits
        for rule in make_theirs(rules):
            theirs = rule(ids, theirs)
        after, _ = ours.process(logits, ids)
        assert torch.allclose(torch.softmax(after, -1), torch.softmax(theirs, -1), atol=1e-12)
