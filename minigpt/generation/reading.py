"""How the model reads texts that grow by one token at a time: what it computed for earlier tokens is kept.

A text that is new is read whole (*prefill*), afterwards each new token alone (*decode*). When the context is full, its
oldest half is dropped, and the rest, whose positions are counted from 0 again, is read anew.

Shapes: B texts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from minigpt.model.kv_cache import KVCache
    from minigpt.model.points import Probe
    from minigpt.model.transformer import Transformer


def overflow(length: int, context: int) -> int:
    """Return how many of the oldest tokens to drop from `length` tokens: half a context if they do not fit, else 0.

    >>> overflow(8, 8), overflow(9, 8)
    (0, 4)
    """
    return context // 2 if length > context else 0


class GrowingText:
    """The tokens of one text, and what the model keeps of them.

    Attributes:
        ids: The tokens so far; whoever writes appends to it.

    Args:
        ids: The first tokens, one or more, as many as the context holds at most.
        use_cache: Whether keys and values are kept. False recomputes every position for each token.
    """

    def __init__(self, ids: Sequence[int], *, use_cache: bool = True) -> None:
        self.ids = list(ids)
        self._use_cache = use_cache
        self._start = 0  # the model sees the tokens from here on
        self._seen = 0  # those before here are in the cache
        self._cache: KVCache | None = None

    def fork(self) -> GrowingText:
        """Return a copy that can grow in another way."""
        other = GrowingText(self.ids, use_cache=self._use_cache)
        other._start, other._seen = self._start, self._seen
        other._cache = None if self._cache is None else self._cache.copy()
        return other

    def read(self, model: Transformer, probe: Probe | None = None) -> torch.Tensor:
        """Let the model read the tokens that it has not read, and return its scores of the next one, (V,)."""
        dropped = overflow(len(self.ids) - self._start, model.config.sequence_length)
        self._start += dropped
        # Without the causal mask every position changes with each new token, so nothing can be kept.
        if self._use_cache and model.config.causal and (self._cache is None or dropped):
            self._cache, self._seen = model.make_cache(), self._start
        unread = self.ids[self._seen if self._cache is not None else self._start :]
        logits: torch.Tensor = model(torch.tensor([unread], device=model.device), cache=self._cache, probe=probe)[0, -1]
        self._seen = len(self.ids)
        return logits


def read_all(model: Transformer, texts: Sequence[GrowingText], probe: Probe | None = None) -> torch.Tensor:
    """Let the model read what is new in several texts, and return its scores of each one's next token, (B, V)."""
    return torch.stack([text.read(model, probe) for text in texts])
