"""The path from text to next token as plain data: the Home page animates it, recorded once from a real model.

One forward pass over the finished text contains every step of writing it. The model is causal, so what it computes at a
position does not change when text is appended. The picture of step n shows the first rows of the same arrays.

Shapes: T tokens in all, L layers, H heads, D d_model.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from minigpt.generation.generator import TextGenerator
from minigpt.generation.inference import cleaned_for
from minigpt.interpret.trace import trace_forward
from minigpt.model.protocols import LanguageModel

NUM_CANDIDATES = 6
NUM_DIMENSIONS = 24
"""Number of coordinates of each token vector that are recorded."""


@dataclass(frozen=True)
class Choice:
    """The choice of one token: what was likely, the dice, and the result.

    Attributes:
        candidates: Text and probability of the most likely tokens, most likely first; includes the chosen one.
        chosen: Index of the chosen token among the candidates.
        u: The uniform random number, the dice, in [0, 1).
    """

    candidates: tuple[tuple[str, float], ...]
    chosen: int
    u: float


@dataclass(frozen=True)
class Flow:
    """A text, what the model computed for it, and how it was continued.

    Attributes:
        tokens: Text of each of the T tokens.
        ids: Id of each token.
        num_prompt: Number of tokens in the prompt; the others were written by the model.
        seed: Seed of the random numbers.
        num_layers: L.
        num_heads: H.
        d_model: D.
        vocab_size: V.
        num_parameters: Number of parameters of the model.
        embeddings: int8 (T, NUM_DIMENSIONS), with 127 for the largest absolute value; base64.
        attention: uint8 (L, H, T, T), with 255 for a weight of 1; base64.
        choices: One per token that was written.
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
        """Return the flow as plain data for JSON."""
        return asdict(self)


def record_flow(run: LanguageModel, prompt: str, *, num_tokens: int, seed: int = 0) -> Flow:
    """Let a model continue a prompt, and record what it computes.

    Args:
        run: Model and tokenizer.
        prompt: At least one token; prompt and continuation together must fit the context.
        num_tokens: Number of tokens to sample, from the model's own probabilities.
        seed: Seed of the random numbers.
    """
    tokenizer, model = run.tokenizer, run.model
    prompt_ids = tokenizer.encode(cleaned_for(run, prompt))
    written = list(TextGenerator(run).stream(prompt, max_new_tokens=num_tokens, temperature=1.0, seed=seed))
    ids = [*prompt_ids, *(token.token_id for token in written)]
    trace = trace_forward(model, torch.tensor([ids]))
    choices = []
    for index, token in enumerate(written):
        probabilities = trace.probabilities[0, len(prompt_ids) - 1 + index].double()
        order = probabilities.argsort(descending=True, stable=True)[:NUM_CANDIDATES].tolist()
        if token.token_id not in order:  # an unlikely token takes the last place
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
