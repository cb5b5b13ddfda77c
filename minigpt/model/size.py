"""How large a model is before it exists: parameters and operations, from its configuration alone.

Nothing here imports torch, so that a page can follow every move of a slider. Tests compare the counts with the real
model. What a whole run costs is in runs/cost.py.

Letters: B batch, T positions, D d_model, H heads, K d_head, F d_ff, V vocabulary, L layers; Hkv key/value heads.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError
from minigpt.model.registry import own_shapes

BYTES_PER_NUMBER = 4
"""float32."""
MAX_HEADER_BYTES = 4_000_000
"""Longest header of a file of weights: a model of 96 layers with the state of its optimizer has half a megabyte."""
PARTS = ("embedding", "positions", "attention", "feedforward", "norm", "head", "convolution", "own")
"""The parts of a model; own is what a block of one's own learns besides the others."""


def tensor_shapes(config: TransformerConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every learned tensor, in the order of the model; docs/format.md lists them.

    Raises:
        ConfigError: The configuration names a position scheme or a block of one's own that is not registered.

    >>> tensor_shapes(TransformerConfig(d_model=8, num_heads=2), 10)["embedding.weight"]
    (10, 8)
    """
    width, inner = config.d_model, config.ff_width
    qkv = (config.num_heads + 2 * config.kv_heads) * config.d_head
    norm_bias = config.bias and config.norm == "layernorm"
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocab_size, width)}

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"] = (rows, columns)
        if config.bias:
            shapes[f"{name}.bias"] = (rows,)

    def norm(name: str) -> None:
        if config.norm_gain:
            shapes[f"{name}.weight"] = (width,)
        if norm_bias:
            shapes[f"{name}.bias"] = (width,)

    def convolution(name: str) -> None:
        if config.convolution > 1:
            shapes[f"{name}.weight"] = (config.convolution, width)

    has_norms = config.norm_position != "none"
    own_positions, own_block = own_shapes(config, "positions"), own_shapes(config, "block")
    if config.positions == "learned":
        shapes["positions.weight"] = (config.sequence_length, width)
    for name, shape in (own_positions or {}).items():
        shapes[f"positions.{name}"] = shape
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        if own_block is not None:
            shapes |= {f"{block}.{name}": shape for name, shape in own_block.items()}
            continue
        if has_norms:
            norm(f"{block}.attention_norm")
        convolution(f"{block}.attention_convolution")
        linear(f"{block}.attention.qkv", qkv, width)
        linear(f"{block}.attention.out", width, width)
        if not config.has_feedforward:
            continue
        if has_norms:
            norm(f"{block}.feedforward_norm")
        convolution(f"{block}.feedforward_convolution")
        if config.activation == "swiglu":
            linear(f"{block}.feedforward.gate", inner, width)
        linear(f"{block}.feedforward.up", inner, width)
        linear(f"{block}.feedforward.down", width, inner)
    if config.norm_position == "pre":
        norm("final_norm")
    if not config.tie_embeddings:
        shapes["head.weight"] = (vocab_size, width)
    return shapes


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers are learned in each part of a model."""

    embeddings: int
    """The token matrix, V x D; when tied, it is also the head and is counted only here."""
    positions: int
    """Learned positions, 0 for other kinds."""
    attention: int
    """All L blocks' projections."""
    feedforward: int
    """All L blocks' feed-forward layers."""
    norms: int
    """All norms."""
    head: int
    """The output matrix (unembedding), 0 when tied."""
    convolutions: int = 0
    """All L blocks' short convolutions."""
    own: int = 0
    """What a block of one's own learns besides these parts."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(astuple(self))


def count_parameters(config: TransformerConfig, vocab_size: int) -> ParameterCount:
    """Count a model's parameters exactly, part by part.

    Args:
        config: The model's shape.
        vocab_size: V.

    >>> count_parameters(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=8), 10)
    ParameterCount(embeddings=40, positions=0, attention=64, feedforward=128, norms=12, head=0, convolutions=0, own=0)
    """
    parts = dict.fromkeys(PARTS, 0)
    for name, shape in tensor_shapes(config, vocab_size).items():
        parts[_place(name)[1]] += math.prod(shape)
    return ParameterCount(
        embeddings=parts["embedding"],
        positions=parts["positions"],
        attention=parts["attention"],
        feedforward=parts["feedforward"],
        norms=parts["norm"],
        head=parts["head"],
        convolutions=parts["convolution"],
        own=parts["own"],
    )


def known_parameters(config: TransformerConfig, vocab_size: int) -> int | None:
    """Return the number of a model's parameters; None if it has a part of one's own that is not loaded."""
    try:
        return count_parameters(config, vocab_size).total
    except ConfigError:
        return None


def _place(name: str) -> tuple[int | None, str]:
    """Return the block (None outside the blocks) and the part of a model that a tensor belongs to.

    >>> _place("blocks.2.attention_norm.weight"), _place("head.weight"), _place("blocks.0.gate")
    ((2, 'norm'), (None, 'head'), (0, 'own'))
    """
    names = name.split(".")
    layer, module = (int(names[1]), names[2]) if names[0] == "blocks" else (None, names[0])
    part = module.rpartition("_")[2]  # attention_norm, feedforward_norm and final_norm are norms
    return layer, part if part in PARTS else "own"


def flops_per_token(config: TransformerConfig, vocab_size: int) -> int:
    """Return the floating-point operations that training spends on one token, forward and backward.

    6 N + 12 L H K T: each of the N numbers in matrices costs 2 operations (multiply, add) forward and 4 backward, and
    attention adds the scores and the weighted sum, 2 products of T x K for each head. Embeddings are looked up, which
    costs nothing; a tied head multiplies, so its numbers belong to N. A window takes the place of a longer T.

    Source: Chowdhery et al. 2022 (PaLM), appendix B.

    Args:
        config: The model's shape; T is its sequence_length.
        vocab_size: V.

    >>> flops_per_token(TransformerConfig(num_layers=1, num_heads=1, d_model=4, sequence_length=8), 10)
    1776
    """
    return 3 * sum(part.flops for part in size_map(config, vocab_size))


@dataclass(frozen=True)
class PartSize:
    """Parameters and operations of one part of a model.

    Attributes:
        layer: The block, from 0; None outside the blocks.
        part: One of PARTS.
        parameters: Learned numbers.
        flops: Operations for one token in the forward pass, with a full context; see `flops_per_token`.
    """

    layer: int | None
    part: str
    parameters: int
    flops: int


def size_map(config: TransformerConfig, vocab_size: int) -> tuple[PartSize, ...]:
    """Return the parameters and operations of each part of a model, in the order of the model.

    The few operations of norms are not counted, nor are lookups. A tied head has operations but no parameters.

    Args:
        config: The model's shape; T is its sequence_length.
        vocab_size: V.

    >>> [(size.part, size.parameters, size.flops) for size in size_map(TransformerConfig(num_layers=1, num_heads=1,
    ...     d_model=4, sequence_length=8), 10) if size.flops]
    [('attention', 64, 256), ('feedforward', 128, 256), ('head', 0, 80)]
    """
    parameters: dict[tuple[int | None, str], int] = {}
    flops: dict[tuple[int | None, str], int] = {}
    for name, shape in tensor_shapes(config, vocab_size).items():
        place = _place(name)
        parameters[place] = parameters.get(place, 0) + math.prod(shape)
        looked_up = place in ((None, "embedding"), (None, "positions"))
        if len(shape) == 2 and not looked_up and place != (None, "head"):
            flops[place] = flops.get(place, 0) + 2 * math.prod(shape)
        if name.endswith("attention.qkv.weight"):  # scores and weighted sum: two products of T x K for each head
            flops[place] += 4 * config.d_model * config.visible_length
    parameters.setdefault((None, "head"), 0)
    flops[None, "head"] = 2 * vocab_size * config.d_model  # tied or not
    return tuple(PartSize(*place, count, flops.get(place, 0)) for place, count in parameters.items())
