"""Writing text with a model, token by token.

`generate_naive` is the whole idea in ten lines: run the model on everything so far, choose a token, append it, repeat.
`TextGenerator` writes the same tokens faster, because a cache keeps what the model computed for earlier positions. It
also reports more: how likely each token was, what else was likely, and why the text ended.

Both follow one rule when the context is full: drop its oldest half and continue from the rest, whose positions are
counted from 0 again. The model then reads the remaining tokens from scratch (*prefill*) and appends one token at a time
to them (*decode*). Several texts can be written side by side; one text is a batch of one.

Reads after: samplers.py, settings.py, batch.py. Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from minigpt.errors import InputError
from minigpt.generation.batch import BatchWriter
from minigpt.generation.beam import beam_search
from minigpt.generation.inference import cleaned_for, evaluation_mode
from minigpt.generation.reading import overflow
from minigpt.generation.results import FoundText, GeneratedToken, Generation
from minigpt.generation.samplers import Sampler, draw
from minigpt.generation.settings import GenerationSettings, ResolvedSampler
from minigpt.generation.stopping import StopMatcher
from minigpt.model.compilation import check_compiler, compiled_forward
from minigpt.model.protocols import load_language_model
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


class BatchStream(Iterator[tuple[int, GeneratedToken]]):
    """Iterator over the tokens of several texts as they are written: pairs of the text's number and a token.

    The texts advance together: all have their first token before any has its second.

    Attributes:
        prompts: The prompts as the model reads them, cleaned like its training text.
        notes: For each text what was overridden, replaced or left out, a sentence each; known before the first token.
        stop_reasons: For each text `length`, `stop`, `eos` or `cancelled`; None until it has ended.
    """

    def __init__(
        self,
        prompts: tuple[str, ...],
        notes: tuple[tuple[str, ...], ...],
        tokens: Callable[[BatchStream], Iterator[tuple[int, GeneratedToken]]],
    ) -> None:
        self.prompts = prompts
        self.notes = notes
        self.stop_reasons: list[str | None] = [None] * len(prompts)
        self._tokens = tokens(self)

    def __next__(self) -> tuple[int, GeneratedToken]:
        return next(self._tokens)


class TokenStream(Iterator[GeneratedToken]):
    """Iterator over the tokens of one text as they are written.

    Args:
        batch: A stream of one text.
    """

    def __init__(self, batch: BatchStream) -> None:
        self._batch = batch

    @property
    def prompt(self) -> str:
        """The prompt as the model reads it, cleaned like its training text."""
        return self._batch.prompts[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was overridden, replaced or left out, each in one sentence; known before the first token."""
        return self._batch.notes[0]

    @property
    def stop_reason(self) -> str | None:
        """`length`, `stop`, `eos` or `cancelled`; None until the text has ended."""
        return self._batch.stop_reasons[0]

    def __next__(self) -> GeneratedToken:
        return next(self._batch)[1]


class TextGenerator:
    """Writes text with a run's model.

    PAD, UNK and BOS are never written, and EOS ends the text. The model is left in the mode, training or evaluation,
    in which it was found.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
        compile: Whether to compile the pass of new tokens, see `minigpt.model.compilation`. The first such pass then
            takes a minute or more. On a processor that does not pay.

    Raises:
        ConfigError: `compile` is set, and no compiler is installed.
    """

    def __init__(self, run: LanguageModel, *, compile: bool = False) -> None:
        self._forward: Callable[..., torch.Tensor] | None = None
        if compile:
            check_compiler(run.model.device, "compile")
            self._forward = compiled_forward(run.model, "compile", dynamic=True)
        self._run = run
        self._model = run.model
        self._tokenizer = run.tokenizer

    @classmethod
    def from_checkpoint(
        cls, name: str | Path, *, step: int | Literal["best", "last"] | None = None, device: str = "cpu"
    ) -> Self:
        """Return a generator for a run on disk, with the weights that `minigpt.load_run` takes.

        Args:
            name: A run's folder, its id, an exported zip, the name of a bundled run, or the folder of a checkpoint.
            step: A step whose weights were kept, `best`, `last`, or None for the best and else the last.
            device: `auto`, `cpu`, `cuda` or `mps`.

        Raises:
            RunNotFoundError: There is no such run or no such step.
            InputError: A step is given beside the folder of a checkpoint.
            CheckpointError: It is damaged, or its weights are not finite.
            DeviceError: This machine does not have the device.
        """
        return cls(load_language_model(name, step=step, device=device))

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
        return TokenStream(self.stream_batch([prompt], settings, probe=probe, cancelled=cancelled, **options))

    def stream_batch(
        self,
        prompts: Sequence[str],
        settings: GenerationSettings | Sequence[GenerationSettings] | None = None,
        *,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
        **options: Any,
    ) -> BatchStream:
        """Write several texts side by side. Each gets the tokens that it would get alone.

        "The same tokens" holds but for rounding: the matrix products of several texts are rounded differently in the
        last digit than those of one. So a choice can differ where the random number lay at a border between two tokens.

        Args:
            prompts: The texts to continue, of any lengths.
            settings: How to write all of them, or each.
            probe: See `stream`.
            cancelled: Asked before each step, which writes one token of every text; True ends the writing.
            **options: Fields of `GenerationSettings` that replace those of `settings`.

        Raises:
            InputError: There is no prompt, or another number of settings. Otherwise as `stream`.
        """
        each = [settings] * len(prompts) if settings is None or isinstance(settings, GenerationSettings) else settings
        if not prompts or len(each) != len(prompts):
            raise InputError(
                f"There are {len(prompts)} prompts and {len(each)} settings.",
                mend="Give one prompt or more, and one settings for all of them or one for each.",
            )
        each = [replace(one or GenerationSettings(), **options) for one in each]
        resolved = _resolved(each, self._run)
        prompts = tuple(cleaned_for(self._run, prompt) for prompt in prompts)
        encoded = [self._encode(prompt) for prompt in prompts]
        # a stop text of control characters alone stays as it is: it can never be found, and the empty text always is
        matchers = [StopMatcher([cleaned_for(self._run, stop) or stop for stop in one.stop_texts]) for one in each]
        requests = [(ids, one, chosen.sampler) for (ids, _), one, chosen in zip(encoded, each, resolved, strict=True)]
        notes = tuple((*chosen.notes, *more) for chosen, (_, more) in zip(resolved, encoded, strict=True))

        def tokens(stream: BatchStream) -> Iterator[tuple[int, GeneratedToken]]:
            writer = BatchWriter(self._run, requests, probe, self._forward)
            going = [row for row in writer.rows if row.settings.max_new_tokens]
            stream.stop_reasons = [None if row in going else "length" for row in writer.rows]
            while going:
                if cancelled is not None and cancelled():
                    for row in going:
                        stream.stop_reasons[row.place] = "cancelled"
                        yield from ((row.place, token) for token in matchers[row.place].flush())
                    return
                for row, token in zip(going, writer.write(going), strict=True):
                    matcher = matchers[row.place]
                    reason = None
                    if token.token_id == self._tokenizer.eos_id:
                        reason = "eos"
                    else:
                        yield from ((row.place, released) for released in matcher.push(token))
                        if matcher.stopped:
                            reason = "stop"
                        elif token.n + 1 == row.settings.max_new_tokens:
                            reason = "length"
                    if reason is not None:
                        yield from ((row.place, released) for released in matcher.flush())
                        stream.stop_reasons[row.place] = reason
                going = [row for row in going if stream.stop_reasons[row.place] is None]

        return BatchStream(prompts, notes, tokens)

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
        return self.generate_batch([prompt], settings, probe=probe, cancelled=cancelled, **options)[0]

    def generate_batch(
        self,
        prompts: Sequence[str],
        settings: GenerationSettings | Sequence[GenerationSettings] | None = None,
        *,
        probe: Probe | None = None,
        cancelled: Callable[[], bool] | None = None,
        **options: Any,
    ) -> list[Generation]:
        """Write several whole texts side by side; arguments and errors are those of `stream_batch`.

        `seconds` is the time of the whole batch, and `tokens_per_second` a text's own tokens by that time.
        """
        start = time.perf_counter()
        stream = self.stream_batch(prompts, settings, probe=probe, cancelled=cancelled, **options)
        written: list[list[GeneratedToken]] = [[] for _ in prompts]
        for place, token in stream:
            written[place].append(token)
        seconds = time.perf_counter() - start
        return [
            Generation(
                prompt=prompt,
                completion=(completion := "".join(token.written for token in tokens)),
                text=prompt + completion,
                tokens=tuple(tokens),
                num_new_tokens=len(tokens),
                seconds=seconds,
                tokens_per_second=len(tokens) / seconds if seconds > 0 else 0.0,
                stop_reason=reason or "length",
                notes=notes,
            )
            for prompt, tokens, reason, notes in zip(
                stream.prompts, written, stream.stop_reasons, stream.notes, strict=True
            )
        ]

    def search(
        self,
        prompt: str = "",
        *,
        num_beams: int = 4,
        max_new_tokens: int = 50,
        length_penalty: float = 1.0,
        num_results: int = 1,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[FoundText]:
        """Return the most likely continuations of a prompt, best first; arguments and errors as in `beam_search`.

        Args:
            prompt: The text to continue, see `stream`.
            num_beams: Beginnings that are kept at each step.
            max_new_tokens: Largest number of tokens to write.
            length_penalty: 0 compares probabilities, 1 their geometric means per token, more favours long texts.
            num_results: How many texts to return.
            cancelled: Asked before each step; True ends the search with what there is.
        """
        prompt = cleaned_for(self._run, prompt)
        ids, notes = self._encode(prompt)
        found = beam_search(
            self._run,
            ids,
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            length_penalty=length_penalty,
            num_results=num_results,
            cancelled=cancelled,
        )
        texts = [self._tokenizer.decode(list(beam.ids)) for beam in found.beams]
        return [
            FoundText(
                prompt=prompt,
                completion=text,
                text=prompt + text,
                num_new_tokens=len(beam.ids),
                log_prob=beam.log_prob,
                score=beam.score,
                stop_reason="eos" if beam.ended else "length",
                notes=notes,
            )
            for text, beam in zip(texts, found.beams, strict=True)
        ]

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


def _resolved(settings: Sequence[GenerationSettings], run: LanguageModel) -> list[ResolvedSampler]:
    """Return the sampler of each settings, for a run; equal ones share it, so that it can treat their texts at once."""
    known: dict[object, ResolvedSampler] = {}
    keys = [(one.sampler, one.temperature, one.top_k, one.top_p, one.min_p) for one in settings]
    for key, one in zip(keys, settings, strict=True):
        if key not in known:
            resolved = one.resolve()
            known[key] = replace(resolved, sampler=resolved.sampler.bound(run))
    return [known[key] for key in keys]
