"""The logit lens in numbers and words: what the model would say next if it ended after each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.app.session.reading import Reading, read_few
from minigpt.app.texts import percent, quoted, t
from minigpt.viz.labels import visible_token

if TYPE_CHECKING:
    from minigpt.runs.loading import Run

ROWS = 24
"""Positions drawn at once; more would not fit a screen."""
NUM_TOP = 5
"""Candidates in the hover text of a cell."""
NUM_KEPT = 128
"""Candidates kept of each prediction, to follow one token through the depths."""


@dataclass(frozen=True)
class LensView:
    """The predictions read from the residual stream at P depths (`places`) and T positions.

    Attributes:
        reading: The prompt.
        top_ids: The k likeliest tokens, (P, T, k).
        top_probs: Their probabilities, (P, T, k).
        rank: Rank of the actual next token, 1 for the likeliest, (P, T); 0 at the last position.
        nats: Surprise at that token, (P, T); NaN at the last position.
        texts: Text of every token that occurs, by id.
    """

    reading: Reading
    top_ids: np.ndarray
    top_probs: np.ndarray
    rank: np.ndarray
    nats: np.ndarray
    texts: dict[int, str]

    @property
    def num_places(self) -> int:
        """P."""
        return len(self.top_ids)

    def share(self, token: int, position: int) -> np.ndarray:
        """Return the probability of a token at each place, (P,); 0 where it is not among the kept candidates."""
        found = self.top_ids[:, position] == token
        shares: np.ndarray = np.where(found, self.top_probs[:, position], 0.0).sum(axis=-1)
        return shares

    def answer(self, position: int) -> int:
        """Return the likeliest token after the last block."""
        return int(self.top_ids[-1, position, 0])

    def settled(self, position: int) -> int:
        """Return the first place from which the final answer stays the likeliest, 0 for the embedding itself."""
        agrees = self.top_ids[:, position, 0] == self.answer(position)
        return len(agrees) - int(np.argmin([*agrees[::-1], False]))


def lens_of(run: Run, prompt: str) -> LensView:
    """Apply the logit lens to a prompt at every place."""
    import torch

    from minigpt.interpret.lens import logit_lens

    reading = read_few(run, prompt)
    lens = logit_lens(run.model, torch.tensor([reading.ids]), k=min(NUM_KEPT, run.tokenizer.vocab_size))
    texts = {int(token): run.tokenizer.token_text(int(token)) for token in np.unique(lens.top_ids)}
    return LensView(reading, lens.top_ids, lens.top_probs, lens.rank_of_actual, lens.nats_of_actual, texts)


def shown_rows(num_tokens: int, position: int) -> range:
    """Return the positions that are drawn: as many as fit, with the given one in the middle if the text allows it.

    >>> shown_rows(10, 3), shown_rows(60, 30), shown_rows(60, 59)
    (range(0, 10), range(18, 42), range(36, 60))
    """
    first = max(0, min(position - ROWS // 2, num_tokens - ROWS))
    return range(first, min(first + ROWS, num_tokens))


def grid_texts(view: LensView, rows: range) -> list[list[list[str]]]:
    """Return the likeliest tokens of each cell, [row][place][candidate]."""
    return [[[view.texts[int(token)] for token in ids[:NUM_TOP]] for ids in view.top_ids[:, row]] for row in rows]


def grid_shares(view: LensView, rows: range) -> np.ndarray:
    """Return their probabilities, (rows, P, candidates)."""
    return view.top_probs[:, rows, :NUM_TOP].transpose(1, 0, 2)


def following(view: LensView, rows: range) -> list[str]:
    """Return the token that follows each of the positions, "" at the end of the text."""
    return [*view.reading.tokens, ""][rows.start + 1 : rows.stop + 1]


def grid_caption(rows: range, num_tokens: int) -> str:
    """Return what a cell means, and which positions are drawn if not all of them are."""
    caption = t("circuits.lens_caption")
    if len(rows) < num_tokens:
        caption += " " + t("circuits.lens_rows", first=rows.start + 1, last=rows.stop, count=num_tokens)
    return caption


def followed_tokens(view: LensView, position: int) -> dict[str, np.ndarray]:
    """Return the tokens that are followed from place to place at a position: text to probability at each place, (P,).

    They are the model's final answer, the actual next token, and the likeliest token from the embedding alone.
    """
    answer, at_first = view.answer(position), int(view.top_ids[0, position, 0])
    followed = {view.texts[answer]: view.share(answer, position)}
    if position + 1 < len(view.reading.tokens):
        followed.setdefault(view.reading.tokens[position + 1], np.exp(-view.nats[:, position]))
    followed.setdefault(view.texts[at_first], view.share(at_first, position))
    return followed


def depth_alt(view: LensView, position: int) -> str:
    """Return a text alternative for the figure: how the final answer at a position gained its probability."""
    answer = view.answer(position)
    shares = ", ".join(percent(float(share)) for share in view.share(answer, position))
    return t("circuits.depth_alt", token=visible_token(view.texts[answer]), shares=shares)


def latest_and_earliest(view: LensView) -> tuple[int, int]:
    """Return the positions at which the model settles on its answer latest and earliest.

    If several positions are equal, the last of them is returned, for both.
    """
    positions = range(len(view.reading.tokens))
    latest = max(positions, key=lambda index: (view.settled(index), index))
    earliest = min(positions, key=lambda index: (view.settled(index), -index))
    return latest, earliest


def lens_sentences(view: LensView, position: int) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    answer, place = view.answer(position), view.settled(position)
    share = float(view.top_probs[-1, position, 0])
    sentences = [
        t(
            "circuits.see_lens",
            position=position + 1,
            read=quoted(view.reading.tokens[position]),
            token=quoted(view.texts[answer]),
            share=f"**{percent(share)}**",
        )
    ]
    if place == 0:
        sentences.append(t("circuits.see_settled_at_once"))
    else:
        instead = int(view.top_ids[0, position, 0])
        key = "circuits.see_settled" if instead != answer else "circuits.see_settled_again"
        sentences.append(t(key, block=f"**{place}**", instead=quoted(view.texts[instead])))
    if position + 1 < len(view.reading.tokens):
        rank = int(view.rank[-1, position])
        sentences.append(t("circuits.see_rank", token=quoted(view.reading.tokens[position + 1]), rank=f"**{rank}**"))
    return sentences
