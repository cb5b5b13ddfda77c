"""Tokenizer: how a text is cut, and how the pieces are learned merge by merge."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import streamlit as st

from minigpt.app.components.token_cut import token_cut
from minigpt.app.session import corpora, draft, own_tokenizer, state, typed
from minigpt.app.session.ask import errors_explained
from minigpt.app.session.compute import gate
from minigpt.app.session.own_tokenizer import OwnTokenizer
from minigpt.app.texts import escape, number, t
from minigpt.app.tokenizer import view
from minigpt.app.tokenizer.view import Learned
from minigpt.app.ui import anatomy
from minigpt.app.ui.navigation import page_path
from minigpt.config import RunConfig, load_config
from minigpt.data.corpora import Corpus
from minigpt.errors import MinigptError
from minigpt.tokenizers.bpe import BPETokenizer, learn_merges

KIND, CUT, SLIDER, FILE = (f"tokenizer:{name}" for name in ("kind", "cut", "slider", "file"))


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
        own = own_tokenizer.current()
        learned = learn(corpus, own)
    kind = choose_kind(learned, own, config)
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
    take_to_train(kind, merges, own)
    bring(own)
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
        st.dataframe(
            view.special_rows(learned.own if kind == view.OWN else None), hide_index=True, key="tokenizer:special"
        )
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


def learn(corpus: Corpus, own: OwnTokenizer | None) -> Learned:
    """Return what tokenizers learn from the corpus, and how the visitor's own one cuts it; through the gate."""
    sample = view.key_of(corpus)
    learned = gate().run(
        ("tokenizer", sample),
        lambda cancelled: view.learn(corpus, cancelled),
        session=state.session_id(),
        slot="tokenizer",
    )
    if own is None:
        return learned
    length = gate().run(
        ("tokenizer-own", sample, own.path, own.version),
        lambda cancelled: view.own_length(corpus, own.tokenizer, cancelled),
        session=state.session_id(),
        slot="tokenizer-own",
    )
    return dataclasses.replace(learned, own=own.tokenizer, own_length=length)


def own_title(own: OwnTokenizer | None) -> str:
    """Return how the visitor's tokenizer is called; labels are Markdown."""
    return "" if own is None else escape(own.name)


def choose_kind(learned: Learned, own: OwnTokenizer | None, config: RunConfig) -> str:
    """Draw the choice of a kind and return it: at first that of the next run, but BPE rather than characters."""
    if st.session_state.get(KIND) not in learned.kinds:  # at first, and when the visitor's own one is gone
        standard = config.tokenizer.kind if config.tokenizer.kind != "character" else "bpe"
        st.session_state[KIND] = view.OWN if own is not None and config.tokenizer.path is not None else standard
    chosen = st.segmented_control(
        t("tokenizer.kind"),
        learned.kinds,
        format_func=lambda kind: own_title(own) if kind == view.OWN else t(f"tokenizer.kind_{kind}"),
        required=True,
        key=KIND,
        label_visibility="collapsed",
        persist_state="session",
    )
    return chosen or learned.kinds[0]


def bring(own: OwnTokenizer | None) -> None:
    """Draw the upload of a tokenizer.json, and the button that forgets it."""
    with st.expander(t("tokenizer.bring_title"), icon=":material/upload_file:"):
        st.file_uploader(t("tokenizer.bring_help"), type=["json"], key=FILE, on_change=take_file)
        if own is not None:
            label = t("tokenizer.bring_remove", name=own_title(own))
            st.button(label, key="tokenizer:remove", icon=":material/delete:", on_click=forget)
    if error := st.session_state.pop("tokenizer:error", None):
        anatomy.explain_error(error)


def take_file() -> None:
    """Make an uploaded file the visitor's tokenizer and show it; for callbacks."""
    if (file := st.session_state[FILE]) is None:  # removed from the field
        return
    try:
        own_tokenizer.use_file(file.name, file.getvalue())
        st.session_state[KIND] = view.OWN
    except MinigptError as error:
        st.session_state["tokenizer:error"] = error


def forget() -> None:
    """Forget the visitor's tokenizer; for callbacks."""
    try:
        own_tokenizer.remove()
        draft.change({"tokenizer.path": None})
    except MinigptError as error:
        st.session_state["tokenizer:error"] = error


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


def take_to_train(kind: str, merges: int, own: OwnTokenizer | None) -> None:
    """Draw the button that makes this tokenizer the one of the next run."""
    st.button(
        t(f"tokenizer.take_{kind}", merges=number(merges), name=own_title(own)),
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
    given: dict[str, Any] = {"tokenizer.kind": kind} | ({"tokenizer.num_merges": merges} if kind == "bpe" else {})
    if kind == view.OWN:
        own = own_tokenizer.current()
        given = {"tokenizer.path": None if own is None else str(own.path)}
    names = {"tokenizer.kind": standard.kind, "tokenizer.num_merges": standard.num_merges, "tokenizer.path": None}
    changes = {name: value for name, value in draft.current_changes().items() if name not in names}
    draft.keep(preset, changes | {name: value for name, value in given.items() if value != names[name]})
    for name in names:  # the fields of Train take the draft's values again
        st.session_state.pop(f"train:{preset}:{name}", None)
    st.session_state["tokenizer:go"] = True
