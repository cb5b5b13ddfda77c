"""The share of right answers during a training on a text of ours: the referee of the text judges what the model writes.

A text of questions, such as sums, is judged by the answers: the model gets the same questions each time, each behind a
line end, and an answer is right if every token of it is the likeliest one. That is what greedy generation would write,
and it takes one forward pass. Any other text is judged by what the model writes at temperature 1, with the same random
numbers each time.

Reads after: events, callbacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from minigpt.data.generators import CorpusGenerator, Question, added
from minigpt.generation.generator import TextGenerator
from minigpt.generation.inference import evaluation_mode
from minigpt.generation.settings import GenerationSettings
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.training.callbacks import Callback, ModelWithTokenizer
from minigpt.training.events import Record, TrainerView, Work

NUM_QUESTIONS = 64
_QUESTIONS_AT_ONCE = 16
NUM_ROWS, NUM_TOKENS = 8, 160
"""Number and length of the texts that are judged where there are no questions."""
WRONG = "?\n"
"""Stands for an answer that is wrong, so that the referee counts one line for it whatever the model would write."""


class Referee(Callback):
    """Add `right`, the share of right items, and `judged`, their number, to the record of each evaluation.

    Both are mappings with an entry for each kind of item, see `CorpusGenerator.referee`. A kind without an item is left
    out.

    Args:
        generator: The generator of the run's corpus; it has a referee.
        tokenizer: The tokenizer of the run.
    """

    def __init__(self, generator: CorpusGenerator, tokenizer: BaseTokenizer) -> None:
        self._generator, self._tokenizer = generator, tokenizer
        self._never = list(tokenizer.special_ids)

    def on_evaluation(self, trainer: TrainerView, record: Record) -> Iterator[Work] | None:
        """Judge what the model answers or writes."""
        return self._judge(trainer, record)

    def _judge(self, trainer: TrainerView, record: Record) -> Iterator[Work]:
        questions, referee = self._generator.questions, self._generator.referee
        assert referee is not None
        texts = list[str]()
        if questions is not None:
            asked = questions(NUM_QUESTIONS)
            for start in range(0, NUM_QUESTIONS, _QUESTIONS_AT_ONCE):
                texts.append(self._answered(trainer, asked[start : start + _QUESTIONS_AT_ONCE]))
                yield Work("sample", trainer.step)
        else:
            run = ModelWithTokenizer(trainer.eval_model, self._tokenizer, trainer.config)
            prompt = "\n" if self._tokenizer.bos_id is None else ""
            settings = GenerationSettings(max_new_tokens=NUM_TOKENS, temperature=1, seed=trainer.config.seed)
            rows = [replace(settings, row=row) for row in range(NUM_ROWS)]
            texts = [""] * NUM_ROWS
            for row, token in TextGenerator(run).stream_batch([prompt] * NUM_ROWS, rows):
                texts[row] += token.written
                yield Work("sample", trainer.step)
        counts = [count for count in added(referee(text) for text in texts) if count.total]
        record["right"] = {count.what: round(count.right / count.total, 4) for count in counts}
        record["judged"] = {count.what: count.total for count in counts}

    def _answered(self, trainer: TrainerView, questions: tuple[Question, ...]) -> str:
        """Return the questions with the model's answers, each a line; a wrong answer is written as `WRONG`."""
        context = trainer.config.model.sequence_length
        streams = [self._tokenizer.encode(f"\n{question.prompt}{question.answer}") for question in questions]
        starts = [len(self._before(question)) for question in questions]
        cut = [max(0, len(stream) - 1 - context) for stream in streams]  # the newest tokens that fit
        inputs = [stream[:-1][first:] for stream, first in zip(streams, cut, strict=True)]
        longest = max(map(len, inputs))
        # what fills the rows is never seen: it comes after everything that is asked
        batch = torch.tensor([ids + [0] * (longest - len(ids)) for ids in inputs], device=trainer.eval_model.device)
        with evaluation_mode(trainer.eval_model):
            logits = trainer.eval_model(batch)
            logits[..., self._never] = -math.inf
            likeliest = logits.argmax(-1).tolist()
        lines = ""
        for question, stream, first, start, best in zip(questions, streams, cut, starts, likeliest, strict=True):
            place = max(start, first + 1)
            is_right = stream[place:] == best[place - 1 - first : len(stream) - 1 - first]
            lines += question.prompt + (question.answer if is_right else WRONG)
        return lines

    def _before(self, question: Question) -> list[int]:
        """Return the tokens before the answer; a token that reaches into the answer belongs to the answer."""
        prompt = f"\n{question.prompt}"
        ids = self._tokenizer.encode(prompt + question.answer)
        while len(self._tokenizer.decode(ids)) > len(prompt):
            ids.pop()
        return ids
