"""The open head over a longer text than the prompt: how far back it looks, and how widely its weights spread."""

from __future__ import annotations

import streamlit as st

from minigpt.app.attention.averages_view import TextAverages, averages_caption, averages_sentence, text_averages
from minigpt.app.attention.controls import open_heads
from minigpt.app.attention.view import AttentionView
from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import run_text
from minigpt.app.session.download import offer_download
from minigpt.app.session.subject import Subject
from minigpt.app.texts import plain, t
from minigpt.app.ui import theme
from minigpt.app.ui.anatomy import Experiment
from minigpt.app.ui.controls import is_compact


def draw_averages(subject: Subject, view: AttentionView) -> tuple[list[str], list[Experiment]]:
    """Draw the open head's weight by distance and its spread by position; return sentences and experiments."""
    ids = view.reading.ids
    shown = subject.ask(  # for all heads at once, so that opening another head needs no new computation
        "attention-averages",
        lambda run, cancelled: text_averages(subject.run, run, ids),
        ids,
        run_text.to_fetch(subject.run) is None,
    )
    st.caption(averages_caption(shown))
    if shown.origin != "corpus":
        offer_download(subject.run, "attention")
    sentence = averages_sentence(shown, view)
    _draw_distance(shown, view, sentence)
    _draw_entropy(shown, view)
    return [sentence], open_heads(view, try_far=shown.furthest, try_first_head=view.habits.find("first"))


def _draw_distance(shown: TextAverages, view: AttentionView, finding: str) -> None:
    from minigpt.viz.attention_averages import DistanceWords, distance_figure

    st.markdown(t("attention.distance_title"))
    figure = distance_figure(
        shown.averages.by_distance[view.place],
        palette=theme.palette(),
        words=DistanceWords(
            distance=t("attention.distance_axis"),
            weight=t("inside.weight"),
            hover=t("attention.distance_hover"),
        ),
        height=_height(),
    )
    alt = t("attention.distance_alt", head=view.name, finding=plain(finding))
    live_chart(figure, key="attention:distance", alt=alt)


def _draw_entropy(shown: TextAverages, view: AttentionView) -> None:
    from minigpt.viz.attention_averages import EntropyWords, entropy_figure

    st.markdown(t("attention.entropy_title"))
    figure = entropy_figure(
        shown.averages.entropy[view.place],
        shown.averages.most_entropy,
        palette=theme.palette(),
        words=EntropyWords(
            position=t("attention.entropy_position"),
            bits=t("attention.entropy_axis"),
            uniform=t("attention.entropy_even"),
        ),
        height=_height(),
    )
    live_chart(figure, key="attention:entropy", alt=t("attention.entropy_alt", head=view.name))


def _height() -> int:
    return 190 if is_compact() else 220
