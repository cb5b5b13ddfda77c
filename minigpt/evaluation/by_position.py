"""Loss by position: how well a model predicts at each place of its context, and beyond the one it was trained with.

    loss_t = mean over windows of -log p(token_{t+1} | tokens 0 ... t)

Intuition: the first position has no text to go by, so its loss is high; with more context the loss falls. Past the
trained context a model meets distances that it has never seen. Positions that are formulas can still be computed
there; whether the model can use them is another question.

Shapes: N windows, T positions.
Source: Press et al. 2022, "Train Short, Test Long", section 2.2, for the question; Khandelwal et al. 2018, "Sharp
Nearby, Fuzzy Far Away", for the loss as a function of the context.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from minigpt.errors import ShapeError
from minigpt.generation.inference import evaluation_mode
from minigpt.model.transformer import Transformer

ROWS = 32
"""Windows in one forward pass."""


def lengthened(model: Transformer, sequence_length: int) -> Transformer:
    """Return a copy of a model that accepts a longer context.

    All weights are those of the model. Learned positions beyond the old context have never been trained: they keep the
    small random numbers of a new model.

    Args:
        model: Any model.
        sequence_length: The new context, at least as long as the old one.

    Raises:
        ShapeError: It is shorter.
    """
    old = model.config.sequence_length
    if sequence_length < old:
        raise ShapeError(
            f"The new context of {sequence_length} is shorter than that of the model, {old}.",
            mend=f"Give {old} or more.",
        )
    longer = Transformer(model.config.model_copy(update={"sequence_length": sequence_length}), model.vocab_size)
    longer.to(model.device, model.embedding.weight.dtype)
    state = model.state_dict()
    if model.config.positions == "learned":
        table = longer.state_dict()["positions.weight"].clone()
        table[:old] = state["positions.weight"]
        state["positions.weight"] = table
    longer.load_state_dict(state)
    return longer.train(model.training)


def loss_by_position(model: Transformer, windows: torch.Tensor) -> np.ndarray:
    """Return the mean loss after each position, in nats per token.

    Args:
        model: Any model whose context holds T - 1 tokens.
        windows: Token ids (N, T), int64, at least two of each.

    Returns:
        (T - 1,); entry t is the loss of the prediction after token t, which has seen t + 1 tokens.

    Raises:
        ShapeError: The windows are not (N, T), or have no token to predict.
    """
    if windows.ndim != 2 or not len(windows) or windows.shape[1] < 2:
        raise ShapeError(
            f"windows has shape {tuple(windows.shape)}; it must be (N, T), with one window and two tokens or more.",
            mend="Cut the text into windows of equal length.",
        )
    total = torch.zeros(windows.shape[1] - 1, dtype=torch.float64)
    with evaluation_mode(model):
        for some in torch.split(windows, ROWS):
            logits = model(some[:, :-1].to(model.device)).float().transpose(1, 2)  # (N, V, T - 1)
            total += F.cross_entropy(logits, some[:, 1:].to(model.device), reduction="none").sum(dim=0).double().cpu()
    return (total / len(windows)).numpy()
