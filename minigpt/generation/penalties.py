"""Rules against repetition: they lower the logits of tokens that the text already has.

    repetition   logit / penalty if the logit is positive, logit * penalty if not
    frequency    logit - penalty * (times that the token has appeared)
    presence     logit - penalty if it has appeared
    DRY          logit - multiplier * base^(length - allowed), for a token that would lengthen a repeated sequence

The first three look at single tokens, so in a character model they punish the letter `e`; DRY looks at whole sequences.
The prompt counts as text. -1 among the ids is padding and no token.

Reads after: samplers.py. Shapes: B rows, T tokens so far, V vocabulary; a row (V,) with ids (T,) is accepted too.
Sources: repetition, Keskar et al. 2019 (arXiv:1909.05858), section 4.1; frequency and presence, as in OpenAI's
completions interface, 2021; DRY ("don't repeat yourself"), P. E. Weidmann 2024, as text-generation-webui has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from minigpt.arguments import is_whole
from minigpt.generation.samplers import Sampler, check, float64


def _counts(logits: torch.Tensor, ids: torch.Tensor, window: int | None) -> torch.Tensor:
    """Return how often each token occurs among the newest `window` of each row, in the shape of the logits."""
    ids = ids.to("cpu").reshape(*logits.shape[:-1], -1)
    if window is not None:
        ids = ids[..., -window:]
    # ids that the vocabulary lacks are counted nowhere: padding, and tokens of a longer vocabulary
    known = (ids >= 0) & (ids < logits.shape[-1])
    return torch.zeros_like(logits).scatter_add_(-1, ids.where(known, 0), known.to(logits.dtype))


def _check_window(window: int | None) -> None:
    check(window is None or (is_whole(window) and window >= 1), "window", window, "a whole number from 1 up")


class RepetitionPenalty(Sampler):
    """Makes tokens that have appeared less likely, once, however often they appeared.

        logit -> logit / penalty if logit > 0, else logit * penalty

    The effect depends on where the zero of the logits lies, which means nothing to a model; frequency and presence
    penalties do not have this flaw.

    Args:
        penalty: Above 0; above 1 discourages, below 1 encourages, 1 changes nothing.
        window: Newest tokens that count; None means all.

    >>> RepetitionPenalty(2).process(torch.tensor([3.0, 3.0, -1.0]), torch.tensor([0, 2]))[0].tolist()
    [1.5, 3.0, -2.0]
    """

    has_state = False

    def __init__(self, penalty: float, window: int | None = None) -> None:
        check(math.isfinite(penalty) and penalty > 0, "repetition_penalty", penalty, "a number above 0")
        _check_window(window)
        self.penalty, self.window = float(penalty), window

    @property
    def is_inactive(self) -> bool:
        """Whether nothing changes."""
        return self.penalty == 1

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Scale the logits of tokens that have appeared; see `Sampler.process`."""
        logits = float64(logits)
        if ids is None or self.is_inactive:
            return logits, state
        scaled = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
        return torch.where(_counts(logits, ids, self.window) > 0, scaled, logits), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"repetition penalty {self.penalty:g}"


class _CountPenalty(Sampler):
    """Lowers each token's logit by `penalty` times an amount that follows from how often the token has appeared."""

    has_state = False
    _setting: str

    def __init__(self, penalty: float, window: int | None = None) -> None:
        check(math.isfinite(penalty), self._setting, penalty, "a number")
        _check_window(window)
        self.penalty, self.window = float(penalty), window

    @property
    def is_inactive(self) -> bool:
        """Whether nothing changes."""
        return self.penalty == 0

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Lower the logits of tokens that have appeared; see `Sampler.process`."""
        logits = float64(logits)
        if ids is None:
            return logits, state
        return logits - self.penalty * self._amount(_counts(logits, ids, self.window)), state

    def _amount(self, counts: torch.Tensor) -> torch.Tensor:
        """Return how many times the penalty is subtracted, in the shape of the counts."""
        return counts

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"{self._setting.replace('_', ' ')} {self.penalty:g}"


class FrequencyPenalty(_CountPenalty):
    """Lowers a token's logit by `penalty` for each time that it has appeared.

    Args:
        penalty: Nats for each appearance; negative encourages repetition, 0 changes nothing.
        window: Newest tokens that count; None means all.

    >>> FrequencyPenalty(0.5).process(torch.tensor([3.0, 3.0, 3.0]), torch.tensor([0, 2, 2]))[0].tolist()
    [2.5, 3.0, 2.0]
    """

    _setting = "frequency_penalty"


class PresencePenalty(_CountPenalty):
    """Lowers a token's logit by `penalty` if it has appeared, however often.

    Args:
        penalty: Nats; negative encourages repetition, 0 changes nothing.
        window: Newest tokens that count; None means all.

    >>> PresencePenalty(0.5).process(torch.tensor([3.0, 3.0, 3.0]), torch.tensor([0, 2, 2]))[0].tolist()
    [2.5, 3.0, 2.5]
    """

    _setting = "presence_penalty"

    def _amount(self, counts: torch.Tensor) -> torch.Tensor:
        return (counts > 0).to(counts.dtype)


def repeated_lengths(ids: Sequence[int], breakers: frozenset[int] = frozenset()) -> dict[int, int]:
    """Return how long a repetition each token would continue, if it came next.

    Token x continues a repetition of length n if the newest n tokens have occurred earlier with x behind them. A
    repetition does not reach across a breaker, and a breaker continues none.

    Args:
        ids: The tokens so far.
        breakers: Tokens at which a repetition begins anew, such as the line break.

    Returns:
        Token to the longest such n, for tokens with n of 1 or more.

    >>> repeated_lengths([1, 2, 3, 1, 2])  # 1 2 came before, followed by 3
    {3: 2}
    """
    newest_first = list(reversed(ids))
    longest = next((n for n, token in enumerate(newest_first) if token in breakers), len(newest_first))
    matches = _prefix_matches(newest_first)
    lengths: dict[int, int] = {}
    for place in range(1, len(newest_first)):
        length = min(matches[place], longest)
        following = newest_first[place - 1]
        if following not in breakers and length > lengths.get(following, 0):
            lengths[following] = length
    return lengths


def _prefix_matches(values: list[int]) -> list[int]:
    """Return for each place how many values from there on equal the beginning of the list: the Z-algorithm, O(T)."""
    matches = [0] * len(values)
    left = right = 0  # the rightmost stretch found so far that equals a beginning
    for place in range(1, len(values)):
        length = min(right - place, matches[place - left]) if place < right else 0
        while place + length < len(values) and values[length] == values[place + length]:
            length += 1
        matches[place] = length
        if place + length > right:
            left, right = place, place + length
    return matches


class DRYPenalty(Sampler):
    """Lowers the logit of each token that would lengthen a sequence which the text already has.

        logit - multiplier * base^(length - allowed_length)   if length >= allowed_length

    `length` is that of the repetition before the token, see `repeated_lengths`. The penalty grows exponentially, so
    that long copies are nearly impossible while short words may come again.

    Args:
        multiplier: Nats at the allowed length, 0 or more; 0 changes nothing.
        base: 1 or more.
        allowed_length: Longest repetition that may be lengthened without a penalty, plus one; 1 or more.
        window: Newest tokens that count; None means all.
        breakers: Token ids that no repetition reaches across.

    After `0 1 2 0 1` a 2 would make the repetition three long:

    >>> DRYPenalty(1.0, base=1.1).process(torch.zeros(4), torch.tensor([0, 1, 2, 0, 1]))[0].tolist()
    [0.0, 0.0, -1.0, 0.0]
    """

    has_state = False

    def __init__(
        self,
        multiplier: float,
        base: float = 1.75,
        allowed_length: int = 2,
        *,
        window: int | None = None,
        breakers: Sequence[int] = (),
    ) -> None:
        check(math.isfinite(multiplier) and multiplier >= 0, "dry", multiplier, "a number from 0 up")
        check(math.isfinite(base) and base >= 1, "dry's base", base, "a number from 1 up")
        is_length = is_whole(allowed_length) and allowed_length >= 1
        check(is_length, "dry's allowed length", allowed_length, "a whole number from 1 up")
        _check_window(window)
        self.multiplier, self.base, self.allowed_length = float(multiplier), float(base), int(allowed_length)
        self.window, self.breakers = window, frozenset(breakers)

    @property
    def is_inactive(self) -> bool:
        """Whether nothing changes."""
        return self.multiplier == 0

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Lower the logits of tokens that lengthen a repetition; see `Sampler.process`."""
        logits = float64(logits)
        if ids is None or self.is_inactive:
            return logits, state
        rows = logits.reshape(-1, logits.shape[-1]).clone()
        for row, tokens in zip(rows, ids.to("cpu").reshape(len(rows), -1).tolist(), strict=True):
            text = [token for token in tokens if token >= 0]
            for token, length in repeated_lengths(text[-self.window :] if self.window else text, self.breakers).items():
                if length >= self.allowed_length and token < len(row):
                    row[token] -= self._penalty(length)
        return rows.reshape(logits.shape), state

    def _penalty(self, length: int) -> float:
        try:
            return self.multiplier * self.base ** (length - self.allowed_length)
        except OverflowError:
            return math.inf

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"DRY {self.multiplier:g}"
