"""Several texts written side by side, each with random numbers of its own: for statistics, not for reading along.

Row r is what `generate_naive` writes with `row=r`: the same rule when the context is full, and the same random numbers.

Reads after: generator.py. Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from minigpt.generation.inference import evaluation_mode
from minigpt.generation.reading import overflow
from minigpt.generation.samplers import Sampler, draw
from minigpt.randomness import uniform

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer


def write_rows(
    model: Transformer,
    ids: Sequence[int],
    num_rows: int,
    num_tokens: int,
    sampler: Sampler,
    seed: int = 0,
    *,
    never: Sequence[int] = (),
) -> Iterator[list[int]]:
    """Yield the next token of every row, `num_tokens` times.

    Args:
        model: The model; it is left in the mode in which it was found.
        ids: The prompt of all rows, at least one token and at most a context.
        num_rows: Number of texts, B.
        num_tokens: Tokens of each text; nothing ends it sooner.
        sampler: How to choose each token.
        seed: Seed of the random numbers.
        never: Ids that are never written.
    """
    context, length, start, state = model.config.sequence_length, len(ids), 0, None
    tokens = torch.tensor([list(ids)] * num_rows, device=model.device)  # (B, T)
    banned = torch.tensor(never, dtype=torch.int64)
    cache, seen = None, 0
    for n in range(num_tokens):
        with evaluation_mode(model):
            if model.config.causal and cache is None:
                cache, seen = model.make_cache(num_rows), start
            logits = model(tokens[:, seen:], cache=cache)[:, -1].to("cpu", torch.float64)
            seen = length if cache is not None else start
            chosen, state = sampler.process(logits.index_fill(-1, banned, -math.inf), tokens.cpu(), state)
            dice = [uniform(seed, row, n) for row in range(num_rows)]
            written = draw(torch.softmax(chosen, -1), dice)
            tokens = torch.cat((tokens, written.unsqueeze(1).to(tokens.device)), 1)
        length += 1
        yield written.tolist()
        if dropped := overflow(length - start, context):
            start += dropped
            cache, seen = None, start
