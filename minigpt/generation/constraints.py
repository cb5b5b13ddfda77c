"""Rules that name tokens: a bias on some, some forbidden, or only some allowed.

    bias     logit_i + b_i
    banned   logit_i = -inf for each banned i
    only     logit_i = -inf for each i that is not named

Reads after: samplers.py. Shapes: B rows, V vocabulary; a single row (V,) is accepted too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from minigpt.errors import SamplingError
from minigpt.generation.samplers import Sampler, check, float64


def _check_ids(ids: Iterable[int], name: str) -> tuple[int, ...]:
    ids = tuple(ids)
    check(bool(ids) and all(i >= 0 for i in ids), name, list(ids), "one or more token ids, each 0 or more")
    return tuple(dict.fromkeys(ids))


def _column(ids: Iterable[int], vocab_size: int, name: str) -> torch.Tensor:
    """Return the ids as an index, after a check that the vocabulary has them."""
    ids = list(ids)
    beyond = [i for i in ids if i >= vocab_size]
    if beyond:
        raise SamplingError(
            f"{name} names token {beyond[0]}, but the vocabulary ends at token {vocab_size - 1}.",
            mend="Take the ids from the run's own tokenizer.",
        )
    return torch.tensor(ids, dtype=torch.int64)


def _some_left(logits: torch.Tensor, rule: str) -> torch.Tensor:
    """Return the logits, after a check that each row still has a token that can be written."""
    if not bool((logits > -math.inf).any(-1).all()):
        raise SamplingError(f"The rule {rule} leaves no token that can be written.", mend="Name other tokens in it.")
    return logits


class LogitBias(Sampler):
    """Adds a number to the logits of some tokens.

    Args:
        bias: Token id to the nats that are added.

    >>> LogitBias({1: 2.0}).process(torch.zeros(3))[0].tolist()
    [0.0, 2.0, 0.0]
    """

    has_state = False

    def __init__(self, bias: Mapping[int, float]) -> None:
        self.ids = _check_ids(bias, "bias")
        self.values = [float(bias[i]) for i in self.ids]
        check(all(map(math.isfinite, self.values)), "bias", self.values, "one or more numbers")

    @property
    def is_inactive(self) -> bool:
        """Whether nothing changes."""
        return not any(self.values)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Add the bias; see `Sampler.process`."""
        logits = float64(logits)
        column = _column(self.ids, logits.shape[-1], "bias")
        return logits.index_add(-1, column, torch.tensor(self.values).to(logits).expand(*logits.shape[:-1], -1)), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"bias on {len(self.ids)}"


class BannedTokens(Sampler):
    """Removes some tokens.

    Args:
        ids: The tokens that are never written.

    >>> BannedTokens([0, 2]).process(torch.zeros(3))[0].tolist()
    [-inf, 0.0, -inf]
    """

    has_state = False

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = _check_ids(ids, "ban")

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove the banned tokens; see `Sampler.process`."""
        logits = float64(logits)
        column = _column(self.ids, logits.shape[-1], "ban")
        return _some_left(logits.index_fill(-1, column, -math.inf), self.describe()), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"ban of {len(self.ids)}"


class AllowedTokens(Sampler):
    """Removes all tokens except some.

    Args:
        ids: The only tokens that may be written; a single one is forced.

    >>> AllowedTokens([1]).process(torch.zeros(3))[0].tolist()
    [-inf, 0.0, -inf]
    """

    has_state = False

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = _check_ids(ids, "only")

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove all other tokens; see `Sampler.process`."""
        logits = float64(logits)
        column = _column(self.ids, logits.shape[-1], "only")
        left = torch.full_like(logits, -math.inf).index_copy(-1, column, logits.index_select(-1, column))
        return _some_left(left, self.describe()), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"only {len(self.ids)}"
