"""The bundled runs of the tales on sentences of a pupil, and beside the entropy of the grammar.

The fifty sentences were written before the grammar, by somebody who had not read it. They are not in it.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

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


def test_the_run_is_near_the_entropy_of_the_grammar_on_what_it_never_learned() -> None:
    """With at least half a context before each character it needs 0.818 bits, where the grammar has 0.742."""
    run = load_run("tales")
    documents = load_corpus("tales", num_chars=run.config.data.num_chars).documents
    text = "\n\n".join(documents[-60:])[-40_000:]
    found = ModelEvaluator(run).evaluate(text, stride=run.model.config.sequence_length // 2).bits_per_char
    assert ENTROPY_BITS_PER_CHAR < found < 1.11 * ENTROPY_BITS_PER_CHAR
