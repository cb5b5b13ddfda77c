"""Playful rules: they look at the text itself, and remove each token that would break a rule of the game.

    no repeated letter   no letter twice in a word (an isogram; D. Borgmann, Language on Vacation, 1965)
    alliteration         every word begins with the same letter
    syllables            lines of 5, 7 and 5 syllables, the pattern of a haiku
    corpus words         only words of the text that the model learned from
    rhyme                a line or a sentence ends only after a word that rhymes

The rules read text, so they work on characters and on longer tokens alike, and need a tokenizer: `bound` gives them
that of a run. A rule never leaves nothing to choose: where it would remove every token that is left, it is not applied
to this token. So a rule gives way to those before it, and belongs before a cut such as top-k. A token that is one byte
of a character is let through; the rule looks at the character when its last byte comes.

Reads after: samplers.py. Shapes: B rows, T tokens so far, V vocabulary; a single row (V,) is accepted too.
"""

from __future__ import annotations

import bisect
import copy
import functools
import math
import re
import unicodedata
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from minigpt.arguments import is_whole
from minigpt.errors import SamplingError
from minigpt.generation.samplers import Sampler, check, float64
from minigpt.model.protocols import RemembersText
from minigpt.tokenizers.base import REPLACEMENT
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel
    from minigpt.tokenizers.base import BaseTokenizer

_APOSTROPHES = "'’"
_WORD = re.compile(rf"(?:[^\W\d_]|[{_APOSTROPHES}])+")
_VOWELS = re.compile("[aeiouyаеиоуыэюя]+")
_MOST_BYTES = 3
"""Bytes of a character, in tokens of their own, before it is complete."""
_MOST_KEPT = 256
"""Situations whose tokens are kept by a rule at most; each takes a byte for each token of the vocabulary."""


class TextRule(Sampler):
    """A rule on the text. A subclass says what matters of the text so far, and which pieces may follow.

    The answers are kept for each situation, so a rule costs little once it has met the usual ones.
    """

    has_state = False
    _tokenizer: BaseTokenizer | None = None

    @abstractmethod
    def situation(self, text: str) -> Hashable:
        """Return what the rule needs to know of the text so far; the less, the faster it is."""

    @abstractmethod
    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether a piece of text, that of one token, may follow."""

    def allows_end(self, situation: Any) -> bool:
        """Return whether the text may end."""
        return True

    def bound(self, run: LanguageModel) -> Self:
        """Return the rule for the tokens of a run."""
        rule = copy.copy(self)
        rule._bind(run)
        return rule

    def _bind(self, run: LanguageModel) -> None:
        tokenizer = self._tokenizer = run.tokenizer
        self._pieces = {i: tokenizer.decode([i]) for i in tokenizer.text_ids}
        self._parts = {i for i, piece in self._pieces.items() if REPLACEMENT in piece}  # bytes of a character
        self._masks: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Remove the tokens that break the rule; see `Sampler.process`.

        Raises:
            SamplingError: The rule is not bound, or bound to another vocabulary.
        """
        if self._tokenizer is None:
            raise SamplingError(
                f"The rule {self.describe()} reads text, and has no tokenizer.", mend="Use rule.bound(run)."
            )
        rows = float64(logits).reshape(-1, logits.shape[-1]).clone()
        if rows.shape[-1] != self._tokenizer.vocab_size:
            raise SamplingError(
                f"There are {rows.shape[-1]} logits, and the rule {self.describe()} was made for "
                f"{self._tokenizer.vocab_size} tokens.",
                mend="Use rule.bound(run) with the run that gave the logits.",
            )
        texts: list[list[int]] = [[]] * len(rows) if ids is None else ids.to("cpu").reshape(len(rows), -1).tolist()
        for row, tokens in zip(rows, texts, strict=True):
            removed = self._removed([token for token in tokens if token >= 0])
            if bool((row > -math.inf).logical_and(~removed).any()):
                row[removed] = -math.inf
        return rows.reshape(logits.shape), state

    def _removed(self, ids: list[int]) -> torch.Tensor:
        """Return which tokens break the rule after a text, bool, (V,)."""
        assert self._tokenizer is not None
        decode = self._tokenizer.decode
        begun = 0  # tokens at the end that may be the first bytes of a character
        while begun < min(len(ids), _MOST_BYTES) and ids[-begun - 1] in self._parts:
            begun += 1
        if not decode(ids[len(ids) - begun :]).endswith(REPLACEMENT):
            begun = 0
        bytes_before = tuple(ids[len(ids) - begun :])
        situation = self.situation(decode(ids[: len(ids) - begun]))
        removed = self._masks.get((situation, bytes_before))
        if removed is None:
            removed = torch.zeros(self._tokenizer.vocab_size, dtype=torch.bool)
            for i, piece in self._pieces.items():
                text = decode([*bytes_before, i]) if begun else piece
                removed[i] = not self.allows(situation, text.rstrip(REPLACEMENT))
            if self._tokenizer.eos_id is not None:
                removed[self._tokenizer.eos_id] = not self.allows_end(situation)
            self._masks[situation, bytes_before] = removed
            if len(self._masks) > _MOST_KEPT:
                self._masks.popitem(last=False)
        return removed


def _is_of_word(character: str) -> bool:
    return (character.isalnum() and not character.isdecimal()) or character in _APOSTROPHES  # as in _WORD


def _last_word(text: str) -> str:
    """Return the word that the text may still be in the middle of, in lower case; "" after a space.

    >>> _last_word("He didn't"), _last_word("He didn't ")
    ("didn't", '')
    """
    start = len(text)
    while start and _is_of_word(text[start - 1]):
        start -= 1
    return text[start:].casefold()


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text in lower case, without the apostrophes around them.

    >>> sorted(words_of("'Hello,' said Tom's dog."))
    ['dog', 'hello', 'said', "tom's"]
    """
    return frozenset(word.strip(_APOSTROPHES).casefold() for word in set(_WORD.findall(text))) - {""}


class NoRepeatedLetter(TextRule):
    """No letter comes twice in a word.

    >>> rule = NoRepeatedLetter()
    >>> rule.allows(rule.situation("a do"), "g"), rule.allows(rule.situation("a do"), "o")
    (True, False)
    """

    def situation(self, text: str) -> Hashable:
        """Return the letters of the last word."""
        return frozenset(_last_word(text))

    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether the piece repeats no letter of the word that it continues, nor of its own words."""
        letters = set(situation)
        for character in piece.casefold():
            if not _is_of_word(character):
                letters = set()
            elif character in letters and character not in _APOSTROPHES:
                return False
            letters.add(character)
        return True

    def describe(self) -> str:
        """Return the rule in a few words."""
        return "no repeated letter"


class Alliteration(TextRule):
    """Every word begins with the same letter.

    Args:
        letter: The letter; None: the one that the last word before begins with.

    >>> rule = Alliteration("s")
    >>> [rule.allows(rule.situation("She "), piece) for piece in ("sold", "the", "!")]
    [True, False, True]
    """

    def __init__(self, letter: str | None = None) -> None:
        is_letter = letter is None or (isinstance(letter, str) and len(letter) == 1 and letter.isalpha())
        check(is_letter, "alliteration", letter, "one letter, or nothing for that of the word before")
        self.letter = None if letter is None else letter.casefold()

    def _bind(self, run: LanguageModel) -> None:
        super()._bind(run)
        starts = {piece.lstrip()[:1].casefold() for piece in self._pieces.values()}
        if self.letter is not None and self.letter not in starts:
            raise SamplingError(
                f"The rule {self.describe()} cannot be kept: no token of this model begins a word with it.",
                mend="Take a letter of the text that the model learned from.",
            )

    def situation(self, text: str) -> Hashable:
        """Return whether the text ends inside a word, and the letter."""
        words = [] if self.letter is not None else _WORD.findall(text[-1000:])
        letter = words[-1].lstrip(_APOSTROPHES)[:1].casefold() if words else self.letter
        return bool(_last_word(text[-1000:]).lstrip(_APOSTROPHES)), letter or None

    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether each word that begins in the piece begins with the letter."""
        inside, letter = situation
        for character in piece.casefold():
            if not inside and _is_of_word(character) and character not in _APOSTROPHES:
                letter, inside = letter or character, True
                if character != letter:
                    return False
            inside = inside and _is_of_word(character)
        return True

    def describe(self) -> str:
        """Return the rule in a few words."""
        return "alliteration" if self.letter is None else f"alliteration on {self.letter}"


def num_syllables(word: str) -> int:
    """Return about how many syllables an English word has: its groups of vowels, without a silent e at the end.

    It counts `walked` and `horses` wrongly, by one; other languages with Latin or Cyrillic letters about as well.

    >>> [num_syllables(word) for word in ("cat", "make", "table", "beautiful", "the", "Zoë's", "hm", "")]
    [1, 1, 2, 3, 1, 1, 1, 0]
    """
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", word.casefold()) if letter.isalpha())
    groups = len(_VOWELS.findall(plain))
    is_silent = re.search("[^aeiouy]e$", plain) and not re.search("[^aeiouy]le$", plain)
    return max(groups - bool(is_silent), int(bool(plain)))


class SyllableLines(TextRule):
    r"""Lines have given numbers of syllables in turn, 5, 7 and 5 as in a haiku; the count is `num_syllables`.

    A line goes on until it has its syllables, then ends after the word. The text may end after the last line of the
    pattern. Lines of the prompt count too.

    Args:
        counts: Syllables of each line, one number or more; the pattern begins again after the last.

    >>> rule = SyllableLines(2, 3)
    >>> [rule.allows(rule.situation("A cat"), piece) for piece in ("s", "\n", " sat", "a")]
    [True, True, False, False]
    """

    def __init__(self, *counts: int) -> None:
        counts = counts or (5, 7, 5)
        allowed = "one or more whole numbers from 1 to 40"
        check(all(is_whole(count) and 1 <= count <= 40 for count in counts), "syllables", list(counts), allowed)
        self.counts = tuple(counts)

    def situation(self, text: str) -> Hashable:
        """Return the number of the line in the pattern, the syllables before its last word, and that word."""
        *before, line = text.split("\n")
        word = _last_word(line)
        done = sum(map(num_syllables, _WORD.findall(line[: len(line) - len(word)])))
        return sum(bool(one.strip()) for one in before) % len(self.counts), min(done, 41), word

    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether no line of the piece is too long, and none ends too early."""
        number, done, word = situation
        for character in piece.casefold():
            if character == "\n":
                if done + num_syllables(word) < self.counts[number]:
                    return False
                number, done, word = (number + 1) % len(self.counts), 0, ""
            elif _is_of_word(character):
                word += character
                if done + num_syllables(word) > self.counts[number]:
                    return False
            else:
                done, word = done + num_syllables(word), ""
                if character.isspace() and done >= self.counts[number]:
                    return False
        return True

    def allows_end(self, situation: Any) -> bool:
        """Return whether the last line of the pattern is complete."""
        number, done, word = situation
        if not done and not word:
            return bool(number == 0)
        return bool(number == len(self.counts) - 1 and done + num_syllables(word) >= self.counts[number])

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"lines of {'-'.join(map(str, self.counts))} syllables"


class OnlyWords(TextRule):
    """Only some words are written, whatever their capitals; numbers and signs stay free.

    A word of the prompt that is none of them may end.

    Args:
        words: The words; None: those of the text that the run learned from, which `bound` asks the run for.

    >>> rule = OnlyWords(["cat", "cart"])
    >>> [rule.allows(rule.situation("A ca"), piece) for piece in ("r", "t.", "r.", "b")]
    [True, True, False, False]
    """

    def __init__(self, words: Iterable[str] | None = None) -> None:
        self._words = None if words is None else self._in_order(words_of(" ".join(words)))

    @staticmethod
    def _in_order(words: Iterable[str]) -> list[str]:
        ordered = sorted(words)
        check(bool(ordered), "corpus_words", "no word", "one word or more")
        return ordered

    def _bind(self, run: LanguageModel) -> None:
        super()._bind(run)
        if self._words is None:
            if not isinstance(run, RemembersText):
                raise SamplingError(
                    f"The rule {self.describe()} needs the text that the model learned from, which only a run has.",
                    mend="Give the words: OnlyWords(words).",
                )
            self._words = _words_in_order(run.learned_text())

    def situation(self, text: str) -> Hashable:
        """Return the last word."""
        return _last_word(text).lstrip(_APOSTROPHES)

    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether the words that end in the piece are known, and the last one begins like a known one."""
        word = situation
        is_lost = bool(word) and not self._begins(word)  # no known word begins so: it stands in the prompt
        for character in piece.casefold():
            if _is_of_word(character):
                word += character if word or character not in _APOSTROPHES else ""
                is_lost = False
            else:
                if word and not is_lost and not self._has(word.rstrip(_APOSTROPHES)):
                    return False
                word, is_lost = "", False
        return is_lost or not word or self._begins(word) or self._has(word.rstrip(_APOSTROPHES))

    def allows_end(self, situation: Any) -> bool:
        """Return whether the last word is complete."""
        return not situation or not self._begins(situation) or self._has(situation.rstrip(_APOSTROPHES))

    def _has(self, word: str) -> bool:
        return self._first_from(word) == word

    def _begins(self, part: str) -> bool:
        return self._first_from(part).startswith(part)

    def _first_from(self, word: str) -> str:
        """Return the first word in order that is not before the given one, "" if there is none."""
        words = self._words or []
        place = bisect.bisect_left(words, word)
        return words[place] if place < len(words) else ""

    def describe(self) -> str:
        """Return the rule in a few words."""
        return "only words of the corpus" if self._words is None else f"only {len(self._words)} words"


@functools.lru_cache(maxsize=2)
def _words_in_order(text: str) -> list[str]:
    return OnlyWords._in_order(words_of(text))


class Rhyme(TextRule):
    """A line or a sentence ends only after a word that rhymes with a given one.

    Rhyme is judged by spelling, so only about: the words end alike from the last vowel on that is heard, and differ.

    Args:
        word: The word to rhyme with.

    >>> rule = Rhyme("cat")
    >>> [rule.allows(rule.situation(text), ".") for text in ("A hat", "A cat", "A dog", "A hat sat!")]
    [True, False, False, True]
    """

    ends: ClassVar[str] = ".!?…\n"
    """Characters that end a line or a sentence."""

    def __init__(self, word: str) -> None:
        is_word = (
            isinstance(word, str) and len(word) <= 40 and bool(_WORD.fullmatch(word)) and any(map(str.isalpha, word))
        )
        check(is_word, "rhyme", word, "one word of letters")
        self.word = word.casefold()
        self.ending = rhyming_part(self.word)

    def situation(self, text: str) -> Hashable:
        """Return the last word of the line or sentence, and whether it may go on."""
        text = text[-1000:]
        start = max(text.rfind(end) for end in self.ends) + 1
        words = _WORD.findall(text[start:])
        return (words[-1].casefold() if words else ""), bool(_last_word(text))

    def allows(self, situation: Any, piece: str) -> bool:
        """Return whether each end in the piece comes after a word that rhymes."""
        word, is_open = situation
        for character in piece.casefold():
            if _is_of_word(character):
                word = word + character if is_open else character
                is_open = True
                continue
            is_open = False
            if character in self.ends:
                if not self._rhymes(word):
                    return False
                word = ""
        return True

    def allows_end(self, situation: Any) -> bool:
        """Return whether the last word rhymes."""
        return self._rhymes(situation[0])

    def _rhymes(self, word: str) -> bool:
        """Return whether a word rhymes; no word at all, as after an end, does."""
        plain = word.strip(_APOSTROPHES)
        return not plain or (plain.endswith(self.ending) and plain != self.word)

    def describe(self) -> str:
        """Return the rule in a few words."""
        return f"rhymes with {quoted(self.word)}"


def rhyming_part(word: str) -> str:
    """Return the end of a word in which words that rhyme with it are equal: from its last vowels on, but a silent e.

    >>> [rhyming_part(word) for word in ("cat", "light", "make", "table", "tree", "day", "hm")]
    ['at', 'ight', 'ake', 'able', 'ee', 'ay', 'hm']
    """
    groups = [match.span() for match in _VOWELS.finditer(word)]
    if len(groups) > 1 and word.endswith("e") and groups[-1] == (len(word) - 1, len(word)):
        groups.pop()
    return word[groups[-1][0] :] if groups else word
