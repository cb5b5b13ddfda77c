"""Dropout with a generator that the caller provides.

    y = x * keep / (1 - p)        keep: 1 with probability 1 - p, else 0, drawn for each number

`torch.nn.Dropout` draws from torch's global generator, which all threads of the process share. A second training run,
or a page that samples, would then change what the first one learns.

Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
"""

from __future__ import annotations

import torch
from torch import nn

from minigpt.errors import ConfigError


@torch.library.custom_op("minigpt::draw", mutates_args=("state",))
def _draw(like: torch.Tensor, probability: float, state: torch.Tensor) -> torch.Tensor:
    """Draw ones and zeros as `bernoulli_` does, from a generator's state; torch.compile accepts no generator itself.

    Args:
        like: Gives shape, type and device.
        probability: Of a one.
        state: Of the generator; it is updated in place.
    """
    generator = torch.Generator(device=like.device)
    generator.set_state(state)
    drawn = torch.empty_like(like).bernoulli_(probability, generator=generator)
    state.copy_(generator.get_state())
    return drawn


@_draw.register_fake
def _(like: torch.Tensor, probability: float, state: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(like)


class Dropout(nn.Module):
    """During training, set each number to zero with probability p and divide the others by 1 - p.

        y = x * keep / (1 - p)

    The division keeps the expected value, so nothing has to change for evaluation. In evaluation mode, or with p = 0,
    the input itself is returned and nothing is drawn.

    Args:
        probability: p, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.generator: torch.Generator | None = None
        self.state: torch.Tensor | None = None

    def seed(self, generator: torch.Generator, state: torch.Tensor) -> None:
        """Set the generator to draw from.

        Args:
            generator: Used by the plain model.
            state: A copy of its state, shared by all dropouts of the model; used by the compiled model.
        """
        self.generator, self.state = generator, state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply dropout to `x`, of any shape.

        Raises:
            ConfigError: The model trains with dropout, but has no generator.
        """
        if not self.training or self.probability == 0:
            return x
        if self.generator is None:
            raise ConfigError(
                f"The model is in training mode with dropout {self.probability}, but has no generator to draw from.",
                mend="Call model.seed_dropout(generator) first, or model.eval() if nothing should be dropped.",
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
