"""The Shannon game in numbers and words: guess the next character of a held-out text against the model, in bits.

The visitor guesses one character and says how sure he is. That is a distribution over all characters: the stated chance
on the guess, the rest evenly on the others. So his bits and those of the model are the same measure, the surprise
-log2 p of the character that comes. Shannon let people guess until they were right; here the model's rank stands for
that number of guesses.

Source: Shannon 1951, "Prediction and entropy of printed English". A stated confidence in place of the number of guesses
follows Cover and King 1978, "A convergent gambling estimate of the entropy of English".

A token of several characters is guessed by its first one. The model's chance for a character is that of all tokens that
begin with it. Afterwards the whole token is shown, to both for free.

torch is imported inside the functions that the compute gate calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.components.token_strip import StripToken
from minigpt.app.sampling.inspector_view import next_logits
from minigpt.app.texts import probability, quoted, t
from minigpt.tokenizers.base import REPLACEMENT
from minigpt.viz.labels import visible_token

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

SURE = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
"""Choices for how sure a visitor is."""
USUAL = 0.5
START_CHARS = 24
"""Characters that are shown at the beginning, at most a third of the text."""
MOST_CHARS = 400
"""Longest text of a visitor's own."""
NOT_GUESSED = ("–",) * 5
"""Stands for the numbers of a token that no one can guess, such as a part of a character."""


@dataclass(frozen=True)
class Text:
    """A text as it is guessed.

    Attributes:
        ids: Its tokens, after the start token if there is one.
        tokens: The text of each; "" for the start token.
        first: Index of the first token to guess.
        alphabet: All characters that a token can begin with.
        begins: For each token id the index of its first character in the alphabet, -1 if it stands for no text, (V,).
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    first: int
    alphabet: tuple[str, ...]
    begins: np.ndarray

    def character(self, place: int) -> str | None:
        """Return the character to guess at a place, None if no one can type it or the text has ended."""
        if place >= len(self.ids):
            return None
        begin = int(self.begins[self.ids[place]])
        return None if begin < 0 or self.alphabet[begin] == REPLACEMENT else self.alphabet[begin]

    def next_place(self, place: int) -> int | None:
        """Return the first place from a given one on that can be guessed, None if there is none."""
        return next((at for at in range(place, len(self.ids)) if self.character(at) is not None), None)


def text_of(run: LanguageModel, passage: str) -> Text:
    """Cut a text into tokens, and decide where the guessing begins."""
    from minigpt.generation.inference import cleaned_for

    tokenizer = run.tokenizer
    special = tokenizer.special_ids
    firsts = ["" if i in special else tokenizer.decode([i])[:1] for i in range(tokenizer.vocab_size)]
    alphabet = tuple(sorted(set(firsts) - {""}))
    known = {character: place for place, character in enumerate(alphabet)}
    begins = np.array([known.get(character, -1) for character in firsts], dtype=np.int32)
    passage = cleaned_for(run, passage)
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    ids = (*start, *tokenizer.encode(passage))
    shown, first = 0, len(start)
    while first < len(ids) and (shown < min(START_CHARS, len(passage) // 3) or first == 0):
        shown += len(tokenizer.decode([ids[first]]))
        first += 1
    tokens = tuple("" if i == tokenizer.bos_id else tokenizer.token_text(i) for i in ids)
    return Text(ids, tokens, first, alphabet, begins)


@dataclass(frozen=True)
class Guess:
    """One guess and what came.

    Attributes:
        place: Index of the token in the text.
        guessed: The guessed character.
        sure: The chance that the visitor gave it.
        actual: The character that came.
        token: The token that it began.
        chance: The chance that the visitor gave to the character that came.
        model: The chance that the model gave to it.
        rank: Its place among the model's guesses, from 1.
        best: The model's first guess.
        best_chance: Its chance.
    """

    place: int
    guessed: str
    sure: float
    actual: str
    token: str
    chance: float
    model: float
    rank: int
    best: str
    best_chance: float

    @property
    def is_right(self) -> bool:
        """Whether the guess was right."""
        return self.guessed == self.actual

    @property
    def bits(self) -> float:
        """The visitor's surprise."""
        return -math.log2(self.chance)

    @property
    def model_bits(self) -> float:
        """The model's surprise."""
        return -math.log2(self.model)


@dataclass
class Game:
    """A game so far; the session keeps it.

    Attributes:
        question: What the text depends on; for another question a new game begins.
        guesses: All guesses.
    """

    question: tuple[object, ...]
    guesses: list[Guess] = field(default_factory=list)

    def place(self, text: Text) -> int | None:
        """Return the place to guess next, None if the text has ended."""
        return text.next_place(self.guesses[-1].place + 1 if self.guesses else text.first)


def chances(run: LanguageModel, text: Text, place: int) -> np.ndarray:
    """Return the model's chance for each character of the alphabet at a place, (A,), without special tokens."""
    logits = next_logits(run, text.ids[:place])
    logits[text.begins < 0] = -math.inf
    shares = np.exp(logits - logits.max())
    possible = text.begins >= 0
    sums = np.bincount(text.begins[possible], weights=shares[possible], minlength=len(text.alphabet))
    result: np.ndarray = sums / sums.sum()
    return result


def judge(run: LanguageModel, text: Text, place: int, guessed: str, sure: float) -> Guess:
    """Score a guess, and the model on the same character.

    Args:
        run: Model and tokenizer.
        text: The text.
        place: Index of the token whose first character is guessed.
        guessed: A character of the alphabet.
        sure: The chance that it gets, in (0, 1).
    """
    shares = chances(run, text, place)
    actual = int(text.begins[text.ids[place]])
    order = np.argsort(-shares, kind="stable")
    return Guess(
        place=place,
        guessed=guessed,
        sure=sure,
        actual=text.alphabet[actual],
        token=run.tokenizer.token_text(text.ids[place]),
        chance=stated(sure, len(text.alphabet), is_right=guessed == text.alphabet[actual]),
        model=max(float(shares[actual]), math.ulp(0.0)),
        rank=int((shares > shares[actual]).sum()) + 1,
        best=text.alphabet[int(order[0])],
        best_chance=float(shares[order[0]]),
    )


def stated(sure: float, alphabet: int, *, is_right: bool) -> float:
    """Return the chance that a visitor has given to the character that came.

    Args:
        sure: The chance on the guess.
        alphabet: How many characters there are; the others share the rest evenly.
        is_right: Whether the guess came.

    >>> stated(0.75, 6, is_right=True), stated(0.75, 6, is_right=False)
    (0.75, 0.05)
    """
    return sure if is_right else (1 - sure) / max(1, alphabet - 1)


def guessed_character(typed: str, text: Text) -> str | None:
    """Return the character that a visitor means, None if the model does not know it.

    The signs ␣ and ⏎ stand for a space and a line break, as on the page.
    """
    character = {"␣": " ", "⏎": "\n"}.get(typed[:1], typed[:1])
    return character if character in text.alphabet and character != REPLACEMENT else None


def per_guess(bits: Sequence[float]) -> str:
    """Return the mean of some bits, "–" if there are none."""
    return t("sampling.shannon_bits", bits=f"{math.fsum(bits) / len(bits):.2f}") if bits else "–"


def figures(game: Game, text: Text) -> dict[str, str]:
    """Return the three figures of the game: the visitor's bits a guess, the model's, and those of blind guessing."""
    return {
        "you": per_guess([guess.bits for guess in game.guesses]),
        "model": per_guess([guess.model_bits for guess in game.guesses]),
        "blind": per_guess([math.log2(len(text.alphabet))]),
    }


def verdict(guess: Guess) -> str:
    """Return what came, and what it cost the visitor and the model."""
    key = "sampling.shannon_right" if guess.is_right else "sampling.shannon_wrong"
    model = "sampling.shannon_model_first" if guess.rank == 1 else "sampling.shannon_model_later"
    return " ".join(
        (
            t(
                key,
                actual=quoted(guess.actual),
                guessed=quoted(guess.guessed),
                sure=f"{100 * guess.sure:.0f} %",
                bits=f"**{guess.bits:.2f}**",
            ),
            t(
                model,
                actual=quoted(guess.actual),
                share=f"**{probability(guess.model)}**",
                bits=f"**{guess.model_bits:.2f}**",
                rank=guess.rank,
                best=quoted(guess.best),
                best_share=probability(guess.best_chance),
            ),
        )
    )


def sentences(game: Game, text: Text) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    if not game.guesses:
        return [
            t("sampling.shannon_see_start", alphabet=f"**{len(text.alphabet)}**", blind=figures(game, text)["blind"])
        ]
    yours, models = (math.fsum(bits) for bits in zip(*((g.bits, g.model_bits) for g in game.guesses), strict=True))
    key = "sampling.shannon_see_ahead" if yours < models else "sampling.shannon_see_behind"
    right, first = sum(g.is_right for g in game.guesses), sum(g.rank == 1 for g in game.guesses)
    return [
        t(key, yours=f"**{yours:.1f}**", models=f"**{models:.1f}**", count=len(game.guesses)),
        t("sampling.shannon_see_guesses", right=f"**{right}**", first=f"**{first}**"),
    ]


def strip_tokens(game: Game, text: Text) -> list[StripToken]:
    """Return the tokens after the beginning for drawing, with a sign for the next one if there is one.

    The background shows the visitor's surprise.
    """
    place = game.place(text)
    guesses = {guess.place: guess for guess in game.guesses}
    tokens = []
    for at in range(text.first, len(text.ids) if place is None else place):
        guess = guesses.get(at)
        values = NOT_GUESSED if guess is None else _values(guess)
        tokens.append(StripToken(text.tokens[at], 0.0 if guess is None else guess.bits, values))
    return tokens if place is None else [*tokens, StripToken("?", 0.0, NOT_GUESSED)]


def _values(guess: Guess) -> tuple[str, ...]:
    return (
        f"“{visible_token(guess.guessed)}”, {100 * guess.sure:.0f} %",
        f"{guess.bits:.2f}",
        probability(guess.model),
        f"{guess.model_bits:.2f}",
        str(guess.rank),
    )
