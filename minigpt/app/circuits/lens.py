"""Circuits, logit lens: what the model would say next if it ended after each block, position by position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.reading import Reading, prompt_notes, read_few
from minigpt.app.session.subject import Subject
from minigpt.app.texts import percent, plain, quoted, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.app.ui.controls import choose_position, keep_position
from minigpt.viz.labels import token_label, visible_token

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun

POSITION = "circuits:position"
ROWS = 24
"""Positions drawn at once; more would not fit a screen."""
NUM_TOP = 5
NUM_KEPT = 128
"""Candidates kept of each prediction, to follow one token through the depths."""


@dataclass(frozen=True)
class LensView:
    """What the stream says at each of P places, at each of T positions.

    Attributes:
        reading: The prompt.
        top_ids: The likeliest tokens, (P, T, k).
        top_probs: Their probabilities, (P, T, k).
        rank: Place of the token that does come next, 1 for the likeliest, (P, T); 0 at the last position.
        nats: Surprise at that token, (P, T); not a number at the last position.
        texts: Text of every token that occurs, by id.
    """

    reading: Reading
    top_ids: np.ndarray
    top_probs: np.ndarray
    rank: np.ndarray
    nats: np.ndarray
    texts: dict[int, str]

    def share(self, token: int, position: int) -> np.ndarray:
        """Return the probability of a token at each place, (P,); 0 where it is not among the kept ones."""
        found = self.top_ids[:, position] == token
        shares: np.ndarray = np.where(found, self.top_probs[:, position], 0.0).sum(axis=-1)
        return shares

    def answer(self, position: int) -> int:
        """Return the token that the model finally holds likeliest."""
        return int(self.top_ids[-1, position, 0])

    def settled(self, position: int) -> int:
        """Return the first place from which on the final answer stays on top, 0 for the embedding itself."""
        agrees = self.top_ids[:, position, 0] == self.answer(position)
        return len(agrees) - int(np.argmin([*agrees[::-1], False]))


def lens_of(run: LoadedRun, prompt: str) -> LensView:
    """Read the stream of a prompt at every place."""
    import torch

    from minigpt.interpret.lens import logit_lens

    reading = read_few(run, prompt)
    lens = logit_lens(run.model, torch.tensor([reading.ids]), k=min(NUM_KEPT, run.tokenizer.vocab_size))
    texts = {int(token): run.tokenizer.token_text(int(token)) for token in np.unique(lens.top_ids)}
    return LensView(reading, lens.top_ids, lens.top_probs, lens.rank_of_actual, lens.nats_of_actual, texts)


def ask(subject: Subject) -> LensView:
    """Return the lens on the prompt, through the gate; another view reads it too."""
    return subject.ask("lens", lambda run, cancelled: lens_of(run, subject.prompt), subject.prompt)


def places(number: int) -> list[str]:
    """Return what the P places are called on a figure."""
    return [t("circuits.place_embed"), *(t("circuits.place_block", number=block) for block in range(1, number))]


def position_of(reading: Reading) -> int:
    """Draw the choice of a position, shared with another view; a text of another length begins at its end."""
    keep_position(POSITION, len(reading.tokens), len(reading.tokens) - 1)
    return choose_position(POSITION, reading.tokens, t("circuits.position"))


def draw(subject: Subject) -> None:
    """Draw the view."""
    with st.spinner(t("circuits.computing")):
        view = ask(subject)
    anatomy.notes(prompt_notes(view.reading, subject.prompt))
    tokens = view.reading.tokens
    position = position_of(view.reading)
    first = max(0, min(position - ROWS // 2, len(tokens) - ROWS))
    left, right = st.columns([11, 9], gap="large")
    with left:
        _draw_grid(view, first, position)
    with right:
        _draw_depth(view, position)
    anatomy.what_you_see(_seen(view, position))
    latest = max(range(len(tokens)), key=lambda index: (view.settled(index), index))
    early = min(range(len(tokens)), key=lambda index: (view.settled(index), -index))
    anatomy.try_this(
        [
            (t("circuits.try_latest"), lambda: controls.move(POSITION, latest)),
            (t("circuits.try_earliest"), lambda: controls.move(POSITION, early)),
        ],
        key="circuits:try_lens",
    )


def _draw_grid(view: LensView, first: int, position: int) -> None:
    from minigpt.viz.circuits_stream import lens_figure

    names = places(len(view.top_ids))
    shown = range(first, min(first + ROWS, len(view.reading.tokens)))
    figure = lens_figure(
        [[view.texts[int(view.top_ids[place, row, 0])] for place in range(len(names))] for row in shown],
        view.top_probs[:, shown, 0].T,
        [[_hover(view, place, row, names[place]) for place in range(len(names))] for row in shown],
        places=names,
        tokens=[view.reading.tokens[row] for row in shown],
        first=first,
        selected=position - first,
        palette=theme.palette(),
    )
    live_chart(figure, key=f"circuits:lens_{len(shown)}", alt=plain(_seen(view, position)[0]))
    caption, count = t("circuits.lens_caption"), len(view.reading.tokens)
    if len(shown) < count:
        caption += " " + t("circuits.lens_rows", first=first + 1, last=first + len(shown), count=count)
    st.caption(caption)


def _hover(view: LensView, place: int, row: int, name: str) -> str:
    """Return what pointing at a cell says: the likeliest tokens, and how the right one stood."""
    lines = [f"{row + 1} · {name}"]
    for token, share in zip(view.top_ids[place, row, :NUM_TOP], view.top_probs[place, row, :NUM_TOP], strict=True):
        lines.append(f"<b>{token_label(view.texts[int(token)])}</b> {share * 100:.1f} %")
    if view.rank[place, row]:
        actual = token_label(view.reading.tokens[row + 1])
        lines.append(t("circuits.hover_actual", token=actual, rank=int(view.rank[place, row])))
    return "<br>".join(lines)


def _draw_depth(view: LensView, position: int) -> None:
    from minigpt.viz.circuits_stream import DepthWords, depth_figure

    st.subheader(t("circuits.depth_title", position=position + 1), anchor=False)
    answer = view.answer(position)
    followed = {view.texts[answer]: view.share(answer, position)}
    if position + 1 < len(view.reading.tokens):
        followed.setdefault(view.reading.tokens[position + 1], np.exp(-view.nats[:, position]))
    at_first = int(view.top_ids[0, position, 0])
    followed.setdefault(view.texts[at_first], view.share(at_first, position))
    figure = depth_figure(
        np.stack(list(followed.values())),
        list(followed),
        places=places(len(view.top_ids)),
        palette=theme.palette(),
        words=DepthWords(share=t("circuits.axis_share")),
    )
    shares = ", ".join(percent(float(share)) for share in view.share(answer, position))
    alt = t("circuits.depth_alt", token=visible_token(view.texts[answer]), shares=shares)
    live_chart(figure, key="circuits:depth", alt=alt)
    st.caption(t("circuits.depth_caption"))


def _seen(view: LensView, position: int) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    answer, place = view.answer(position), view.settled(position)
    share = float(view.top_probs[-1, position, 0])
    said = [
        t(
            "circuits.see_lens",
            position=position + 1,
            read=quoted(view.reading.tokens[position]),
            token=quoted(view.texts[answer]),
            share=f"**{percent(share)}**",
        )
    ]
    if place == 0:
        said.append(t("circuits.see_settled_at_once"))
    else:
        instead = int(view.top_ids[0, position, 0])
        key = "circuits.see_settled" if instead != answer else "circuits.see_settled_again"
        said.append(t(key, block=f"**{place}**", instead=quoted(view.texts[instead])))
    if position + 1 < len(view.reading.tokens):
        rank = int(view.rank[-1, position])
        said.append(t("circuits.see_rank", token=quoted(view.reading.tokens[position + 1]), rank=f"**{rank}**"))
    return said
