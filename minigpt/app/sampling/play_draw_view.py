"""Be the sampler in numbers and words: a draw falls on a cumulative bar, and the text grows by the token it hits.

torch is imported inside the functions that the compute gate calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minigpt.app.sampling.inspector_view import next_logits
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import plain, quoted, t
from minigpt.randomness import uniform
from minigpt.viz.distribution import TokenChance

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

CHOICES = (3, 6, 12, 24)
"""Choices for the number of tokens on the bar."""
USUAL = 6
CERTAIN = 0.85
"""A token with this chance on the bar comes without a question."""
MOST_PASSED = 40
"""So many tokens come without a question at most."""


@dataclass(frozen=True)
class Written:
    """A token that the text has grown by.

    Attributes:
        token_id: Its id.
        text: The token.
        share: Its chance on the bar.
        u: The draw.
        is_right: Whether the visitor picked it; None if it came by itself.
    """

    token_id: int
    text: str
    share: float
    u: float
    is_right: bool | None = None


@dataclass(frozen=True)
class Turn:
    """One draw.

    Attributes:
        reading: The prompt.
        passed: Tokens that were drawn before it without a question, because the likeliest one was nearly certain.
        chances: The tokens that top-k leaves, in order of ids, as they fill the bar.
        ids: Their ids.
        u: The draw, in [0, 1), in hundredths.
        right: Index of the token on which it falls.
    """

    reading: Reading
    passed: tuple[Written, ...]
    chances: tuple[TokenChance, ...]
    ids: tuple[int, ...]
    u: float
    right: int

    @property
    def drawn(self) -> Written:
        """The token on which the draw falls."""
        chance = self.chances[self.right]
        return Written(self.ids[self.right], chance.text, chance.after, self.u)


@dataclass
class Game:
    """A game so far; the session keeps it.

    Attributes:
        question: What the text depends on; for another question a new game begins.
        seed: Seed of the draws.
        written: The tokens of the finished turns.
        turn: The turn that has been decided and is still on show, None while the visitor has to pick.
        picked: Index of the token that the visitor picked in it.
    """

    question: tuple[object, ...]
    seed: int
    written: list[Written] = field(default_factory=list)
    turn: Turn | None = None
    picked: int = 0

    @property
    def name(self) -> str:
        """Name of the draw on show; a pick that names another one comes too late."""
        return f"{hash(self.question) & 0xFFFFFF:x}.{self.seed}.{len(self.written)}"

    def decide(self, turn: Turn, picked: int) -> None:
        """Take the visitor's pick."""
        self.turn, self.picked = turn, picked

    def go_on(self) -> None:
        """Let the text grow by the right token, and draw again."""
        if self.turn is not None:
            self.written = self.tokens(self.turn)
            self.turn = None

    def tokens(self, turn: Turn) -> list[Written]:
        """Return all tokens that the text has grown by at a turn, with the drawn one if it has been decided."""
        before = [*self.written, *turn.passed]
        if self.turn is None:
            return before
        return [*before, replace(turn.drawn, is_right=self.picked == turn.right)]


def turn_of(run: LanguageModel, prompt: str, written: tuple[int, ...], count: int, seed: int) -> Turn:
    """Return the next draw that is worth a question, as top-k sampling makes it.

    The draw is rounded down to hundredths, so that it can be read off the bar. Special tokens are left out: the text
    goes on.

    Args:
        run: Model and tokenizer.
        prompt: The text to continue.
        written: The tokens that follow it so far.
        count: Most tokens on the bar.
        seed: Seed of the draws; the number of written tokens chooses among them.
    """
    context = run.model.config.sequence_length
    reading = read_prompt(run, prompt, context, context)
    passed: tuple[Written, ...] = ()
    while True:
        ids = (*reading.ids, *written, *(token.token_id for token in passed))
        turn = _turn(run, reading, passed, ids, count, uniform(seed, 0, len(written) + len(passed)))
        if max(chance.after for chance in turn.chances) < CERTAIN or len(passed) == MOST_PASSED:
            return turn
        passed = (*passed, turn.drawn)


def _turn(
    run: LanguageModel, reading: Reading, passed: tuple[Written, ...], ids: tuple[int, ...], count: int, exact: float
) -> Turn:
    """Return the draw of the token after `ids`, with the random number `exact` in hundredths."""
    import torch

    from minigpt.generation.samplers import draw
    from minigpt.generation.truncation import TopKSampler

    logits = torch.from_numpy(next_logits(run, ids))
    if run.tokenizer.eos_id is not None:
        logits[run.tokenizer.eos_id] = -math.inf
    before = torch.softmax(logits, -1)
    after = torch.softmax(TopKSampler(count).process(logits)[0], -1)
    u = math.floor(100 * exact) / 100
    right = int(draw(after.unsqueeze(0), [u]))
    left = tuple(after.nonzero().flatten().tolist())
    low = (after.cumsum(-1) - after).tolist()
    chances = tuple(TokenChance(run.tokenizer.token_text(i), float(before[i]), float(after[i]), low[i]) for i in left)
    return Turn(reading, passed, chances, left, u, left.index(right))


def verdict(turn: Turn, picked: int) -> str:
    """Return whether a pick is right, and why."""
    right, other = turn.chances[turn.right], turn.chances[picked]
    words = {"u": f"{turn.u:.2f}", "token": quoted(right.text), "low": _border(right.low), "high": _border(right.high)}
    if picked == turn.right:
        return t("sampling.draw_right", **words)
    key = "sampling.draw_before" if other.low > turn.u else "sampling.draw_after"
    return t(key, picked=quoted(other.text), begin=_border(other.low), end=_border(other.high), **words)


def _border(place: float) -> str:
    """Write a place on the bar with as many digits as decide on which side of a border a draw lies."""
    return f"{min(place, 1.0):.3f}"


def score(tokens: Sequence[Written]) -> str:
    """Return how many picks were right."""
    picks = [token.is_right for token in tokens if token.is_right is not None]
    return t("sampling.draw_score", right=f"**{sum(picks)}**", total=f"**{len(picks)}**")


def sentences(turn: Turn) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    widest = max(turn.chances, key=lambda chance: chance.after)
    kept = math.fsum(chance.before for chance in turn.chances)
    return [
        t("sampling.draw_see_bar", count=len(turn.chances), kept=f"**{100 * min(kept, 1.0):.0f} %**"),
        t("sampling.draw_see_widest", token=quoted(widest.text), share=f"**{100 * widest.after:.0f}**"),
    ]


def text_label(tokens: Sequence[Written]) -> str:
    """Return a text alternative for the text."""
    return plain(t("sampling.draw_text", count=len(tokens)))
