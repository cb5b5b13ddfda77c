"""Tokenizer: how a text is cut, and how the pieces are learned merge by merge."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from minigpt.app.components.token_cut import token_cut
from minigpt.app.session import corpora, draft, state, typed
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.compute import gate
from minigpt.app.texts import escape, number, t
from minigpt.app.tokenizer import view
from minigpt.app.tokenizer.view import KINDS, Learned
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path
from minigpt.config import load_config
from minigpt.data.corpora import Corpus
from minigpt.tokenizers.bpe import BPETokenizer, learn_merges

KIND, CUT, SLIDER = (f"tokenizer:{name}" for name in ("kind", "cut", "slider"))


class Slider(NamedTuple):
    """Where the slider stands. It is one value of the session, since a script can be stopped between two."""

    corpus: str
    """The sample that it belongs to; another one has merges of its own."""
    merges: int
    moved: int = 0
    """Grows each time the page itself moves the slider."""


def draw() -> None:
    """Draw the page below its title."""
    if st.session_state.pop("tokenizer:go", False):  # a callback cannot change the page itself
        st.switch_page(page_path("train"))
    corpus, config = corpora.current_corpus(), draft.current_config()
    with errors_explained(), st.spinner(t("tokenizer.learning", name=escape(corpus.name))):
        learned = learn(corpus)
    if KIND not in st.session_state:
        st.session_state[KIND] = config.tokenizer.kind if config.tokenizer.kind != "character" else "bpe"
    chosen = st.segmented_control(
        t("tokenizer.kind"),
        KINDS,
        format_func=lambda kind: t(f"tokenizer.kind_{kind}"),
        required=True,
        key=KIND,
        label_visibility="collapsed",
        persist_state="session",
    )
    kind = chosen or KINDS[0]
    sample = view.key_of(corpus)[:12]
    key = f"tokenizer:text_{sample}"
    text = st.text_area(
        t("tokenizer.text"),
        height=100,
        max_chars=view.MOST_CHARS,
        persist_state="session",
        **typed.field(typed.CUT, key, lambda: view.opening(corpus)),
    )
    slider = st.session_state.get(SLIDER)
    if slider is None or slider.corpus != sample:
        slider = st.session_state[SLIDER] = Slider(sample, view.start_of(config, learned))
    merges, moved = max(0, min(slider.merges, learned.num_merges)), f"{sample} {slider.moved}"
    token_cut(view.cut(learned, kind, text, config, start=merges, moved=moved), key=CUT, on_merges=take_merges)
    take_to_train(kind, merges)
    anatomy.what_you_see(view.sentences(learned, kind, text, merges))
    st.header(t("tokenizer.compare_title"), anchor=False)
    st.dataframe(view.comparison(learned, text, config, merges), hide_index=True, key="tokenizer:compare")
    st.caption(t("tokenizer.compare_about", chars=number(learned.num_chars), d_model=config.model.d_model))
    left, right = st.columns(2, gap="large")
    with left:
        st.header(t("tokenizer.merges_title"), anchor=False)
        st.dataframe(
            view.merge_rows(learned),
            column_config={t("tokenizer.merge_count"): st.column_config.NumberColumn(format="localized")},
            hide_index=True,
            height=300,
            key="tokenizer:table",
        )
        st.caption(t("tokenizer.merges_about"))
    with right:
        st.header(t("tokenizer.special_title"), anchor=False)
        st.dataframe(view.special_rows(), hide_index=True, key="tokenizer:special")
        st.caption(t("tokenizer.special_about"))
    anatomy.try_this(
        [
            (t("tokenizer.try_none"), lambda: show("bpe", 0)),
            (t("tokenizer.try_all"), lambda: show("bpe", learned.num_merges)),
            (t("tokenizer.try_foreign"), lambda: typed.write(typed.CUT, key, t("tokenizer.foreign"))),
        ],
        key="tokenizer:try",
    )
    anatomy.show_code(learn_merges, BPETokenizer.encode_array)


def learn(corpus: Corpus) -> Learned:
    """Return what tokenizers learn from the corpus, computed through the gate."""
    key = ("tokenizer", view.key_of(corpus))
    return gate().run(
        key, lambda cancelled: view.learn(corpus, cancelled), session=state.session_id(), slot="tokenizer"
    )


def take_merges() -> None:
    """Keep where the visitor has left the slider; a browser may send anything."""
    slider, merges = st.session_state.get(SLIDER), st.session_state[CUT].merges
    if slider is not None and type(merges) is int:
        st.session_state[SLIDER] = slider._replace(merges=merges)


def show(kind: str, merges: int) -> None:
    """Show a kind and a number of merges; for callbacks."""
    slider = st.session_state[SLIDER]
    st.session_state[KIND] = kind
    st.session_state[SLIDER] = slider._replace(merges=merges, moved=slider.moved + 1)


def take_to_train(kind: str, merges: int) -> None:
    """Draw the button that makes this tokenizer the one of the next run."""
    st.button(
        t(f"tokenizer.take_{kind}", merges=number(merges)),
        key="tokenizer:take",
        type="primary",
        icon=":material/arrow_forward:",
        disabled=kind == "bpe" and not merges,
        help=t("tokenizer.take_none") if kind == "bpe" and not merges else None,
        on_click=take,
        args=(kind, merges),
    )


def take(kind: str, merges: int) -> None:
    """Set the tokenizer of the next run and go to Train; for callbacks."""
    preset = draft.current_preset()
    standard = load_config(preset).tokenizer
    given = {"tokenizer.kind": kind} | ({"tokenizer.num_merges": merges} if kind == "bpe" else {})
    names = {"tokenizer.kind": standard.kind, "tokenizer.num_merges": standard.num_merges}
    changes = {name: value for name, value in draft.current_changes().items() if name not in names}
    draft.keep(preset, changes | {name: value for name, value in given.items() if value != names[name]})
    for name in names:  # the fields of Train take the draft's values again
        st.session_state.pop(f"train:{preset}:{name}", None)
    st.session_state["tokenizer:go"] = True
