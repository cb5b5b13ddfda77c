"""Dropout whose chance is keyed: set random numbers to zero, by a generator that the caller gave.

`torch.nn.Dropout` draws from torch's global generator, which every thread of the process shares; a second training, or
a page that samples, would change what the first one learns.

Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
"""

from __future__ import annotations

import torch
from torch import nn

from minigpt.errors import ConfigError


@torch.library.custom_op("minigpt::draw", mutates_args=("state",))
def _draw(like: torch.Tensor, probability: float, state: torch.Tensor) -> torch.Tensor:
    """Draw ones and zeros as `bernoulli_` does; torch.compile takes the state of a generator, but no generator."""
    generator = torch.Generator(device=like.device)
    generator.set_state(state)
    drawn = torch.empty_like(like).bernoulli_(probability, generator=generator)
    state.copy_(generator.get_state())
    return drawn


@_draw.register_fake
def _(like: torch.Tensor, probability: float, state: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(like)


class Dropout(nn.Module):
    """While training, set each number to zero with `probability` and scale the others by 1 / (1 - probability).

    The scale keeps the expected value, so that nothing has to change when training is over. Evaluation and
    probability 0 return the input itself and draw nothing.

    Args:
        probability: Share of the numbers to drop, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.generator: torch.Generator | None = None
        self.state: torch.Tensor | None = None

    def seed(self, generator: torch.Generator, state: torch.Tensor) -> None:
        """Draw from a generator from now on; compiled, from a copy of its state that all dropouts of a model share."""
        self.generator, self.state = generator, state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop numbers of `x`, of any shape.

        Raises:
            ConfigError: Training with dropout, but no generator was given.
        """
        if not self.training or self.probability == 0:
            return x
        if self.generator is None:
            raise ConfigError(
                f"The model is in training mode with dropout {self.probability}, but has no generator to draw from.",
                mend="Call model.seed_dropout(generator) first, or model.eval() where nothing is to be dropped.",
            )
        keep = 1 - self.probability
        if torch.compiler.is_compiling():
            drawn: torch.Tensor = _draw(x.detach(), keep, self.state)
            return x * (drawn / keep)
        kept = torch.empty_like(x).bernoulli_(keep, generator=self.generator)
        return x * kept.div_(keep)

    def extra_repr(self) -> str:
        """Describe the module in `print(model)`."""
        return f"probability={self.probability}"
