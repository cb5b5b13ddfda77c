"""How well a model predicts a text: loss, perplexity, and bits per character.

A model is wrong by `-ln p` nats about each token that came. Their sum over the text, divided once by the number of
tokens, is the loss; averages are never averaged, so windows of unequal length weigh what they should. The loss of two
tokenizers cannot be compared, for they cut the text into different numbers of tokens; bits per character can.

Windows follow the strided perplexity known from Hugging Face: each window scores only its newest `stride` tokens, so
that they are seen with at least `context - stride` tokens before them. The stride defaults to the context.

Reads after: generation/inference.py. Shapes: B windows side by side, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from minigpt.errors import CorpusError, InputError
from minigpt.generation.inference import evaluation_mode
from minigpt.generation.results import Candidate

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel

NUM_CODE_POINTS = 1_114_112
"""All characters that Unicode has room for; an unknown one is any of them that the model does not know."""

MAX_LOGITS = 1 << 24
"""Logits computed at once, 64 MB; longer contexts and larger vocabularies get fewer windows side by side."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """How much one token surprised the model."""

    token_id: int
    text: str
    """Its text; of an unknown character the character itself, where one token is one character."""
    nats: float
    """`-ln probability`, and the escape cost with it where the character is unknown."""
    probability: float
    rank: int
    """1 where the model held no token likelier."""
    is_unknown: bool
    top: tuple[Candidate, ...]
    """What the model held likeliest."""

    @property
    def bits(self) -> float:
        """The surprise in bits: 1 is a coin toss."""
        return self.nats / math.log(2)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a text cost the model."""

    loss: float
    """Nats per scored token."""
    perplexity: float
    """`exp(loss)`: as uncertain as a choice between this many equally likely tokens."""
    bits_per_char: float
    bits_per_byte: float
    num_tokens: int
    """Positions computed; with a stride below the context, many of them more than once."""
    num_tokens_scored: int
    num_chars: int
    num_bytes: int
    num_unknown: int
    """Scored characters that the tokenizer does not know."""
    escape_nats: float
    """What each of those costs beside the probability of `<unk>`: the choice among all unknown characters."""
    stride: int
    context: int
    predictions: tuple[TokenScore, ...] | None


@dataclass(frozen=True, slots=True)
class Window:
    """One forward pass: positions `begin` to `end` are read, the last `num_scored` of them are scored."""

    begin: int
    end: int
    num_scored: int


def windows(length: int, context: int, stride: int) -> Iterator[Window]:
    """Cut `length` predictions into windows that score each of them once.

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


class ModelEvaluator:
    """Scores texts with a run's model.

    Args:
        run: Anything with `.model` and `.tokenizer`, for example what `minigpt.load_run` returns.
        batch_size: Windows computed side by side.
    """

    def __init__(self, run: LanguageModel, *, batch_size: int = 16) -> None:
        self._model = run.model
        self._tokenizer = run.tokenizer
        self._batch_size = batch_size

    def evaluate(
        self,
        text: str,
        *,
        stride: int | None = None,
        return_predictions: bool = False,
        num_candidates: int = 5,
        cancelled: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Score a text.

        The first character is predicted from BOS. A tokenizer without BOS leaves its first token as context only.
        Unknown characters are charged, never skipped: `<unk>` must be predicted, and then one of all the characters
        that the tokenizer does not know.

        Args:
            text: What to score; two tokens suffice, one where there is a BOS.
            stride: Tokens that each window scores, 1 to the context; smaller is slower and gives each token more
                context. None is the context.
            return_predictions: Whether to return each token's score, which takes memory.
            num_candidates: How many of the likeliest tokens each of those lists.
            cancelled: Asked before each batch of windows; True ends the work.
            progress: Called after each batch with (predictions done, predictions in all).

        Raises:
            CorpusError: There is nothing to score.
            InputError: The stride is out of range.
            CancelledError: `cancelled` said so.
        """
        tokenizer, context = self._tokenizer, self._model.config.sequence_length
        stride = context if stride is None else stride
        if not isinstance(stride, int) or not 1 <= stride <= context:
            raise InputError(
                f"stride is {stride}; with this model's context it must be a whole number from 1 to {context}.",
                mend=f"Set it to {context} to score window by window, or lower to give each token more context.",
            )
        encoded = tokenizer.encode(text)
        ids = torch.tensor(encoded if tokenizer.bos_id is None else [tokenizer.bos_id, *encoded], dtype=torch.int64)
        if len(ids) < 2:
            raise CorpusError(
                "There is nothing to score: the text is empty."
                if not encoded
                else "There is nothing to score: the text is one token, and it serves as context.",
                mend="Give a text of two characters or more.",
            )
        inputs, targets = ids[:-1], ids[1:]
        num_known = tokenizer.vocab_size - len(tokenizer.special_ids)
        escape_nats = math.log(NUM_CODE_POINTS - num_known)

        plan = list(windows(len(targets), context, stride))
        nats, num_unknown, done = 0.0, 0, 0
        predictions: list[TokenScore] = []
        for batch in self._batches(plan, context):
            if cancelled is not None and cancelled():
                raise CancelledError
            logits = self._logits(inputs, batch)  # (scored, V)
            first, last = batch[0].end - batch[0].num_scored, batch[-1].end
            wanted = targets[first:last].to(logits.device)
            with torch.inference_mode():
                losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double()
                is_unknown = wanted == tokenizer.unk_id if tokenizer.unk_id is not None else torch.zeros_like(wanted)
                nats += float(losses.sum())
                num_unknown += int(is_unknown.sum())
                if return_predictions:
                    predictions += self._scores(logits, wanted, losses, num_candidates, escape_nats)
            done = last
            if progress is not None:
                progress(done, len(targets))
        nats += num_unknown * escape_nats
        if num_unknown and return_predictions:  # show the text that stands there instead of <unk>
            pieces = tokenizer.token_pieces(text)[-len(targets) :]
            predictions = [
                replace(score, text=piece) if score.is_unknown else score
                for score, piece in zip(predictions, pieces, strict=True)
            ]
        loss = nats / len(targets)
        num_bytes = len(text.encode("utf-8", "surrogatepass"))
        return Evaluation(
            loss=loss,
            perplexity=math.exp(loss) if loss < 700 else math.inf,
            bits_per_char=nats / math.log(2) / len(text),
            bits_per_byte=nats / math.log(2) / num_bytes,
            num_tokens=sum(window.end - window.begin for window in plan),
            num_tokens_scored=len(targets),
            num_chars=len(text),
            num_bytes=num_bytes,
            num_unknown=num_unknown,
            escape_nats=escape_nats,
            stride=stride,
            context=context,
            predictions=tuple(predictions) if return_predictions else None,
        )

    def _batches(self, plan: Sequence[Window], context: int) -> Iterator[list[Window]]:
        """Yield windows of equal length and equal share, as many as are to be computed side by side."""
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

    def _logits(self, inputs: torch.Tensor, batch: Sequence[Window]) -> torch.Tensor:
        """Return the logits (scored, V) of a batch of windows, in the order of the text."""
        rows = torch.stack([inputs[window.begin : window.end] for window in batch]).to(self._model.device)
        with evaluation_mode(self._model):
            logits: torch.Tensor = self._model(rows)[:, -batch[0].num_scored :]
            return logits.reshape(-1, logits.shape[-1]).float()

    def _scores(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        losses: torch.Tensor,
        num_candidates: int,
        escape_nats: float,
    ) -> list[TokenScore]:
        """Say of each prediction what came, what it cost and what was expected."""
        tokenizer = self._tokenizer
        ranks = (logits > logits.gather(-1, targets.unsqueeze(-1))).sum(-1) + 1
        best = torch.softmax(logits, -1).topk(min(num_candidates, logits.shape[-1]))
        texts: dict[int, str] = {}

        def text(token_id: int) -> str:
            if token_id not in texts:
                texts[token_id] = tokenizer.token_text(token_id)
            return texts[token_id]

        columns = (targets, losses, ranks, best.indices, best.values)
        return [
            TokenScore(
                token_id=token_id,
                text=text(token_id),
                nats=loss + (escape_nats if token_id == tokenizer.unk_id else 0.0),
                probability=math.exp(-loss),
                rank=rank,
                is_unknown=token_id == tokenizer.unk_id,
                top=tuple(Candidate(i, text(i), p) for i, p in zip(top_ids, top_probs, strict=True)),
            )
            for token_id, loss, rank, top_ids, top_probs in zip(*(c.tolist() for c in columns), strict=True)
        ]
