"""Writing text with a model, token by token.

`generate_naive` is the whole idea in ten lines: run the model on everything so far, choose a token, append it, repeat.
`TextGenerator` writes the same tokens faster, because a cache keeps what the model computed for earlier positions. It
also reports more: how likely each token was, what else was likely, and why the text ended.

Both follow one rule when the context is full: drop its oldest half and continue from the rest, whose positions are
counted from 0 again. The model then reads the remaining tokens from scratch (*prefill*) and appends one token at a time
to them (*decode*).

Reads after: samplers.py, settings.py. Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from minigpt.errors import InputError
from minigpt.generation.inference import cleaned_for, evaluation_mode
from minigpt.generation.results import Candidate, GeneratedToken, Generation
from minigpt.generation.samplers import Sampler, draw
from minigpt.generation.settings import GenerationSettings
from minigpt.generation.stopping import StopMatcher
from minigpt.randomness import uniform
from minigpt.wording import one_character

if TYPE_CHECKING:
    from minigpt.model.points import Probe
    from minigpt.model.protocols import LanguageModel
    from minigpt.model.transformer import Transformer


def crop_prompt(ids: Sequence[int], context: int) -> list[int]:
    """Return the newest tokens that fit the context.

    >>> crop_prompt([1, 2, 3, 4], 3)
    [2, 3, 4]
    """
    return list(ids[-context:])


def overflow(length: int, context: int) -> int:
    """Return how many of the oldest tokens to drop from `length` tokens: half a context if they do not fit, else 0.

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
    """Write `num_tokens` tokens the obvious way, with one whole forward pass each. The oracle for `TextGenerator`.

    Args:
        model: `forward(ids (B, T)) -> logits (B, T, V)`.
        ids: The prompt, at least one token.
        num_tokens: How many to write; neither EOS nor a stop text ends it sooner.
        sampler: How to choose each token.
        seed: Seed of the random numbers.
        row: Which independent sequence of random numbers.
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
    """Iterator over the tokens as they are written.

    Attributes:
        prompt: The prompt as the model reads it, cleaned like its training text.
        notes: What was overridden, replaced or left out, each in one sentence; known before the first token.
        stop_reason: `length`, `stop`, `eos` or `cancelled`; None until the text has ended.
    """

    def __init__(
        self, prompt: str, tokens: Callable[[TokenStream], Iterator[GeneratedToken]], notes: tuple[str, ...]
    ) -> None:
        self.prompt = prompt
        self.notes = notes
        self.stop_reason: str | None = None
        self._tokens = tokens(self)

    def __next__(self) -> GeneratedToken:
        return next(self._tokens)


class TextGenerator:
    """Writes text with a run's model.

    PAD, UNK and BOS are never written, and EOS ends the text. The model is left in the mode, training or evaluation,
    in which it was found.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
    """

    def __init__(self, run: LanguageModel) -> None:
        self._run = run
        self._model = run.model
        self._tokenizer = run.tokenizer
        self._never = [i for i in run.tokenizer.special_ids if i != run.tokenizer.eos_id]

    def stream(
        self,
        prompt: str = "",
        settings: GenerationSettings | None = None,
        *,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
        **options: Any,
    ) -> TokenStream:
        """Write token by token. Settings are checked immediately, before the first token is asked for.

        Args:
            prompt: The text to continue; empty starts a new document. It is cleaned like the training text, and only
                the newest part that fits is read.
            settings: How to write; None means the defaults of `GenerationSettings`.
            probe: Watches or edits what the model computes, for example to switch a part of it off.
            cancelled: Asked before each token; True ends the writing.
            **options: Fields of `GenerationSettings` that replace those of `settings`, such as `temperature=0.8`.

        Raises:
            SamplingError: A sampling setting is out of range.
            InputError: `max_new_tokens` is out of range, or the prompt is empty and the tokenizer has no BOS token.
            TypeError: There is no such option.
        """
        settings = replace(settings or GenerationSettings(), **options)
        resolved = settings.resolve()
        prompt = cleaned_for(self._run, prompt)
        # a stop text of control characters alone stays as it is: it can never be found, and the empty text always is
        matcher = StopMatcher([cleaned_for(self._run, stop) or stop for stop in settings.stop_texts])
        ids, notes = self._encode(prompt)

        def tokens(stream: TokenStream) -> Iterator[GeneratedToken]:
            decoded = self._decode(ids, settings, resolved.sampler, probe)
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

        return TokenStream(prompt, tokens, (*resolved.notes, *notes))

    def generate(
        self,
        prompt: str = "",
        settings: GenerationSettings | None = None,
        *,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
        **options: Any,
    ) -> Generation:
        """Write the whole text and return it; arguments and errors are those of `stream`."""
        start = time.perf_counter()
        stream = self.stream(prompt, settings, probe=probe, cancelled=cancelled, **options)
        tokens = tuple(stream)
        seconds = time.perf_counter() - start
        completion = "".join(token.text for token in tokens)
        return Generation(
            prompt=stream.prompt,
            completion=completion,
            text=stream.prompt + completion,
            tokens=tokens,
            num_new_tokens=len(tokens),
            seconds=seconds,
            tokens_per_second=len(tokens) / seconds if seconds > 0 else 0.0,
            stop_reason=stream.stop_reason or "length",
            notes=stream.notes,
        )

    def _encode(self, prompt: str) -> tuple[list[int], tuple[str, ...]]:
        """Return the newest tokens of the prompt that fit the context, and notes on what was replaced or left out."""
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
            named = ", ".join(f"{one_character(character)} ×{count}" for character, count in list(unknown.items())[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            notes.append(f"The prompt has characters that this model has never seen, read as <unk>: {named}{more}.")
        if len(ids) > context:
            notes.append(f"The prompt has {len(ids)} tokens; the model sees the newest {context}, as many as it can.")
        return crop_prompt(ids, context), tuple(notes)

    def _decode(
        self, prompt: list[int], settings: GenerationSettings, sampler: Sampler, probe: Probe | None
    ) -> Iterator[GeneratedToken]:
        """Yield up to `max_new_tokens` tokens, EOS included; `stream` decides where the text ends."""
        model, context = self._model, self._model.config.sequence_length
        # Without the causal mask every position changes with each new token, so nothing can be kept.
        use_cache = settings.use_cache and model.config.causal
        end = len(prompt)  # number of tokens so far; the model sees those from `start` on
        start = seen = 0  # positions before `seen` are computed and cached
        ids = torch.empty(1, end + settings.max_new_tokens, dtype=torch.int64, device=model.device)
        ids[0, :end] = torch.tensor(prompt)
        never = torch.zeros(model.vocab_size, dtype=torch.float64)
        never[self._never] = -math.inf
        texts: dict[int, str] = {}
        cache, state = None, None
        for n in range(settings.max_new_tokens):
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
                u = uniform(settings.seed, settings.row, n)
                token = int(draw(probs, [u]))
                if token not in texts:
                    texts[token] = self._tokenizer.token_text(token)
                before = torch.softmax(raw, -1)
                count = settings.num_runners_up
                runners_up = self._runners_up(before, token, count) if count else ()
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
