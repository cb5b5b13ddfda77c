"""The glossary: every name in the design has a term, and no word has two meanings."""

from __future__ import annotations

import pytest

from minigpt.config import TransformerConfig
from minigpt.config.fields import OTHER_NAMES
from minigpt.errors import InputError
from minigpt.glossary import TERMS, lookup, terms, tooltip
from minigpt.model.points import point_names


def test_names_are_unique_and_sorted() -> None:
    names = [term.name.casefold() for term in TERMS]
    assert len(set(names)) == len(names)
    assert [term.name.casefold() for term in terms()] == sorted(names)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_is_one_plain_sentence(term) -> None:
    assert term.meaning[0].isupper()
    assert term.meaning.endswith(".")
    assert ". " not in term.meaning, "one sentence"
    assert "!" not in term.meaning
    assert len(term.meaning) <= 130, "it has to fit in a tooltip"
    assert lookup(term.name.upper()) is term


@pytest.mark.parametrize(
    "name",
    [
        "token", "loss", "perplexity", "bits per character", "bits per byte", "attention", "query", "key", "value", "head",
        "causal mask", "temperature", "top-k", "top-p", "min-p", "greedy", "step", "residual stream", "prefill",
    ],
)  # fmt: skip
def test_what_the_pages_need_is_there(name: str) -> None:
    assert lookup(name).name == name


def test_every_point_of_the_model_has_a_term() -> None:
    known = {term.symbol for term in TERMS} | {other for term in TERMS for other in term.also}
    points = {name.rpartition(".")[2] for name in point_names(TransformerConfig(positions="learned"))}
    assert points - known == set()


@pytest.mark.parametrize(
    "symbol",
    ["num_layers", "num_heads", "num_kv_heads", "d_model", "d_head", "d_ff", "sequence_length", "vocab_size",
     "tie_embeddings", "dropout", "learning_rate", "max_steps", "batch_size"],
)  # fmt: skip
def test_settings_are_found_by_their_name(symbol: str) -> None:
    assert lookup(symbol).symbol == symbol


def test_glossary_and_settings_agree_on_what_others_say() -> None:
    for term in TERMS:
        for other in term.also:
            if other in OTHER_NAMES:
                assert OTHER_NAMES[other] == term.symbol, (
                    f"{other} is {term.symbol} here and {OTHER_NAMES[other]} in config"
                )


def test_an_unknown_term_is_explained() -> None:
    with pytest.raises(InputError, match="no term 'flux capacitor'"):
        lookup("flux capacitor")


def test_a_tooltip_says_the_name_in_the_code() -> None:
    assert tooltip("context").endswith("In the code: sequence_length.")
