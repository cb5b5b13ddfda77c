"""How well a model predicts a text: loss, perplexity, and bits per character.

    loss = sum of -ln p(token) / number of tokens          nats per token
    perplexity = exp(loss)
    bits_per_char = sum of -ln p(token) / ln 2 / number of characters

The sum over the whole text is divided once. Averages are never averaged, so windows of different lengths have the right
weight. Losses of two tokenizers cannot be compared, because they cut a text into different numbers of tokens; bits per
character can.

A text longer than the context is scored in windows. Each window after the first scores only its last `stride` tokens,
so that each of them has at least `context - stride` tokens before it (*strided perplexity* in Hugging Face's
documentation). The stride defaults to the context.

Reads after: generation/inference.py. Shapes: B windows side by side, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.arguments import check_count, is_whole
from minigpt.data.files import TextFile
from minigpt.data.readers import safe_pieces
from minigpt.errors import CorpusError, InputError, NonFiniteLossError
from minigpt.generation.inference import cleaned_for, evaluation_mode
from minigpt.generation.results import Candidate
from minigpt.model.protocols import load_language_model

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

NUM_CODE_POINTS = 1_114_112
"""Number of code points in Unicode; an unknown character is one of those that the tokenizer does not know."""

_BLOCK = 1 << 18
"""Characters encoded at once."""

MAX_LOGITS = 1 << 24
"""Largest number of logits computed at once, 64 MB; long contexts and large vocabularies get smaller batches."""


def perplexity_of(loss: float) -> float:
    """Return `exp(loss)`, for a loss in nats per token; infinity where that is more than a number can hold."""
    return math.exp(loss) if loss < 700 else math.inf


class TokenScore(NamedTuple):
    """How well the model predicted one token."""

    token_id: int
    text: str
    """Text of the token; for an unknown character the character itself, if the tokenizer can locate it."""
    nats: float
    """`-ln probability`, plus the escape cost if the character is unknown."""
    probability: float
    rank: int
    """1 if no token was more likely."""
    is_unknown: bool
    top: tuple[Candidate, ...]
    """The model's most likely tokens."""

    @property
    def bits(self) -> float:
        """`nats` in bits; 1 bit is the uncertainty of a coin toss."""
        return self.nats / math.log(2)


@dataclass(slots=True)
class TokenScores(Sequence[TokenScore]):
    """The scores of a text's N tokens, in text order. Each `TokenScore` is made when it is read.

    To make them all takes half as long as the model does, and most readers need only a part.
    """

    token_ids: list[int] = field(default_factory=list)
    nats: list[float] = field(default_factory=list)
    """Without the escape cost of an unknown character."""
    ranks: list[int] = field(default_factory=list)
    top_ids: list[list[int]] = field(default_factory=list)
    """Ids of the most likely tokens at each position."""
    top_probabilities: list[list[float]] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    """The text of each id."""
    escape_nats: float = 0.0
    unk_id: int | None = None
    unknown: dict[int, str] = field(default_factory=dict)
    """The character that stands at each position with an unknown one."""

    def costs(self) -> list[float]:
        """Return `nats` of each score: with the escape cost."""
        escape, unk = self.escape_nats, self.unk_id
        return [nats + escape if i == unk else nats for nats, i in zip(self.nats, self.token_ids, strict=True)]

    def words(self) -> list[str]:
        """Return `text` of each score."""
        texts, unknown = self.texts, self.unknown
        return [unknown.get(place, texts[i]) for place, i in enumerate(self.token_ids)]

    def __len__(self) -> int:
        """Return N."""
        return len(self.token_ids)

    @overload
    def __getitem__(self, at: int) -> TokenScore: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[TokenScore, ...]: ...
    def __getitem__(self, at: int | slice) -> TokenScore | tuple[TokenScore, ...]:
        """Return one score, or those of a slice as a tuple."""
        if isinstance(at, slice):
            return tuple(self[index] for index in range(*at.indices(len(self))))
        token_id, nats = self.token_ids[at], self.nats[at]
        is_unknown = token_id == self.unk_id
        return TokenScore(
            token_id=token_id,
            text=self.unknown.get(at % len(self), self.texts[token_id]) if is_unknown else self.texts[token_id],
            nats=nats + self.escape_nats if is_unknown else nats,
            probability=math.exp(-nats),
            rank=self.ranks[at],
            is_unknown=is_unknown,
            top=tuple(
                Candidate(i, self.texts[i], p)
                for i, p in zip(self.top_ids[at], self.top_probabilities[at], strict=True)
            ),
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures of one text."""

    loss: float
    """Nats per scored token."""
    perplexity: float
    """`exp(loss)`: the model is as uncertain as in a choice between this many equally likely tokens."""
    bits_per_char: float
    bits_per_byte: float
    num_tokens: int
    """Number of computed positions; with a stride below the context, many are computed more than once."""
    num_tokens_scored: int
    num_chars: int
    num_bytes: int
    num_unknown: int
    """Number of scored tokens that are UNK."""
    escape_nats: float
    """Extra cost of each of those, besides the probability of `<unk>`: the choice among all unknown characters."""
    stride: int
    context: int
    predictions: TokenScores | None


@dataclass(frozen=True, slots=True)
class Window:
    """One forward pass: it reads positions `begin` to `end` (exclusive) and scores the last `num_scored` of them."""

    begin: int
    end: int
    num_scored: int


def windows(length: int, context: int, stride: int) -> Iterator[Window]:
    """Split `length` predictions into windows so that each prediction is scored once.

    >>> [(w.begin, w.end, w.num_scored) for w in windows(5, context=4, stride=2)]
    [(0, 4, 4), (2, 5, 1)]
    """
    scored = 0
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        yield Window(begin, end, end - scored)
        scored = end
        if end == length:
            return


class _Size(NamedTuple):
    """Size of a text after cleaning; the tokens include BOS, if the tokenizer has it."""

    num_tokens: int
    num_chars: int
    num_bytes: int


class _TokenStream:
    """The tokens of a text that is encoded piece by piece; only the pieces that are needed are in memory.

    Args:
        pieces: All ids in order, cut anywhere.
    """

    def __init__(self, pieces: Iterator[NDArray[np.integer[Any]]]) -> None:
        self._pieces = pieces
        self._begin = 0
        self._held = np.zeros(0, np.int64)

    def part(self, begin: int, end: int) -> torch.Tensor:
        """Return the ids from `begin` to `end` (exclusive), int64; those before `begin` are dropped for good."""
        while self._begin + len(self._held) < end:
            self._held = np.concatenate((self._held[begin - self._begin :], next(self._pieces)), dtype=np.int64)
            self._begin = begin
        return torch.from_numpy(self._held[begin - self._begin : end - self._begin])


class ModelEvaluator:
    """Scores texts with a run's model.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
        batch_size: Largest number of windows in one forward pass.
    """

    def __init__(self, run: LanguageModel, *, batch_size: int = 8) -> None:
        self._run = run
        self._model = run.model
        self._tokenizer = run.tokenizer
        check_count("batch_size", batch_size)
        self._batch_size = batch_size

    @classmethod
    def from_checkpoint(
        cls,
        name: str | Path,
        *,
        step: int | Literal["best", "last"] | None = None,
        device: str = "cpu",
        batch_size: int = 8,
    ) -> Self:
        """Return an evaluator for a run on disk, with the weights that `minigpt.load_run` takes.

        Args:
            name: A run's folder, its id, an exported zip, the name of a bundled run, or the folder of a checkpoint.
            step: A step whose weights were kept, `best`, `last`, or None for the best and else the last.
            device: `auto`, `cpu`, `cuda` or `mps`.
            batch_size: Largest number of windows in one forward pass.

        Raises:
            RunNotFoundError: There is no such run or no such step.
            InputError: A step is given beside the folder of a checkpoint.
            CheckpointError: It is damaged, or its weights are not finite.
            DeviceError: This machine does not have the device.
        """
        return cls(load_language_model(name, step=step, device=device), batch_size=batch_size)

    def evaluate(
        self,
        text: str | TextFile,
        *,
        stride: int | None = None,
        return_predictions: bool = False,
        num_candidates: int = 5,
        cancelled: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Score a text.

        The first token is predicted from BOS. Without BOS in the tokenizer, the first token serves only as context.
        Unknown characters are charged, never skipped: the cost is that of `<unk>`, plus that of a choice among all
        characters that the tokenizer does not know.

        Args:
            text: What to score: at least two tokens, or one if the tokenizer has BOS. It is cleaned like the training
                text, and its characters and bytes are counted after that. A file is read twice, and only the part that
                is being scored is in memory.
            stride: Number of tokens that each window scores, from 1 to the context. A smaller stride is slower and
                gives each token more context. None means the context.
            return_predictions: Whether to return the score of each token, which needs memory.
            num_candidates: Number of most likely tokens in each of these scores.
            cancelled: Called before each batch of windows; True ends the work.
            progress: Called after each batch with (predictions done, all predictions).

        Raises:
            CorpusError: The text has no token to predict.
            InputError: The stride or the number of candidates is out of range.
            NonFiniteLossError: The model predicts infinity or NaN.
            CancelledError: `cancelled` returned True.
        """
        tokenizer, context = self._tokenizer, self._model.config.sequence_length
        stride = context if stride is None else stride
        check_count("num_candidates", num_candidates, least=0)
        if not is_whole(stride) or not 1 <= stride <= context:
            raise InputError(
                f"stride is {stride}; with this model's context it must be a whole number from 1 to {context}.",
                mend=f"Set it to {context} to score window by window, or lower to give each token more context.",
            )
        size = self._measure(text)
        num_targets = size.num_tokens - 1
        if num_targets < 1:
            raise CorpusError(
                "There is nothing to score: the text is empty."
                if not size.num_chars
                else "There is nothing to score: the text is one token, and it serves as context.",
                mend="Give a text of two characters or more.",
            )
        stream = _TokenStream(self._ids(text))
        num_known = tokenizer.vocab_size - len(tokenizer.special_ids)
        escape_nats = math.log(NUM_CODE_POINTS - num_known)

        nats, num_unknown, num_computed = 0.0, 0, 0
        predictions = TokenScores(unk_id=tokenizer.unk_id, escape_nats=escape_nats)
        for batch in self._batches(windows(num_targets, context, stride), context):
            if cancelled is not None and cancelled():
                raise CancelledError
            begin, first, last = batch[0].begin, batch[0].end - batch[0].num_scored, batch[-1].end
            ids = stream.part(begin, last + 1)
            rows = torch.stack([ids[window.begin - begin : window.end - begin] for window in batch])  # (B, T)
            logits = self._logits(rows, batch[0].num_scored)  # (scored, V), in text order
            wanted = ids[first + 1 - begin :].to(logits.device)
            with torch.inference_mode():
                losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double()
                is_unknown = wanted == tokenizer.unk_id if tokenizer.unk_id is not None else torch.zeros_like(wanted)
                nats += float(losses.sum())
                num_unknown += int(is_unknown.sum())
                if return_predictions:
                    self._append_scores(predictions, logits, wanted, losses, num_candidates)
            num_computed += rows.numel()
            if progress is not None:
                progress(last, num_targets)
        nats += num_unknown * escape_nats
        if num_unknown and return_predictions:  # show the text that stands there instead of <unk>
            pieces = tokenizer.token_pieces("".join(self._texts(text)))[-num_targets:]
            places = [place for place, token_id in enumerate(predictions.token_ids) if token_id == tokenizer.unk_id]
            predictions.unknown = {place: pieces[place] for place in places}
        if not math.isfinite(nats):
            raise NonFiniteLossError(
                "The model's predictions for this text are not finite.", mend="Take the weights of an earlier step."
            )
        loss = nats / num_targets
        return Evaluation(
            loss=loss,
            perplexity=perplexity_of(loss),
            bits_per_char=nats / math.log(2) / size.num_chars,
            bits_per_byte=nats / math.log(2) / size.num_bytes,
            num_tokens=num_computed,
            num_tokens_scored=num_targets,
            num_chars=size.num_chars,
            num_bytes=size.num_bytes,
            num_unknown=num_unknown,
            escape_nats=escape_nats,
            stride=stride,
            context=context,
            predictions=predictions if return_predictions else None,
        )

    def _texts(self, text: str | TextFile) -> Iterable[str]:
        """Yield the cleaned text in the pieces in which it can be encoded; joined, they are the cleaned text."""
        if isinstance(text, TextFile):
            pieces = (cleaned_for(self._run, piece) for piece in safe_pieces(text.pieces()))
        else:
            cleaned = cleaned_for(self._run, text)
            pieces = (cleaned[start : start + _BLOCK] for start in range(0, len(cleaned), _BLOCK))
        return self._tokenizer.encodable_pieces(pieces)

    def _ids(self, text: str | TextFile) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the token ids of a text piece by piece, BOS first."""
        if self._tokenizer.bos_id is not None:
            yield np.array([self._tokenizer.bos_id])
        yield from map(self._tokenizer.encode_array, self._texts(text))

    def _measure(self, text: str | TextFile) -> _Size:
        """Count tokens, characters and bytes; a file that is no text is refused here, before anything is scored."""
        num_tokens = 0 if self._tokenizer.bos_id is None else 1
        num_chars = num_bytes = 0
        for piece in self._texts(text):
            num_tokens += len(self._tokenizer.encode_array(piece))
            num_chars += len(piece)
            num_bytes += len(piece.encode("utf-8", "surrogatepass"))
        return _Size(num_tokens, num_chars, num_bytes)

    def _batches(self, plan: Iterable[Window], context: int) -> Iterator[list[Window]]:
        """Yield batches of windows with the same length and the same number of scored tokens."""
        size = max(1, min(self._batch_size, MAX_LOGITS // (context * self._model.vocab_size)))
        batch: list[Window] = []
        for window in plan:
            alike = batch and (window.end - window.begin, window.num_scored) == (
                batch[0].end - batch[0].begin,
                batch[0].num_scored,
            )
            if batch and (not alike or len(batch) == size):
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch

    def _logits(self, rows: torch.Tensor, num_scored: int) -> torch.Tensor:
        """Return the logits (scored, V) of the last `num_scored` positions of each row of ids (B, T)."""
        with evaluation_mode(self._model):
            logits: torch.Tensor = self._model(rows.to(self._model.device))[:, -num_scored:]
            return logits.reshape(-1, logits.shape[-1]).float()

    def _append_scores(
        self,
        scores: TokenScores,
        logits: torch.Tensor,
        targets: torch.Tensor,
        losses: torch.Tensor,
        num_candidates: int,
    ) -> None:
        """Append the score of each prediction, for logits (scored, V), targets and losses (scored,)."""
        best = torch.softmax(logits, -1).topk(min(num_candidates, logits.shape[-1]))
        ids, top_ids = targets.tolist(), best.indices.tolist()
        scores.token_ids += ids
        scores.nats += losses.tolist()
        scores.ranks += ((logits > logits.gather(-1, targets.unsqueeze(-1))).sum(-1) + 1).tolist()
        scores.top_ids += top_ids
        scores.top_probabilities += best.values.tolist()
        seen = set(ids).union(*top_ids) - scores.texts.keys()
        scores.texts |= {token_id: self._tokenizer.token_text(token_id) for token_id in seen}
