"""The named points inside the model at which a probe can watch or edit a tensor.

| point | shape | what it is |
|---|---|---|
| `embed` | (B, T, D) | token vectors |
| `pos_embed` | (B, T, D) | position vectors, learned and sinusoidal positions only |
| `blocks.{l}.resid_pre` | (B, T, D) | residual stream as it enters block l |
| `blocks.{l}.attn_in` | (B, T, D) | input of attention: the stream, after norm and convolution if they come first |
| `blocks.{l}.q` | (B, H, T, K) | queries, rotated if positions are rotary |
| `blocks.{l}.k`, `blocks.{l}.v` | (B, Hkv, S, K) | keys and values, cached ones included, before heads share them |
| `blocks.{l}.attn_scores_raw` | (B, H, T, S) | query times key |
| `blocks.{l}.attn_scores` | (B, H, T, S) | divided by sqrt(K); capped, lowered by ALiBi, if the model does that |
| `blocks.{l}.attn_scores_masked` | (B, H, T, S) | -inf where the key is later than the query, or out of the window |
| `blocks.{l}.attn_pattern` | (B, H, T, S) | softmax over S, rows sum to 1 |
| `blocks.{l}.z` | (B, H, T, K) | each head's weighted sum of values |
| `blocks.{l}.attn_out` | (B, T, D) | what attention adds to the stream |
| `blocks.{l}.resid_mid` | (B, T, D) | the stream after attention |
| `blocks.{l}.ff_in` | (B, T, D) | input of the feed-forward layer, likewise |
| `blocks.{l}.ff_pre`, `blocks.{l}.ff_act` | (B, T, F) | before and after the non-linearity; swiglu: gate, product |
| `blocks.{l}.ff_out` | (B, T, D) | what the feed-forward layer adds to the stream |
| `blocks.{l}.resid_post` | (B, T, D) | the stream as it leaves block l |
| `final_norm` | (B, T, D) | the normed stream that becomes logits; with pre-norm only |
| `logits` | (B, T, V) | a score for every next token |

Without residual connections a layer replaces the stream instead of adding to it. With post-norm, `resid_mid` and
`resid_post` are taken after the norm. Without feed-forward layers there are no points whose names begin with `ff_`.

Source: most names are those of TransformerLens (Nanda and Bloom 2022). There `ff_pre`, `ff_act` and `ff_out` are
`mlp_pre`, `mlp_post` and `mlp_out`; `attn_scores_raw` and the two normed inputs have no name there.
Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head, F d_ff, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from minigpt.config import TransformerConfig
from minigpt.errors import ShapeError

Probe = Callable[[str, torch.Tensor], torch.Tensor]
"""Called as `probe(name, tensor)` at every point; the model continues with the tensor that it returns.

To watch, return the tensor itself. To edit, return another tensor of the same shape.
"""

BLOCK_POINTS = (
    "resid_pre",
    "attn_in",
    "q",
    "k",
    "v",
    "attn_scores_raw",
    "attn_scores",
    "attn_scores_masked",
    "attn_pattern",
    "z",
    "attn_out",
    "resid_mid",
    "ff_in",
    "ff_pre",
    "ff_act",
    "ff_out",
    "resid_post",
)
"""The points of one block, in order of computation."""
FEEDFORWARD_POINTS = ("ff_in", "ff_pre", "ff_act", "ff_out")
"""The points that a block without a feed-forward layer does not have."""


def point_names(config: TransformerConfig) -> list[str]:
    """Return the name of every point of a model, in order of computation.

    >>> point_names(TransformerConfig(num_layers=1, positions="learned"))[:4]
    ['embed', 'pos_embed', 'blocks.0.resid_pre', 'blocks.0.attn_in']
    """
    inside = [point for point in BLOCK_POINTS if config.has_feedforward or point not in FEEDFORWARD_POINTS]
    names = ["embed", "pos_embed"] if config.positions in ("learned", "sinusoidal") else ["embed"]
    names += [f"blocks.{layer}.{point}" for layer in range(config.num_layers) for point in inside]
    return [*names, *(["final_norm"] if config.norm_position == "pre" else []), "logits"]


def tap(probe: Probe | None, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Pass a tensor through the probe, if there is one, and return what the model continues with.

    Raises:
        ShapeError: The probe returned a tensor of another shape.
    """
    if probe is None:
        return tensor
    edited = probe(name, tensor)
    if edited.shape != tensor.shape:
        raise ShapeError(
            f"The probe returned shape {tuple(edited.shape)} at {name}, where the model has {tuple(tensor.shape)}.",
            mend="Return a tensor of the shape that was given.",
        )
    return edited


def within(probe: Probe | None, prefix: str) -> Probe | None:
    """Return a probe that adds `prefix` to every name before it calls `probe`; None stays None."""
    if probe is None:
        return None
    outer = probe
    return lambda name, tensor: tap(outer, prefix + name, tensor)
