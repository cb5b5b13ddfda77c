"""The bundled runs of the tales on sentences of a pupil, and beside the entropy of the grammar.

The fifty sentences were written before the grammar, by somebody who had not read it. They are not in it.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import pytest

from minigpt.data import load_corpus
from minigpt.data.generators.tales import ENTROPY_BITS_PER_CHAR, generate_tales
from minigpt.evaluation.perplexity import ModelEvaluator
from minigpt.runs.loading import load_run

SENTENCES = (Path(__file__).parent / "data" / "pupil_sentences.txt").read_text("ascii").splitlines()


@pytest.mark.parametrize("name", ["tales", "tales-bpe"])
def test_sentences_of_a_pupil_cost_less_than_three_bits_a_character(name: str) -> None:
    evaluator = ModelEvaluator(load_run(name))
    assert len(SENTENCES) == 50
    assert median(evaluator.evaluate(sentence).bits_per_char for sentence in SENTENCES) < 3


def test_the_sentences_of_the_pupil_are_not_in_the_text() -> None:
    text = generate_tales(3_000_000)
    assert not [sentence for sentence in SENTENCES if sentence in text]


def test_the_run_is_near_the_entropy_of_the_grammar_on_other_tales() -> None:
    """Tales of other seeds, which it never learned, with half a context or more before each character: 0.813 bits."""
    run = load_run("tales")
    evaluator, stride = ModelEvaluator(run), run.model.config.sequence_length // 2
    texts = [generate_tales(40_000, seed=seed) for seed in (1, 2, 3)]
    found = mean(evaluator.evaluate(text, stride=stride).bits_per_char for text in texts)
    assert ENTROPY_BITS_PER_CHAR < found < 1.1 * ENTROPY_BITS_PER_CHAR


@pytest.mark.slow
def test_the_run_is_near_the_entropy_of_the_grammar_on_all_that_it_never_learned() -> None:
    """Its held-out part, 600,000 characters: 1.091 of the grammar's entropy."""
    run = load_run("tales")
    text = "\n\n".join(load_corpus("tales", num_chars=run.config.data.num_chars).documents)
    held_out = text[-int(len(text) * run.config.data.validation_fraction) :]
    found = ModelEvaluator(run).evaluate(held_out, stride=run.model.config.sequence_length // 2).bits_per_char
    assert ENTROPY_BITS_PER_CHAR < found < 1.1 * ENTROPY_BITS_PER_CHAR
