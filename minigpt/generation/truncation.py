"""Rules that remove unlikely tokens: top-k, top-p, min-p, typical, top-n-sigma and mirostat.

    top-k        the k most likely tokens
    top-p        the smallest set of most likely tokens with sum p_i >= p
    min-p        tokens with p_i >= p * max p
    typical      the smallest set with sum p_i >= mass, of the tokens whose surprise -log p_i is nearest to the entropy
    top-n-sigma  tokens with logit_i >= max logit - n * standard deviation of the logits
    mirostat     tokens with surprise -log2 p_i <= mu; mu follows the text, so that its mean surprise stays near tau

A rule never removes every token: the most likely one stays, with typical the most typical one. What is left is
renormalised by the softmax that follows.

Reads after: samplers.py. Shapes: B rows, V vocabulary; a single row (V,) is accepted too.
Sources: top-k, Fan et al. 2018 (arXiv:1805.04833), section 5; top-p, Holtzman et al. 2020 (arXiv:1904.09751), section
3.1; min-p, Nguyen et al. 2024 (arXiv:2407.01082), section 3; typical, Meister et al. 2023 (arXiv:2202.00666), section
4; top-n-sigma, Tang et al. 2024 (arXiv:2411.07641), section 3; mirostat, Basu et al. 2021 (arXiv:2007.14966), in the
second version that its authors published as code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from minigpt.generation.samplers import Sampler, check, float64

TOLERANCE = 2.0**-22
"""Probabilities that differ by less count as equal, because float32 logits cannot distinguish them. Without it, four
equally likely tokens and `p = 0.5` would keep two or three of them, depending on rounding."""


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


class TopKSampler(Sampler):
    """Keeps the k most likely tokens. With ties it still keeps exactly k: of equal tokens the lowest ids stay.

    Args:
        k: 1 or more; a k of the vocabulary's size or more keeps every token.
    """

    has_state = False

    def __init__(self, k: int) -> None:
        check(math.isfinite(k) and k >= 1 and k == int(k), "top_k", k, "a whole number from 1 up")
        self.k = int(k)

    @property
    def is_greedy(self) -> bool:
        """Whether k is 1."""
        return self.k == 1

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove all but the k most likely tokens; see `Sampler.process`."""
        logits = float64(logits)
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
    """How many tokens are sorted first; all of a large vocabulary are sorted only if these do not reach p."""

    has_state = False

    def __init__(self, p: float) -> None:
        check(0 < p <= 1, "top_p", p, "above 0 and at most 1")
        self.p = float(p)

    @property
    def is_inactive(self) -> bool:
        """Whether every token is kept."""
        return self.p == 1

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove the unlikely tokens beyond probability p; see `Sampler.process`."""
        logits = float64(logits)
        if self.is_inactive:
            return logits, state
        vocab_size = logits.shape[-1]
        highest = logits.amax(-1, keepdim=True)
        wanted = (self.p - TOLERANCE) * (logits - highest).exp_().sum(-1, keepdim=True)
        values = logits.topk(min(self.FIRST_LOOK, vocab_size)).values
        mass = (values - highest).exp_().cumsum(-1)
        if values.shape[-1] < vocab_size and not bool((mass[..., -1:] >= wanted).all()):
            # NumPy sorts numbers alone, without their places, in a small part of the time that torch takes for both
            values = torch.from_numpy(-np.sort(-logits.detach().numpy(), -1))
            mass = (values - highest).exp_().cumsum(-1)
        count = ((mass < wanted).sum(-1, keepdim=True) + 1).clamp_(max=vocab_size)
        return _keep_largest(logits, values.gather(-1, count - 1), count), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"top-p {self.p:g}"


class MinPSampler(Sampler):
    """Keeps the tokens that are at least p times as likely as the most likely one.

    Args:
        p: In [0, 1]; 0 keeps every token, 1 only the most likely one and those equal to it.
    """

    has_state = False

    def __init__(self, p: float) -> None:
        check(0 <= p <= 1, "min_p", p, "from 0 to 1")
        self.p = float(p)

    @property
    def is_inactive(self) -> bool:
        """Whether every token is kept."""
        return self.p == 0

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove tokens less than p times as likely as the most likely one; see `Sampler.process`."""
        logits = float64(logits)
        if self.is_inactive:
            return logits, state
        border = logits.amax(-1, keepdim=True) + (math.log(self.p) - TOLERANCE)
        return logits.masked_fill(logits < border, -math.inf), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"min-p {self.p:g}"


class TypicalSampler(Sampler):
    """Keeps the smallest set of the most *typical* tokens with total probability `mass` or more.

        distance_i = | -log p_i - H |,   H = -sum p_i log p_i

    A token is typical if its surprise is near the entropy H, the surprise that is expected. So a token can be removed
    because it is too unlikely, and also because it is too likely. Of equally typical tokens the lowest ids stay.

    Args:
        mass: In (0, 1]; 1 keeps every token.

    The most likely of four tokens is removed: its surprise, 0.92 nats, is farther from the entropy, 1.33, than 1.61 is.

    >>> logits = torch.tensor([0.4, 0.2, 0.2, 0.2]).log()
    >>> torch.softmax(TypicalSampler(0.5).process(logits)[0], -1).tolist()
    [0.0, 0.3333333333333333, 0.3333333333333333, 0.3333333333333333]
    """

    has_state = False

    def __init__(self, mass: float) -> None:
        check(0 < mass <= 1, "typical", mass, "above 0 and at most 1")
        self.mass = float(mass)

    @property
    def is_inactive(self) -> bool:
        """Whether every token is kept."""
        return self.mass == 1

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove the least typical tokens beyond the mass; see `Sampler.process`."""
        logits = float64(logits)
        if self.is_inactive:
            return logits, state
        log_probs = torch.log_softmax(logits, -1)
        possible = log_probs > -math.inf
        probs = log_probs.exp()
        entropy = -(probs * log_probs.where(possible, 0.0)).sum(-1, keepdim=True)
        # rounded, so that tokens which float32 logits cannot tell apart count as equally typical
        distance = ((-log_probs - entropy).abs() / TOLERANCE).round().where(possible, math.inf)
        order = distance.sort(dim=-1, stable=True).indices
        mass_before = probs.gather(-1, order).cumsum(-1).roll(1, -1)
        mass_before[..., 0] = 0.0
        kept_in_order = mass_before < self.mass - TOLERANCE
        keep = torch.zeros_like(possible).scatter(-1, order, kept_in_order)
        return logits.masked_fill(~keep, -math.inf), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"typical {self.mass:g}"


class TopNSigmaSampler(Sampler):
    """Keeps the tokens whose logit is at most n standard deviations below the largest logit.

        keep i if logit_i >= max logit - n * sigma

    Most logits are noise around a common value; the few that stand out by several sigma carry what the model knows.
    The border does not depend on a temperature applied before, since that scales distance and sigma alike. Sigma is
    that of all tokens still possible, with their number as the divisor.

    Args:
        n: 0 or more; 0 keeps only the most likely token and those equal to it.

    >>> logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()  # sigma 0.521, so the border is -0.916 - 0.521 = -1.437
    >>> torch.isfinite(TopNSigmaSampler(1).process(logits)[0]).tolist()
    [False, False, True, True]
    """

    has_state = False

    def __init__(self, n: float) -> None:
        check(math.isfinite(n) and n >= 0, "top_n_sigma", n, "a number from 0 up")
        self.n = float(n)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove tokens more than n sigma below the best one; see `Sampler.process`."""
        logits = float64(logits)
        possible = logits > -math.inf
        count = possible.sum(-1, keepdim=True)
        highest = logits.amax(-1, keepdim=True)
        distance = (highest - logits).where(possible, 0.0)  # from the largest, so that huge logits stay exact
        variance = (distance - distance.sum(-1, keepdim=True) / count).square().where(possible, 0.0)
        sigma = (variance.sum(-1, keepdim=True) / count).sqrt()
        return logits.masked_fill(highest - logits > self.n * sigma + TOLERANCE, -math.inf), state

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"top-n-sigma {self.n:g}"


@dataclass(frozen=True)
class MirostatState:
    """What mirostat carries from token to token.

    Attributes:
        mu: (B, 1), the largest surprise that the last token could have, in bits.
        surprise: (B, V), -log2 of the probability that each token had after the cut.
    """

    mu: torch.Tensor
    surprise: torch.Tensor


class MirostatSampler(Sampler):
    """Steers the surprise of the text towards `tau` bits a token, by a border that follows what was drawn.

        keep i if -log2 p_i <= mu;   after each token: mu <- mu - eta * (surprise of the token - tau)

    A draw more surprising than tau lowers the border, a dull one raises it. So the text neither falls into a loop nor
    falls apart, whatever the model's own certainty. mu begins at 2 tau. The surprise is measured after the cut, on the
    renormalised probabilities. The drawn token is read from `ids` at the next call.

    Args:
        tau: Surprise aimed at, in bits per token, above 0.
        eta: Learning rate of the border, in (0, 1].

    With tau 1 the first border is 2 bits: of 1/2, 1/4 and twice 1/8 the first two stay, as 2/3 and 1/3. If the second
    is drawn, its surprise is log2(3) = 1.585 bits, and the border becomes 2 - 0.5 * 0.585.

    >>> logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    >>> kept, state = MirostatSampler(1, 0.5).process(logits, torch.tensor([[0]]))
    >>> torch.isfinite(kept).tolist()
    [[True, True, False, False]]
    >>> round(MirostatSampler(1, 0.5).process(logits, torch.tensor([[0, 1]]), state)[1].mu.item(), 3)
    1.708
    """

    def __init__(self, tau: float, eta: float = 0.1) -> None:
        check(math.isfinite(tau) and tau > 0, "mirostat", tau, "a number of bits above 0")
        check(0 < eta <= 1, "mirostat's eta", eta, "above 0 and at most 1")
        self.tau, self.eta = float(tau), float(eta)

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: MirostatState | None = None
    ) -> tuple[torch.Tensor, MirostatState]:
        """Remove tokens more surprising than the border; see `Sampler.process`."""
        logits = float64(logits)
        surprise = -torch.log_softmax(logits, -1) / math.log(2)
        if state is None or ids is None:
            mu = torch.full_like(surprise[..., :1], 2 * self.tau)
        else:
            drawn = ids[..., -1:].to("cpu").reshape(state.mu.shape)
            mu = state.mu - self.eta * (state.surprise.gather(-1, drawn) - self.tau)
        border = mu.maximum(surprise.amin(-1, keepdim=True)) + TOLERANCE  # the most likely token always stays
        kept = logits.masked_fill(surprise > border, -math.inf)
        return kept, MirostatState(mu, -torch.log_softmax(kept, -1) / math.log(2))

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"mirostat {self.tau:g} bits"
