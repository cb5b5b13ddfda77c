"""The model: token ids in, a score for every next token out.

Reads after: norms, positions, attention, feedforward, block. A decoder as in GPT-2, with the choices that have become
usual since: RMSNorm, rotary positions, no biases, shared key/value heads.

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

from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError, ContextLengthError, DeviceError, ShapeError, TokenizerError
from minigpt.model.block import Block
from minigpt.model.decode import Decoder, DecodingCache
from minigpt.model.dropout import Dropout
from minigpt.model.kv_cache import KVCache
from minigpt.model.norms import make_norm
from minigpt.model.points import Probe, tap
from minigpt.model.positions import LearnedPositions, RotaryPositions
from minigpt.randomness import Stream, make_generator

INITIAL_STD = 0.02
"""Standard deviation of new weights in GPT-2's way; residual projections get this / sqrt(2 L)."""


class Transformer(nn.Module):
    """A GPT of any size.

    Args:
        config: Its shape.
        vocab_size: V, how many tokens the tokenizer knows.
        seed: Of the initial weights; the same seed, name and shape give the same weights everywhere.

    >>> model = Transformer(TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16), vocab_size=10)
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 10])
    """

    def __init__(self, config: TransformerConfig, vocab_size: int, *, seed: int = 0) -> None:
        super().__init__()
        if vocab_size < 1:
            raise ConfigError(f"vocab_size is {vocab_size}; it must be at least 1.", mend="Train the tokenizer first.")
        self.config = config
        self.vocab_size = vocab_size
        # Modules are built without memory, because torch would fill them from its global generator; then they get
        # memory and weights of their own.
        with torch.device("meta"):
            self.embedding = nn.Embedding(vocab_size, config.d_model)
            self.positions: LearnedPositions | RotaryPositions
            if config.positions == "learned":
                self.positions = LearnedPositions(config.sequence_length, config.d_model)
            else:
                self.positions = RotaryPositions(config.sequence_length, config.d_head)
            self.dropout = Dropout(config.dropout)
            self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
            self.final_norm = make_norm(config)
            # Tied means one parameter: there is no head, the embedding's matrix is used in both directions.
            self.head = None if config.tie_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)
        self.to_empty(device="cpu")
        self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Fill every parameter and table: matrices from a normal distribution, norms 1, biases 0."""
        for name, parameter in self.named_parameters():
            if "convolution" in name:
                parameter.zero_()[0] = 1  # the identity: each position reads itself
            elif parameter.ndim == 1:
                parameter.fill_(0 if name.endswith("bias") else 1)
            else:
                # Keyed by name: a tensor's start does not depend on which other tensors there are.
                generator = make_generator(seed, Stream.INITIALISATION, zlib.crc32(name.encode()))
                parameter.normal_(0, self._initial_std(name, parameter), generator=generator)
        if isinstance(self.positions, RotaryPositions):
            self.positions.fill()

    def _initial_std(self, name: str, parameter: torch.Tensor) -> float:
        """Return the standard deviation that a matrix starts with."""
        adds_to_stream = name.endswith(("attention.out.weight", "feedforward.down.weight"))
        if self.config.initialization == "gpt2" or name == "positions.weight":
            # 2 L of these add to the stream one after the other; the scale keeps their sum's variance (GPT-2, 2.3).
            return INITIAL_STD / math.sqrt(2 * self.config.num_layers) if adds_to_stream else INITIAL_STD
        if name == "embedding.weight":
            return INITIAL_STD if self.head is None else 1.0
        # What adds to the stream or reads it out starts at nothing, as in the "ReZero" of Bachlechner et al. 2020; the
        # others keep the length of what they are given.
        return 0.0 if adds_to_stream or name == "head.weight" else 1 / math.sqrt(parameter.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.embedding.weight.device

    def num_parameters(self) -> int:
        """Return how many numbers are learned; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def make_cache(self, batch_size: int = 1) -> KVCache:
        """Return an empty cache for writing `batch_size` rows side by side.

        Raises:
            ConfigError: The model is not causal: what it computed at a position changes with every token that follows.
        """
        if not self.config.causal:
            raise ConfigError(
                "A model without the causal mask cannot write with a cache of what it computed before.",
                mend="Write with use_cache=False, which computes every position again.",
            )
        weight = self.embedding.weight
        decoder = Decoder(self.config, weight, self.positions, self.blocks, self.final_norm, self._output())
        return DecodingCache(self.config, batch_size, self.device, weight.dtype, decoder)

    def _output(self) -> torch.Tensor:
        """Return the matrix (V, D) that turns the residual stream into logits."""
        return self.embedding.weight if self.head is None else self.head.weight

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Give every dropout of the model this generator to draw from, in order of computation.

        Where the model lies on another device, a generator with the same seed is made there.
        """
        if generator.device.type != self.device.type:
            seed = generator.initial_seed()
            generator = torch.Generator(device=self.device)
            generator.manual_seed(seed)
        state = generator.get_state()
        for module in self.modules():
            if isinstance(module, Dropout):
                module.seed(generator, state)

    def forward(self, ids: torch.Tensor, *, cache: KVCache | None = None, probe: Probe | None = None) -> torch.Tensor:
        """Score every token as the next one, after each position.

        Args:
            ids: Token ids (B, T), int64, in [0, V).
            cache: Holds what came before `ids`; it grows by T positions.
            probe: Called at every point of `minigpt.model.points`; attention then takes the explicit path.

        Returns:
            Logits (B, T, V); those at position t are about the token at t + 1.

        Raises:
            ShapeError: `ids` has another rank or dtype, is empty, or has other rows than the cache.
            TokenizerError: An id is outside the vocabulary.
            ContextLengthError: More positions than the context holds.
            DeviceError: `ids` lie on another device than the model.
        """
        start = 0 if cache is None else cache.length
        self._check(ids, start, cache)
        length = ids.shape[1]
        is_decoding = length == 1 and probe is None and not self.training and not torch.is_grad_enabled()
        if is_decoding and isinstance(cache, DecodingCache) and cache.decoder.reads(self.embedding.weight):
            return cache.decoder.step(ids, cache)
        x = tap(probe, "embed", self.embedding(ids))  # (B, T, D)
        rotation = None
        if isinstance(self.positions, LearnedPositions):
            x = x + tap(probe, "pos_embed", self.positions(start, length).expand_as(x))
        else:
            rotation = self.positions(start, length)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, rotation, cache=cache, probe=probe)
        if cache is not None:
            cache.advance(length)
        x = tap(probe, "final_norm", self.final_norm(x))
        return tap(probe, "logits", F.linear(x, self._output()))  # (B, T, V)

    def _check(self, ids: torch.Tensor, start: int, cache: KVCache | None) -> None:
        """Refuse ids that the model cannot read, in words rather than with an index error from deep inside."""
        if ids.ndim != 2 or ids.numel() == 0 or ids.dtype != torch.int64:
            raise ShapeError(
                f"ids has shape {tuple(ids.shape)} and dtype {ids.dtype}; "
                f"it must be (B, T) = (1 or more, 1 to {self.config.sequence_length}) and torch.int64.",
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
                f"ids lie on {ids.device}, the model on {self.device}.", mend="Move them with ids.to(model.device)."
            )
        if torch.compiler.is_compiling():
            return  # reading values out of a tensor would split the compiled graph
        lowest, highest = (int(extreme) for extreme in ids.aminmax())
        if lowest < 0 or highest >= self.vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise TokenizerError(
                f"ids of shape {tuple(ids.shape)} holds the id {wrong}; the model knows {self.vocab_size} tokens, "
                f"ids 0 to {self.vocab_size - 1}.",
                mend="Encode the text with the tokenizer that the model was trained with.",
            )
