"""The lab of the key/value cache: one text written with and without it, each token timed, and what the cache holds.

    with the cache       a token costs     2 N + 4 L D S     operations
    without it           a token costs    (2 N + 4 L D S) S  operations

N numbers are in matrices, L blocks are D wide, and the model sees S positions. Without the cache, the model computes
all S positions for each token, with it only the new one.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
Source: Pope et al. 2022, "Efficiently Scaling Transformer Inference", section 2.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import compact, number, size, t
from minigpt.model.size import size_map

if TYPE_CHECKING:
    from minigpt.config import TransformerConfig
    from minigpt.model.protocols import LanguageModel

LENGTHS = (64, 128, 256, 384, 512)
"""Choices for the number of tokens to write."""
USUAL_LENGTH = 256
SLICE_SECONDS = 0.4
"""The measuring pauses after this time, so that the page can draw and other visitors get their turn."""
MOST_SECONDS = 20.0
"""A measurement that takes longer ends: a large model needs seconds for one token without a cache."""
LAST = 16
"""So many of the last tokens stand for the time of one token."""
FORMULA = "2 N + 4 L D S".replace(" ", "\xa0")
"""Operations for one token, on one line; see above."""
TURN = 8
"""Tokens written in one way before it is the other's turn; the first after a change of turns is slower."""
QUICK_SECONDS = 0.02
"""Where a token takes longer than this, the ways take turns at every token, so that a stop need not wait."""
FINE_SECONDS = 1e-5
"""Resolution of a clock that can time a token."""
TEMPERATURE = 0.8
SEED = 9


def starts(most: int) -> dict[str, int]:
    """Return the controls of the view by name, each with the value it has until the visitor chooses another one.

    Args:
        most: As in `lengths`.
    """
    return {"length": min(lengths(most), key=lambda length: abs(length - USUAL_LENGTH))}


def lengths(most: int) -> list[int]:
    """Return the choices for the number of tokens to write.

    Args:
        most: The server's limit.
    """
    return [length for length in LENGTHS if length <= most] or [max(most, 1)]


class TimedToken(NamedTuple):
    """One token of the text that was written in two ways.

    Attributes:
        with_cache: Seconds with the cache.
        without: Seconds without it.
        read_with: Positions that the model computed with the cache.
        read_without: Positions that it computed without it.
        held: Positions that the cache holds afterwards.
        is_full: Whether the context was full, so that the oldest half of it was dropped first.
    """

    with_cache: float
    without: float
    read_with: int
    read_without: int
    held: int
    is_full: bool


class Lab:
    """A measurement, continued slice by slice.

    It lives in a visitor's session. Only `advance` changes it, except for `is_stopped`; pages read it meanwhile.

    Attributes:
        prompt: The text to continue.
        length: Tokens to write.
        reading: The prompt as the model reads it; None before the first slice.
        tokens: What was measured so far.
        text: What was written so far.
        first_difference: Number of the first token that the two ways wrote differently; None: all are the same.
        seconds: What the measuring took so far.
        is_stopped: Whether the visitor has stopped it.
        shape: What the model's cache holds; None before the first slice.
        cost: What a token costs the model; None before the first slice.
        is_processor_time: Whether the time of the processor was measured, which other programs do not disturb. Else it
            was the time that passed: on a device of its own, or where that clock is too coarse.

    Args:
        prompt: See above.
        length: See above.
    """

    def __init__(self, prompt: str, length: int) -> None:
        self.prompt, self.length = prompt, length
        self.reading: Reading | None = None
        self.tokens: list[TimedToken] = []
        self.text = ""
        self.first_difference: int | None = None
        self.seconds = 0.0
        self.is_stopped = False
        self.shape: CacheShape | None = None
        self.cost: TokenCost | None = None
        self.is_processor_time = False
        self._ways: tuple[Any, ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether it was ended because it took too long."""
        return self.seconds >= MOST_SECONDS and len(self.tokens) < self.length

    @property
    def is_over(self) -> bool:
        """Whether nothing more is measured."""
        return self.is_stopped or self.is_late or len(self.tokens) >= self.length

    def advance(self, run: LanguageModel, cancelled: Callable[[], bool], *, seconds: float) -> None:
        """Measure the next tokens.

        Both ways write some tokens in turn and have the same random numbers. Special tokens are never written, so that
        the text gets its length.

        Args:
            run: Model and tokenizer.
            cancelled: Called before each token; the measuring pauses when it returns True.
            seconds: How long to measure at most; at least one token is.
        """
        from minigpt.generation.inference import evaluation_mode

        start, done = time.perf_counter(), len(self.tokens)
        with evaluation_mode(run.model):
            if not self._ways:
                self._begin(run)
            while not self.is_over and not cancelled():
                self._measure(run)
                if time.perf_counter() - start >= seconds:
                    break
        self.seconds += time.perf_counter() - start
        if len(self.tokens) > done:
            self.text = run.tokenizer.decode(self._ways[1].ids[len(self._ways[1].ids) - len(self.tokens) :])
        if self.is_over:
            self._ways = ()  # the caches

    def _begin(self, run: LanguageModel) -> None:
        from minigpt.generation.reading import GrowingText, TextReader
        from minigpt.generation.samplers import TemperatureSampler

        config, context = run.model.config, run.model.config.sequence_length
        self.reading = read_prompt(run, self.prompt, context, context)
        self.shape = shape_of(config, run.model.embedding.weight.element_size())
        self.cost = cost_of(config, run.model.vocab_size)
        is_fine = time.get_clock_info("thread_time").resolution < FINE_SECONDS
        self.is_processor_time = is_fine and run.model.device.type == "cpu"
        reader, ids = TextReader(run.model), self.reading.ids
        for use_cache in (True, False):  # the first steps of a process are slower, so they are not measured
            text = GrowingText(ids, use_cache=use_cache)
            for _ in range(3):
                text.ids.append(int(reader.read([text]).argmax()))
        self._ways = (reader, GrowingText(ids), GrowingText(ids, use_cache=False), TemperatureSampler(TEMPERATURE))

    def _measure(self, run: LanguageModel) -> None:
        """Write and time the next tokens, first with the cache and then without it."""
        done = len(self.tokens)
        is_quick = done > 0 and self.tokens[-1].without < QUICK_SECONDS
        turn = min(TURN if is_quick else 1, self.length - done)
        kept, anew = (self._turn(run, text, done, turn) for text in self._ways[1:3])
        for n, ((fast, read, held, is_full), (slow, all_read, _, _)) in enumerate(zip(kept, anew, strict=True), done):
            place = n - done - turn  # counted from the newest token
            if self.first_difference is None and self._ways[1].ids[place] != self._ways[2].ids[place]:
                self.first_difference = n + 1
            self.tokens.append(TimedToken(fast, slow, read, all_read, held, is_full))

    def _turn(self, run: LanguageModel, text: Any, first: int, count: int) -> list[tuple[float, int, int, bool]]:
        """Write tokens in one way.

        Returns:
            For each its seconds, the positions that were computed, those held, and whether the context was full.
        """
        reader, *_, sampler = self._ways
        clock = time.thread_time if self.is_processor_time else time.perf_counter
        result = []
        for n in range(first, first + count):
            held, start = _held(text), text.start
            begin = clock()
            scores = reader.read([text]).to("cpu")  # which waits for another device
            seconds = clock() - begin
            is_full, length = text.start > start, len(text.ids) - text.start
            result.append((seconds, length if text.cache is None or is_full else length - held, _held(text), is_full))
            text.ids.append(_choose(scores, sampler, run.tokenizer.special_ids, n))
        return result


def _held(text: Any) -> int:
    return 0 if text.cache is None else int(text.cache.length)


def _choose(scores: Any, sampler: Any, never: frozenset[int], n: int) -> int:
    """Draw a token with random number n of the measurement."""
    import torch

    from minigpt.generation.samplers import draw
    from minigpt.randomness import uniform

    logits = scores.to("cpu", torch.float64)
    logits[:, sorted(never)] = -torch.inf
    probs = torch.softmax(sampler.process(logits)[0], -1)
    return int(draw(probs, [uniform(SEED, 0, n)]))


# ---- what the cache holds and what a token costs


@dataclass(frozen=True)
class CacheShape:
    """What the cache of a model holds.

    Attributes:
        layers: L, blocks; each has keys and values of its own.
        heads: Key/value heads in each block.
        width: Numbers of a key, and of a value.
        context: Positions that fit.
        number_bytes: Bytes of one number.
        beside: Bytes for the inputs of the short convolutions, whatever the length; 0 without them.
        is_causal: Whether positions see only earlier ones; otherwise they all change with each new token, so that
            nothing can be kept.
    """

    layers: int
    heads: int
    width: int
    context: int
    number_bytes: int
    beside: int
    is_causal: bool

    @property
    def per_position(self) -> int:
        """Bytes of the keys and values of one position."""
        return self.layers * 2 * self.heads * self.width * self.number_bytes

    def num_bytes(self, positions: int) -> int:
        """Return the bytes that so many positions take."""
        return positions * self.per_position + self.beside


def shape_of(config: TransformerConfig, number_bytes: int) -> CacheShape:
    """Return what the cache of a model holds.

    Args:
        config: The model's shape.
        number_bytes: Bytes of one of its weights.
    """
    before = max(config.convolution - 1, 0) * config.d_model * 2 * config.num_layers * number_bytes
    return CacheShape(
        config.num_layers, config.kv_heads, config.d_head, config.sequence_length, number_bytes, before, config.causal
    )


@dataclass(frozen=True)
class TokenCost:
    """Operations for one token, see the top of this file.

    Attributes:
        matrices: 2 N.
        attention: 4 L D, for each position that is seen.
        most: Positions that one position sees at most.
    """

    matrices: int
    attention: int
    most: int

    def with_cache(self, positions: int) -> int:
        """Return the operations for a token that sees so many positions, itself included."""
        return self.matrices + self.attention * min(positions, self.most)

    def without(self, positions: int) -> int:
        """Return the operations without a cache."""
        return positions * self.with_cache(positions)


def cost_of(config: TransformerConfig, vocab_size: int) -> TokenCost:
    """Return what a token costs in a model.

    Args:
        config: The model's shape.
        vocab_size: V.
    """
    attention = 4 * config.num_layers * config.d_model
    everything = sum(part.flops for part in size_map(config, vocab_size))
    return TokenCost(everything - attention * config.visible_length, attention, config.visible_length)


# ---- words


def last_times(tokens: Sequence[TimedToken]) -> tuple[float, float]:
    """Return the median seconds of the last tokens, with and without the cache."""
    last = tokens[-LAST:]
    return median(token.with_cache for token in last), median(token.without for token in last)


def milliseconds(seconds: float) -> str:
    """Write a short time.

    >>> milliseconds(0.000312), milliseconds(0.0123), milliseconds(1.5)
    ('0.31 ms', '12 ms', '1.5 s')
    """
    return f"{seconds:.2g} s" if seconds >= 0.9995 else f"{float(f'{1000 * seconds:.2g}'):g} ms"


def progress_words(lab: Lab) -> str:
    """Return a sentence on how far a measurement is, or what was measured."""
    done = len(lab.tokens)
    if not lab.is_over:
        return t("sampling.cache_going", done=done, total=lab.length)
    name = "stopped" if lab.is_stopped and done < lab.length else "late" if lab.is_late else "done"
    words = t(f"sampling.cache_{name}", done=done, total=lab.length, seconds=f"{MOST_SECONDS:.0f}")
    return f"{words} {t('sampling.cache_clock')}" if lab.is_processor_time else words


def same_words(lab: Lab) -> str:
    """Return a sentence on whether both ways wrote the same text."""
    if lab.first_difference is None:
        return t("sampling.cache_same", count=len(lab.tokens))
    return t("sampling.cache_differ", number=lab.first_difference)


def sentences(lab: Lab) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    if not lab.tokens or lab.shape is None:
        return [t("sampling.cache_see_nothing")]
    if not lab.shape.is_causal:
        return [t("sampling.cache_see_no_cache")]
    fast, slow = last_times(lab.tokens)
    total_fast = sum(token.with_cache for token in lab.tokens)
    total_slow = sum(token.without for token in lab.tokens)
    result = [
        t(
            "sampling.cache_see_times",
            count=min(LAST, len(lab.tokens)),
            fast=f"**{milliseconds(fast)}**",
            slow=f"**{milliseconds(slow)}**",
            read=lab.tokens[-1].read_without,
        ),
        t(
            "sampling.cache_see_total",
            count=len(lab.tokens),
            fast=f"**{milliseconds(total_fast)}**",
            slow=f"**{milliseconds(total_slow)}**",
            times=f"**{total_slow / total_fast:.1f}**",
        ),
    ]
    full = next((n for n, token in enumerate(lab.tokens, 1) if token.is_full), None)
    if full is not None:
        read = lab.tokens[full - 1].read_with
        result.append(t("sampling.cache_see_full", number=full, context=lab.shape.context, read=read))
    return result


def cost_rows(cost: TokenCost, lab: Lab) -> list[tuple[str, str, str]]:
    """Return the table of what a token costs, with and without the cache: (what, with, without)."""
    last = lab.tokens[-1]
    seen = last.read_without
    fast, slow = last_times(lab.tokens)
    return [
        (t("sampling.cache_row_read"), "1", number(seen)),
        (t("sampling.cache_row_formula"), FORMULA, f"({FORMULA})\xa0·\xa0S"),
        (
            t("sampling.cache_row_operations", positions=number(seen)),
            compact(cost.with_cache(seen)),
            compact(cost.without(seen)),
        ),
        (t("sampling.cache_row_measured"), milliseconds(fast), milliseconds(slow)),
    ]


def holds_words(shape: CacheShape, held: int) -> str:
    """Return the sentences on what the cache holds, with the numbers of the model."""
    words = t(
        "sampling.cache_holds",
        layers=shape.layers,
        heads=shape.heads,
        width=shape.width,
        bytes=shape.number_bytes,
        each=f"**{number(shape.per_position)}**",
        held=number(held),
        now=f"**{size(shape.num_bytes(held))}**",
        context=number(shape.context),
        most=size(shape.num_bytes(shape.context)),
    )
    return f"{words} {t('sampling.cache_beside', size=size(shape.beside))}" if shape.beside else words
