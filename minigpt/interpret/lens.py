"""What the stream already says on its way up, and which part of the model says it.

The logit lens reads the residual stream after each block as if it were the last one. Logit attribution splits the logit
of one token into what each part of the model added to the stream. Both use the model's own last steps: streams are put
into the last block's output and the forward pass goes on from there.

Shapes: P points of the stream (before the first block, and after each), T positions, D d_model, V vocabulary, L layers,
H heads, K d_head.
Sources: nostalgebraist 2020, "interpreting GPT: the logit lens"; Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits", for direct logit attribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.checks import check_position, check_token
from minigpt.interpret.trace import Trace, to_numpy, trace_forward
from minigpt.model.norms import LayerNorm
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Lens:
    """What the stream would predict at each point, had the model ended there.

    Attributes:
        points: Name of each of the P points in the model, from the bottom up.
        top_ids: The k likeliest next tokens, likeliest first, (P, T, k).
        top_probs: Their probabilities, (P, T, k).
        rank_of_actual: Place of the token that does come next among all tokens, 1 for the likeliest, (P, T); 0 at the
            last position, after which nothing comes.
        nats_of_actual: Surprise at that token, (P, T); not a number at the last position.
    """

    points: list[str]
    top_ids: np.ndarray
    top_probs: np.ndarray
    rank_of_actual: np.ndarray
    nats_of_actual: np.ndarray


@dataclass(frozen=True)
class Attribution:
    """What each part of the model added to one logit, or to the difference of two; the parts add up to `total`.

    Attributes:
        embed: The token's own vector.
        positions: The position's vector; 0 where positions are rotary.
        heads: Each head, (L, H).
        feedforwards: Each feed-forward block, (L,).
        rest: All else: the biases of the attention layers and of the final norm; 0 where there are none.
        total: The logit, or the difference, as the model computes it.
    """

    embed: float
    positions: float
    heads: np.ndarray
    feedforwards: np.ndarray
    rest: float
    total: float


def stream_points(model: Transformer) -> list[str]:
    """Return the points at which the whole stream can be seen between blocks, from the bottom up.

    Before the first block, and after each: P = L + 1 of them.
    """
    return ["blocks.0.resid_pre", *(f"blocks.{layer}.resid_post" for layer in range(model.config.num_layers))]


def read_out(model: Transformer, ids: torch.Tensor, streams: torch.Tensor) -> torch.Tensor:
    """Return the logits that the model would read from streams after its last block.

    Args:
        model: Any model.
        ids: The text that the streams are of, (1, T).
        streams: (P, T, D).

    Returns:
        (P, T, V).
    """
    last = f"blocks.{model.config.num_layers - 1}.resid_post"
    with evaluation_mode(model):
        logits: torch.Tensor = model(
            ids.expand(len(streams), -1), probe=lambda name, tensor: streams if name == last else tensor
        )
    return logits


def logit_lens(model: Transformer, ids: torch.Tensor, *, k: int = 5) -> Lens:
    """Read the stream at every point between blocks with the model's own final norm and output matrix.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        k: How many of the likeliest tokens to return; at most V.
    """
    trace, points = trace_forward(model, ids), stream_points(model)
    logits = read_out(model, ids, torch.cat([trace[point] for point in points]))  # (P, T, V)
    log_probs = logits.float().log_softmax(dim=-1)
    top = log_probs.topk(min(k, log_probs.shape[-1]), dim=-1)
    num_points, length, _ = log_probs.shape
    nats = np.full((num_points, length), np.nan, np.float32)
    rank = np.zeros((num_points, length), np.int64)
    actual = log_probs[:, :-1].gather(-1, ids[:, 1:, None].expand(num_points, -1, -1))  # (P, T - 1, 1)
    nats[:, :-1] = to_numpy(-actual[..., 0])
    rank[:, :-1] = to_numpy(1 + (log_probs[:, :-1] > actual).sum(dim=-1))
    return Lens(points, to_numpy(top.indices), to_numpy(top.values.exp()), rank, nats)


def logit_attribution(
    model: Transformer, ids: torch.Tensor, position: int, target: int, *, versus: int | None = None
) -> Attribution:
    """Split a logit into what each part of the model added to it directly.

    The stream is a sum and the output matrix is linear; only the final norm between them is not. Its scale is held at
    the value that it had, so that the parts add up. What a part does by way of later parts counts as theirs.

    Args:
        model: Any model whose blocks add to the stream.
        ids: Token ids (1, T).
        position: Where the prediction is read.
        target: The token whose logit is split.
        versus: A token whose logit is subtracted; the difference is what decides between the two.

    Raises:
        InputError: There is no such position or token.
    """
    check_position(ids, position)
    for token in [target] if versus is None else [target, versus]:
        check_token(model, token)
    trace = trace_forward(model, ids)
    weigh = _Reader(model, trace, position, target, versus)
    heads = torch.stack([weigh(part[:, position]) for part in head_outputs(model, ids)])  # (L, H)
    feedforwards = torch.stack([weigh(part[0, position]) for part in trace.ff_out])  # (L,)
    embed = float(weigh(trace.embed[0, position]))
    positions = float(weigh(trace["pos_embed"][0, position])) if "pos_embed" in trace else 0.0
    logits = trace.logits[0, position].double()
    total = float(logits[target] - (0 if versus is None else logits[versus]))
    return Attribution(
        embed=embed,
        positions=positions,
        heads=to_numpy(heads),
        feedforwards=to_numpy(feedforwards),
        rest=total - embed - positions - float(heads.sum()) - float(feedforwards.sum()),
        total=total,
    )


def head_outputs(model: Transformer, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return what each head adds to the stream, for each layer (H, T, D); the layer's bias belongs to no head.

    One forward pass: the text is read H + 2 times side by side. Row h lets only head h through, the next none, the last
    all of them; the difference to the row of none is the head's. Then every row goes on with all heads.

    Args:
        model: Any model.
        ids: Token ids (1, T).
    """
    num_heads = model.config.num_heads
    outputs: list[torch.Tensor] = []
    through = torch.cat([torch.eye(num_heads), torch.zeros(1, num_heads), torch.ones(1, num_heads)]).to(model.device)

    def probe(name: str, tensor: torch.Tensor) -> torch.Tensor:
        point = name.rpartition(".")[2]
        if point == "z":
            return tensor * through[:, :, None, None].to(tensor.dtype)  # (H + 2, H, T, K)
        if point == "attn_out":
            outputs.append(tensor[:num_heads] - tensor[num_heads])
            return tensor[-1:].expand_as(tensor)
        return tensor

    with evaluation_mode(model):
        model(ids.expand(num_heads + 2, -1), probe=probe)
    return outputs


class _Reader:
    """Tells what a vector in the stream adds to a logit, with the final norm's scale held where it was.

    Args:
        model: The model; its final norm is RMSNorm or LayerNorm, with or without weights.
        trace: Of the text.
        position: Where the prediction is read.
        target: The token whose logit it is.
        versus: A token whose logit is subtracted.
    """

    def __init__(self, model: Transformer, trace: Trace, position: int, target: int, versus: int | None) -> None:
        norm = model.final_norm
        matrix = (model.embedding.weight if model.head is None else model.head.weight).detach().double()  # (V, D)
        unembedding = matrix[target] if versus is None else matrix[target] - matrix[versus]  # (D,)
        self._centred = isinstance(norm, LayerNorm)
        weight, bias = (getattr(norm, name, None) for name in ("weight", "bias"))
        stream = self._centre(trace.resid_post[-1][0, position].double())  # (D,)
        weighted = stream if weight is None else stream * weight.detach().double()
        normed = trace.final_norm[0, position].double() - (0 if bias is None else bias.detach().double())
        # What the norm really did is read off the trace: after its weights and shift are gone, one factor is left.
        scale = normed @ weighted / (weighted @ weighted)
        self._direction = unembedding * scale * (1 if weight is None else weight.detach().double())

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (...)."""
        return self._centre(vectors.double()) @ self._direction

    def _centre(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors - vectors.mean(dim=-1, keepdim=True) if self._centred else vectors
