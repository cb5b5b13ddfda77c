"""Writing text with a model, token by token.

`generate_naive` is the whole idea in ten lines: run the model on everything so far, choose a token, append it, again.
`TextGenerator` gives the same tokens faster (the cache keeps what the model computed for earlier positions) and says
more: how likely each token was, what else was likely, why it stopped.

Both follow one rule where the context is full: drop the oldest half of it and go on from the rest, whose positions
are then counted anew. So the model reads what is left from scratch (*prefill*) and appends to it (*decode*).

Reads after: samplers.py. Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from minigpt.errors import InputError
from minigpt.generation.inference import evaluation_mode
from minigpt.generation.samplers import ResolvedSampler, Sampler, draw, resolve_sampler
from minigpt.generation.stopping import StopMatcher
from minigpt.randomness import uniform

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel, Probe
    from minigpt.model.transformer import Transformer

MAX_NEW_TOKENS = 1_000_000
"""As many as `generation.max_new_tokens` may be."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that could have come, with its probability before any rule."""

    token_id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """One token that was written, and how it came about."""

    token_id: int
    text: str
    """Its text; shorter than the token's own where a stop text begins within it."""
    probability: float
    """How likely the dice were to fall on it, after the sampler's rules."""
    model_probability: float
    """How likely the model held it to be, before any rule."""
    u: float
    """The dice."""
    runners_up: tuple[Candidate, ...]
    """The likeliest other tokens, by the model's own probability."""
    n: int
    """Its number, counted from 0 at the first token written."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished text."""

    prompt: str
    completion: str
    text: str
    """Prompt and completion."""
    tokens: tuple[GeneratedToken, ...]
    num_new_tokens: int
    seconds: float
    tokens_per_second: float
    stop_reason: str
    """`length`, `stop` (a stop text came), `eos` (the model ended it) or `cancelled`."""
    notes: tuple[str, ...]
    """What was overridden, replaced or left out, each in one sentence."""


def crop_prompt(ids: Sequence[int], context: int) -> list[int]:
    """Return the newest tokens that fit into the context.

    >>> crop_prompt([1, 2, 3, 4], 3)
    [2, 3, 4]
    """
    return list(ids[-context:])


def overflow(length: int, context: int) -> int:
    """Return how many of the oldest tokens to drop from a window of `length`: half a context if it is too long.

    >>> overflow(8, 8), overflow(9, 8)
    (0, 4)
    """
    return context // 2 if length > context else 0


def generate_naive(
    model: Transformer,
    ids: Sequence[int],
    num_tokens: int,
    sampler: Sampler,
    seed: int = 0,
    row: int = 0,
    *,
    never: Sequence[int] = (),
) -> list[int]:
    """Write `num_tokens` tokens the obvious way: the whole forward pass for each. The oracle of `TextGenerator`.

    Args:
        model: `forward(ids (B, T)) -> logits (B, T, V)`.
        ids: The prompt, one token at least.
        num_tokens: How many to write; nothing ends it sooner.
        sampler: How to choose.
        seed: Where the dice come from.
        row: Which row of dice.
        never: Ids that are never written.
    """
    context = model.config.sequence_length
    tokens, start, state = crop_prompt(ids, context), 0, None
    length = len(tokens)
    for n in range(num_tokens):
        with evaluation_mode(model):
            logits = model(torch.tensor([tokens[start:]], device=model.device))[:, -1]
        logits = logits.index_fill(-1, torch.tensor(never, dtype=torch.int64, device=logits.device), -math.inf)
        logits, state = sampler.process(logits, torch.tensor([tokens]), state)
        tokens.append(int(draw(torch.softmax(logits, -1, dtype=torch.float64), [uniform(seed, row, n)])))
        start += overflow(len(tokens) - start, context)
    return tokens[length:]


class TokenStream(Iterator[GeneratedToken]):
    """Tokens as they are written; iterate over it.

    Attributes:
        notes: What was overridden, replaced or left out, each in one sentence; known from the start.
        stop_reason: `length`, `stop`, `eos` or `cancelled`; None until it has ended.
    """

    def __init__(self, tokens: Callable[[TokenStream], Iterator[GeneratedToken]], notes: tuple[str, ...]) -> None:
        self.notes = notes
        self.stop_reason: str | None = None
        self._tokens = tokens(self)

    def __next__(self) -> GeneratedToken:
        return next(self._tokens)


class TextGenerator:
    """Writes text with a run's model.

    PAD, UNK and BOS are never written, and EOS ends the text. The model is left in the mode, training or not, in
    which it was found.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
    """

    def __init__(self, run: LanguageModel) -> None:
        self._model = run.model
        self._tokenizer = run.tokenizer
        self._never = [i for i in run.tokenizer.special_ids if i != run.tokenizer.eos_id]

    def stream(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int = 200,
        sampler: Sampler | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        row: int = 0,
        use_cache: bool = True,
        num_runners_up: int = 5,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> TokenStream:
        """Write token by token. Settings are checked at once, before the first token is asked for.

        Args:
            prompt: What to continue; empty starts a new document. Only the newest part that fits the context counts.
            max_new_tokens: Tokens to write at most.
            sampler: How to choose; overrides the settings that follow, see `resolve_sampler`.
            temperature: Below 1 bolder, above 1 wilder, 0 greedy.
            top_k: Keep the k likeliest tokens.
            top_p: Keep the fewest tokens with this probability.
            min_p: Keep tokens at least this share as likely as the likeliest.
            stop: Texts that end the writing and are left out of it. Text that may still become one is held back.
            seed: Where the dice come from.
            row: Which row of dice, for several samples of one seed.
            use_cache: False computes every position again for each token; the result is the same.
            num_runners_up: How many other candidates to report with each token; 0 is quickest.
            probe: Watches or edits what the model computes, for example with a part of it switched off.
            cancelled: Asked before each token; True ends the writing.

        Raises:
            SamplingError: An impossible setting.
            InputError: An impossible length, or an empty prompt for a model without a token to start from.
        """
        if not isinstance(max_new_tokens, int) or not 0 <= max_new_tokens <= MAX_NEW_TOKENS:
            raise InputError(
                f"max_new_tokens is {max_new_tokens}; it must be a whole number from 0 to {MAX_NEW_TOKENS:,}.",
                mend="Ask for fewer, and continue from what was written."
                if max_new_tokens > 0
                else "Set it to 0 or more.",
            )
        resolved = resolve_sampler(sampler, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        matcher = StopMatcher((stop,) if isinstance(stop, str) else tuple(stop))
        ids, notes = self._encode(prompt)

        def tokens(stream: TokenStream) -> Iterator[GeneratedToken]:
            decoded = self._decode(ids, max_new_tokens, resolved, seed, row, use_cache, num_runners_up, probe)
            reason = "length"
            while True:
                if cancelled is not None and cancelled():
                    reason = "cancelled"
                    break
                token = next(decoded, None)
                if token is None:
                    break
                if token.token_id == self._tokenizer.eos_id:
                    reason = "eos"
                    break
                yield from matcher.push(token)
                if matcher.stopped:
                    reason = "stop"
                    break
            yield from matcher.flush()
            stream.stop_reason = reason

        return TokenStream(tokens, (*resolved.notes, *notes))

    def generate(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int = 200,
        sampler: Sampler | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        row: int = 0,
        use_cache: bool = True,
        num_runners_up: int = 0,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Generation:
        """Write to the end and return all of it; the arguments are those of `stream`."""
        start = time.perf_counter()
        stream = self.stream(
            prompt,
            max_new_tokens=max_new_tokens,
            sampler=sampler,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            stop=stop,
            seed=seed,
            row=row,
            use_cache=use_cache,
            num_runners_up=num_runners_up,
            probe=probe,
            cancelled=cancelled,
        )
        tokens = tuple(stream)
        seconds = time.perf_counter() - start
        completion = "".join(token.text for token in tokens)
        return Generation(
            prompt=prompt,
            completion=completion,
            text=prompt + completion,
            tokens=tokens,
            num_new_tokens=len(tokens),
            seconds=seconds,
            tokens_per_second=len(tokens) / seconds if seconds > 0 else 0.0,
            stop_reason=stream.stop_reason or "length",
            notes=stream.notes,
        )

    def _encode(self, prompt: str) -> tuple[list[int], tuple[str, ...]]:
        """Return the prompt's tokens that fit into the context, and what had to be done to it."""
        tokenizer, context, notes = self._tokenizer, self._model.config.sequence_length, []
        ids = tokenizer.encode(prompt)
        if not ids:
            if tokenizer.bos_id is None:
                raise InputError(
                    "The prompt is empty, and this model has no token that starts a text.",
                    mend="Give a prompt of one character or more.",
                )
            return [tokenizer.bos_id], ()
        unknown = tokenizer.unknown_characters(prompt)
        if unknown:
            named = ", ".join(f"{character!r} ×{count}" for character, count in list(unknown.items())[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            notes.append(f"The prompt has characters that this model has never seen, read as <unk>: {named}{more}.")
        if len(ids) > context:
            notes.append(f"The prompt has {len(ids)} tokens; the model sees the newest {context}, as many as it can.")
        return crop_prompt(ids, context), tuple(notes)

    def _decode(
        self,
        prompt: list[int],
        max_new_tokens: int,
        resolved: ResolvedSampler,
        seed: int,
        row: int,
        use_cache: bool,
        num_runners_up: int,
        probe: Probe | None,
    ) -> Iterator[GeneratedToken]:
        """Yield token after token, special ones too, up to `max_new_tokens`."""
        model, sampler, context = self._model, resolved.sampler, self._model.config.sequence_length
        use_cache = use_cache and model.config.causal  # without the mask every position changes with each new token
        end = len(prompt)  # tokens so far; the model sees those from `start` on
        start = seen = 0  # of these, it has computed and cached those before `seen`
        ids = torch.empty(1, end + max_new_tokens, dtype=torch.int64, device=model.device)
        ids[0, :end] = torch.tensor(prompt)
        never = torch.zeros(model.vocab_size, dtype=torch.float64)
        never[self._never] = -math.inf
        texts: dict[int, str] = {}
        cache, state = None, None
        for n in range(max_new_tokens):
            dropped = overflow(end - start, context)
            start += dropped
            with evaluation_mode(model):
                if cache is None or dropped:
                    cache, seen = (model.make_cache(1) if use_cache else None), start
                logits = model(ids[:, seen:end], cache=cache, probe=probe)[0, -1]
                if use_cache:
                    seen = end
                raw = logits.to("cpu", torch.float64)
                chosen, state = sampler.process((raw + never).unsqueeze(0), ids[:, :end], state)
                probs = torch.softmax(chosen, -1)
                u = uniform(seed, row, n)
                token = int(draw(probs, [u]))
                if token not in texts:
                    texts[token] = self._tokenizer.token_text(token)
                before = torch.softmax(raw, -1)
                runners_up = self._runners_up(before, token, num_runners_up) if num_runners_up else ()
                result = GeneratedToken(
                    token, texts[token], probs[0, token].item(), before[token].item(), u, runners_up, n
                )
                ids[0, end] = token
            end += 1
            yield result

    def _runners_up(self, probs: torch.Tensor, token: int, count: int) -> tuple[Candidate, ...]:
        best = probs.topk(min(count + 1, probs.shape[-1]))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        others = [Candidate(i, self._tokenizer.token_text(i), p) for i, p in pairs if i != token]
        return tuple(others[:count])
