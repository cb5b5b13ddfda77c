"""Circuits, switchboard: turn heads and feed-forward blocks off and see what breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.switchboard import Part, message, part_name, parts_off, switchboard
from minigpt.app.session.compute import Cancelled
from minigpt.app.session.reading import Reading, prompt_notes, read_few
from minigpt.app.session.run_text import Passage, fixed_passage
from minigpt.app.session.subject import Subject
from minigpt.app.texts import percent, quoted, t
from minigpt.app.ui import anatomy, theme

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.app.session.runs import RunRef
    from minigpt.viz.circuits import Change

KINDS = ("zero", "mean")
NUM_CANDIDATES = 8
SAMPLE_TOKENS = 90
SAMPLE_TEMPERATURE = 0.7
BOARD = "circuits:board"


@dataclass(frozen=True)
class Outcome:
    """What a model does with some parts off.

    Attributes:
        reading: The prompt.
        probabilities: Of every next token after the prompt, (V,).
        bits: Bits per character on the fixed passage.
        sample: How it continues the prompt, always with the same dice.
        passage: The fixed text.
        shape: (L, H).
        texts: The text of every token of the vocabulary, V of them.
    """

    reading: Reading
    probabilities: np.ndarray
    bits: float
    sample: str
    passage: Passage
    shape: tuple[int, int]
    texts: tuple[str, ...]


def outcome(run: LoadedRun, ref: RunRef, prompt: str, off: frozenset[Part], kind: str, cancelled: Cancelled) -> Outcome:
    """Run a model with some parts off.

    Args:
        run: The run at one step.
        ref: The same, as the page knows it.
        prompt: The visitor's text.
        off: What is off.
        kind: `zero` or `mean`: what comes in its place.
        cancelled: Ends the writing of the sample.
    """
    import torch

    from minigpt.generation.generator import TextGenerator
    from minigpt.interpret.ablation import ablated_logits, ablation_probe, mean_activations, text_nats

    heads = run.model.config.num_heads
    ablation = _ablation(off, heads, kind)
    reading = read_few(run, prompt)
    passage = fixed_passage(ref, run, reading.ids)
    scored = torch.from_numpy(passage.ids)[None]
    means = mean_activations(run.model, scored) if kind == "mean" and off else None
    probe = ablation_probe(ablation, means) if off else None
    logits = ablated_logits(run.model, torch.tensor([reading.ids]), ablation, means)[0, -1]
    nats = text_nats(run.model, scored, probe)
    sample = TextGenerator(run).generate(
        prompt, max_new_tokens=SAMPLE_TOKENS, temperature=SAMPLE_TEMPERATURE, probe=probe, cancelled=cancelled
    )
    return Outcome(
        reading=reading,
        probabilities=logits.softmax(dim=-1).numpy(),
        bits=bits_per_char(float(nats.sum()), run, passage),
        sample=sample.completion,
        passage=passage,
        shape=(run.model.config.num_layers, heads),
        texts=tuple(run.tokenizer.token_text(token) for token in range(run.tokenizer.vocab_size)),
    )


def importance(run: LoadedRun, ref: RunRef, prompt: str, kind: str, cancelled: Cancelled) -> np.ndarray:
    """Return how many bits per character the fixed passage costs more without each part, (L, H + 1).

    The feed-forward blocks stand in the last column; the arguments are those of `outcome`.
    """
    import torch

    from minigpt.interpret.ablation import importance as measure

    passage = fixed_passage(ref, run, read_few(run, prompt).ids)
    measured = measure(run.model, torch.from_numpy(passage.ids)[None], kind=kind, cancelled=cancelled)
    nats = np.column_stack([measured.heads, measured.feedforwards]) * (len(passage.ids) - 1)
    return nats * bits_per_char(1.0, run, passage)


def bits_per_char(nats: float, run: LoadedRun, passage: Passage) -> float:
    """Turn the cost of a passage in nats into bits for each character that was guessed: all after the first token."""
    guessed = len(run.tokenizer.decode(passage.ids[1:].tolist()))
    return nats / math.log(2) / max(1, guessed)


def _ablation(off: frozenset[Part], heads: int, kind: str):
    from minigpt.interpret.ablation import Ablation

    return Ablation(
        heads=frozenset(part for part in off if part[1] < heads),
        feedforwards=frozenset(layer for layer, column in off if column == heads),
        kind=kind,
    )


def changes(before: Outcome, after: Outcome) -> list[Change]:
    """Return the next tokens that are likely before or after, the likeliest before first."""
    from minigpt.viz.circuits import Change

    then, now = before.probabilities, after.probabilities
    likely = np.argsort(-np.maximum(then, now), kind="stable")[:NUM_CANDIDATES]
    order = sorted(likely.tolist(), key=lambda token: -then[token])
    return [Change(before.texts[token], float(then[token]), float(now[token])) for token in order]


# -- what is off, remembered for each run


def _off_key(subject: Subject) -> str:
    return f"circuits:off_{subject.run.id}"


def _move(subject: Subject, off: frozenset[Part]) -> None:
    """Turn parts off from the page; the browser follows because `moved` grows."""
    st.session_state[_off_key(subject)] = off
    st.session_state["circuits:moved"] = st.session_state.get("circuits:moved", 0) + 1


def draw(subject: Subject) -> None:
    """Draw the view."""
    off: frozenset[Part] = st.session_state.get(_off_key(subject), frozenset())
    kind = st.segmented_control(
        t("circuits.ablation_kind"),
        KINDS,
        format_func=lambda kind: t(f"circuits.ablation_{kind}"),
        default=KINDS[0],
        required=True,
        key="circuits:ablation",
        help=t("circuits.ablation_help"),
        persist_state="session",
    )

    def ask(view: str, off: frozenset[Part], kind: str) -> Outcome:
        def work(run: LoadedRun, cancelled: Cancelled) -> Outcome:
            return outcome(run, subject.run, subject.prompt, off, kind, cancelled)

        return subject.ask(view, work, subject.prompt, off, kind)

    with st.spinner(t("circuits.computing")):
        before = ask("switch-before", frozenset(), "zero")
        after = ask("switch-after", off, kind) if off else before
    anatomy.notes(prompt_notes(before.reading, subject.prompt))
    left, right = st.columns([11, 9], gap="large")
    with left:
        measured = _draw_board(subject, before, off, kind)
        _draw_bits(before, after, off)
    with right:
        _draw_change(before, after)
    _draw_texts(before, after)
    anatomy.what_you_see(_seen(before, after, off, measured))
    layers, heads = before.shape
    feedforwards = frozenset((layer, heads) for layer in range(layers))
    first = frozenset((0, head) for head in range(heads))
    experiments = {"try_feedforwards": feedforwards, "try_first_heads": first, "try_all_on": frozenset()}
    anatomy.try_this(
        [
            (t(f"circuits.{name}"), lambda parts=parts: _move(subject, parts))
            for name, parts in experiments.items()
            if parts != off  # a button that does nothing
        ],
        key="circuits:try_switches",
    )


def _draw_board(subject: Subject, before: Outcome, off: frozenset[Part], kind: str) -> np.ndarray | None:
    """Draw the switches, with what each part is worth if that was asked for; return it."""
    layers, heads = before.shape
    asked = (subject.run.id, subject.weights, kind)
    measured = None
    place = st.container()
    button = st.button(
        t("circuits.measure"), icon=":material/straighten:", key="circuits:measure", help=t("circuits.measure_help")
    )
    if button:
        st.session_state["circuits:measured"] = asked
    if st.session_state.get("circuits:measured") == asked:
        with st.spinner(t("circuits.measuring")):
            measured = subject.ask(
                "importance",
                lambda run, cancelled: importance(run, subject.run, subject.prompt, kind, cancelled),
                before.passage.ids.tobytes(),
                kind,
            )

    def on_switch() -> None:
        st.session_state[_off_key(subject)] = parts_off(st.session_state[BOARD].switched or [], heads)

    words = ("layer", "feedforward", "head", "on", "off", "whole", "label")
    with place:
        data = message(
            layers,
            heads,
            off=off,
            moved=st.session_state.get("circuits:moved", 0),
            importance=measured,
            unit=t("circuits.bits_unit"),
            words={
                **{word: t(f"circuits.board_{word}") for word in words},
                "hint": t("circuits.board_hint_measured" if measured is not None else "circuits.board_hint"),
            },
        )
        switchboard(data, key=BOARD, on_switch=on_switch)
    return measured


def _draw_change(before: Outcome, after: Outcome) -> None:
    from minigpt.viz.circuits import ChangeWords, change_figure

    st.subheader(t("circuits.next_title"), anchor=False)
    st.caption(t("circuits.next_caption"))
    shown = changes(before, after)
    words = ChangeWords(before=t("circuits.before"), after=t("circuits.after"))
    top = max(shown, key=lambda change: change.after)
    alt = t("circuits.next_alt", token=quoted(top.text), before=percent(top.before), after=percent(top.after))
    figure = change_figure(shown, palette=theme.palette(), words=words)
    live_chart(figure, key="circuits:change", alt=alt)


def _draw_bits(before: Outcome, after: Outcome, off: frozenset[Part]) -> None:
    """Draw what the fixed text costs, before and after, and the text."""
    places = st.columns(2, gap="medium", vertical_alignment="top")
    for place, name, result in zip(places, ("before", "after"), (before, after), strict=True):
        risen = f"{result.bits - before.bits:+.2f}" if name == "after" and off else None
        place.metric(t(f"circuits.bits_{name}"), f"{result.bits:.2f}", delta=risen, delta_color="inverse")
    with st.expander(t("circuits.passage_title"), icon=":material/notes:"):
        st.caption(t(f"circuits.passage_{before.passage.origin}"))
        st.code(before.passage.text, language=None, wrap_lines=True)


def _draw_texts(before: Outcome, after: Outcome) -> None:
    """Draw what the model writes, before and after."""
    for place, name, result in zip(st.columns(2, gap="large"), ("before", "after"), (before, after), strict=True):
        place.markdown(f"**{t(f'circuits.writes_{name}')}**")
        place.code(result.sample or " ", language=None, wrap_lines=True)


def _seen(before: Outcome, after: Outcome, off: frozenset[Part], measured: np.ndarray | None) -> list[str]:
    """Return what is seen, in sentences that quote the numbers on screen."""
    heads = before.shape[1]
    top = int(before.probabilities.argmax())
    token, share = quoted(before.texts[top]), f"**{percent(float(before.probabilities[top]))}**"
    if not off:
        said = [t("circuits.see_all_on", bits=f"**{before.bits:.2f}**", token=token, share=share)]
    else:
        now = int(after.probabilities.argmax())
        names = [part_name(part, heads) for part in sorted(off)]
        listed = ", ".join(names[:6]) + (f" {t('circuits.and_more', count=len(names) - 6)}" if len(names) > 6 else "")
        said = [
            t("circuits.see_off", parts=listed, before=f"**{before.bits:.2f}**", after=f"**{after.bits:.2f}**"),
            t("circuits.see_token", token=token, before=share, after=f"**{percent(float(after.probabilities[top]))}**"),
        ]
        if now != top:
            now_share = f"**{percent(float(after.probabilities[now]))}**"
            said.append(t("circuits.see_other", token=quoted(before.texts[now]), share=now_share))
    if measured is not None:
        layer, column = np.unravel_index(int(measured.argmax()), measured.shape)
        said.append(
            t(
                "circuits.see_importance",
                part=f"**{part_name((int(layer), int(column)), heads)}**",
                bits=f"**{measured[layer, column]:.2f}**",
            )
        )
    return said
