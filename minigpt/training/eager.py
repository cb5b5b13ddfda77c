"""torch's AdamW and SGD without torch's compiler.

torch's optimizers import the compiler when the first one is made, even if nothing is compiled. That takes a second, and
70 MB of memory. Here are the same methods without the wrappers that import it; they compute the same numbers.

Reads after: the documentation of `torch.optim`.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

_adamw_step: Any = inspect.unwrap(torch.optim.AdamW.step)
_sgd_step: Any = inspect.unwrap(torch.optim.SGD.step)


class Eager(torch.optim.Optimizer):
    """An optimizer whose own methods do not import the compiler."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class AdamW(Eager, torch.optim.AdamW):
    """torch's AdamW."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update."""
        _adamw_step(self, closure)


class SGD(Eager, torch.optim.SGD):
    """torch's SGD."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update."""
        _sgd_step(self, closure)
