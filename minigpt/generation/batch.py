"""Writing several texts side by side: one step gives each of them one more token.

The texts may have prompts of different lengths, different rules and different dice. Each has its own cache, so none is
padded, and each gets the tokens that it would get alone. What they share is the work: one pass of the model reads the
newest token of all of them, and rules that several texts share are applied to them together.

Reads after: samplers.py, settings.py, reading.py. Shapes: B texts, T tokens so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.generation.inference import evaluation_mode
from minigpt.generation.reading import GrowingText, TextReader
from minigpt.generation.results import Candidate, GeneratedToken
from minigpt.generation.samplers import Sampler, draw_ids
from minigpt.generation.settings import GenerationSettings
from minigpt.randomness import uniform

if TYPE_CHECKING:
    from minigpt.model.points import Probe
    from minigpt.model.protocols import LanguageModel
    from minigpt.tokenizers.base import TokenReader

MOST_FOR_NUMPY = 1 << 13
"""Largest number of probabilities of several texts that NumPy computes; torch is quicker with more."""


class TextRow(GrowingText):
    """One text that is being written.

    Attributes:
        settings: How it is written.
        sampler: How its tokens are chosen.
        state: What its rule carries from token to token, if the rule has a state.
        place: Its row in the writer's table of tokens.
        reader: Decodes what is written.

    Args:
        prompt: Ids of the prompt, one or more, as many as the context holds at most.
        settings: See above.
        sampler: See above.
        place: See above.
        reader: A new reader of the tokenizer.
    """

    def __init__(
        self, prompt: Sequence[int], settings: GenerationSettings, sampler: Sampler, place: int, reader: TokenReader
    ) -> None:
        super().__init__(prompt, use_cache=settings.use_cache)
        self.settings = settings
        self.sampler = sampler
        self.place = place
        self.reader = reader
        self.state: Any = None


class BatchWriter:
    """Writes one token of each of several texts at a time.

    Args:
        run: The model with its tokenizer.
        requests: For each text its prompt's ids, its settings and its sampler.
        probe: Watches or edits what the model computes; the texts are then computed one by one.
        forward: See `TextReader`.
    """

    def __init__(
        self,
        run: LanguageModel,
        requests: Sequence[tuple[Sequence[int], GenerationSettings, Sampler]],
        probe: Probe | None = None,
        forward: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self._model, self._tokenizer = run.model, run.tokenizer
        self._reader = TextReader(run.model, probe, forward)
        texts: dict[int, str] = {}
        self.rows = [TextRow(*request, place, run.tokenizer.reader(texts)) for place, request in enumerate(requests)]
        self._longest = max(len(row.ids) for row in self.rows)
        self._num_written = 0
        # the tokens of all texts, aligned at their newest, since rules look back from there; -1 is padding
        room = self._longest + max(row.settings.max_new_tokens for row in self.rows)
        self._table = torch.full((len(self.rows), room), -1)
        for row in self.rows:
            self._table[row.place, self._longest - len(row.ids) : self._longest] = torch.tensor(row.ids)
        self._cells = self._table.numpy()  # of the same memory
        self._never = torch.zeros(run.model.vocab_size, dtype=torch.float64)
        self._never[[i for i in run.tokenizer.special_ids if i != run.tokenizer.eos_id]] = -math.inf
        self._texts: dict[int, str] = {}

    def write(self, rows: Sequence[TextRow]) -> list[GeneratedToken]:
        """Choose the next token of each row and append it.

        Args:
            rows: The texts that go on, of `rows`; one that is left out once stays as it is.

        Returns:
            The new token of each row.
        """
        n = self._num_written
        with evaluation_mode(self._model):
            raw = self._reader.read(rows).to("cpu", torch.float64)  # (B, V)
            chosen = self._apply_rules(rows, raw + self._never)
        after, before = _softmax(chosen), _softmax(raw)
        dice = [uniform(row.settings.seed, row.settings.row, n) for row in rows]
        ids = draw_ids(after, dice)
        every_row = range(len(rows))
        by_rules, by_model = after[every_row, ids].tolist(), before[every_row, ids].tolist()
        others = self._runners_up(rows, before, ids)
        tokens = []
        for i, (row, token) in enumerate(zip(rows, ids, strict=True)):
            row.ids.append(token)
            self._cells[row.place, self._longest + n] = token
            texts = self._text(token), row.reader.push(token)
            tokens.append(GeneratedToken(token, *texts, by_rules[i], by_model[i], dice[i], others[i], n))
        self._num_written += 1
        return tokens

    def _apply_rules(self, rows: Sequence[TextRow], logits: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, V) after each row's rule; a rule without a state treats all its rows at once."""
        ids = self._table.narrow(1, 0, self._longest + self._num_written)
        if len(rows) < len(ids):
            ids = ids[[row.place for row in rows]]
        groups: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(i if row.sampler.has_state else -1 - id(row.sampler), []).append(i)
        if len(groups) == 1:
            first = rows[0]
            logits, first.state = first.sampler.process(logits, ids, first.state)
            return logits
        results = torch.empty_like(logits)
        for group in groups.values():
            first = rows[group[0]]
            # a slice is quicker than a list of places, and most groups are neighbours
            place: Any = slice(group[0], group[-1] + 1) if group[-1] - group[0] < len(group) else group
            results[place], first.state = first.sampler.process(logits[place], ids[place], first.state)
        return results

    def _runners_up(
        self, rows: Sequence[TextRow], probs: NDArray[np.float64], tokens: Sequence[int]
    ) -> list[tuple[Candidate, ...]]:
        """Return for each row the most likely tokens (V probabilities each) but the chosen one."""
        counts = [row.settings.num_runners_up for row in rows]
        if not any(counts):
            return [()] * len(rows)
        best = torch.from_numpy(probs).topk(min(max(counts) + 1, probs.shape[-1]))
        result = []
        for token, count, ids, values in zip(tokens, counts, best.indices.tolist(), best.values.tolist(), strict=True):
            others = [Candidate(i, self._text(i), p) for i, p in zip(ids, values, strict=True) if i != token]
            result.append(tuple(others[:count]))
        return result

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._tokenizer.token_text(token)
        return self._texts[token]


def _softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    """Return the probabilities (B, V); a row without any token left becomes NaN, which `draw_ids` reports.

    Torch splits even a few short rows between its threads. On a busy machine it then waits for them a hundred times as
    long as the work takes.
    """
    if len(logits) == 1 or logits.numel() > MOST_FOR_NUMPY:
        return torch.softmax(logits, -1).numpy()
    scores = logits.numpy()
    with np.errstate(invalid="ignore"):
        probs: NDArray[np.float64] = np.exp(scores - np.maximum.reduce(scores, -1, keepdims=True))
    probs /= np.add.reduce(probs, -1, keepdims=True)
    return probs
