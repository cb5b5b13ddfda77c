"""How the model reads texts that grow by one token at a time: what it computed for earlier tokens is kept.

A text that is new is read whole (*prefill*), afterwards each new token alone (*decode*). When the context is full, its
oldest half is dropped, and the rest, whose positions are counted from 0 again, is read anew.

Shapes: B texts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from minigpt.model.decode import Decoder, can_decode
from minigpt.model.kv_cache import CacheRows

if TYPE_CHECKING:
    from minigpt.model.kv_cache import KVCache
    from minigpt.model.points import Probe
    from minigpt.model.transformer import Transformer

MOST_UNREAD = 1 << 12
"""Largest number of tokens, with padding, that one pass reads of several texts; this bounds its memory."""


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
        use_cache: Whether keys and values are kept. False recomputes every position for each token.
        start: The model sees the tokens from here on.
        seen: The tokens before here are in the cache.
        cache: What the model computed for them; None before the first pass, and without a cache.

    Args:
        ids: The first tokens, one or more, as many as the context holds at most.
        use_cache: See above.
    """

    def __init__(self, ids: Sequence[int], *, use_cache: bool = True) -> None:
        self.ids = list(ids)
        self.use_cache = use_cache
        self.start = self.seen = 0
        self.cache: KVCache | None = None

    @property
    def unread(self) -> list[int]:
        """The tokens that the next pass computes."""
        return self.ids[self.start if self.cache is None else self.seen :]

    def fork(self) -> GrowingText:
        """Return a copy that can grow in another way."""
        other = GrowingText(self.ids, use_cache=self.use_cache)
        other.start, other.seen = self.start, self.seen
        other.cache = None if self.cache is None else self.cache.copy()
        return other


class TextReader:
    """Lets a model read texts that grow.

    Args:
        model: Its weights may change between two texts, but not while they grow.
        probe: Watches or edits what the model computes.
        forward: Reads single tokens behind a cache in place of the model and of its decoder; see `compiled_forward`.
    """

    def __init__(
        self, model: Transformer, probe: Probe | None = None, forward: Callable[..., torch.Tensor] | None = None
    ) -> None:
        self._model, self._probe = model, probe
        self._forward = forward if probe is None else None
        is_plain = probe is None and forward is None
        self._decoder = Decoder(model) if is_plain and can_decode(model) else None
        # A probe sees one text at a time, a pass is compiled for one, and only the causal mask hides padding.
        self._joins = is_plain and model.can_cache

    def read(self, texts: Sequence[GrowingText]) -> torch.Tensor:
        """Let the model read what is new in each text, and return its scores of each one's next token, (B, V)."""
        self._make_room(texts)
        behind_cache: list[tuple[int, int, KVCache]] = []  # texts of which only the newest token is unread
        others: list[int] = []
        for place, text in enumerate(texts):
            if self._decoder is not None and text.cache is not None and len(text.ids) - text.seen == 1:
                behind_cache.append((place, text.ids[-1], text.cache))
                text.seen = len(text.ids)
            else:
                others.append(place)
        logits: dict[int, torch.Tensor] = {}
        if self._decoder is not None and behind_cache:
            places, ids, caches = zip(*behind_cache, strict=True)
            scores = self._decoder.step(ids, caches)
            if not others:
                return scores
            logits.update(zip(places, scores, strict=True))
        if self._joins and len(others) > 1:
            logits.update(zip(others, self._read_together([texts[place] for place in others]), strict=True))
        else:
            logits.update((place, self._read_alone(texts[place])) for place in others)
        return torch.stack([logits[place] for place in range(len(texts))])

    def _read_alone(self, text: GrowingText) -> torch.Tensor:
        """Return the model's scores of one text's next token, (V,)."""
        ids = torch.tensor([text.unread], device=self._model.device)
        text.seen = len(text.ids)
        if self._forward is not None and text.cache is not None and ids.shape[1] == 1:
            return self._forward(ids, cache=text.cache)[0, -1]
        scores: torch.Tensor = self._model(ids, cache=text.cache, probe=self._probe)[0, -1]
        return scores

    def _read_together(self, texts: Sequence[GrowingText]) -> torch.Tensor:
        """Do the same for several texts in as few passes of the model as possible, mostly one; (B, V)."""
        logits: dict[int, torch.Tensor] = {}
        for places in _passes(texts):
            unread = [texts[place].unread for place in places]
            counts = [len(new) for new in unread]
            # The padding stands behind a text, where the causal mask hides it from the text.
            padded = [new + [0] * (max(counts) - len(new)) for new in unread]
            caches = [kept for place in places if (kept := texts[place].cache) is not None]
            cache = CacheRows(caches, counts) if len(caches) > 1 else caches[0] if caches else None
            scores = self._model(torch.tensor(padded, device=self._model.device), cache=cache)
            last = [count - 1 for count in counts]
            logits.update(zip(places, scores[range(len(places)), last], strict=True))
        for text in texts:
            text.seen = len(text.ids)
        return torch.stack([logits[place] for place in range(len(texts))])

    def _make_room(self, texts: Sequence[GrowingText]) -> None:
        """Drop the oldest tokens of texts whose context is full, and begin caches where they are wanted."""
        config = self._model.config
        for text in texts:
            if dropped := overflow(len(text.ids) - text.start, config.sequence_length):
                text.start += dropped
                if text.cache is not None:
                    text.cache.reset()
                    text.seen = text.start
        # Without the causal mask, for example, every position changes with each new token, so nothing can be kept.
        new = [text for text in texts if text.cache is None and text.use_cache]
        if new and self._model.can_cache:
            for text, cache in zip(new, self._model.make_caches(len(new)), strict=True):
                text.cache, text.seen = cache, text.start


def _passes(texts: Sequence[GrowingText]) -> Iterator[list[int]]:
    """Yield the places of the texts that one pass of the model can read; see `CacheRows` for what it can."""
    groups: dict[Hashable, list[int]] = {}
    for place, text in enumerate(texts):
        memory = None if text.cache is None else text.cache.memory
        if text.cache is None or text.cache.length == 0:
            groups.setdefault(("whole", memory), []).append(place)
        elif len(text.unread) == 1:
            groups.setdefault(("newest", memory), []).append(place)
        else:
            yield [place]
    for group in groups.values():
        # The longest first, so that texts of similar lengths share a pass and little is padding.
        rest = sorted(group, key=lambda place: -len(texts[place].unread))
        while rest:
            most = max(1, MOST_UNREAD // len(texts[rest[0]].unread))
            yield rest[:most]
            rest = rest[most:]
