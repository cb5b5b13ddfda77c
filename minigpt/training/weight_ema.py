"""An exponential moving average (EMA) of the weights.

mean_n = mean_(n-1) + (1 - d) / (1 - d**n) * (weights_n - mean_(n-1)),  d = decay

Late in a training the weights move randomly around a point that is better than any of them. Their mean is close to it.

Source: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; the factor 1 / (1 - d**n) is
the bias correction of Kingma and Ba 2015, "Adam", section 3.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer


class WeightEMA:
    """The mean of a model's weights over its updates; recent weights count most.

    Args:
        model: The model in training.
        decay: Between 0 and 1: the weights of n updates ago count `decay**n` times as much as the current ones.

    Attributes:
        decay: As given.
        model: A second model that holds the mean; before the first update it holds the initial weights.
    """

    def __init__(self, model: Transformer, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._mean: list[torch.Tensor] = list(self.model.parameters())
        self._weights: list[torch.Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after update number `step`, counted from 1, to the mean.

        The new weights get the share (1 - d) / (1 - d**step). It is 1 at the first update, so the initial weights have
        no part in the mean, and it approaches 1 - d.
        """
        torch._foreach_lerp_(self._mean, self._weights, (1 - self.decay) / (1 - self.decay**step))
