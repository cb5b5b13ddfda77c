"""Logit lens and logit attribution: what the residual stream predicts after each block, and which part caused it.

    logit lens          logits_l = norm(resid_post_l) output^T          for each block l
    logit attribution   logit(target) = sum over parts p of (direction · p),  direction = norm's scale * output[target]

Intuition for the logit lens: every block only adds to the residual stream, so the stream after block l is an unfinished
version of the last one. Applying the final norm and the output matrix to it at once shows what the model would predict
if it ended there; over the blocks one sees the prediction take shape.

Intuition for logit attribution: the stream is a sum of the embedding and of the outputs of all heads and feed-forward
layers. The output matrix is linear, so each term has its own share in the logit of a token.

Attribution needs a stream that is a sum. So it does not hold for post-norm models, whose norms change the whole stream
in every block, nor without residual connections.

Both use the model's own last steps: the streams replace the output of the last block, and the forward pass continues.

Shapes: P points of the stream (before the first block, and after each), T positions, D d_model, V vocabulary, L layers,
H heads, K d_head.
Sources: nostalgebraist 2020, "interpreting GPT: the logit lens"; Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits", for direct logit attribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from minigpt.arguments import check_count
from minigpt.errors import InputError
from minigpt.generation.inference import evaluation_mode
from minigpt.interpret.checks import check_ids, check_position, check_token
from minigpt.interpret.trace import Trace, to_numpy, trace_forward
from minigpt.model.norms import LayerNorm
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Lens:
    """What the stream would predict at each point if the model ended there.

    Attributes:
        points: Name of each of the P points, from the first block to the last.
        top_ids: The k most likely next tokens, most likely first, (P, T, k).
        top_probs: Their probabilities, (P, T, k).
        rank_of_actual: Rank of the token that does come next, 1 for the most likely one, (P, T); 0 at the last
            position, which has no next token.
        nats_of_actual: Cross-entropy of that token in nats, (P, T); NaN at the last position.
    """

    points: list[str]
    top_ids: np.ndarray
    top_probs: np.ndarray
    rank_of_actual: np.ndarray
    nats_of_actual: np.ndarray


@dataclass(frozen=True)
class Attribution:
    """The direct contribution of each part to one logit, or to the difference of two; the parts add up to `total`.

    Attributes:
        embed: Contribution of the token's own vector.
        positions: Contribution of the position's vector; 0 with rotary positions.
        heads: Contribution of each head, (L, H).
        feedforwards: Contribution of each feed-forward layer, (L,); (0,) for a model without them.
        rest: Contribution of the biases of attention layers and final norm; 0 without biases.
        total: The logit, or the difference, as the model computes it.
    """

    embed: float
    positions: float
    heads: np.ndarray
    feedforwards: np.ndarray
    rest: float
    total: float


def stream_points(model: Transformer) -> list[str]:
    """Return the names of the points between blocks: before the first block and after each, P = L + 1 of them."""
    return ["blocks.0.resid_pre", *(f"blocks.{layer}.resid_post" for layer in range(model.config.num_layers))]


def read_out(model: Transformer, ids: torch.Tensor, streams: torch.Tensor) -> torch.Tensor:
    """Return the logits for residual streams that replace the output of the last block.

    Args:
        model: Any model.
        ids: The text from which the streams were computed, (1, T).
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
    """Apply the model's own final norm and output matrix to the stream at every point between blocks.

    Args:
        model: Any model.
        ids: Token ids (1, T).
        k: Number of most likely tokens to return; at most V.
    """
    check_ids(ids)
    check_count("k", k)
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
    """Split a logit into the direct contributions of each part of the model.

    The stream is a sum and the output matrix is linear, but the final norm between them is not. Its scale is held at
    the value that it has for this text, so that the parts add up. An effect of a part on later parts is counted as
    theirs.

    Args:
        model: Any model whose blocks add to the stream.
        ids: Token ids (1, T).
        position: Position of the prediction.
        target: The token whose logit is split.
        versus: A token whose logit is subtracted; the difference decides which of the two is more likely.

    Raises:
        InputError: There is no such position or token, or the stream of this model is no sum.
    """
    check_position(ids, position)
    _check_sum(model)
    for token in [target] if versus is None else [target, versus]:
        check_token(model, token)
    trace = trace_forward(model, ids)
    weigh = _Reader(model, trace, position, target, versus)
    heads = torch.stack([weigh(part[:, position]) for part in head_outputs(model, ids)])  # (L, H)
    outputs = [weigh(part[0, position]) for part in trace.ff_out]
    feedforwards = torch.stack(outputs) if outputs else heads.new_zeros(0)  # (L,)
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

    It takes one forward pass over H + 2 copies of the text. Copy h keeps only head h, the next copy keeps no head and
    the last one all heads. Copy h minus the copy without heads is the output of head h. After each attention layer all
    copies continue with the output of the last one.

    Args:
        model: Any model.
        ids: Token ids (1, T).
    """
    check_ids(ids)
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


def _check_sum(model: Transformer) -> None:
    """Refuse a model whose stream is not the sum of the outputs of its parts."""
    config = model.config
    if config.norm_position == "post" or not config.residual:
        why = "its residual is false" if not config.residual else "its norm_position is post"
        raise InputError(
            f"The stream of this model is not the sum of what its parts add: {why}. So a logit cannot be split.",
            mend="Take a model with residual connections and with norm_position pre or none.",
        )


class _Reader:
    """Computes how much a vector in the stream adds to a logit, with the scale of the final norm held fixed.

    Args:
        model: The model; its final norm is RMSNorm or LayerNorm, with or without weights, or there is none.
        trace: Trace of the text.
        position: Position of the prediction.
        target: The token of the logit.
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
        normed = stream if norm is None else trace.final_norm[0, position].double()
        normed = normed if bias is None else normed - bias.detach().double()
        # The scale is taken from the trace: without weight and bias, the norm has only multiplied by one factor.
        scale = normed @ weighted / (weighted @ weighted)
        self._direction = unembedding * scale * (1 if weight is None else weight.detach().double())

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the contribution of each vector: (..., D) -> (...)."""
        return self._centre(vectors.double()) @ self._direction

    def _centre(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors - vectors.mean(dim=-1, keepdim=True) if self._centred else vectors
