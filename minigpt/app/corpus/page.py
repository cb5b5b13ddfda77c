"""Corpus: bring a text, see what it is made of, and whether it is good enough."""

import math

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.session import corpora, draft, profile
from minigpt.app.texts import compact, escape, number, size, t, template
from minigpt.app.ui import anatomy, theme
from minigpt.app.ui.navigation import page_path
from minigpt.data.corpora import corpus_infos
from minigpt.data.readers import clean_text
from minigpt.data.split import count_windows, largest_context, split_counts
from minigpt.data.statistics import text_statistics
from minigpt.errors import MinigptError
from minigpt.viz.corpus import CharactersWords, SplitWords, characters_figure, split_figure
from minigpt.viz.labels import visible_token

SHOWN_CHARACTERS = 32
PEEK_CHARS = 900
SMALL_CHARS = 20_000
SHORT_PART_CHARS = 5_000
REPEATED_SHARE = 0.2


def draw() -> None:
    """Draw the page."""
    if st.session_state.pop("corpus:go", False):  # a callback itself may not change the page
        st.switch_page(page_path("train"))
    anatomy.header("corpus")
    bring()
    corpus, facts = corpora.current_corpus(), corpora.current_statistics()
    config = draft.current_config()
    num_tokens = corpora.num_tokens(corpus, config.tokenizer)
    num_training, num_validation = split_counts(
        num_tokens, config.data.validation_fraction, config.data.max_validation_tokens
    )

    judge(corpus.name, facts, num_training, num_validation, config)
    figures = [
        ("characters", number(facts.num_chars)),
        ("distinct", number(facts.num_distinct)),
        ("words", number(facts.num_words)),
        ("lines", number(facts.num_lines)),
        ("tokens", number(num_tokens)),
        ("on_disk", size(facts.num_bytes)),
    ]
    with st.container(horizontal=True, key="corpus_figures", gap="large"):
        for name, value in figures:
            st.metric(t(f"corpus.number_{name}"), value, width="content")
    left, right = st.columns([3, 2], gap="large")
    with left:
        _show_characters(facts)
    with right:
        peek(corpus)
    _show_split(num_training, num_validation)
    _explain(facts, corpora.vocab_size(config.tokenizer), num_tokens, num_validation)
    anatomy.try_this(
        [
            (t("corpus.try_code"), lambda: attempt(lambda: corpora.bring_built_in("python-source"))),
            (t("corpus.try_short"), _take_first_part),
            (t("corpus.try_train"), lambda: st.session_state.update({"corpus:go": True})),
        ],
        key="corpus:try",
    )
    _what_was_read()
    anatomy.show_code(text_statistics, clean_text)


def attempt(work) -> None:
    """Do something that may fail; what went wrong is told on the page, and the current text stays."""
    try:
        work()
    except MinigptError as error:
        st.session_state["corpus:error"] = error


def bring() -> None:
    """Draw the three ways to bring a text, and tell what went wrong with the last one."""
    ways = {name: t(f"corpus.source_{name}") for name in ("built_in", "upload", "paste")}
    way = st.segmented_control(
        t("corpus.source"),
        list(ways),
        format_func=ways.get,
        default="built_in",
        required=True,
        key="corpus:source",
        label_visibility="collapsed",
    )
    {"built_in": _bring_built_in, "upload": _bring_upload, "paste": _bring_paste}[way]()
    error = st.session_state.pop("corpus:error", None)
    if error is not None:
        anatomy.explain_error(error)
        st.caption(t("corpus.kept"))


def _bring_built_in() -> None:
    infos = {info.name: info for info in corpus_infos()}
    current = corpora.current_corpus().name

    def load() -> None:
        wanted = st.session_state["corpus:built_in"]
        if wanted:
            attempt(lambda: corpora.bring_built_in(wanted))

    chosen = st.pills(
        t("corpus.built_in"),
        list(infos),
        format_func=lambda name: infos[name].title,
        default=current if current in infos and not corpora.current_readings() else None,
        key="corpus:built_in",
        on_change=load,
        label_visibility="collapsed",
    )
    if chosen:
        info = infos[chosen]
        text = "needs_download" if info.needs_download else "offline"
        if info.needs_download and not profile.limits().allow_download:
            text = "no_download"
        st.caption(t(f"corpus.about_{text}", description=info.description, licence=info.licence))


def _bring_upload() -> None:
    files = st.file_uploader(
        t("corpus.upload"),
        accept_multiple_files=True,
        key="corpus:files",
        help=t("corpus.upload_help", size=size(profile.limits().max_upload_bytes)),
    )
    # Streamlit reruns on many occasions; a set of files is read once, when it is new.
    identity = [file.file_id for file in files]
    if files and st.session_state.get("corpus:files_read") != identity:
        st.session_state["corpus:files_read"] = identity
        with st.spinner(t("corpus.loading", name=escape(", ".join(file.name for file in files)))):
            attempt(lambda: corpora.bring_files(files))
    st.caption(t("corpus.upload_too_large"))


def _bring_paste() -> None:
    with st.form("corpus_paste", border=False):
        text = st.text_area(
            t("corpus.paste"), key="corpus:pasted", height=160, placeholder=t("corpus.paste_placeholder")
        )
        if st.form_submit_button(t("corpus.paste_use"), type="primary"):
            attempt(lambda: corpora.bring_text(text, t("corpus.paste_name")))


def _take_first_part() -> None:
    corpus = corpora.current_corpus()
    name = t("corpus.first_part", name=corpus.name)
    attempt(lambda: corpora.bring_text(corpus.text[:SHORT_PART_CHARS], name))


def judge(name, facts, num_training, num_validation, config) -> None:
    """Say in one sentence whether the text is good enough, and after it what else there is to know."""
    context, label = config.model.sequence_length, escape(name)
    windows = count_windows(num_training, context, config.data.stride or 1)
    fits = largest_context(num_training)
    if fits is None:
        st.error(t("corpus.far_too_short", name=label, tokens=number(num_training)), icon=":material/block:")
    elif not windows:
        message = t(
            "corpus.too_short",
            name=label,
            context=context,
            tokens=number(num_training),
            needed=number(context + 1),
            fits=number(fits),
        )
        st.error(message, icon=":material/block:")
    elif facts.num_chars < SMALL_CHARS:
        st.warning(t("corpus.good_small", name=label), icon=":material/hourglass_bottom:")
    else:
        st.success(
            t("corpus.good", name=label, context=context, windows=number(windows)), icon=":material/check_circle:"
        )
    notes = []
    if facts.repeated_share > REPEATED_SHARE:
        notes.append(t("corpus.repeated", share=f"{100 * facts.repeated_share:.0f}"))
    if facts.num_rare > max(5, 0.1 * facts.num_distinct) and windows:
        notes.append(t("corpus.many_rare", rare=number(facts.num_rare), distinct=number(facts.num_distinct)))
    if config.data.validation_fraction == 0:
        notes.append(t("corpus.no_validation"))
    elif windows and num_validation <= context:
        notes.append(t("corpus.short_validation", tokens=number(num_validation), context=context))
    if notes:
        st.warning("  \n".join(notes), icon=":material/info:")


def _show_characters(facts) -> None:
    st.header(t("corpus.common_title"), anchor=False)
    common = facts.common[:SHOWN_CHARACTERS]
    first, count = common[0] if common else ("", 0)
    share = f"{100 * count / max(facts.num_chars, 1):.1f}"
    words = CharactersWords(share=t("corpus.common_share"), hover=template("corpus.common_hover"))
    live_chart(
        characters_figure(common, facts.num_chars, palette=theme.palette(), words=words),
        key="corpus_characters",
        config={"displayModeBar": False},
        alt=t("corpus.common_alt", count=len(common), first=visible_token(first), share=share),
    )


@st.fragment
def peek(corpus) -> None:
    """Show a part of the text, and another one on request."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.header(t("corpus.peek_title"), anchor=False)
        places = max(1, math.ceil(corpus.num_chars / PEEK_CHARS))
        place = st.session_state.get("corpus:place", 0)
        if st.button(t("corpus.peek_again"), key="corpus:again", icon=":material/shuffle:", type="tertiary"):
            place += 1
            st.session_state["corpus:place"] = place
    start = PEEK_CHARS * (place * 7919 % places)  # a prime, so that the places come in no order one can see
    st.code(corpus.text[start : start + PEEK_CHARS], language=None, wrap_lines=True, height=278)


def _show_split(num_training: int, num_validation: int) -> None:
    percent = f"{100 * num_validation / max(num_training + num_validation, 1):.0f}"
    st.caption(t("corpus.split_title", percent=percent))
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


def _explain(facts, vocab_size: int, num_tokens: int, num_validation: int) -> None:
    if not facts.common:
        return
    character, count = facts.common[0]
    share = f"{100 * count / facts.num_chars:.1f}"
    nats = math.log(vocab_size)
    sentences = [
        t("corpus.see_common", character=escape(visible_token(character)), share=share),
        t(
            "corpus.see_uniform",
            distinct=facts.num_distinct,
            special=vocab_size - facts.num_distinct,
            nats=f"{nats:.2f}",
            bits=f"{nats / math.log(2):.2f}",
        ),
    ]
    if num_validation:
        sentences.append(t("corpus.see_split", percent=f"{100 * num_validation / num_tokens:.0f}"))
    anatomy.what_you_see(sentences)


def _what_was_read() -> None:
    readings = corpora.current_readings()
    if not readings:
        return
    with st.expander(t("corpus.reading"), icon=":material/fact_check:", expanded=True):
        rows = []
        for reading in readings:
            change = t("corpus.reading_nothing")
            if reading.num_chars != reading.num_cleaned_chars:
                change = t(
                    "corpus.reading_difference",
                    before=number(reading.num_chars),
                    after=number(reading.num_cleaned_chars),
                )
            elif reading.is_changed:
                change = t("corpus.reading_same_length")
            rows.append(
                {
                    t("corpus.reading_name"): reading.name,
                    t("corpus.reading_encoding"): reading.encoding,
                    t("corpus.reading_bytes"): number(reading.num_bytes),
                    t("corpus.reading_chars"): compact(reading.num_cleaned_chars),
                    t("corpus.reading_cleaned"): change,
                }
            )
        st.dataframe(rows, hide_index=True)
        st.caption(t("corpus.cleaning"))
