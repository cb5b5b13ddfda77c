r"""A grammar of templates: it writes texts by counted choices, so the entropy of its derivations is known exactly.

A grammar is a set of named rules, each with several alternatives. An alternative is a template:

| field | meaning |
|---|---|
| `{rule}` | one alternative of the rule, chosen anew |
| `{one\|two\|three}` | one of these templates; `{3*one\|two}` takes the first three times as often |
| `{x=rule}` | chooses an alternative and remembers it as `x`; writes nothing. A new choice replaces an earlier one |
| `{x=y}` | remembers as `x`, with all columns, what is remembered as `y` |
| `{x=rule!y}` | the same as `{x=rule}`, but not the alternative that is remembered as `y` |
| `{x}` | what is remembered as `x` |
| `{x.column}` | another column of it: an alternative may have several, divided by `;`, with names given by `columns` |
| `{a rule}`, `{a x}` | the same with `a` or `an` before it |
| `{Rule}`, `{X}`, `{A rule}` | the same with a capital letter |

Alternatives are equally likely unless they begin with a weight. What a rule remembers is forgotten after it. No rule
may contain itself.

Entropy: a choice among alternatives with probabilities p adds the sum of -p log2 p bits, and the bits of a text are the
sum over its choices. Both the expected bits and the expected length of a rule are sums over its templates, so they
follow from the grammar without sampling. A sequence of independent texts has the entropy rate (expected bits) /
(expected characters) of one of them, by the renewal-reward theorem. If two derivations can write the same text, the
text has less entropy than its derivation; then this is an upper bound.

Source: Grenander 1967 and Soule 1974, "Entropies of Probabilistic Grammars", for derivational entropy; Shannon 1948.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log2
from typing import Protocol, TypeVar

from minigpt.randomness import Stream, derive_key

T = TypeVar("T")
Draw = Callable[[int], int]
"""Returns a whole number from 0 to below its argument, all equally likely."""
_AN = re.compile(r"(?!one|uni|use|euro)[aeiou]|hour|honest", re.IGNORECASE)
_WEIGHT = re.compile(r"(\d+)\*")
_BINDING = re.compile(r"(\w+)=(\w+)((?:!\w+)*)")
_REFERENCE = re.compile(r"(?:(an?) )?([\w.]+)", re.IGNORECASE)


def keyed_draws(seed: int, *counters: int) -> Draw:
    """Return a function that draws from the keys (seed, *counters, 0), (seed, *counters, 1) and so on.

    A key has 63 bits and serves several draws, as long as at least 20 bits more than needed are left: so no number is
    more likely than another by more than one part in a million.
    """
    key, room, used = 0, 0, 0

    def draw(options: int) -> int:
        nonlocal key, room, used
        if room < options << 20:
            key, room, used = derive_key(seed, Stream.SYNTHETIC, *counters, used), 1 << 63, used + 1
        key, number = divmod(key, options)
        room //= options
        return number

    return draw


@dataclass(frozen=True)
class Expected:
    """What is expected of the text of a template.

    Attributes:
        bits: Expected sum of the entropies of its choices.
        chars: Expected number of characters.
        vowel: Probability that it begins with a vowel, as `a` and `an` need it.
        empty: Probability that it has no character.
    """

    bits: float = 0.0
    chars: float = 0.0
    vowel: float = 0.0
    empty: float = 1.0

    def then(self, other: Expected) -> Expected:
        """Return what is expected of this text and another one after it."""
        return Expected(
            self.bits + other.bits,
            self.chars + other.chars,
            self.vowel + self.empty * other.vowel,
            self.empty * other.empty,
        )


def _mean(probabilities: Sequence[float], parts: Sequence[Expected]) -> Expected:
    bits = chars = vowel = empty = 0.0
    for p, part in zip(probabilities, parts, strict=True):
        bits, chars, vowel, empty = (
            bits + p * part.bits, chars + p * part.chars, vowel + p * part.vowel, empty + p * part.empty,
        )  # fmt: skip
    return Expected(bits, chars, vowel, empty)


Memory = dict[str, str]
"""What is remembered while a text is written; `x.#` is the number of the alternative that is remembered as `x`."""
Outlook = Mapping[str, Expected]
"""What is expected of each remembered text."""


class _Node(Protocol):
    """A compiled piece of a template."""

    @property
    def reads(self) -> frozenset[str]:
        """What it recalls that was remembered before it."""

    @property
    def binds(self) -> frozenset[str]:
        """What is certainly remembered after it."""

    @property
    def remembers(self) -> bool:
        """Whether it may remember something."""

    def write(self, draw: Draw, memory: Memory) -> str:
        """Return the text of the piece."""

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        """Return what is expected of the text, and of what is remembered after it."""


_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class _Literal:
    text: str
    reads = binds = _NOTHING
    remembers = False

    def write(self, draw: Draw, memory: Memory) -> str:
        return self.text

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        return _expected_text(self.text), outlook


class _Sequence:
    """Pieces one after another."""

    def __init__(self, parts: Sequence[_Node]) -> None:
        self._parts = parts
        self.reads = self.binds = _NOTHING
        self.remembers = any(part.remembers for part in parts)
        for part in parts:
            self.reads |= part.reads - self.binds
            self.binds |= part.binds

    def write(self, draw: Draw, memory: Memory) -> str:
        return "".join([part.write(draw, memory) for part in self._parts])

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        total = Expected()
        for part in self._parts:
            found, outlook = part.expect(outlook)
            total = total.then(found)
        return total, outlook


class _Choice:
    """One of several templates, with whole numbers as weights."""

    def __init__(self, options: Sequence[_Node], weights: Sequence[int]) -> None:
        self.options, self._ends = options, list(accumulate(weights))
        self.probabilities = [weight / self._ends[-1] for weight in weights]
        self.bits = -sum(p * log2(p) for p in self.probabilities)
        self._is_uniform = len(set(weights)) == 1
        self._known: dict[tuple[tuple[str, float, float], ...], Expected] = {}
        self.reads = _NOTHING.union(*(option.reads for option in options))
        self.binds = options[0].binds.intersection(*(option.binds for option in options))
        self.remembers = any(option.remembers for option in options)

    def index(self, draw: Draw) -> int:
        """Return the number of the chosen option."""
        if self._is_uniform:
            return draw(len(self.options))
        return bisect_right(self._ends, draw(self._ends[-1]))

    def write(self, draw: Draw, memory: Memory) -> str:
        return self.options[self.index(draw)].write(draw, memory)

    def expected(self, outlook: Outlook) -> Expected:
        """Return what is expected of the text; kept, because rules are used again and again."""
        read = {name: expected for name, expected in outlook.items() if _base(name) in self.reads}
        key = tuple(sorted((name, expected.chars, expected.vowel) for name, expected in read.items()))
        if key not in self._known:
            self._known[key] = self.expect(read)[0]
        return self._known[key]

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        found = [option.expect(outlook) for option in self.options]
        mean = _mean(self.probabilities, [expected for expected, _ in found])
        after = (not self.remembers and outlook) or {
            name: _mean(self.probabilities, [seen[name] for _, seen in found])
            for name in found[0][1]
            if all(name in seen for _, seen in found)
        }
        return Expected(mean.bits + self.bits, mean.chars, mean.vowel, mean.empty), after


class _Rule:
    """One alternative of a rule. What it remembers is forgotten after it."""

    def __init__(self, choice: _Choice) -> None:
        self._choice, self.reads, self.binds, self.remembers = choice, choice.reads, _NOTHING, False

    def write(self, draw: Draw, memory: Memory) -> str:
        return self._choice.write(draw, dict(memory) if self._choice.remembers else memory)

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        return self._choice.expected(outlook), outlook


@dataclass(frozen=True, eq=False)
class _Recall:
    name: str
    binds = _NOTHING
    remembers = False

    @property
    def reads(self) -> frozenset[str]:
        return frozenset([_base(self.name)])

    def write(self, draw: Draw, memory: Memory) -> str:
        return memory[self.name]

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        return outlook[self.name], outlook


@dataclass(frozen=True, eq=False)
class _Remember:
    """Chooses an alternative of a rule and writes nothing; `others` may not be chosen."""

    choice: _Choice
    name: str
    others: tuple[str, ...]
    remembers = True

    @property
    def reads(self) -> frozenset[str]:
        return self.choice.reads.union(self.others)

    @property
    def binds(self) -> frozenset[str]:
        return frozenset([self.name])

    def write(self, draw: Draw, memory: Memory) -> str:
        if self.others:
            index = draw(len(self.choice.options) - len(self.others))
            for taken in sorted(int(memory[f"{other}.#"]) for other in self.others):
                index += index >= taken
        else:
            index = self.choice.index(draw)
        for column, node in _columns(self.choice.options[index]).items():
            memory[_column(self.name, column)] = node.write(draw, memory)
        memory[f"{self.name}.#"] = str(index)
        return ""

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        after, bits = dict(outlook), self.choice.bits
        rows = [_columns(option) for option in self.choice.options]
        if self.others:
            bits = log2(len(rows) - len(self.others))
        for column in rows[0]:
            found = _mean(self.choice.probabilities, [row[column].expect(outlook)[0] for row in rows])
            bits += found.bits
            after[_column(self.name, column)] = Expected(0.0, found.chars, found.vowel, found.empty)
        return Expected(bits=bits), after


@dataclass(frozen=True, eq=False)
class _Copy:
    """Remembers under another name what is remembered already."""

    name: str
    original: str
    remembers = True

    @property
    def reads(self) -> frozenset[str]:
        return frozenset([self.original])

    @property
    def binds(self) -> frozenset[str]:
        return frozenset([self.name])

    def write(self, draw: Draw, memory: Memory) -> str:
        memory.update(self._copied(memory))
        return ""

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        return Expected(), {**outlook, **self._copied(outlook)}

    def _copied(self, remembered: Mapping[str, T]) -> dict[str, T]:
        size = len(self.original)
        return {f"{self.name}{key[size:]}": value for key, value in remembered.items() if _base(key) == self.original}


@dataclass(frozen=True, eq=False)
class _Row:
    """An alternative with several columns."""

    columns: Mapping[str, _Node]
    binds = _NOTHING
    remembers = False

    @property
    def reads(self) -> frozenset[str]:
        return _NOTHING.union(*(node.reads for node in self.columns.values()))

    def write(self, draw: Draw, memory: Memory) -> str:
        return self.columns[""].write(draw, memory)

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        return self.columns[""].expect(outlook)[0], outlook


@dataclass(frozen=True, eq=False)
class _Dressed:
    """A text with an article before it, with a capital letter, or both."""

    inner: _Node
    article: bool
    capital: bool
    binds = _NOTHING
    remembers = False

    @property
    def reads(self) -> frozenset[str]:
        return self.inner.reads

    def write(self, draw: Draw, memory: Memory) -> str:
        text = self.inner.write(draw, memory)
        if self.article:
            text = f"{'an' if _AN.match(text) else 'a'} {text}"
        return text[:1].upper() + text[1:] if self.capital else text

    def expect(self, outlook: Outlook) -> tuple[Expected, Outlook]:
        found = self.inner.expect(outlook)[0]
        if self.article:
            found = Expected(found.bits, found.chars + 2 + found.vowel, 1.0, 0.0)
        return found, outlook


def _columns(option: _Node) -> Mapping[str, _Node]:
    return option.columns if isinstance(option, _Row) else {"": option}


def _expected_text(text: str) -> Expected:
    return Expected(0.0, len(text), float(bool(_AN.match(text))), float(not text))


def _column(name: str, column: str) -> str:
    return f"{name}.{column}" if column else name


def _base(name: str) -> str:
    return name.partition(".")[0]


class Grammar:
    """Rules by name.

    Args:
        rules: The alternatives of each rule.
        columns: For rules whose alternatives have several columns, the names of the further ones.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]] | None = None) -> None:
        self._rules, self._columns = rules, columns or {}
        self._choices: dict[str, _Choice] = {}

    def write(self, rule: str, draw: Draw) -> str:
        """Return a text of a rule.

        >>> grammar = Grammar({"hero": ["the {cat|dog}", "{a animal}"], "animal": ["owl", "fox"]})
        >>> [grammar.write("hero", lambda options, last=last: options - 1 - last) for last in (0, 1)]
        ['a fox', 'the cat']
        """
        return self.choice(rule).write(draw, {})

    def expected(self, rule: str) -> Expected:
        """Return what is expected of a text of a rule.

        >>> Grammar({"hero": ["the {cat|dog}", "{a animal}"], "animal": ["owl", "fox"]}).expected("hero")
        Expected(bits=2.0, chars=6.25, vowel=0.5, empty=0.0)
        """
        return self.choice(rule).expected({})

    def bits_per_char(self, rule: str, *, separator: str) -> float:
        """Return the entropy rate in bits per character of an endless list of texts with a separator after each.

        >>> round(Grammar({"animal": ["owl", "cat"]}).bits_per_char("animal", separator=" "), 2)
        0.25
        """
        expected = self.expected(rule)
        return expected.bits / (expected.chars + len(separator))

    def choice(self, rule: str) -> _Choice:
        """Return a rule as a choice, compiled when it is first used."""
        if rule not in self._choices:
            names = ("", *self._columns.get(rule, ()))
            options, weights = [], []
            for alternative in self._rules[rule]:
                weight, template = _weighted(alternative)
                columns = [self._compiled(column) for column in template.split(";", len(names) - 1)]
                options.append(_Row(dict(zip(names, columns, strict=True))) if len(names) > 1 else columns[0])
                weights.append(weight)
            self._choices[rule] = _Choice(options, weights)
        return self._choices[rule]

    def _compiled(self, template: str) -> _Node:
        parts: list[_Node] = []
        for text, field in _pieces(template):
            if text:
                parts.append(_Literal(text))
            if field is not None:
                parts.append(self._field(field))
        return parts[0] if len(parts) == 1 else _Sequence(parts)

    def _field(self, field: str) -> _Node:
        options = alternatives(field)
        if len(options) > 1:
            weighted = [_weighted(option) for option in options]
            return _Choice([self._compiled(option) for _, option in weighted], [weight for weight, _ in weighted])
        if binding := _BINDING.fullmatch(field):
            name, rule, others = binding.groups()
            if rule not in self._rules:
                return _Copy(name, rule)
            return _Remember(self.choice(rule), name, tuple(others.split("!")[1:]))
        reference = _REFERENCE.fullmatch(field)
        assert reference, f"{{{field}}} is no field of a grammar"
        article, name = reference.groups()
        capital, (base, *column) = (article or name.split(".")[-1])[0].isupper(), name.lower().split(".")
        node: _Node = _Rule(self.choice(base)) if base in self._rules else _Recall(".".join([base, *column]))
        return _Dressed(node, bool(article), capital) if article or capital else node


def _pieces(template: str) -> list[tuple[str, str | None]]:
    """Cut a template into literals, each with the field that follows it or None.

    >>> _pieces("a {b|{c}} d")
    [('a ', 'b|{c}'), (' d', None)]
    """
    pieces: list[tuple[str, str | None]] = []
    depth, start, text = 0, 0, ""
    for place, char in enumerate(template):
        if char == "{":
            if not depth:
                text, start = template[start:place], place + 1
            depth += 1
        elif char == "}":
            depth -= 1
            if not depth:
                pieces.append((text, template[start:place]))
                start = place + 1
    return [*pieces, (template[start:], None)]


def alternatives(field: str) -> list[str]:
    """Divide a field at the bars that are not inside an inner field.

    >>> alternatives("cat|{red|blue} bird")
    ['cat', '{red|blue} bird']
    """
    options, depth, start = [], 0, 0
    for place, char in enumerate(field):
        depth += (char == "{") - (char == "}")
        if char == "|" and not depth:
            options.append(field[start:place])
            start = place + 1
    return [*options, field[start:]]


def _weighted(template: str) -> tuple[int, str]:
    weight = _WEIGHT.match(template)
    return (int(weight[1]), template[weight.end() :]) if weight else (1, template)
