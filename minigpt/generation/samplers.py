"""How the next token is chosen: rules reshape the distribution, then one random number decides.

    p = softmax(rules(logits));   token = the smallest i with p_0 + ... + p_i > u,   u uniform in [0, 1)

A `Sampler` contains no randomness. It takes logits and returns logits, with `-inf` for every token that it removes.
So rules can be chained, and every stage can be shown. Randomness enters in one place: `draw` looks up where the random
number `u`, the *dice*, falls on the cumulative distribution. Two strategies with the same dice therefore choose
different tokens only because of their rules.

Everything is computed on the CPU in float64, so that all devices choose the same tokens.

Shapes: B rows, V vocabulary. Wherever `(B, V)` is accepted, a single row `(V,)` is too.
Sources: top-k, Fan et al. 2018 (arXiv:1805.04833); top-p, Holtzman et al. 2020 (arXiv:1904.09751); min-p, Nguyen et
al. 2024 (arXiv:2407.01082).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from minigpt.errors import SamplingError, ShapeError
from minigpt.randomness import uniform

TOLERANCE = 2.0**-22
"""Probabilities that differ by less count as equal, because float32 logits cannot distinguish them. Without it, four
equally likely tokens and `p = 0.5` would keep two or three of them, depending on rounding."""


def draw(probs: torch.Tensor, u: torch.Tensor | Sequence[float]) -> torch.Tensor:
    """Choose a token per row: the inverse of the cumulative distribution at `u`, in order of token ids.

        token = the smallest i with p_0 + ... + p_i > u * sum(p)

    Args:
        probs: `(B, V)`, not negative; a row need not sum to one.
        u: `(B,)`, the random number of each row, in [0, 1).

    Returns:
        `(B,)` int64. A token of probability zero is never returned, for any `u`.

    Raises:
        SamplingError: All probabilities of a row are zero, or one is not a number.

    >>> draw(torch.tensor([[0.5, 0.0, 0.5]]), [0.49]).item(), draw(torch.tensor([[0.5, 0.0, 0.5]]), [0.5]).item()
    (0, 2)
    """
    cumulative = probs.to("cpu", torch.float64).numpy().cumsum(-1)  # numpy takes a third of torch's time here
    ids = []
    for row, dice in zip(cumulative, u, strict=True):
        total = row[-1]
        if not total > 0:  # also true for NaN
            raise SamplingError(
                "No token has a probability left, or one of them is not a number.",
                mend="Loosen the rules, or check that the model's weights are finite.",
            )
        token = int(row.searchsorted(float(dice) * total, "right"))  # the first sum above u
        if token == len(row):  # u was 1, or was rounded up to 1
            token = int(row.searchsorted(total))
        ids.append(token)
    return torch.tensor(ids)


def _keep_largest(logits: torch.Tensor, threshold: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Keep the `count` largest logits of each row and set the others to -inf; of equal logits the lowest ids stay.

    Args:
        logits: (B, V) or (V,).
        threshold: The smallest logit to keep, (B, 1) or (1,).
        count: How many to keep, one number or (B, 1).
    """
    keep = logits >= threshold
    surplus = keep.sum(-1, keepdim=True) - count
    if bool((surplus > 0).any()):  # ties at the threshold
        tied = logits == threshold
        room = tied.sum(-1, keepdim=True) - surplus
        keep &= ~tied | (tied.cumsum(-1) <= room)
    return logits.masked_fill(~keep, -math.inf)


class Sampler(ABC):
    """A rule that reshapes the distribution of the next token; subclasses implement `process` and `describe`."""

    @abstractmethod
    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Return the reshaped logits and the rule's new state. The given logits are not modified.

        Args:
            logits: `(B, V)` or `(V,)`; `-inf` marks a token that is already removed.
            ids: `(B, T)`, the tokens so far, for rules that depend on them.
            state: The state that the previous call returned; None at the first call.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the rule in a few words, for labels and notes."""

    def sample(self, logits: torch.Tensor, *, seed: int = 0, position: int = 0) -> torch.Tensor:
        """Choose one token per row.

        Args:
            logits: `(V,)` or `(B, V)`.
            seed: Seed of the random numbers.
            position: Index of the random number; row r of a batch uses number (seed, r, position).

        Returns:
            int64, `()` for one row and `(B,)` for a batch, on the device of the logits.

        >>> GreedySampler().sample(torch.tensor([0.0, 3.0, 1.0])).item()
        1
        """
        is_tensor = isinstance(logits, torch.Tensor)
        if not is_tensor or logits.dim() not in (1, 2) or not logits.numel() or not logits.is_floating_point():
            given = (
                f"have shape {tuple(logits.shape)} and type {logits.dtype}"
                if is_tensor
                else f"are {type(logits).__name__}"
            )
            raise ShapeError(
                f"Logits {given}; they must be decimals of shape (V,) or (B, V).",
                mend="Give the last position's logits, for example logits[:, -1].",
            )
        rows = self.process(logits if logits.dim() == 2 else logits.unsqueeze(0))[0]
        dice = [uniform(seed, row, position) for row in range(rows.shape[0])]
        ids = draw(torch.softmax(_float64(rows), -1), dice).to(logits.device)
        return ids if logits.dim() == 2 else ids[0]


def _float64(logits: torch.Tensor) -> torch.Tensor:
    return logits.to("cpu", torch.float64)


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise SamplingError(f"{name} is {value}; it must be {allowed}.", mend=f"Set {name} accordingly.")


class GreedySampler(Sampler):
    """Always the most likely token; of equally likely ones, the one with the lowest id."""

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove all but the most likely token; see `Sampler.process`."""
        logits = _float64(logits)
        highest, first = logits.max(-1, keepdim=True)  # the first of several equals
        return torch.full_like(logits, -math.inf).scatter_(-1, first, highest), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return "greedy"


class TemperatureSampler(Sampler):
    """Sharpens (below 1) or flattens (above 1) the distribution: logits / temperature; 0 is greedy.

    Args:
        temperature: 0 or more. Very small values do not overflow.
    """

    def __init__(self, temperature: float) -> None:
        _check(math.isfinite(temperature) and temperature >= 0, "temperature", temperature, "a number from 0 up")
        self.temperature = float(temperature)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Divide the logits by the temperature; see `Sampler.process`."""
        if self.temperature == 0:
            return GreedySampler().process(logits, ids, state)
        logits = _float64(logits)
        if self.temperature == 1:
            return logits, state
        # Relative to the largest logit, so that a tiny temperature gives 0 and -inf, never inf - inf.
        return (logits - logits.amax(-1, keepdim=True)) / self.temperature, state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"temperature {self.temperature:g}" + (" (greedy)" if self.temperature == 0 else "")


class TopKSampler(Sampler):
    """Keeps the k most likely tokens. With ties it still keeps exactly k: of equal tokens the lowest ids stay.

    Args:
        k: 1 or more; a k of the vocabulary's size or more keeps every token.
    """

    def __init__(self, k: int) -> None:
        _check(math.isfinite(k) and k >= 1 and k == int(k), "top_k", k, "a whole number from 1 up")
        self.k = int(k)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove all but the k most likely tokens; see `Sampler.process`."""
        logits = _float64(logits)
        if self.k >= logits.shape[-1]:
            return logits, state
        threshold = logits.topk(self.k, sorted=False).values.amin(-1, keepdim=True)
        return _keep_largest(logits, threshold, self.k), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"top-k {self.k}"


class TopPSampler(Sampler):
    """Keeps the smallest set of most likely tokens with total probability p or more; also called *nucleus sampling*.

    At least one token is kept. The softmax that follows renormalises the rest. The probabilities are those of the given
    logits, so earlier rules of a chain count.

    Args:
        p: In (0, 1]; 1 keeps every token.
    """

    FIRST_LOOK = 64
    """How many tokens are sorted first; more of a large vocabulary are sorted only if these do not reach p."""

    def __init__(self, p: float) -> None:
        _check(0 < p <= 1, "top_p", p, "above 0 and at most 1")
        self.p = float(p)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove the unlikely tokens beyond probability p; see `Sampler.process`."""
        logits = _float64(logits)
        if self.p == 1:
            return logits, state
        vocab_size = logits.shape[-1]
        highest = logits.amax(-1, keepdim=True)
        wanted = (self.p - TOLERANCE) * (logits - highest).exp_().sum(-1, keepdim=True)
        looked_at = min(self.FIRST_LOOK, vocab_size)
        while True:
            values = logits.topk(looked_at).values
            mass = (values - highest).exp_().cumsum(-1)
            if looked_at == vocab_size or bool((mass[..., -1:] >= wanted).all()):
                break
            looked_at = min(looked_at * 8, vocab_size)
        count = ((mass < wanted).sum(-1, keepdim=True) + 1).clamp_(max=looked_at)
        return _keep_largest(logits, values.gather(-1, count - 1), count), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"top-p {self.p:g}"


class MinPSampler(Sampler):
    """Keeps the tokens that are at least p times as likely as the most likely one.

    Args:
        p: In [0, 1]; 0 keeps every token, 1 only the most likely one and those equal to it.
    """

    def __init__(self, p: float) -> None:
        _check(0 <= p <= 1, "min_p", p, "from 0 to 1")
        self.p = float(p)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove tokens less than p times as likely as the most likely one; see `Sampler.process`."""
        logits = _float64(logits)
        if self.p == 0:
            return logits, state
        border = logits.amax(-1, keepdim=True) + (math.log(self.p) - TOLERANCE)
        return logits.masked_fill(logits < border, -math.inf), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"min-p {self.p:g}"


class SamplerChain(Sampler):
    """Applies rules one after another; with no rule it samples from the model's own distribution.

    Args:
        stages: The rules, in order.
    """

    def __init__(self, stages: Sequence[Sampler]) -> None:
        self.stages = tuple(stages)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Apply the stages in order; see `Sampler.process`. The state is a tuple with one entry per stage."""
        states = list(state or (None,) * len(self.stages))
        for i, stage in enumerate(self.stages):
            logits, states[i] = stage.process(logits, ids, states[i])
        return logits, tuple(states)

    def describe(self) -> str:
        """Return the rules in a few words, in order."""
        return ", ".join(stage.describe() for stage in self.stages) or "as the model says"
