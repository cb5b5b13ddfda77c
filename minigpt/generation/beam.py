"""Beam search: not one text is continued but the few that are most likely as a whole.

    score(text) = log P(text) / length^length_penalty

Greedy decoding takes the most likely token and can never take it back. Beam search keeps the `num_beams` most likely
beginnings at each step, so that a token which is unlikely now can win by what follows. It finds more likely texts. For
open-ended writing these are often worse ones: dull and repetitive (Holtzman et al. 2020, section 1).

A longer text has a lower probability, since each token multiplies it by a number below 1. The penalty divides the
logarithm, a negative number: 0 compares the probabilities themselves, 1 their geometric means per token, more favours
long texts.

There is no randomness. Of equally likely continuations that of the better beam, then the lowest id comes first.

Reads after: reading.py. Shapes: B beams, V vocabulary.
Source: Graves 2012 (arXiv:1211.3711), section 3, for the search; Wu et al. 2016 (arXiv:1609.08144), section 7, for the
length penalty, here in the simpler form that the transformers library uses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from minigpt.arguments import check_count
from minigpt.errors import SamplingError
from minigpt.generation.inference import evaluation_mode
from minigpt.generation.reading import GrowingText, TextReader

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

MAX_BEAMS = 64
"""Each beam has a cache of its own."""
MAX_PENALTY = 10
MAX_STEPS = 4096
"""Tokens of the longest text: the tree keeps a node for each beam and step."""


@dataclass(frozen=True, slots=True)
class BeamNode:
    """One token in the tree of all continuations that a search kept for a step.

    Attributes:
        token_id: The token.
        parent: Index in the tree of the token before it; None for a first token.
        step: How many tokens come before it.
        log_prob: Logarithm of the probability of all tokens up to this one, in nats.
    """

    token_id: int
    parent: int | None
    step: int
    log_prob: float


@dataclass(frozen=True, slots=True)
class Beam:
    """A finished text of a search.

    Attributes:
        ids: The tokens that were written, without the one that ends a text.
        log_prob: Logarithm of their probability in nats, that of the end included if `ended`.
        score: `log_prob` divided by length^length_penalty.
        ended: Whether the model ended the text; else the number of tokens did.
        node: Index in the tree of its last token; None if nothing was written.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float
    ended: bool
    node: int | None


@dataclass(frozen=True, slots=True)
class BeamSearch:
    """The result of a search.

    Attributes:
        beams: The best texts, best first.
        tree: Every token that was kept for at least one step; a token comes after its parent.
    """

    beams: tuple[Beam, ...]
    tree: tuple[BeamNode, ...]


@dataclass
class _Live:
    """A beginning that is still continued."""

    text: GrowingText
    log_prob: float
    node: int | None


def beam_search(
    run: LanguageModel,
    ids: list[int],
    *,
    num_beams: int = 4,
    max_new_tokens: int = 50,
    length_penalty: float = 1.0,
    num_results: int = 1,
    cancelled: Callable[[], bool] | None = None,
) -> BeamSearch:
    """Search the most likely continuations of a prompt.

    PAD, UNK and BOS are never written; EOS ends a text. The search ends once no beginning can still become better than
    the results.

    Args:
        run: The model with its tokenizer.
        ids: The prompt's tokens, one or more, as many as the context holds at most.
        num_beams: Beginnings that are kept at each step; 1 is greedy.
        max_new_tokens: Largest number of tokens to write, at most `MAX_STEPS`.
        length_penalty: See above; from 0 to `MAX_PENALTY`.
        num_results: How many texts to return, at most `num_beams`.
        cancelled: Asked before each step; True ends the search with what there is.

    Raises:
        InputError: A setting is out of range.
    """
    check_count("num_beams", num_beams, most=MAX_BEAMS)
    check_count("num_results", num_results, most=num_beams)
    check_count("max_new_tokens", max_new_tokens, least=0, most=MAX_STEPS)
    if not 0 <= length_penalty <= MAX_PENALTY:
        raise SamplingError(
            f"length_penalty is {length_penalty}; it must be a number from 0 to {MAX_PENALTY}.",
            mend="Set it accordingly.",
        )
    model, eos = run.model, run.tokenizer.eos_id
    never = torch.tensor([i for i in run.tokenizer.special_ids if i != eos], dtype=torch.int64)
    reader = TextReader(model)
    tree: list[BeamNode] = []
    live = [_Live(GrowingText(ids), 0.0, None)]
    ended: list[Beam] = []

    def finish(beam: _Live, log_prob: float, *, by_model: bool) -> Beam:
        written = tuple(beam.text.ids[len(ids) :])
        length = len(written) + by_model
        return Beam(written, log_prob, log_prob / max(length, 1) ** length_penalty, by_model, beam.node)

    def best(beams: list[Beam]) -> list[Beam]:
        return sorted(beams, key=lambda beam: -beam.score)[:num_results]  # of equal ones the earlier stays first

    for step in range(max_new_tokens):
        if cancelled is not None and cancelled():
            break
        with evaluation_mode(model):
            logits = reader.read([beam.text for beam in live]).to("cpu", torch.float64)
        log_probs = torch.log_softmax(logits, -1).index_fill_(-1, never, -math.inf)
        totals = log_probs + torch.tensor([[beam.log_prob] for beam in live], dtype=torch.float64)  # (B, V)
        # Twice as many as there are beams are enough: of each beam at most one continuation ends the text.
        ranked = totals.flatten().sort(descending=True, stable=True)
        chosen: list[tuple[_Live, int, float]] = []
        for total, place in zip(*(part[: 2 * num_beams].tolist() for part in ranked), strict=True):
            beam, token = live[place // logits.shape[-1]], place % logits.shape[-1]
            if total == -math.inf or len(chosen) == num_beams:
                break
            if token == eos:
                ended.append(finish(beam, total, by_model=True))
            else:
                chosen.append((beam, token, total))
        ended = best(ended)
        live = _continue(chosen, step, tree)
        hope = max((beam.log_prob for beam in live), default=-math.inf) / max_new_tokens**length_penalty
        if len(ended) == num_results and hope <= ended[-1].score:
            live = []
        if not live:
            break
    texts = best([*ended, *(finish(beam, beam.log_prob, by_model=False) for beam in live)])
    return BeamSearch(tuple(texts), tuple(tree))


def _continue(chosen: list[tuple[_Live, int, float]], step: int, tree: list[BeamNode]) -> list[_Live]:
    """Append the chosen tokens to their beams and to the tree, and return the beams that this gives."""
    left = Counter(id(beam) for beam, _, _ in chosen)
    live = []
    for beam, token, log_prob in chosen:
        left[id(beam)] -= 1
        text = beam.text.fork() if left[id(beam)] else beam.text  # the last continuation takes over the beam's cache
        text.ids.append(token)
        tree.append(BeamNode(token, beam.node, step, log_prob))
        live.append(_Live(text, log_prob, len(tree) - 1))
    return live
