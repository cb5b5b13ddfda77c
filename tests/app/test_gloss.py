"""What the terms in a text mean: found in any case and in the plural, never in a quotation."""

import pytest

from minigpt.app.ui.gloss import gloss, terms_in
from minigpt.glossary import TERMS


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
@pytest.mark.parametrize("sentence", ["{}", "The {}s of it.", "**{}**, (at last)", "Before “other” {}."])
def test_every_term_is_found(term, sentence):
    assert term in terms_in(sentence.format(term.name))


@pytest.mark.parametrize("text", ["", "After “the loss” it is late.", "Lossless tokenization", "re-run"])
def test_nothing_is_found_where_no_term_is_used(text):
    assert gloss(text) is None


def test_a_longer_term_hides_the_shorter_one_in_it_and_the_order_is_that_of_the_text():
    assert [term.name for term in terms_in("Each key/value head, then the loss, then a head.")] == [
        "key/value head", "loss", "head"
    ]  # fmt: skip
    assert gloss("A loss of 2 nats.").startswith("**loss**: How surprised")
