"""Circuits, parts of a logit: what every head and block wrote into the score of one token; they add up to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from minigpt.app.circuits.lens import POSITION, position_of
from minigpt.app.circuits.lens import ask as ask_lens
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.subject import Subject
from minigpt.app.texts import quoted, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.viz.labels import head_name, signed, visible_token

if TYPE_CHECKING:
    from minigpt.interpret.lens import Attribution

MOST_PARTS = 26
"""More parts than this are not drawn one by one: the small ones become one bar, so that the sum stays exact."""
NUM_TARGETS = 6
NOBODY = -1


def parts_of(attribution: Attribution) -> list[tuple[str, float]]:
    """Return every part's name and size in the order of computation; what is exactly 0 and has no weight is left out.

    Their sum is the attribution's total.
    """
    layers, heads = attribution.heads.shape
    parts = [(t("circuits.part_embed"), attribution.embed)]
    if attribution.positions:
        parts.append((t("circuits.part_positions"), attribution.positions))
    for layer in range(layers):
        parts += [(head_name(layer, head), float(attribution.heads[layer, head])) for head in range(heads)]
        parts.append((f"FF {layer + 1}", float(attribution.feedforwards[layer])))
    if abs(attribution.rest) > 1e-4:
        parts.append((t("circuits.part_rest"), attribution.rest))
    return parts


def shortened(parts: list[tuple[str, float]], most: int = MOST_PARTS) -> list[tuple[str, float]]:
    """Return at most `most` parts with the same sum: the largest in their order, then the others as one.

    >>> [(name.split()[0], size) for name, size in shortened([("a", 1.0), ("b", 3.0), ("c", -2.0), ("d", 0.5)], 3)]
    [('b', 3.0), ('c', -2.0), ('2', 1.5)]
    """
    if len(parts) <= most:
        return parts
    order = sorted(range(len(parts)), key=lambda index: -abs(parts[index][1]))
    kept = set(order[: most - 1])
    others = [size for index, (_, size) in enumerate(parts) if index not in kept]
    shown = [part for index, part in enumerate(parts) if index in kept]
    return [*shown, (t("circuits.part_others", count=len(others)), sum(others))]


def draw(subject: Subject) -> None:
    """Draw the view."""
    with st.spinner(t("circuits.computing")):
        lens = ask_lens(subject)
    anatomy.notes(prompt_notes(lens.reading, subject.prompt))
    position = position_of(lens.reading)
    likely = [int(token) for token in lens.top_ids[-1, position, :NUM_TARGETS]]
    if position + 1 < len(lens.reading.ids) and lens.reading.ids[position + 1] not in likely:
        likely.append(lens.reading.ids[position + 1])
    texts = {**lens.texts, **dict(zip(lens.reading.ids, lens.reading.tokens, strict=True))}
    question = (subject.run.id, subject.weights, subject.prompt, position)
    if st.session_state.get("circuits:asked") != question:  # another prediction: begin with what it is
        st.session_state.update({"circuits:asked": question, "circuits:target": likely[0], "circuits:versus": NOBODY})
    target, versus = _choose_tokens(likely, texts)
    work = _attribution(lens.reading.ids, position, target, versus)
    attribution = subject.ask("parts", work, subject.prompt, position, target, versus)
    parts = parts_of(attribution)
    _draw_parts(shortened(parts), attribution.total, texts, target, versus)
    anatomy.what_you_see(_seen(parts, attribution.total, texts, position, target, versus))
    experiments = []
    if len(likely) > 1 and versus is None:
        runner_up = next(token for token in likely if token != target)
        label = t("circuits.try_versus", token=quoted(texts[runner_up]))
        experiments.append((label, lambda: st.session_state.update({"circuits:versus": runner_up})))
    elsewhere = max(0, position - 1)
    experiments.append((t("circuits.try_one_back"), lambda: controls.move(POSITION, elsewhere)))
    anatomy.try_this(experiments, key="circuits:try_parts")


def _choose_tokens(likely: list[int], texts: dict[int, str]) -> tuple[int, int | None]:
    """Draw the choice of the token whose score is taken apart, and of one to subtract; return their ids."""
    left, right, _ = st.columns([1, 1, 1], gap="medium")
    target = left.selectbox(
        t("circuits.target"), likely, format_func=lambda token: visible_token(texts[token]), key="circuits:target"
    )
    rivals = [NOBODY, *(token for token in likely if token != target)]
    if st.session_state.get("circuits:versus") not in rivals:
        st.session_state["circuits:versus"] = NOBODY
    versus = right.selectbox(
        t("circuits.versus"),
        rivals,
        format_func=lambda token: t("circuits.versus_none") if token == NOBODY else visible_token(texts[token]),
        key="circuits:versus",
        help=t("circuits.versus_help"),
    )
    return target, None if versus == NOBODY else versus


def _attribution(ids: tuple[int, ...], position: int, target: int, versus: int | None):
    def work(run, cancelled):
        import torch

        from minigpt.interpret.lens import logit_attribution

        return logit_attribution(run.model, torch.tensor([ids]), position, target, versus=versus)

    return work


def _draw_parts(
    parts: list[tuple[str, float]], total: float, texts: dict[int, str], target: int, versus: int | None
) -> None:
    from minigpt.viz.circuits_stream import WaterfallWords, waterfall_figure

    unit = t("circuits.unit_logit") if versus is None else t("circuits.unit_difference")
    figure = waterfall_figure(
        parts, total, palette=theme.palette(), words=WaterfallWords(total=t("circuits.part_total"), unit=unit)
    )
    largest = max(parts, key=lambda part: abs(part[1]))
    alt = t(
        "circuits.parts_alt",
        token=visible_token(texts[target]),
        total=signed(total),
        part=largest[0],
        size=signed(largest[1]),
    )
    live_chart(figure, key=f"circuits:parts_{len(parts)}", alt=alt)


def _seen(
    parts: list[tuple[str, float]], total: float, texts: dict[int, str], position: int, target: int, versus: int | None
) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    up = max(parts, key=lambda part: part[1])
    down = min(parts, key=lambda part: part[1])
    key = "circuits.see_parts" if versus is None else "circuits.see_parts_versus"
    said = [
        t(
            key,
            count=len(parts),
            position=position + 1,
            token=quoted(texts[target]),
            versus="" if versus is None else quoted(texts[versus]),
            total=f"**{signed(total)}**",
        ),
    ]
    for way, (part, size), is_meant in (("up", up, up[1] > 0), ("down", down, down[1] < 0)):
        if is_meant and signed(size) != signed(0):  # what is written as nothing speaks for nobody
            said.append(t(f"circuits.see_part_{way}", part=f"**{part}**", size=f"**{signed(size)}**"))
    return said
