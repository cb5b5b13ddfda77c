"""Corpus: choose a text, see its statistics, and whether it is good enough to learn from."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.corpus import files, health, pictures
from minigpt.app.corpus import view as corpus_view
from minigpt.app.corpus.gallery import gallery
from minigpt.app.session import corpora, draft, typed
from minigpt.app.texts import number, t, template
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.navigation import page_path
from minigpt.app.ui.tunes import player
from minigpt.data.corpora import Corpus
from minigpt.data.health import check_health
from minigpt.data.readers import clean_text
from minigpt.data.statistics import text_statistics
from minigpt.errors import MinigptError
from minigpt.viz.corpus import SplitWords, split_figure

SHORT_PART_CHARS = 5_000


def draw() -> None:
    """Draw the page below its title."""
    if st.session_state.pop("corpus:go", False):  # a callback cannot change the page itself
        st.switch_page(page_path("train"))
    choose_text()
    corpus, config = corpora.current_corpus(), draft.current_config()
    view = corpus_view.view_of(
        corpus.name,
        corpora.current_statistics(),
        config,
        num_tokens=corpora.num_tokens(corpus, config.tokenizer),
        vocab_size=corpora.vocab_size(config.tokenizer),
    )
    health.draw(view, corpora.current_health(config))
    with st.container(horizontal=True, key="corpus_figures", gap="large"):
        for label, value in corpus_view.figures(view).items():
            st.metric(label, value, width="content")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.header(t("corpus.pictures"), anchor=False)
        pictures.draw(config)
    with right:
        peek(corpus)
        pictures.search(corpus)
    draw_split(view.num_training, view.num_validation, config.data.split)
    if sentences := corpus_view.sentences(view):
        anatomy.what_you_see(sentences)
    anatomy.try_this(
        [
            (t("corpus.try_code"), lambda: attempt(lambda: corpora.use_built_in("python-source"))),
            (t("corpus.try_short"), take_first_part),
            (t("corpus.try_train"), lambda: st.session_state.update({"corpus:go": True})),
        ],
        key="corpus:try",
    )
    anatomy.show_code(check_health, text_statistics, clean_text)


def attempt(work: Callable[[], None]) -> None:
    """Run a callback; if it fails, the error is shown on the page and the current text stays."""
    try:
        work()
    except MinigptError as error:
        st.session_state["corpus:errors"] = [error]


def choose_text() -> None:
    """Draw the three ways to choose a text, and the errors of the last attempt."""
    ways = {name: t(f"corpus.source_{name}") for name in ("built_in", "upload", "paste")}
    way = st.segmented_control(
        t("corpus.source"),
        list(ways),
        format_func=lambda name: ways[name],
        default="built_in",
        required=True,
        key="corpus:source",
        label_visibility="collapsed",
    )
    {"built_in": choose_built_in, "upload": lambda: files.upload(attempt), "paste": paste}[way]()
    if way != "built_in" or corpora.current_readings():
        st.caption(t("corpus.kept_here", what=t("frame.kept")))
    errors = st.session_state.pop("corpus:errors", [])
    for error in errors:
        anatomy.explain_error(error)
    if errors:
        st.caption(t("corpus.left_out" if st.session_state.pop("corpus:others_used", False) else "corpus.kept"))
    if way == "upload":
        files.draw_choices()
    files.draw_readings()


def choose_built_in() -> None:
    """Draw the gallery of built-in texts."""
    gallery(lambda name: attempt(lambda: corpora.use_built_in(name)))


def paste() -> None:
    """Draw a field to paste a text into."""
    text = st.text_area(
        t("corpus.paste"),
        height=160,
        placeholder=t("corpus.paste_placeholder"),
        persist_state="session",
        **typed.field(typed.PASTED, "corpus:pasted", str),
    )
    if st.button(t("corpus.paste_use"), type="primary", key="corpus:paste_use"):
        attempt(lambda: corpora.use_text(text, t("corpus.paste_name")))


def take_first_part() -> None:
    """Replace the current text by its beginning."""
    corpus = corpora.current_corpus()
    name = t("corpus.first_part", name=corpus.name)
    attempt(lambda: corpora.use_text(corpus.text[:SHORT_PART_CHARS], name))


@st.fragment
def peek(corpus: Corpus) -> None:
    """Show a part of the text, with a button for another part."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.header(t("corpus.peek_title"), anchor=False)
        place: int = st.session_state.get("corpus:place", 0)
        if st.button(t("corpus.peek_again"), key="corpus:again", icon=":material/shuffle:", type="tertiary"):
            place += 1
            st.session_state["corpus:place"] = place
    shown = corpus_view.peek_at(corpus.text, place)
    st.code(shown, language=None, wrap_lines=True)
    player(shown, key="corpus:tune")


def draw_split(num_training: int, num_validation: int, split: str) -> None:
    """Draw the split of the text into training and validation part."""
    percent = f"{100 * num_validation / max(num_training + num_validation, 1):.0f}"
    st.caption(t(f"corpus.split_title_{split}", percent=percent))
    words = SplitWords(
        training=t("corpus.split_training"),
        validation=t("corpus.split_validation"),
        hover=template("corpus.split_hover"),
    )
    live_chart(
        split_figure(num_training, num_validation, palette=theme.palette(), words=words, height=44),
        key="corpus_split",
        config={"displayModeBar": False},
        alt=t("corpus.split_alt", training=number(num_training), validation=number(num_validation)),
    )
