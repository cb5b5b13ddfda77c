"""Loss by position, within the trained context and beyond it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError
from minigpt.evaluation.by_position import lengthened, loss_by_position
from minigpt.model.transformer import Transformer


def model_of(positions):
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=6, positions=positions)
    return Transformer(config, 11).eval()


WINDOWS = torch.randint(11, (40, 7), generator=torch.Generator().manual_seed(2))


def test_it_is_the_mean_over_windows_of_the_cross_entropy():
    model = model_of("rotary")
    losses = loss_by_position(model, WINDOWS)
    for t in range(6):
        expected = F.cross_entropy(model(WINDOWS[:, :-1])[:, t], WINDOWS[:, t + 1])
        assert losses[t] == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "alibi", "none"])
def test_a_longer_context_leaves_the_trained_one_as_it_was(positions):
    model = model_of(positions)
    longer = lengthened(model, 24)
    assert longer.config.sequence_length == 24
    assert not longer.training
    ids = torch.randint(11, (2, 24), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(longer(ids)[:, :6], model(ids[:, :6]), atol=1e-5, rtol=1e-4)
    assert np.isfinite(loss_by_position(longer, torch.cat([ids, ids[:, :1]], dim=1))).all()


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ShapeError, match="shorter"):
        lengthened(model_of("rotary"), 5)
    for windows in (WINDOWS[0], WINDOWS[:, :1], WINDOWS[:0]):
        with pytest.raises(ShapeError, match=r"\(N, T\)"):
            loss_by_position(model_of("rotary"), windows)
