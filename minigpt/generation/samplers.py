"""How the next token is chosen: rules reshape the distribution, then one random number decides.

    p = softmax(rules(logits));   token = the smallest i with p_0 + ... + p_i > u,   u uniform in [0, 1)

A `Sampler` contains no randomness. It takes logits and returns logits, with `-inf` for every token that it removes.
So rules can be chained, and every stage can be shown. Randomness enters in one place: `draw` looks up where the random
number `u`, the *dice*, falls on the cumulative distribution. Two strategies with the same dice therefore choose
different tokens only because of their rules.

Everything is computed on the CPU in float64, so that all devices choose the same tokens.

This file has what all rules share, greedy, temperature and the chain. truncation.py removes unlikely tokens,
penalties.py discourages repetition, constraints.py names tokens, playful.py plays with the text. settings.py reads
rules from options and text.

Shapes: B rows, T tokens so far, V vocabulary. Wherever `(B, V)` is accepted, a single row `(V,)` is too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.errors import SamplingError, ShapeError
from minigpt.randomness import uniform

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel


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
    return torch.tensor(draw_ids(probs.to("cpu", torch.float64).numpy(), u))


def draw_ids(probs: NDArray[np.float64], u: Sequence[float] | torch.Tensor) -> list[int]:
    """Do what `draw` does, in NumPy: for one row a third of torch's time.

    >>> draw_ids(np.array([[0.5, 0.0, 0.5]]), [0.5])
    [2]
    """
    cumulative = probs.cumsum(-1)
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
    return ids


class Sampler(ABC):
    """A rule that reshapes the distribution of the next token; subclasses implement `process` and `describe`.

    A rule that is made with an argument out of range raises a `SamplingError`, which says what is allowed.

    Attributes:
        has_state: Whether the state that `process` returns is needed at the next token. A rule that says no can treat
            several texts at once.
    """

    has_state: bool = True

    @property
    def is_inactive(self) -> bool:
        """Whether the rule's setting is the one that changes nothing, such as a temperature of 1."""
        return False

    @property
    def is_greedy(self) -> bool:
        """Whether one token is left at most, so that later rules have nothing to choose from."""
        return False

    @abstractmethod
    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Return the reshaped logits and the rule's new state. The given logits are not modified.

        Args:
            logits: `(B, V)` or `(V,)`; `-inf` marks a token that is already removed.
            ids: `(B, T)`, the tokens so far, for rules that depend on them; -1 is padding and no token.
            state: The state that the previous call returned; None at the first call.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the rule in a few words, for labels and notes."""

    def bound(self, run: LanguageModel) -> Sampler:
        """Return the rule for a run; one that reads text takes the run's tokenizer. Most rules stay as they are.

        `TextGenerator` does this for the sampler that it is given.

        Args:
            run: The run that gives the logits.

        Raises:
            SamplingError: The rule needs what the run does not have.
        """
        return self

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
        ids = draw(torch.softmax(float64(rows), -1), dice).to(logits.device)
        return ids if logits.dim() == 2 else ids[0]


def float64(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits on the CPU in float64, where all rules compute."""
    return logits.to("cpu", torch.float64)


def check(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise a `SamplingError` that says what the setting `name` may be, unless `ok`."""
    if not ok:
        raise SamplingError(f"{name} is {value}; it must be {allowed}.", mend=f"Set {name} accordingly.")


class GreedySampler(Sampler):
    """Always the most likely token; of equally likely ones, the one with the lowest id."""

    has_state = False

    @property
    def is_greedy(self) -> bool:
        """Always: one token is left."""
        return True

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove all but the most likely token; see `Sampler.process`."""
        logits = float64(logits)
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

    has_state = False

    def __init__(self, temperature: float) -> None:
        check(math.isfinite(temperature) and temperature >= 0, "temperature", temperature, "a number from 0 up")
        self.temperature = float(temperature)

    @property
    def is_inactive(self) -> bool:
        """Whether the logits stay as they are."""
        return self.temperature == 1

    @property
    def is_greedy(self) -> bool:
        """Whether the temperature is 0."""
        return self.temperature == 0

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Divide the logits by the temperature; see `Sampler.process`."""
        if self.temperature == 0:
            return GreedySampler().process(logits, ids, state)
        logits = float64(logits)
        if self.is_inactive:
            return logits, state
        # Relative to the largest logit, so that a tiny temperature gives 0 and -inf, never inf - inf.
        return (logits - logits.amax(-1, keepdim=True)) / self.temperature, state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"temperature {self.temperature:g}" + (" (greedy)" if self.temperature == 0 else "")


@dataclass(frozen=True)
class StageReport:
    """What one rule of a chain did to one distribution.

    Attributes:
        sampler: The rule.
        logits: (V,), float64, after the rule.
        probs: (V,), float64, the distribution after the rule, renormalised.
        removed: Ids of the tokens that this rule removed.
        mass_left: Probability, before this rule, of the tokens that it kept.
        has_effect: Whether the distribution changed.
    """

    sampler: Sampler
    logits: torch.Tensor
    probs: torch.Tensor
    removed: tuple[int, ...]
    mass_left: float
    has_effect: bool


class SamplerChain(Sampler):
    """Applies rules one after another; with no rule it samples from the model's own distribution.

    Args:
        stages: The rules, in order.
    """

    def __init__(self, stages: Sequence[Sampler]) -> None:
        self.stages = tuple(stages)
        strangers = [type(stage).__name__ for stage in self.stages if not isinstance(stage, Sampler)]
        if strangers:
            raise SamplingError(f"A stage is {strangers[0]}; each must be a Sampler.", mend="Give samplers.")
        self.has_state = any(stage.has_state for stage in self.stages)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Apply the stages in order; see `Sampler.process`. The state is a tuple with one entry per stage."""
        states = list(state or (None,) * len(self.stages))
        for i, stage in enumerate(self.stages):
            logits, states[i] = stage.process(logits, ids, states[i])
        return logits, tuple(states)

    def bound(self, run: LanguageModel) -> Sampler:
        """Return the chain with its stages for a run."""
        return SamplerChain([stage.bound(run) for stage in self.stages])

    def describe(self) -> str:
        """Return the rules in a few words, in order."""
        return ", ".join(stage.describe() for stage in self.stages) or "as the model says"

    @property
    def is_greedy(self) -> bool:
        """Whether one of the stages is greedy."""
        return any(stage.is_greedy for stage in self.stages)

    def explain(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[StageReport, ...]:
        """Return what each stage does to one distribution.

        Args:
            logits: `(V,)`.
            ids: `(T,)` or `(1, T)`, the tokens so far.
            state: The chain's state, as `process` returns it.

        Raises:
            ShapeError: There are several rows.

        >>> chain = SamplerChain([TemperatureSampler(0.5), GreedySampler()])
        >>> reports = chain.explain(torch.tensor([0.6, 0.4]).log())  # 0.36 / (0.36 + 0.16) is left
        >>> [(round(report.mass_left, 4), report.removed) for report in reports]
        [(1.0, ()), (0.6923, (1,))]
        """
        if logits.dim() != 1:
            raise ShapeError(
                f"Logits have shape {tuple(logits.shape)}; one distribution, (V,), can be explained.",
                mend="Give one row, for example logits[0, -1].",
            )
        row = float64(logits).unsqueeze(0)
        ids = None if ids is None else ids.reshape(1, -1)
        reports = []
        for stage, stage_state in zip(self.stages, state or (None,) * len(self.stages), strict=True):
            after, _ = stage.process(row, ids, stage_state)
            before, probs = torch.softmax(row[0], -1), torch.softmax(after[0], -1)
            kept = after[0] > -math.inf
            removed = (~kept & (row[0] > -math.inf)).nonzero().flatten().tolist()
            mass_left = min(1.0, float(before[kept].sum())) if removed else 1.0
            reports.append(
                StageReport(stage, after[0], probs, tuple(removed), mass_left, not torch.equal(before, probs))
            )
            row = after
        return tuple(reports)
