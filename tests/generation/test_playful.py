"""Playful rules: what they let a model write keeps to the rule, for any kind of token, and something is always left."""

from __future__ import annotations

import functools
import math
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config import TransformerConfig
from minigpt.errors import SamplingError
from minigpt.generation.generator import TextGenerator
from minigpt.generation.playful import num_syllables, rhyming_part, words_of
from minigpt.generation.samplers import Sampler, SamplerChain, TemperatureSampler
from minigpt.generation.settings import parse_sampler
from minigpt.generation.truncation import TopKSampler
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

TEXT = "The cat sat on the mat.\nA rat ate the cake, and Sam said so! Don't stop, dear dog: the sun is so hot.\n" * 4


class Run(SimpleNamespace):
    """A model with random weights, which writes almost anything, and a text that it claims to have learned."""

    def learned_text(self) -> str:
        return TEXT


def run_of(tokenizer: Any) -> Run:
    tokenizer.train(TEXT)
    config = TransformerConfig(num_layers=1, num_heads=1, d_model=8, sequence_length=64)
    return Run(tokenizer=tokenizer, model=Transformer(config, tokenizer.vocab_size, seed=1).eval())


RUNS = {"characters": run_of(CharacterTokenizer()), "bytes": run_of(ByteTokenizer()), "bpe": run_of(BPETokenizer(60))}


def words(text: str) -> list[str]:
    return re.findall(r"(?:[^\W\d_]|['’])+", text.casefold())


def has_no_repeats(text: str) -> bool:
    return all(len(set(word)) == len(word) for word in (re.sub("['’]", "", word) for word in words(text)))


def begins_with_s(text: str) -> bool:
    return {word.lstrip("'’")[:1] for word in words(text)} <= {"s", ""}


def has_syllables(text: str) -> bool:
    counts = [sum(map(num_syllables, words(line))) for line in text.split("\n")]
    return all(count == (2, 3)[n % 2] for n, count in enumerate(counts[:-1])) and counts[-1] <= 3


def has_known_words(text: str) -> bool:
    found, known = [word.strip("'’") for word in words(text)], words_of(TEXT)
    ends_inside = bool(words(text[-1:]))
    whole, last = (found[:-1], found[-1]) if ends_inside else (found, "")
    return set(whole) <= {*known, ""} and any(word.startswith(last) for word in known)


def ends_rhyme(text: str) -> bool:
    parts = [words(part) for part in re.split(r"[.!?…\n]", text)[:-1]]
    last = [part[-1].strip("'’") for part in parts if part]
    return all(not word or (word.endswith("at") and word != "cat") for word in last)


def whole_characters(kind: str) -> str:
    """Return the rule that bans the end of the text and each token that is no whole character."""
    tokenizer = RUNS[kind].tokenizer
    broken = [i for i in tokenizer.text_ids if "\ufffd" in tokenizer.decode([i])]
    return f"ban={':'.join(map(str, [*broken, tokenizer.eos_id]))}"


@functools.cache
def free_texts(kind: str) -> list[str]:
    sampler = parse_sampler(whole_characters(kind))
    results = TextGenerator(RUNS[kind]).generate_batch(["So "] * 3, sampler=sampler, max_new_tokens=300)
    return [result.text for result in results]


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize(
    ("spec", "prompt", "keeps"),
    [
        ("no_repeated_letter", "I ", has_no_repeats),
        ("alliteration=s", "So ", begins_with_s),
        ("alliteration", "so ", begins_with_s),
        ("syllables=2:3", "A ", has_syllables),
        ("corpus_words", "The ", has_known_words),
        ("rhyme=cat", "The ", ends_rhyme),
    ],
)
def test_what_is_written_keeps_to_the_rule(kind: str, spec: str, prompt: str, keeps: Any) -> None:
    run = RUNS[kind]
    whole = whole_characters(kind)
    # single bytes of characters are let through, and a model with random weights does not go on to a character
    sampler = parse_sampler(f"{whole},{spec}" if spec == "corpus_words" else spec)
    results = TextGenerator(run).generate_batch([prompt] * 3, sampler=sampler, max_new_tokens=60, seed=4)
    for result in results:
        assert keeps(result.text), result.text
    assert not all(map(keeps, free_texts(kind)))  # a model that is free breaks the rule


@given(
    text=st.text("abcdeost'’ .\n5é", max_size=40),
    spec=st.sampled_from(
        [
            "no_repeated_letter",
            "alliteration",
            "alliteration=d",
            "syllables",
            "syllables=1",
            "corpus_words",
            "rhyme=cat",
        ]
    ),
    kind=st.sampled_from(list(RUNS)),
    left=st.sets(st.integers(4, 60), min_size=1, max_size=6),
)
def test_a_rule_leaves_something_and_changes_nothing_else(text: str, spec: str, kind: str, left: set[int]) -> None:
    run = RUNS[kind]
    size = run.tokenizer.vocab_size
    logits = torch.full((2, size), -math.inf, dtype=torch.float64)
    logits[0, [i % size for i in left]] = torch.arange(float(len(left)), dtype=torch.float64)
    logits[1] = torch.linspace(-1, 1, size)
    ids = torch.tensor([[-1, *run.tokenizer.encode(text)]] * 2)
    after, _ = parse_sampler(spec).bound(run).process(logits, ids)
    assert bool((after > -math.inf).any(-1).all())
    kept = after > -math.inf
    assert torch.equal(after[kept], logits[kept])
    alone, _ = parse_sampler(spec).bound(run).process(logits[0], ids[0])
    assert torch.equal(alone, after[0])


def test_where_nothing_would_be_left_the_rule_is_not_applied() -> None:
    run = RUNS["characters"]
    only_t = SamplerChain([TopKSampler(1), parse_sampler("alliteration=s")]).bound(run)
    logits = torch.zeros(run.tokenizer.vocab_size)
    logits[run.tokenizer.encode("t")] = 1.0
    assert only_t.process(logits, torch.tensor(run.tokenizer.encode("so ")))[0].argmax() == run.tokenizer.encode("t")[0]


def test_an_unknown_word_of_the_prompt_may_end() -> None:
    run = RUNS["characters"]
    rule = parse_sampler("corpus_words").bound(run)
    ids = torch.tensor(run.tokenizer.encode("the caot"))
    after, _ = rule.process(torch.zeros(run.tokenizer.vocab_size), ids)
    left = {run.tokenizer.token_text(i) for i in (after > -math.inf).nonzero().flatten().tolist()}
    assert " " in left
    assert not any(text.isalpha() for text in left)


def test_a_rule_without_a_run_and_one_of_another_vocabulary_are_refused() -> None:
    rule = parse_sampler("rhyme=cat")
    with pytest.raises(SamplingError, match="has no tokenizer"):
        rule.process(torch.zeros(3))
    with pytest.raises(SamplingError, match="made for"):
        rule.bound(RUNS["characters"]).process(torch.zeros(3))
    with pytest.raises(SamplingError, match="no token of this model begins a word"):
        parse_sampler("alliteration=ж").bound(RUNS["characters"])
    nameless = SimpleNamespace(model=RUNS["bpe"].model, tokenizer=RUNS["bpe"].tokenizer)
    with pytest.raises(SamplingError, match="which only a run has"):
        parse_sampler("corpus_words").bound(nameless)


@pytest.mark.parametrize(
    "spec", ["alliteration=st", "alliteration=7", "syllables=0", "syllables=x", "rhyme", "rhyme=a b", "rhyme='", "rhyme=7",
             "no_repeated_letter=1", "corpus_words=cat", "alliteration=a:b", "syllables=1.5", "syllables=99"],
)  # fmt: skip
def test_values_that_make_no_rule_are_refused(spec: str) -> None:
    with pytest.raises(SamplingError):
        parse_sampler(spec)


def test_the_rules_for_english_words() -> None:
    table = {"banana": 3, "apple": 2, "whole": 1, "queue": 1, "rhythm": 1, "idea": 2, "the": 1, "strengths": 1}
    assert {word: num_syllables(word) for word in table} == table
    assert [rhyming_part(word) for word in ("station", "whole", "ea", "be")] == ["ion", "ole", "ea", "e"]


def test_a_chain_binds_its_stages_and_the_others_stay() -> None:
    temperature = TemperatureSampler(0.5)
    chain = SamplerChain([temperature, parse_sampler("no_repeated_letter")])
    bound = chain.bound(RUNS["bpe"])
    assert isinstance(bound, SamplerChain)
    assert bound.stages[0] is temperature
    assert isinstance(bound.stages[1], Sampler)
    assert bound.describe() == chain.describe() == "temperature 0.5, no repeated letter"
