"""Circuits, neurons: the snippets of a run's corpus that excite one unit of a feed-forward block most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.components.token_strip import MUCH, StripToken, token_strip
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.download import offer_download
from minigpt.app.session.reading import Reading, prompt_notes, read_few
from minigpt.app.session.run_text import to_fetch, windows
from minigpt.app.session.subject import Subject
from minigpt.app.texts import number, percent, quoted, t
from minigpt.app.ui import anatomy

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.app.session.runs import RunRef

WINDOW = 64
MOST_WINDOWS = 256
BUDGET = 2e11
"""Floating point operations that one search may cost: a few seconds of one core; larger models search less text."""
NUM_SNIPPETS = 8
LEAD_IN = 16
"""Tokens of a window that only lead in: a text that is cut off before them excites units as no text does."""


@dataclass(frozen=True)
class UnitSnippet:
    """A stretch of text around a place where a unit is strong: tokens, its activation at each, and the place."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    peak: int


@dataclass(frozen=True)
class UnitView:
    """What excites one unit.

    Attributes:
        snippets: The strongest first.
        num_tokens: How many tokens were searched, without those that lead in.
        is_corpus: Whether they are the run's own text; else it is the prompt.
    """

    snippets: tuple[UnitSnippet, ...]
    num_tokens: int
    is_corpus: bool


@dataclass(frozen=True)
class Units:
    """The units of a model and which of them the prompt excites most.

    Attributes:
        reading: The prompt.
        num_layers: L.
        width: F.
        strongest: For each layer the units most excited at the last token, the strongest first.
    """

    reading: Reading
    num_layers: int
    width: int
    strongest: tuple[tuple[int, ...], ...]


def units_of(run: LoadedRun, prompt: str) -> Units:
    """Return which units a prompt excites most."""
    import torch

    from minigpt.interpret.trace import trace_forward

    reading = read_few(run, prompt)
    trace = trace_forward(run.model, torch.tensor([reading.ids]))
    strongest = tuple(
        tuple(act[0, -1].float().topk(min(NUM_SNIPPETS, act.shape[-1])).indices.tolist()) for act in trace.ff_act
    )
    return Units(reading, run.model.config.num_layers, run.model.config.ff_width, strongest)


def unit_of(run: LoadedRun, ref: RunRef, layer: int, unit: int, prompt: str, cancelled: Cancelled) -> UnitView:
    """Search the run's corpus, or the prompt where there is none, for what excites a unit.

    Args:
        run: The run at one step.
        ref: The same, as the page knows it.
        layer: Counted from 0.
        unit: Counted from 0.
        prompt: The visitor's text.
        cancelled: Asked before each batch of windows.
    """
    import torch

    from minigpt.interpret.neurons import top_snippets

    length = min(WINDOW, run.model.config.sequence_length)
    affordable = int(BUDGET / (2 * run.model.num_parameters() * length))
    found = windows(ref, run, length, max(8, min(MOST_WINDOWS, affordable)))
    ids = np.array([read_few(run, prompt).ids]) if found is None else found
    skipped = 0 if found is None else min(LEAD_IN, length // 4)
    snippets = top_snippets(
        run.model, torch.from_numpy(ids), layer, unit, NUM_SNIPPETS, skipped=skipped, cancelled=cancelled
    )
    text_of = run.tokenizer.token_text
    return UnitView(
        tuple(UnitSnippet(tuple(map(text_of, one.ids)), one.values, one.peak) for one in snippets),
        len(ids) * (ids.shape[1] - skipped),
        found is not None,
    )


def draw(subject: Subject) -> None:
    """Draw the view."""
    units = subject.ask("units", lambda run, cancelled: units_of(run, subject.prompt), subject.prompt)
    anatomy.notes(prompt_notes(units.reading, subject.prompt))
    layer, unit = _choose(subject, units)
    with st.spinner(t("circuits.searching")):
        view = subject.ask(
            "unit",
            lambda run, cancelled: unit_of(run, subject.run, layer, unit, subject.prompt, cancelled),
            layer,
            unit,
            subject.prompt,
            to_fetch(subject.run) is None,
        )
    if not view.is_corpus:
        st.info(t("circuits.no_corpus"), icon=":material/info:")
        offer_download(subject.run, "circuits")
    else:
        st.caption(t("circuits.searched", count=number(view.num_tokens)))
    _draw_snippets(view, layer, unit)
    anatomy.what_you_see(_seen(view, layer, unit))
    choices = units.strongest[layer]
    following = choices[(choices.index(unit) + 1) % len(choices)] if unit in choices else choices[0]
    anatomy.try_this(
        [
            (t("circuits.try_unit", unit=following + 1), lambda: _move(subject, layer, following)),
            (
                t("circuits.try_layer", layer=(layer + 1) % units.num_layers + 1),
                lambda: _move(subject, (layer + 1) % units.num_layers, None),
            ),
        ],
        key="circuits:try_neurons",
    )


def _move(subject: Subject, layer: int, unit: int | None) -> None:
    """Go to another layer, or another unit of one; None: the one that the prompt excites most."""
    st.session_state[f"circuits:layer_{subject.run.id}"] = layer
    if unit is not None:
        st.session_state[f"circuits:unit_{subject.run.id}_{layer}"] = unit + 1


def _choose(subject: Subject, units: Units) -> tuple[int, int]:
    """Draw the choice of a unit and return layer and unit, counted from 0."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    layer = left.segmented_control(
        t("circuits.feedforward"),
        range(units.num_layers),
        format_func=lambda layer: f"FF {layer + 1}",
        default=0,
        required=True,
        key=f"circuits:layer_{subject.run.id}",
        persist_state="session",
    )
    key = f"circuits:unit_{subject.run.id}_{layer}"
    st.session_state.setdefault(key, units.strongest[layer][0] + 1)
    unit = right.number_input(
        t("circuits.unit", count=units.width), min_value=1, max_value=units.width, step=1, key=key,
        persist_state="session",
    )  # fmt: skip
    return layer, int(unit) - 1


def _draw_snippets(view: UnitView, layer: int, unit: int) -> None:
    highest = max((snippet.values[snippet.peak] for snippet in view.snippets), default=0.0)
    for row, snippet in enumerate(view.snippets):
        tokens = [
            StripToken(
                token,
                bits=MUCH * max(0.0, value) / highest if highest > 0 else 0.0,
                title="",
                values=(f"{value:.2f}",),
            )
            for token, value in zip(snippet.tokens, snippet.values, strict=True)
        ]
        left, right = st.columns([1, 11], vertical_alignment="center")
        left.markdown(f"**{snippet.values[snippet.peak]:.2f}**")
        with right:
            words = {"label": t("circuits.snippet_label", rank=row + 1, unit=unit + 1, layer=layer + 1), "also": ""}
            token_strip(
                tokens,
                key=f"circuits:snippet_{row}",
                labels=[t("circuits.activation")],
                words=words,
                mark=snippet.peak,
                ground="attention",
            )


def _seen(view: UnitView, layer: int, unit: int) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    top = view.snippets[0]
    peaks = Counter(snippet.tokens[snippet.peak] for snippet in view.snippets)
    token, count = peaks.most_common(1)[0]
    value = top.values[top.peak]
    if value <= 0:
        return [t("circuits.see_silent", unit=unit + 1, layer=layer + 1)]
    said = [
        t(
            "circuits.see_unit" if top.peak else "circuits.see_unit_first",
            unit=unit + 1,
            layer=layer + 1,
            token=quoted(top.tokens[top.peak]),
            before=quoted("".join(top.tokens[max(0, top.peak - 8) : top.peak])),
            value=f"**{value:.2f}**",
        )
    ]
    if len(view.snippets) > 1:
        share = f"**{percent(count / len(view.snippets))}**"
        said.append(t("circuits.see_unit_token", token=quoted(token), share=share, count=len(view.snippets)))
    return said
