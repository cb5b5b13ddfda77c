"""The way from text to next character as plain data: what Home animates, recorded once from a real model.

One forward pass over the finished text holds every step of its writing: the model is causal, so what it computed at a
position does not change when text is appended. A picture of step n therefore shows the first rows of the same arrays.

Shapes: T tokens in all, L layers, H heads, D d_model.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from minigpt.generation.generator import TextGenerator
from minigpt.interpret.trace import trace_forward
from minigpt.model.protocols import LanguageModel

NUM_CANDIDATES = 6
NUM_DIMENSIONS = 24
"""How many of the D numbers that stand for a token are recorded."""


@dataclass(frozen=True)
class Choice:
    """One character written: what was likely, what the dice were, what came.

    Attributes:
        candidates: Text and probability of the likeliest tokens, likeliest first; the chosen one is among them.
        chosen: Its place among the candidates.
        u: The dice, between 0 and 1.
    """

    candidates: tuple[tuple[str, float], ...]
    chosen: int
    u: float


@dataclass(frozen=True)
class Flow:
    """A text, how the model read it, and how it was written on.

    Attributes:
        tokens: Text of each of the T tokens.
        ids: Number of each.
        num_prompt: How many of them were given; the rest was written.
        seed: Where the dice came from.
        num_layers: L.
        num_heads: H.
        d_model: D.
        vocab_size: V.
        num_parameters: Of the whole model.
        embeddings: int8 (T, NUM_DIMENSIONS), 127 for the largest number among them; base64.
        attention: uint8 (L, H, T, T), 255 for a weight of 1; base64.
        choices: One for each token that was written.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    num_prompt: int
    seed: int
    num_layers: int
    num_heads: int
    d_model: int
    vocab_size: int
    num_parameters: int
    embeddings: str
    attention: str
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the flow as JSON holds it."""
        return asdict(self)


def record_flow(run: LanguageModel, prompt: str, *, num_tokens: int, seed: int = 0) -> Flow:
    """Let a model write on and record how.

    Args:
        run: Model and tokenizer.
        prompt: At least one token, so short that prompt and continuation fit into the context.
        num_tokens: How many tokens to write; dice decide, on the model's own probabilities.
        seed: Where the dice come from.
    """
    tokenizer, model = run.tokenizer, run.model
    prompt_ids = tokenizer.encode(prompt)
    written = list(TextGenerator(run).stream(prompt, max_new_tokens=num_tokens, temperature=1.0, seed=seed))
    ids = [*prompt_ids, *(token.token_id for token in written)]
    trace = trace_forward(model, torch.tensor([ids]))
    choices = []
    for index, token in enumerate(written):
        probabilities = trace.probabilities[0, len(prompt_ids) - 1 + index].double()
        order = probabilities.argsort(descending=True, stable=True)[:NUM_CANDIDATES].tolist()
        if token.token_id not in order:  # a rare one: it takes the last place
            order[-1] = token.token_id
        candidates = tuple((tokenizer.token_text(item), round(float(probabilities[item]), 4)) for item in order)
        choices.append(Choice(candidates, order.index(token.token_id), round(token.u, 4)))
    embeddings = trace.embed[0, :, :NUM_DIMENSIONS].float().cpu().numpy()
    attention = np.stack([pattern[0].float().cpu().numpy() for pattern in trace.attn_pattern])
    return Flow(
        tokens=tuple(tokenizer.token_text(item) for item in ids),
        ids=tuple(ids),
        num_prompt=len(prompt_ids),
        seed=seed,
        num_layers=model.config.num_layers,
        num_heads=model.config.num_heads,
        d_model=model.config.d_model,
        vocab_size=model.vocab_size,
        num_parameters=model.num_parameters(),
        embeddings=_base64(np.rint(embeddings / np.abs(embeddings).max() * 127).astype(np.int8)),
        attention=_base64(np.rint(attention * 255).astype(np.uint8)),
        choices=tuple(choices),
    )


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
