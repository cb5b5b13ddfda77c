"""Causal self-attention: each position gathers information from itself and from earlier positions.

    attention(q, k, v) = softmax(q k^T / sqrt(K) + mask) v        mask: 0 for s <= t, -inf for s > t

Intuition: every position sends out a query (what it looks for) and offers a key (how it can be found) and a value (what
it hands over). The product of a query and a key is their score; the softmax turns the scores of one query into weights
that sum to 1, and the output is the weighted mean of the values. The mask gives later positions the weight 0, so that a
position never sees the token it has to predict. A window hides far positions too. A cap keeps single scores from
growing without bound: score -> cap tanh(score / cap).

`fused_attention` computes this in one kernel, for training and generation. `explicit_attention` computes the same steps
one by one, for a probe that watches or edits them and for dropout on the weights. Tests hold the two equal.

Names: the paper's d_k is our d_head (K). Elsewhere the scores are called *attention logits*, the weights *attention
map* or `att` (here `attn_pattern`, as in TransformerLens), and a head's output *context vector* (here `z`).
Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head; Hkv key/value heads.
Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3.2; Ainslie et al. 2023, "GQA", section 2.2, for
shared key/value heads; Henry et al. 2020, "Query-Key Normalization for Transformers", section 2, for normed queries and
keys (unlike them, we norm with RMSNorm and keep the scale 1 / sqrt(K)); Beltagy et al. 2020, "Longformer", section 3.1,
and Jiang et al. 2023, "Mistral 7B", section 2, for the window; Gemma Team 2024, "Gemma 2", section 2, for the cap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError
from minigpt.model.dropout import Dropout
from minigpt.model.kv_cache import Cache, CacheRows
from minigpt.model.layers import Linear
from minigpt.model.norms import unit_rms
from minigpt.model.points import Probe, tap
from minigpt.model.positions import PlacedScheme, PositionScheme, alibi_bias, alibi_slopes, own_bias, rotate

MOST_SCORES = 1 << 26
"""Largest number of scores of one text that are in memory at a time; a longer text is done some queries at a time."""


def causal_mask(num_queries: int, num_keys: int, device: torch.device | None = None) -> torch.Tensor:
    """Return which query may attend to which key: (T, S), True where it may.

    The queries are the last T of the S positions. S > T if earlier keys come from a cache.

    >>> causal_mask(2, 3).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    allowed = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return allowed.tril(diagonal=num_keys - num_queries)


@dataclass(frozen=True)
class ScoreRule:
    """What happens to the scores between their scaling and the softmax.

    Attributes:
        causal: Whether a query sees only its own and earlier positions.
        window: Number W of positions that it sees, from its own on back; without the causal mask as many ahead too.
            None: all.
        cap: Bound of the scores: score -> cap tanh(score / cap). None: no bound.
        alibi: Whether scores fall with the distance; see `positions.alibi_bias`.
        scheme: A position scheme of one's own that adds to the scores; see `positions.PositionScheme.bias`.
    """

    causal: bool = True
    window: int | None = None
    cap: float | None = None
    alibi: bool = False
    scheme: PositionScheme | None = None

    def with_scheme(self, scheme: PositionScheme) -> ScoreRule:
        """Return the rule with the bias of a position scheme of one's own; without one, the rule itself."""
        return self if type(scheme).bias is PositionScheme.bias else replace(self, scheme=scheme)

    def mask(self, num_queries: int, num_keys: int, device: torch.device | None = None) -> torch.Tensor:
        """Return which query may attend to which key: (T, S), True where it may.

        >>> ScoreRule(window=2).mask(3, 3).int().tolist()
        [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
        """
        offset = num_keys - num_queries
        if self.causal:
            allowed = causal_mask(num_queries, num_keys, device)
        else:
            allowed = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
        if self.window is not None:
            allowed = allowed.triu(diagonal=offset - self.window + 1)
            if not self.causal:
                allowed = allowed.tril(diagonal=offset + self.window - 1)
        return allowed

    def change(self, scores: torch.Tensor, ages: torch.Tensor | None = None) -> torch.Tensor:
        """Return scaled scores (..., H, T, S), capped and with a bias by distance; without both, the tensor itself.

        Args:
            scores: See above; the queries are the last T of the S positions, unless `ages` are given.
            ages: How far back each key is from the query of its text, (B, S); T is 1.
        """
        if self.cap is not None:
            scores = self.cap * torch.tanh(scores / self.cap)
        if self.alibi:
            num_heads, num_queries, num_keys = scores.shape[-3:]
            if ages is None:
                bias = alibi_bias(num_heads, num_queries, num_keys, scores.device)
            else:
                bias = -alibi_slopes(num_heads, scores.device) * ages[:, None, None]
            scores = scores + bias.to(scores.dtype)
        if self.scheme is not None:
            distance = _distances(scores.shape[-2], scores.shape[-1], scores.device) if ages is None else ages[:, None]
            own = own_bias(self.scheme, distance)
            scores = scores if own is None else scores + own.to(scores.dtype)
        return scores


def _distances(num_queries: int, num_keys: int, device: torch.device) -> torch.Tensor:
    """Return how far each key is behind each query, (T, S); the queries are the last T of the S positions."""
    query = torch.arange(num_keys - num_queries, num_keys, device=device)
    return query[:, None] - torch.arange(num_keys, device=device)


PLAIN = ScoreRule()
"""The causal mask alone."""


def score_rule(config: TransformerConfig) -> ScoreRule:
    """Return the rule that a configuration asks for."""
    return ScoreRule(config.causal, config.attention_window, config.logit_cap, alibi=config.positions == "alibi")


def check_mask(mask: torch.Tensor, shape: tuple[int, int, int, int]) -> None:
    """Refuse a mask that has not one boolean for every score.

    Args:
        mask: Boolean, (T, S), or (B, H, T, S) where B and H may be 1.
        shape: (B, H, T, S) of the scores.

    Raises:
        ShapeError: The mask is not boolean or has another shape.
    """
    given = tuple(mask.shape)
    full = (1, 1, *given) if mask.ndim == 2 else given
    fits = len(full) == 4 and full[2:] == shape[2:] and full[0] in (1, shape[0]) and full[1] in (1, shape[1])
    if not fits:
        raise ShapeError(
            f"The attention mask has shape {given}; the scores have (B, H, T, S) = {shape}.",
            mend="Give a mask of that shape, or of (T, S); B and H may be 1.",
        )
    if mask.dtype != torch.bool:
        raise ShapeError(
            f"The attention mask has dtype {mask.dtype}; it must be torch.bool.",
            mend="Give True where a query may attend to a key.",
        )


def explicit_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    *,
    rule: ScoreRule = PLAIN,
    dropout: Dropout | None = None,
    probe: Probe | None = None,
) -> torch.Tensor:
    """Compute attention step by step: scores, scale, mask, softmax, weighted sum; each step passes through the probe.

        softmax(q k^T / sqrt(K) + mask) v

    Args:
        q: Queries (B, H, T, K).
        k: Keys (B, Hkv, S, K).
        v: Values (B, Hkv, S, K).
        mask: True where a query may attend to a key, (T, S) or (B, H, T, S).
        rule: Its cap and bias are applied to the scaled scores; what may be seen is in `mask`.
        dropout: Applied to the attention weights.
        probe: Watches and may edit every step.

    Returns:
        Each head's weighted sum of values, (B, H, T, K).

    Raises:
        ShapeError: The mask does not fit the scores.
    """
    group = q.shape[1] // k.shape[1]
    if group > 1:  # each key/value head serves `group` neighbouring query heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)  # (B, H, S, K)
    check_mask(mask, (*q.shape[:3], k.shape[2]))
    scores = tap(probe, "attn_scores_raw", q @ k.transpose(-2, -1))  # (B, H, T, S)
    # A sum of K independent products has variance K. Without the scale, the softmax of a wide head would start one-hot.
    scores = tap(probe, "attn_scores", rule.change(scores / math.sqrt(q.shape[-1])))
    scores = tap(probe, "attn_scores_masked", scores.masked_fill(~mask, -math.inf))
    pattern = tap(probe, "attn_pattern", scores.softmax(dim=-1))
    if dropout is not None:
        pattern = dropout(pattern)
    return pattern @ v  # (B, H, T, K)


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rule: ScoreRule = PLAIN) -> torch.Tensor:
    """Compute attention in one kernel, which never writes the (T, S) scores to memory.

        softmax(q k^T / sqrt(K) + mask) v

    A window and ALiBi need a mask or a bias for each score; a cap, and a scheme of one's own that adds to the scores,
    need the scores themselves. These are made for at most `MOST_SCORES` scores at a time.

    Args:
        q: Queries (B, H, T, K), at the last T of S positions.
        k: Keys (B, Hkv, S, K).
        v: Values (B, Hkv, S, K).
        rule: What happens to the scores.

    Returns:
        Each head's weighted sum of values, (B, H, T, K).

    Source: Dao et al. 2022, "FlashAttention".
    """
    num_heads, num_queries, num_keys = q.shape[1], q.shape[2], k.shape[2]
    if rule.window is not None and rule.causal and num_keys > num_queries + rule.window - 1:
        num_keys = num_queries + rule.window - 1  # no query sees the keys before these
        k, v = k[:, :, -num_keys:], v[:, :, -num_keys:]
    is_windowed = rule.window is not None and rule.window < num_keys and num_queries > 1
    if is_windowed or rule.cap is not None or rule.alibi or rule.scheme is not None:
        rows = max(1, MOST_SCORES // (num_heads * num_keys))
        if rule.causal and num_queries > rows:
            pieces = []
            for first in range(0, num_queries, rows):
                some = q[:, :, first : first + rows]
                end = num_keys - num_queries + first + some.shape[2]  # the first key that none of these queries sees
                pieces.append(fused_attention(some, k[:, :, :end], v[:, :, :end], rule))
            return torch.cat(pieces, dim=2)
    # torch's kernel knows no cap, and for bfloat16 on a processor it takes three times as long
    if rule.cap is not None or rule.scheme is not None or (q.dtype == torch.bfloat16 and q.device.type == "cpu"):
        return _separate_attention(q, k, v, rule)
    grouped = num_heads != k.shape[1]
    if rule.alibi:
        bias = alibi_bias(num_heads, num_queries, num_keys, q.device).to(q.dtype)
        if num_queries > 1:
            bias = bias.masked_fill(~rule.mask(num_queries, num_keys, q.device), -math.inf)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], enable_gqa=grouped)
    if num_queries == 1 or not (rule.causal or is_windowed):  # the newest position sees every key anyway
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped)
    if num_queries == num_keys and not is_windowed:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
    # is_causal=True would align the queries with the first keys, but they are the last positions.
    mask = rule.mask(num_queries, num_keys, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)


def _separate_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
    """Compute attention as separate matrix products, without probe or dropout, in few passes over memory.

    Args:
        q: Queries (B, H, T, K).
        k: Keys (B, Hkv, S, K).
        v: Values (B, Hkv, S, K).
        rule: What happens to the scores.
    """
    batch_size, num_heads, num_queries, d_head = q.shape
    num_keys = k.shape[2]
    group = num_heads // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)  # (B, H, S, K)
    offset = q.new_zeros(num_queries, num_keys)
    if rule.causal or rule.window is not None:
        offset.masked_fill_(~rule.mask(num_queries, num_keys, q.device), -math.inf)
    q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)  # (B H, T or S, K)
    if rule.cap is None and not rule.alibi and rule.scheme is None:
        scores = torch.baddbmm(offset, q, k.mT, alpha=1 / math.sqrt(d_head))  # (B H, T, S)
    else:
        plain = (q @ k.mT / math.sqrt(d_head)).view(batch_size, num_heads, num_queries, num_keys)
        scores = (rule.change(plain) + offset).flatten(0, 1)
    return (scores.softmax(dim=-1) @ v).view(batch_size, num_heads, num_queries, d_head)


def newest_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ages: torch.Tensor, rule: ScoreRule = PLAIN
) -> torch.Tensor:
    """Compute attention for the newest position of several texts, whose lengths may differ.

        softmax(q k^T / sqrt(K) + mask) v        mask: 0 for 0 <= age < window, -inf otherwise

    Args:
        q: Queries (B, H, 1, K).
        k: Keys (B, Hkv, S, K), filled from the left.
        v: Values (B, Hkv, S, K).
        ages: How far back each key is from its text's query, (B, S); negative behind the end of a shorter text.
        rule: What happens to the scores; it is causal.

    Returns:
        Each head's weighted sum of values, (B, H, 1, K).
    """
    seen = ages >= 0
    if rule.window is not None:
        seen &= ages < rule.window
    batch_size, num_heads, _, d_head = q.shape
    grouped = q.reshape(batch_size, k.shape[1], -1, d_head)  # the queries that share a key/value head side by side
    scores = (grouped @ k.mT / math.sqrt(d_head)).view(batch_size, num_heads, 1, -1)
    scores = rule.change(scores, ages).masked_fill(~seen[:, None, None], -math.inf)
    return (scores.softmax(dim=-1).view(*grouped.shape[:3], -1) @ v).view(q.shape)


class CausalSelfAttention(nn.Module):
    """Multi-head attention: H heads side by side, and a linear layer that adds their outputs together.

        q, k, v = split(x W_qkv)
        z_h = softmax(q_h k_h^T / sqrt(K) + mask) v_h        for each head h
        y = concat(z_1, ..., z_H) W_out

    The rows of `qkv.weight` are the H query heads, then the Hkv key heads, then the Hkv value heads, with K rows each.
    One product with this matrix is faster than three. With Hkv < H, neighbouring query heads share a key/value head
    (grouped-query attention).

    Args:
        config: The model's shape.
        layer: Index of the block; selects its part of the cache.
    """

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.num_heads
        self.kv_heads = config.kv_heads
        self.d_head = config.d_head
        self.rule = score_rule(config)
        self.qk_norm = config.qk_norm
        self.qkv = Linear(config.d_model, (config.num_heads + 2 * config.kv_heads) * config.d_head, config.bias)
        self.out = Linear(config.d_model, config.d_model, config.bias)
        self.attention_dropout = Dropout(config.attention_dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: torch.Tensor,
        rotation: torch.Tensor | PlacedScheme | None = None,
        *,
        cache: Cache | None = None,
        probe: Probe | None = None,
    ) -> torch.Tensor:
        """Attend from every position of `x` to itself and to all earlier positions.

        Args:
            x: The normed residual stream (B, T, D).
            rotation: Rotation at these T positions, (T, 1, K/2), or of each text (B, T, 1, K/2); or a position scheme
                of one's own; None without either.
            cache: Holds the keys and values of the positions before `x`.
            probe: Watches and may edit every step.

        Returns:
            What is added to the residual stream, (B, T, D).
        """
        batch_size, length, d_model = x.shape
        heads = self.qkv(x).view(batch_size, length, -1, self.d_head)  # (B, T, H + 2 Hkv, K)
        # Queries and keys are normed and rotated in the same way, so together; values are not.
        qk, v = torch.split(heads, [self.num_heads + self.kv_heads, self.kv_heads], dim=2)
        qk = unit_rms(qk) if self.qk_norm else qk
        rule = self.rule
        if isinstance(rotation, PlacedScheme):
            qk, rule = rotation.turn(qk), rule.with_scheme(rotation.scheme)
        elif rotation is not None:
            qk = rotate(qk, rotation)
        q, k = torch.split(qk, [self.num_heads, self.kv_heads], dim=2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H or Hkv, T, K)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)  # (B, Hkv, S, K)
        q, k, v = tap(probe, "q", q), tap(probe, "k", k), tap(probe, "v", v)
        drops = self.training and self.attention_dropout.probability > 0
        if isinstance(cache, CacheRows) and cache.ages is not None:
            z = newest_attention(q, k, v, cache.ages, rule)  # (B, H, 1, K)
        elif probe is None and not drops:
            z = fused_attention(q, k, v, rule)  # (B, H, T, K)
        else:
            mask = rule.mask(length, k.shape[2], x.device)
            z = explicit_attention(q, k, v, mask, rule=rule, dropout=self.attention_dropout, probe=probe)
        z = tap(probe, "z", z)
        joined = z.transpose(1, 2).reshape(batch_size, length, d_model)  # (B, T, H K) = (B, T, D)
        return tap(probe, "attn_out", self.dropout(self.out(joined)))
