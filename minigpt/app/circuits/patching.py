"""Circuits, activation patching: a piece of one text's stream in another text's, and which answer comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.circuits.lens import places
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.reading import FEW_TOKENS, Reading, prompt_notes, read_prompt
from minigpt.app.session.run_text import default_prompt, shipped
from minigpt.app.session.subject import Subject, prompt_input
from minigpt.app.texts import has, percent, plain, quoted, t
from minigpt.app.ui import anatomy, theme
from minigpt.errors import ShapeError
from minigpt.viz.labels import head_name, token_label, visible_token

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun

BUDGET = 1e11
"""Floating point operations that one map may cost: a few seconds of one core. Longer texts are cut to stay below."""
FEWEST_TOKENS = 8
SAME = 0.1
"""Two texts whose scores differ by less than this lead to the same answer; a share of nothing would be noise."""
TRIED_TOKENS = 8
"""A second text is looked for by changing one token; so many of the likeliest others are tried at each place."""


@dataclass(frozen=True)
class PatchView:
    """Two texts of equal length and what comes back of the first one's answer.

    Attributes:
        clean: The first text.
        corrupt: The second.
        target: The answer to the first, as text.
        versus: The answer to the second, as text.
        gaps: Score of the first answer minus that of the second, after each text.
        share: Probability of the first answer after each text.
        residual: Share of the difference that comes back, patched at each place and position, (P, T); None where the
            texts lead to the same answer.
        heads: The same for each head at all positions, (L, H).
    """

    clean: Reading
    corrupt: Reading
    target: str
    versus: str
    gaps: tuple[float, float]
    share: tuple[float, float]
    residual: np.ndarray | None
    heads: np.ndarray | None


def most_tokens(run: LoadedRun) -> int:
    """Return how many tokens of each text are compared: the map costs P T forward passes of T tokens."""
    places = run.model.config.num_layers + 1
    affordable = int(math.sqrt(BUDGET / (2 * places * run.model.num_parameters())))
    return max(FEWEST_TOKENS, min(FEW_TOKENS // 2, affordable, run.model.config.sequence_length))


def patched(run: LoadedRun, first: str, second: str, cancelled: Cancelled) -> PatchView:
    """Compare two texts and patch the first one's stream into the second's.

    Args:
        run: The run at one step.
        first: The clean text.
        second: The corrupted one.
        cancelled: Asked between forward passes.

    Raises:
        ShapeError: They do not have the same number of tokens.
    """
    import torch

    from minigpt.interpret.patching import patch_heads, patch_residual
    from minigpt.interpret.trace import trace_forward

    length = min(most_tokens(run), run.model.config.sequence_length)
    clean, corrupt = (read_prompt(run.tokenizer, text, length) for text in (first, second))
    if clean.num_given != corrupt.num_given:
        raise ShapeError(
            t("circuits.unequal", first=clean.num_given, second=corrupt.num_given), mend=t("circuits.unequal_mend")
        )
    ids, other = torch.tensor([clean.ids]), torch.tensor([corrupt.ids])
    logits = [trace_forward(run.model, one).logits[0, -1].double() for one in (ids, other)]
    target = int(logits[0].argmax())
    ranked = logits[1].argsort(descending=True, stable=True).tolist()
    versus = next(token for token in ranked if token != target)
    gaps = tuple(float(one[target] - one[versus]) for one in logits)
    shares = tuple(float(one.softmax(dim=-1)[target]) for one in logits)
    residual = heads = None
    if abs(gaps[0] - gaps[1]) >= SAME:
        residual = patch_residual(run.model, ids, other, target=target, versus=versus, cancelled=cancelled)
        heads = patch_heads(run.model, ids, other, target=target, versus=versus, cancelled=cancelled)
    text_of = run.tokenizer.token_text
    return PatchView(clean, corrupt, text_of(target), text_of(versus), gaps, shares, residual, heads)


def one_changed(run: LoadedRun, text: str) -> str:
    """Return the text with one token changed so that the answer turns: the earliest that does it, else the one nearest.

    An early token is the more interesting one: what it says has to travel to the end.

    Args:
        run: The run at one step.
        text: The clean text.
    """
    import torch

    reading = read_prompt(run.tokenizer, text, most_tokens(run))
    tokenizer, ids = run.tokenizer, torch.tensor(reading.ids)
    special = tokenizer.special_ids
    with torch.inference_mode():
        logits = run.model(ids[None])[0]
        answer = int(logits[-1].argmax())
        rows = []
        for position in range(1, len(ids)):
            likely = logits[position - 1].topk(min(TRIED_TOKENS, logits.shape[-1])).indices.tolist()
            for token in likely:
                if token != int(ids[position]) and token not in special:
                    rows.append(ids.index_fill(0, torch.tensor(position), token))
        if not rows:
            return text
        after = run.model(torch.stack(rows))[:, -1].log_softmax(dim=-1)
    turns = (after.argmax(dim=-1) != answer).nonzero()[:, 0].tolist()
    chosen = rows[turns[0] if turns else int(after[:, answer].argmin())]
    position = int((chosen != ids).nonzero()[0, 0])
    kept = tokenizer.encode(text)
    kept[len(kept) - len(ids) + position] = int(chosen[position])
    return tokenizer.decode(kept)


def _key(subject: Subject, name: str) -> str:
    return f"circuits:{name}_{subject.run.id}"


def _find(subject: Subject, text: str) -> str:
    return subject.ask("one-changed", lambda run, cancelled: one_changed(run, text), text)


def draw(subject: Subject) -> None:
    """Draw the view."""
    first_key, second_key = _key(subject, "clean"), _key(subject, "corrupt")
    if first_key not in st.session_state:
        is_shipped = subject.run.bundled and has(f"circuits.clean_{subject.run.id}")
        first = shipped(f"circuits.clean_{subject.run.id}") if is_shipped else default_prompt(subject.run, "circuits")
        st.session_state[first_key] = first
        st.session_state[second_key] = (
            shipped(f"circuits.corrupt_{subject.run.id}") if is_shipped else _find(subject, first)
        )
    left, right = st.columns(2, gap="medium")
    first = prompt_input(left, t("circuits.clean"), key=first_key)
    second = prompt_input(right, t("circuits.corrupt"), key=second_key, help=t("circuits.corrupt_help"))
    try:
        with st.spinner(t("circuits.patching")):
            view = subject.ask("patching", lambda run, cancelled: patched(run, first, second, cancelled), first, second)
    except ShapeError as error:
        anatomy.explain_error(error)  # what it tells to press stands below
    else:
        _draw_answer(view, first, second)
    anatomy.try_this(
        [
            (t("circuits.try_find"), lambda: st.session_state.update({second_key: _find(subject, first)})),
            (t("circuits.try_swap"), lambda: st.session_state.update({first_key: second, second_key: first})),
        ],
        key="circuits:try_patching",
    )


def _draw_answer(view: PatchView, first: str, second: str) -> None:
    for reading, text in ((view.clean, first), (view.corrupt, second)):
        anatomy.notes(prompt_notes(reading, text))
    if view.residual is None or view.heads is None:
        st.info(t("circuits.same_answer", token=quoted(view.target)), icon=":material/info:")
        return
    _draw_maps(view)
    anatomy.what_you_see(_seen(view))


def _draw_maps(view: PatchView) -> None:
    from minigpt.viz.circuits_stream import HeadsWords, PatchWords, heads_figure, patch_figure

    assert view.residual is not None
    assert view.heads is not None
    palette = theme.palette()
    tokens = [
        f"{index + 1} {_label(one, other)}"
        for index, (one, other) in enumerate(zip(view.clean.tokens, view.corrupt.tokens, strict=True))
    ]
    left, right = st.columns([11, 9], gap="large")
    with left:
        st.subheader(t("circuits.stream_title"), anchor=False)
        st.caption(t("circuits.stream_caption"))
        figure = patch_figure(
            view.residual,
            places=places(len(view.residual)),
            tokens=tokens,
            palette=palette,
            words=PatchWords(recovered=t("circuits.comes_back")),
        )
        alt = plain(_seen(view)[1])
        live_chart(figure, key=f"circuits:patch_{len(tokens)}", alt=alt)
    with right:
        st.subheader(t("circuits.patch_heads_title"), anchor=False)
        st.caption(t("circuits.patch_heads_caption"))
        figure = heads_figure(
            view.heads,
            palette=palette,
            words=HeadsWords(
                value=t("circuits.comes_back"),
                layer=t("circuits.board_layer"),
                head=t("circuits.board_head"),
            ),
        )
        alt = plain(_seen(view)[2])
        live_chart(figure, key="circuits:patch_heads", alt=alt)


def _label(one: str, other: str) -> str:
    """Return what stands at a position of both texts, as an axis shows it."""
    return token_label(one) if one == other else f"<b>{token_label(one)}/{token_label(other)}</b>"


def _seen(view: PatchView) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    assert view.residual is not None
    assert view.heads is not None
    # After the last block the last position holds the answer itself; on the way to it the difference must travel.
    is_tower = len(view.residual) > 2
    on_the_way = view.residual[1:-1] if is_tower else view.residual[1:]
    place, position = np.unravel_index(int(on_the_way.argmax()), on_the_way.shape)
    layer, head = np.unravel_index(int(view.heads.argmax()), view.heads.shape)
    return [
        t(
            "circuits.see_answers",
            target=quoted(view.target),
            first=f"**{percent(view.share[0])}**",
            second=f"**{percent(view.share[1])}**",
            versus=quoted(view.versus),
        ),
        t(
            "circuits.see_patch_between" if is_tower else "circuits.see_patch",
            position=position + 1,
            token=quoted(visible_token(view.clean.tokens[position])),
            block=place + 1,
            share=f"**{on_the_way[place, position] * 100:.0f}\u00a0%**",
        ),
        t(
            "circuits.see_patch_head",
            head=f"**{head_name(int(layer), int(head))}**",
            share=f"**{view.heads[layer, head] * 100:.0f}\u00a0%**",
        ),
    ]
