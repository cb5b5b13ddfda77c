import itertools
import math
from collections import Counter

import pytest

from minigpt.data.generators.grammar import Grammar, keyed_draws

PEOPLE = ["Ada;she;her", "Ben;he;his", "Zoe;she;her"]
COLUMNS = {"who": ("he", "his")}
UNAMBIGUOUS = {
    "one choice": {"text": ["cat", "elephant"]},
    "weights": {"text": ["3*owl", "{2*an ant|a bee}"]},
    "a rule in a rule": {"text": ["{animal} and {animal}", "nobody"], "animal": ["fox", "{red|blue} hen", "ox"]},
    "an article before a vowel or not": {"text": ["{a animal}", "{A animal}!"], "animal": ["owl", "{|big }ape", "unicorn"]},
    "remembered": {"text": ["{x=animal}{X} is {a x}"], "animal": ["owl", "dragon"]},
    "columns": {"text": ["{x=who}{x} and {x.his} cat. {x.He} {ran|slept}"], "who": PEOPLE},
    "another one": {"text": ["{x=who}{y=who!x}{x}, {y}: {y.he}"], "who": PEOPLE},
    "a third one": {"text": ["{x=who}{y=who!x}{z=who!x!y}{z.His} {y} {x}"], "who": PEOPLE},
    "a choice of whom to remember": {
        "text": ["{{x=who}|{x=animal}}{x} {ran|sat}", "{x=who}{y=x}{y.his} {y}"], "who": PEOPLE, "animal": ["ox", "ape"],
    },
    "forgotten after a rule": {"text": ["{x=who}{other} {x}"], "who": PEOPLE, "other": ["{x=animal}{x}"], "animal": ["ox", "ape"]},
}  # fmt: skip


def outcomes(grammar):
    """Yield every text of the rule `text` with its probability, by answering each draw in every way."""
    answers = []
    while True:
        used, probability = itertools.count(), 1.0
        sizes = []

        def draw(options):
            place = next(used)  # noqa: B023
            if place == len(answers):
                answers.append(0)
            sizes.append(options)  # noqa: B023
            return answers[place]

        text = grammar.write("text", draw)
        for size in sizes:
            probability /= size
        yield text, probability
        while answers and answers[-1] == sizes[len(answers) - 1] - 1:
            answers.pop()
        if not answers:
            return
        answers[-1] += 1


@pytest.mark.parametrize("rules", UNAMBIGUOUS.values(), ids=UNAMBIGUOUS.keys())
def test_the_entropy_and_the_length_are_those_of_all_texts(rules):
    grammar = Grammar(rules, {name: columns for name, columns in COLUMNS.items() if name in rules})
    texts = Counter()
    for text, probability in outcomes(grammar):
        texts[text] += probability
    assert sum(texts.values()) == pytest.approx(1)
    expected = grammar.expected("text")
    assert expected.bits == pytest.approx(-sum(p * math.log2(p) for p in texts.values()))
    assert expected.chars == pytest.approx(sum(p * len(text) for text, p in texts.items()))


def test_the_entropy_of_a_small_grammar_worked_by_hand():
    """Two of four equal names (log2 4 + log2 3 bits), one of two verbs (1 bit), and in one text of four a second
    sentence with 2 bits: 2 + 1.585 + 1 + H(1/4) + 0.5 bits, in 3 + 1 + 3 + 1 + 4 + 1 characters and 5 in a quarter."""
    grammar = Grammar({
        "text": ["{x=name}{y=name!x}{x} {met|saw} {y}{3*.|{end}}"],
        "name": ["Ada", "Ben", "Kit", "Zoe"],
        "end": [". {Oh|No|So|Hm}!"],
    })  # fmt: skip
    expected = grammar.expected("text")
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert expected.bits == pytest.approx(2 + math.log2(3) + 1 + quarter + 0.25 * 2)
    assert expected.chars == pytest.approx(3 + 1 + 3 + 1 + 3 + 0.75 * 1 + 0.25 * 5)
    assert grammar.bits_per_char("text", separator="\n") == pytest.approx(expected.bits / (expected.chars + 1))


def test_two_ways_to_one_text_are_counted_twice():
    """The entropy of derivations is an upper bound: here every text is `ab`, with no entropy at all."""
    assert Grammar({"text": ["a{b|{b}}"], "b": ["b"]}).expected("text").bits == 1


def test_draws_are_equally_likely_and_repeatable():
    draw, again = keyed_draws(3, 7), keyed_draws(3, 7)
    numbers = [draw(6) for _ in range(6000)]
    assert numbers == [again(6) for _ in range(6000)]
    assert numbers[:200] != [keyed_draws(3, 8)(6) for _ in range(200)]
    assert all(900 < count < 1100 for count in Counter(numbers).values())
    assert set(numbers) == set(range(6))
