"""Beam search against trying every text, against greedy decoding, and by hand."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import InputError
from minigpt.generation.beam import beam_search
from minigpt.generation.generator import TextGenerator
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.base import EOS_ID
from minigpt.tokenizers.character import CharacterTokenizer


def make_run(alphabet="abc", context=16, seed=0):
    tokenizer = CharacterTokenizer().train(alphabet)
    config = TransformerConfig(num_layers=1, num_heads=2, d_model=16, sequence_length=context)
    model = Transformer(config, tokenizer.vocab_size, seed=seed).double()
    with torch.no_grad():  # random weights give nearly even distributions; sharper ones tell searches apart
        model.embedding.weight.mul_(40)
    return SimpleNamespace(model=model.eval(), tokenizer=tokenizer)


def all_texts(run, ids, length, penalty):
    """Score every continuation of at most `length` tokens: the slow, obvious way."""
    letters = run.tokenizer.text_ids
    scores = {}
    for n in range(length + 1):
        for written in itertools.product(letters, repeat=n):
            tokens = [*ids, *written]
            with torch.no_grad():
                log_probs = torch.log_softmax(run.model(torch.tensor([tokens]))[0], -1)
            total = math.fsum(float(log_probs[len(ids) - 1 + i, token]) for i, token in enumerate(written))
            if n == length:
                scores[written, False] = total / max(n, 1) ** penalty
            else:
                scores[written, True] = (total + float(log_probs[-1, EOS_ID])) / (n + 1) ** penalty
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_enough_beams_find_the_best_texts_of_all(penalty, seed):
    run = make_run(seed=seed)
    ids = run.tokenizer.encode("ab")
    expected = all_texts(run, ids, 3, penalty)[:5]
    found = beam_search(run, ids, num_beams=27, max_new_tokens=3, length_penalty=penalty, num_results=5)
    assert [(beam.ids, beam.ended) for beam in found.beams] == [text for text, _ in expected]
    assert [beam.score for beam in found.beams] == pytest.approx([score for _, score in expected])


def test_one_beam_is_greedy():
    run = make_run("abcdefgh", context=8)  # the text outgrows the context
    greedy = TextGenerator(run).generate("abc", max_new_tokens=20)
    (beam,) = beam_search(run, run.tokenizer.encode("abc"), num_beams=1, max_new_tokens=20, length_penalty=0).beams
    assert run.tokenizer.decode(list(beam.ids)) == greedy.completion
    assert beam.log_prob == pytest.approx(math.fsum(math.log(token.model_probability) for token in greedy.tokens))


@pytest.mark.parametrize("context", [6, 64])
def test_more_beams_never_find_a_less_likely_text_here_and_forks_do_not_mix(context):
    run = make_run("abcdef", context=context, seed=3)
    ids = run.tokenizer.encode("fa")
    previous = -math.inf
    for num_beams in (1, 2, 4, 8):
        found = beam_search(run, ids, num_beams=num_beams, max_new_tokens=9, length_penalty=0, num_results=num_beams)
        for beam in found.beams:
            if context == 64:  # the probability of each text, computed anew without a cache
                tokens = [*ids, *beam.ids, *([EOS_ID] if beam.ended else [])]
                with torch.no_grad():
                    log_probs = torch.log_softmax(run.model(torch.tensor([tokens[:-1]]))[0], -1)
                total = sum(float(log_probs[i, token]) for i, token in enumerate(tokens[1:]) if i >= len(ids) - 1)
                assert beam.log_prob == pytest.approx(total)
        assert found.beams[0].log_prob >= previous - 1e-9
        previous = found.beams[0].log_prob
        assert [beam.score for beam in found.beams] == sorted((beam.score for beam in found.beams), reverse=True)


def test_the_tree_holds_what_was_kept():
    run = make_run("abcd", seed=1)
    found = beam_search(run, run.tokenizer.encode("a"), num_beams=3, max_new_tokens=4, num_results=3)
    for beam in found.beams:
        path, node = [], beam.node
        while node is not None:
            path.append(found.tree[node].token_id)
            node = found.tree[node].parent
        assert tuple(reversed(path)) == beam.ids
    for place, node in enumerate(found.tree):
        assert node.parent is None or (node.parent < place and found.tree[node.parent].step == node.step - 1)
        assert node.parent is None or node.log_prob <= found.tree[node.parent].log_prob
    assert max(sum(node.step == step for node in found.tree) for step in range(4)) <= 3


def test_it_can_be_cancelled_and_may_write_nothing():
    run = make_run()
    (beam,) = beam_search(run, [5], cancelled=lambda: True).beams
    assert (beam.ids, beam.node, beam.ended) == ((), None, False)
    (beam,) = beam_search(run, [5], max_new_tokens=0).beams
    assert beam.ids == ()


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 0}, {"num_beams": 65}, {"num_beams": 2, "num_results": 3}, {"length_penalty": -1},
     {"length_penalty": math.nan}, {"max_new_tokens": -1}],
)  # fmt: skip
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError, match=f"{list(options)[-1]} is"):
        beam_search(make_run(), [5], **options)
