"""A running mean of the weights: late in a training the weights jitter around a better place than any they are at.

Source: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; as a mean that forgets, with
the correction of its start by Kingma and Ba 2015 ("Adam", section 3).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer


class WeightEMA:
    """The mean of a model's weights over its updates, the latest weighing most.

    Args:
        model: Whose weights are followed.
        decay: How slowly the mean forgets: the weights of n updates ago count `decay**n` as much as the present ones.

    Attributes:
        model: A model of its own that holds the mean; before the first update, what the other one began with.
    """

    def __init__(self, model: Transformer, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._mean: list[torch.Tensor] = list(self.model.parameters())
        self._weights: list[torch.Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update number `step`, counted from 1.

        The share of the new weights is (1 - d) / (1 - d**step): all of it at first, so that the weights of before the
        training have no part in the mean, and 1 - d in the long run.
        """
        torch._foreach_lerp_(self._mean, self._weights, (1 - self.decay) / (1 - self.decay**step))
