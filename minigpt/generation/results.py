"""What generation returns: each written token with its probabilities and its random number, and the finished text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Candidate(NamedTuple):
    """A token that could come next, with the model's own probability, before any sampling rule."""

    token_id: int
    text: str
    probability: float


class GeneratedToken(NamedTuple):
    """One token that was written, and how it was chosen."""

    token_id: int
    text: str
    """The token's text; cut short where a stop text begins inside the token. Bytes that are not a whole character are
    written like `\\xe2`."""
    written: str
    """What the token adds to the generated text: "" while the bytes of a character are incomplete."""
    probability: float
    """Probability of drawing this token, after the sampler's rules."""
    model_probability: float
    """Probability that the model gave this token, before any rule."""
    u: float
    """The uniform random number in [0, 1) that decided the draw: the dice."""
    runners_up: tuple[Candidate, ...]
    """The most likely other tokens, by the model's own probability."""
    n: int
    """Index of the token, counted from 0 at the first token written."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished text."""

    prompt: str
    completion: str
    """What was written; a character whose last bytes did not come is left out."""
    text: str
    """Prompt and completion."""
    tokens: tuple[GeneratedToken, ...]
    num_new_tokens: int
    seconds: float
    tokens_per_second: float
    stop_reason: str
    """`length` (all tokens written), `stop` (a stop text came), `eos` (the model ended the text) or `cancelled`."""
    notes: tuple[str, ...]
    """What was overridden, replaced or left out, each in one sentence."""


@dataclass(frozen=True, slots=True)
class FoundText:
    """A text that a beam search found."""

    prompt: str
    completion: str
    text: str
    """Prompt and completion."""
    num_new_tokens: int
    log_prob: float
    """Logarithm of the probability of the completion, in nats."""
    score: float
    """What the search compared: `log_prob` divided by length^length_penalty."""
    stop_reason: str
    """`eos` if the model ended the text, else `length`."""
    notes: tuple[str, ...]
    """What was replaced in the prompt or left out, each in one sentence."""
