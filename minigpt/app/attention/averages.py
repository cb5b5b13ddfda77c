"""The open head over a longer text than the prompt: how far back it looks, and how widely it spreads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import run_text
from minigpt.app.session.runs import RunRef
from minigpt.app.session.subject import Subject
from minigpt.app.texts import percent, plain, t
from minigpt.app.ui import theme
from minigpt.app.ui.controls import is_compact
from minigpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from minigpt.app.session.models import LoadedRun
    from minigpt.interpret.averages import HeadAverages

NUM_WINDOWS = 8
LENGTH = 128


@dataclass(frozen=True)
class TextAverages:
    """All heads on average over a text.

    Attributes:
        averages: The numbers.
        origin: `corpus`, the run's own text; `samples`, what it wrote while it trained; `prompt`, the visitor's.
        length: Tokens of one window.
    """

    averages: HeadAverages
    origin: str
    length: int


def averages_now(subject: Subject, view: AttentionView) -> TextAverages:
    """Return the averages of all heads, through the gate; they do not depend on which head is open.

    Raises:
        Superseded: The visitor has asked something newer.
        MinigptError: The run cannot be read.
    """
    return subject.ask(
        "attention-averages",
        lambda run, cancelled: _average(subject.run, run, view.reading.ids),
        view.reading.ids,
        run_text.to_fetch(subject.run) is None,
    )


def _average(ref: RunRef, run: LoadedRun, prompt: tuple[int, ...]) -> TextAverages:
    import torch

    from minigpt.interpret.averages import head_averages

    length, origin = min(run.model.config.sequence_length, LENGTH), "corpus"
    windows = run_text.windows(ref, run, length, NUM_WINDOWS)
    if windows is None:
        written, origin = "\n".join(sample.text for sample in RunFolder(ref.path).samples()[-NUM_WINDOWS:]), "samples"
        ids = np.array(run.tokenizer.encode(written), np.int64)
        count = min(NUM_WINDOWS, len(ids) // length)
        windows = ids[: count * length].reshape(count, length)
    if not len(windows):
        windows, origin = np.array([prompt]), "prompt"
    return TextAverages(head_averages(run.model, torch.tensor(windows)), origin, windows.shape[1])


def draw_averages(shown: TextAverages, view: AttentionView) -> None:
    """Draw the open head's weight by distance and its spread by position."""
    from minigpt.viz.attention_averages import distance_figure, entropy_figure

    place, palette = (view.layer, view.head), theme.palette()
    averages = shown.averages
    height = 190 if is_compact() else 220
    st.markdown(t("attention.distance_title"))
    figure = distance_figure(
        averages.by_distance[place],
        palette=palette,
        axis=t("attention.distance_axis"),
        weight=t("inside.weight"),
        hover=t("attention.distance_hover"),
        height=height,
    )
    alt = t("attention.distance_alt", head=view.name, finding=plain(averages_sentence(shown, view)))
    live_chart(figure, key="attention:distance", alt=alt)
    st.markdown(t("attention.entropy_title"))
    figure = entropy_figure(
        averages.entropy[place],
        averages.most_entropy,
        palette=palette,
        axis=t("attention.entropy_position"),
        bits=t("attention.entropy_axis"),
        even=t("attention.entropy_even"),
        height=height,
    )
    live_chart(figure, key="attention:entropy", alt=t("attention.entropy_alt", head=view.name))


def furthest(shown: TextAverages) -> tuple[int, int]:
    """Return the head whose weight lies furthest back on average, (layer, head)."""
    by_distance = shown.averages.by_distance
    mean = (by_distance * np.arange(by_distance.shape[-1])).sum(axis=-1) / by_distance.sum(axis=-1)
    layer, head = np.unravel_index(int(mean.argmax()), mean.shape)
    return int(layer), int(head)


def averages_sentence(shown: TextAverages, view: AttentionView) -> str:
    """Return what the profile says: the distance that gets most, and over how many tokens the head spreads."""
    profile = shown.averages.by_distance[view.layer, view.head]
    spread = 2.0 ** shown.averages.entropy[view.layer, view.head]
    distance = int(profile.argmax())
    name = {0: "itself", 1: "previous"}.get(distance, "back")
    return t(
        "attention.see_averages",
        head=f"**{view.name}**",
        place=t(f"attention.see_averages_{name}", distance=distance),
        share=f"**{percent(float(profile[distance]))}**",
        spread=f"**{float(spread[-1]):.1f}**",
        length=shown.length,
    )
