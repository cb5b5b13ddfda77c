"""The model: token ids in, a score for every possible next token out.

    x = embedding[ids] (+ positions)
    x = block_l(x)                       for l = 0 ... L - 1
    logits = norm(x) output^T            output: the embedding's matrix, or one of its own; no norm here with post-norm

A decoder-only transformer as in GPT-2, by default with what has become usual since: RMSNorm, rotary positions, no
biases. Literature calls the embedding's matrix `wte`, the output layer `lm_head` or *unembedding*, the blocks `h`.

Reads after: norms, positions, attention, feedforward, block.
Shapes: B batch, T query positions, S key positions, D d_model, H heads, K d_head, F d_ff, V vocabulary, L layers.
Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.3 for pre-norm,
the final norm and the scale of residual projections; Press and Wolf 2017, "Using the Output Embedding to Improve
Language Models", for tying.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import nn
from torch.nn import functional as F

from minigpt.arguments import is_whole
from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError, ContextLengthError, DeviceError, InputError, ShapeError, TokenizerError
from minigpt.model.block import make_block
from minigpt.model.dropout import Dropout
from minigpt.model.kv_cache import Cache, CacheMemory, CacheRows, KVCache
from minigpt.model.layers import Embedding, Linear
from minigpt.model.norms import make_norm
from minigpt.model.points import Probe, point_names, tap
from minigpt.model.positions import (
    PlacedScheme,
    PositionScheme,
    RotaryPositions,
    SinusoidalPositions,
    make_positions,
    own_vectors,
)
from minigpt.model.registry import call, has_own
from minigpt.randomness import Stream, make_generator

MOST_TOKENS = 1 << 24
"""Largest vocabulary; Unicode has 1,114,112 code points."""
INITIAL_STD = 0.02
"""Standard deviation of new weights in GPT-2's way; residual projections get this / sqrt(2 L)."""


def initialise(tensor: torch.Tensor, name: str, model: Transformer, seed: int) -> None:
    """Fill a parameter: matrices with random numbers, norms with 1, biases with 0 (torch's way: at random).

    Args:
        tensor: Filled in place; it has the shape of the whole parameter.
        name: Of the parameter. The numbers depend on it, and not on which other parameters there are.
        model: The model that the parameter belongs to; its weights may have no memory.
        seed: Seed of all its weights.
    """
    generator = make_generator(seed, Stream.INITIALISATION, zlib.crc32(name.encode()))
    layer = model.get_submodule(name.rpartition(".")[0])
    if "convolution" in name:
        tensor.zero_()[0] = 1  # the identity: each position reads only itself
    elif model.config.initialization == "torch" and isinstance(layer, Linear):
        bound = 1 / math.sqrt(layer.in_features)  # what torch's nn.Linear does, weights and biases alike
        tensor.uniform_(-bound, bound, generator=generator)
    elif tensor.ndim == 1:
        tensor.fill_(0 if name.endswith("bias") else 1)
    else:
        tensor.normal_(0, _initial_std(name, model, columns=tensor.shape[1]), generator=generator)


def _initial_std(name: str, model: Transformer, *, columns: int) -> float:
    """Return the standard deviation of a matrix's initial weights."""
    if model.config.initialization == "torch":  # an embedding; what torch's nn.Embedding does
        return 1.0
    adds_to_stream = name.endswith(("attention.out.weight", "feedforward.down.weight"))
    if model.config.initialization == "gpt2" or name == "positions.weight":
        # 2 L such layers add to the stream; this scale keeps the variance of their sum (GPT-2, section 2.3).
        return INITIAL_STD / math.sqrt(2 * model.config.num_layers) if adds_to_stream else INITIAL_STD
    if name == "embedding.weight":
        return INITIAL_STD if model.head is None else 1.0
    # Layers that add to the stream, and the output layer, start at zero, as in "ReZero" (Bachlechner et al. 2020).
    # The others keep the length of their input.
    return 0.0 if adds_to_stream or name == "head.weight" else 1 / math.sqrt(columns)


class Transformer(nn.Module):
    """A GPT: logits = norm(block_L-1(... block_0(embedding[ids]))) output^T.

    Args:
        config: Its shape.
        vocab_size: V, number of token ids of the tokenizer.
        seed: Seed of the initial weights. The same seed, name and shape of a tensor give the same random numbers.
            None: the weights hold whatever was in memory, for a caller that fills all of them at once.

    >>> model = Transformer(TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16), vocab_size=10)
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 10])
    """

    def __init__(self, config: TransformerConfig, vocab_size: int, *, seed: int | None = 0) -> None:
        super().__init__()
        if not is_whole(vocab_size) or not 1 <= vocab_size <= MOST_TOKENS:
            raise ConfigError(
                f"vocab_size is {vocab_size}; it must be a whole number, at least 1 and at most {MOST_TOKENS:,}.",
                mend="Train the tokenizer first.",
            )
        self.config = config
        self.vocab_size = vocab_size
        # The modules are built on the meta device, without memory, because torch would fill them from its global
        # generator. Then they get memory, and weights from our generators.
        with torch.device("meta"):
            self.embedding = Embedding(vocab_size, config.d_model)
            self.positions = make_positions(config)
            self.dropout = Dropout(config.dropout)
            self.blocks = nn.ModuleList(make_block(config, layer) for layer in range(config.num_layers))
            self.final_norm = make_norm(config) if config.norm_position == "pre" else None
            # With tied embeddings there is one parameter: no head, the embedding's matrix is the output matrix too.
            self.head = None if config.tie_embeddings else Linear(config.d_model, vocab_size, bias=False)
        # what `to_empty` does, without importing the compiler; modules of one's own have their numbers already
        self._apply(lambda tensor: torch.empty(tensor.shape, device="cpu") if tensor.is_meta else tensor)  # type: ignore[no-untyped-call]
        self._has_own = has_own(config)
        self._cached: tuple[int, bool] | None = None
        if seed is not None:
            self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        for name, parameter in self.named_parameters():
            layer = self.get_submodule(name.rpartition(".")[0])
            if self._has_own and not type(layer).__module__.startswith(("torch.", "minigpt.")):
                continue  # a class of one's own has given it its first value
            initialise(parameter, name, self, seed)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.weight.device

    def num_parameters(self) -> int:
        """Return the number of learned parameters; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def make_cache(self, batch_size: int = 1) -> KVCache:
        """Return an empty cache for generating `batch_size` rows side by side, which all have the same length.

        Raises:
            ConfigError: The model is not causal: every later token changes what it computes at earlier positions.
        """
        return KVCache(self._cache_memory(batch_size), 0, batch_size)

    def make_caches(self, num_texts: int) -> list[KVCache]:
        """Return an empty cache of one row for each of several texts; they are neighbours in one memory.

        Raises:
            ConfigError: See `make_cache`.
        """
        memory = self._cache_memory(num_texts)
        return [KVCache(memory, row) for row in range(num_texts)]

    @property
    def can_cache(self) -> bool:
        """Whether a cache of keys and values gives the same logits as a pass over all positions.

        Without the causal mask it does not. With a position scheme or a block of one's own it is tried out on eight
        tokens, again whenever the weights have changed: such a block may read other positions outside attention.
        """
        if not self.config.causal:
            return False
        if not self._has_own:
            return True
        version = sum(parameter._version for parameter in self.parameters())
        if self._cached is None or self._cached[0] != version:
            self._cached = version, self._try_cache()
        return self._cached[1]

    def _try_cache(self) -> bool:
        length = min(8, self.config.sequence_length)
        ids = torch.arange(length, device=self.device)[None] % self.vocab_size
        cache = KVCache(CacheMemory(self.config, 1, self.device, self.embedding.weight.dtype))
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                whole = self(ids)
                parts = [self(ids[:, :2], cache=cache)]
                parts += [self(ids[:, at : at + 1], cache=cache) for at in range(2, length)]
        finally:
            self.train(was_training)
        largest = float(whole.abs().max())
        return torch.allclose(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-3 * largest)

    def _cache_memory(self, num_rows: int) -> CacheMemory:
        if not self.can_cache:
            raise ConfigError(
                "A model without the causal mask cannot use a cache of what it computed before."
                if not self.config.causal
                else f"With positions {self.config.positions} and block {self.config.block}, this model computes "
                "something else with a cache than without: they read other positions outside attention.",
                mend="Generate with use_cache=False, which computes every position again.",
            )
        return CacheMemory(self.config, num_rows, self.device, self.embedding.weight.dtype)

    @property
    def token_scale(self) -> float:
        """What token vectors are multiplied by as they enter the model: sqrt(D) beside sinusoidal positions, else 1."""
        return self.positions.token_scale if isinstance(self.positions, SinusoidalPositions) else 1.0

    def _output(self) -> torch.Tensor:
        """Return the matrix (V, D) that turns the residual stream into logits."""
        return self.embedding.weight if self.head is None else self.head.weight

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Set the generator from which all dropouts of the model draw, in order of computation.

        If the model is on another device, a generator with the same seed is made there.
        """
        if generator.device.type != self.device.type:
            seed = generator.initial_seed()
            generator = torch.Generator(device=self.device)
            generator.manual_seed(seed)
        state = generator.get_state()
        for module in self.modules():
            if isinstance(module, Dropout):
                module.seed(generator, state)

    def forward(self, ids: torch.Tensor, *, cache: Cache | None = None, probe: Probe | None = None) -> torch.Tensor:
        """Score every token of the vocabulary as the next one, after each position.

        Args:
            ids: Token ids (B, T), int64, in [0, V).
            cache: Holds keys and values of the tokens before `ids`; it grows by T positions, or as `CacheRows` says.
            probe: Called at every point of `minigpt.model.points`; attention then takes the explicit path.

        Returns:
            Logits (B, T, V). Those at position t predict the token at t + 1.

        Raises:
            ShapeError: `ids` has the wrong rank or dtype, is empty, or has another number of rows than the cache.
            TokenizerError: An id is outside the vocabulary.
            ContextLengthError: There are more positions than the context holds.
            DeviceError: `ids` and the model are on different devices.
        """
        start = 0 if cache is None else cache.length
        self._check(ids, start, cache)
        length = ids.shape[1]
        vectors = self.embedding(ids)
        if self.token_scale != 1:
            vectors = vectors * self.token_scale
        x = tap(probe, "embed", vectors)  # (B, T, D)
        rotation: torch.Tensor | PlacedScheme | None = None
        if isinstance(self.positions, PositionScheme):
            if isinstance(cache, CacheRows) and cache.ages is not None:
                places = cache.newest  # each text's next position
            else:
                places = torch.arange(start, start + length, device=ids.device)[None]
            own = own_vectors(self.positions, places)  # (B or 1, T, D)
            if own is not None:
                x = x + tap(probe, "pos_embed", own.expand_as(x))
            rotation = PlacedScheme(self.positions, places)
        elif self.positions is not None:
            if isinstance(cache, CacheRows) and cache.ages is not None:
                at = self.positions(0, start + 1)[cache.newest]  # each text's next position
            else:
                at = self.positions(start, length)
            if isinstance(self.positions, RotaryPositions):
                rotation = at
            else:
                x = x + tap(probe, "pos_embed", at.expand_as(x))
        x = self.dropout(x)
        for block in self.blocks:
            if self.config.block == "usual":
                x = block(x, rotation, cache=cache, probe=probe)
            else:
                x = self._own_block(block, x, rotation, cache, probe)
        if cache is not None:
            cache.advance(length)
        if self.final_norm is not None:
            x = tap(probe, "final_norm", self.final_norm(x))
        return tap(probe, "logits", F.linear(x, self._output()))  # (B, T, V)

    def _own_block(
        self,
        block: nn.Module,
        x: torch.Tensor,
        rotation: torch.Tensor | PlacedScheme | None,
        cache: Cache | None,
        probe: Probe | None,
    ) -> torch.Tensor:
        """Carry the residual stream (B, T, D) through a block of one's own.

        Raises:
            ConfigError: The block failed.
            ShapeError: It returned another shape.
            InputError: There is a probe, and the block does not pass through all points of a block.
        """
        name, seen = self.config.block, set()

        def watch(point: str, tensor: torch.Tensor) -> torch.Tensor:
            seen.add(point)
            return tap(probe, point, tensor)

        options = {"cache": cache, "probe": None if probe is None else watch}
        y = call(self.config, "block", block, x, rotation, **options)
        if not isinstance(y, torch.Tensor) or y.shape != x.shape:
            given = f"shape {tuple(y.shape)}" if isinstance(y, torch.Tensor) else f"a {type(y).__name__}"
            raise ShapeError(
                f"The block {name} returned {given}; it must return the stream, a tensor of shape {tuple(x.shape)}.",
                mend="Correct it in its file.",
            )
        if probe is not None:
            missing = [point for point in point_names(self.config) if point.startswith("blocks.") and point not in seen]
            missing = [point for point in missing if point.startswith(f"blocks.{block.layer}.")]
            if missing:
                raise InputError(
                    f"The inside of the block {name} cannot be watched: it has no point {missing[0]}.",
                    mend="Give it the points of minigpt.model.points, or look at a run with the usual block.",
                )
        return y

    def _check(self, ids: torch.Tensor, start: int, cache: Cache | None) -> None:
        """Refuse ids that the model cannot read, with our own error instead of an index error from inside torch."""
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or ids.numel() == 0 or ids.dtype != torch.int64:
            is_tensor = isinstance(ids, torch.Tensor)
            given = f"has shape {tuple(ids.shape)} and dtype {ids.dtype}" if is_tensor else f"is a {type(ids).__name__}"
            raise ShapeError(
                f"ids {given}; it must be (B, T) = (1 or more, 1 to {self.config.sequence_length}) and torch.int64.",
                mend="Give one row of token ids for each text, for example torch.tensor([ids]).",
            )
        if start + ids.shape[1] > self.config.sequence_length:
            before = f" after {start} in the cache" if start else ""
            room = self.config.sequence_length - start
            raise ContextLengthError(
                f"ids has shape {tuple(ids.shape)}: {ids.shape[1]} tokens{before}, but the context holds "
                f"{self.config.sequence_length}, so at most ({ids.shape[0]}, {room}) fit.",
                mend="Give fewer tokens, or use a model with a longer sequence_length.",
            )
        if cache is not None and cache.batch_size != ids.shape[0]:
            raise ShapeError(
                f"ids has shape {tuple(ids.shape)}, but the cache was made for {cache.batch_size} rows: "
                f"({cache.batch_size}, T).",
                mend=f"Make the cache with model.make_cache({ids.shape[0]}).",
            )
        if ids.device != self.device:
            raise DeviceError(
                f"ids are on {ids.device}, the model on {self.device}.", mend="Move them with ids.to(model.device)."
            )
        if torch.compiler.is_compiling():
            return  # reading values from a tensor would split the compiled graph
        lowest, highest = (int(extreme) for extreme in ids.aminmax())
        if lowest < 0 or highest >= self.vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise TokenizerError(
                f"ids of shape {tuple(ids.shape)} holds the id {wrong}; the model knows {self.vocab_size} tokens, "
                f"ids 0 to {self.vocab_size - 1}.",
                mend="Encode the text with the tokenizer that the model was trained with.",
            )


def check_own(config: TransformerConfig) -> None:
    """Refuse a position scheme or a block of one's own that fails, or has weights that no logit depends on.

    Such weights would not be learned, and the optimizer would have no state of theirs to save. One block is tried out.

    Raises:
        ConfigError: It is not registered, it fails, or it never uses a weight, which the message names.
        ShapeError: It returns a tensor of another shape.
    """
    if not has_own(config):
        return
    model = Transformer(config.model_copy(update={"num_layers": 1}), 4)
    names = [name for name, _ in model.named_parameters()]
    grads = torch.autograd.grad(model(torch.tensor([[1, 2]])).sum(), list(model.parameters()), allow_unused=True)
    unused = [name for name, grad in zip(names, grads, strict=True) if grad is None]
    if unused:
        more = f" and {len(unused) - 1:,} more" if len(unused) > 1 else ""
        raise ConfigError(
            f"The model never uses {unused[0]}{more}, so it would not be learned.",
            mend="Use it, or leave it out: a block can set a layer that it does not use to None in its __init__.",
        )
