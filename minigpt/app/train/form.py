"""The settings of the next run: a preset and a few numbers in one row, the rest under Expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from minigpt import config as settings
from minigpt.app.session import corpora, draft, own_tokenizer, profile, runs, state
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import escape, markdown, number, t
from minigpt.app.train import expert as train_expert
from minigpt.app.train import form_view as view
from minigpt.app.train import presets
from minigpt.app.train.expert_view import FIELDS, get
from minigpt.app.ui import anatomy
from minigpt.app.ui.forms import read_setting, refused, written
from minigpt.app.ui.messages import label_of, message_words
from minigpt.app.ui.navigation import page_path
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_infos
from minigpt.errors import ConfigError, MinigptError
from minigpt.runs.folder import RunFolder

IN_THE_ROW = ("training.max_steps", "device")
"""Settings beside Start; all others are under Expert."""


def draw() -> None:
    """Draw the settings of the next run: one row with Start, all others under Expert, and the cost of the run."""
    changes: dict[str, Any] = {}
    with st.container(horizontal=True, vertical_alignment="bottom", key="train_row"):
        known = presets.names()
        with st.container(width=190):
            preset = st.selectbox(
                t("train.preset"),
                known,
                format_func=presets.title,
                index=known.index(draft.current_preset()) if draft.current_preset() in known else 0,
                filter_mode=None,
                help=view.all_presets(),
                key="train:preset",
            )
        base = settings.load_config(preset)
        kept = draft.current_changes() if preset == draft.current_preset() else {}
        with st.container(width=130):
            train_expert.setting("training.max_steps", preset, base, kept, changes)
        _device_picker(preset, base, kept, changes)
        place_of_start = st.container(width="content")
        is_open = st.toggle(t("train.expert"), key="train:expert", help=t("train.about_expert"))
        place_of_reset = st.container(width="content")
    messages = st.container()
    if "tokenizer.path" in kept:  # chosen on the page Tokenizer; it has no field here
        changes["tokenizer.path"] = kept["tokenizer.path"]
    if is_open:
        with st.container(border=True, key="train_expert"):
            train_expert.draw(preset, base, kept, changes)
    else:  # keep the changes that were made under Expert
        changes = {name: value for name, value in kept.items() if name not in IN_THE_ROW} | changes
    draft.keep(preset, changes)
    error, config = None, None
    try:
        config = _updated(preset, changes, is_open=is_open)
        profile.limits().check_run(config, corpora.current_corpus(), corpora.vocab_size(config.tokenizer))
        view.check_precision(config)
        corpus = corpora.current_corpus()
        view.check_length(config, corpus, corpora.num_tokens(corpus, config.tokenizer))
    except MinigptError as found:
        error = found
    place_of_start.button(
        t("train.start"),
        type="primary",
        icon=":material/play_arrow:",
        key="train:start",
        disabled=error is not None,
        on_click=start,
    )
    if changes:
        place_of_reset.button(
            t("train.reset"),
            type="tertiary",
            icon=":material/restart_alt:",
            key="train:reset",
            on_click=_reset,
            args=(preset, base),
            help=t("train.about_reset", preset=presets.title(preset)),
        )
    with messages:
        for found_error in (st.session_state.pop("train:error", None), error):
            if found_error is not None:
                anatomy.explain_error(found_error)
        if config is not None:
            _cost(config)
            _own_tokenizer(config)
            if error is None and (changes or not corpora.is_default()):  # no preset has a warning on the built-in tales
                _health(config)
        _offer_corpus(preset, base)
        if about := presets.about(preset):
            with st.container(key="train_about"):
                st.caption(about)


def _reset(preset: str, base: RunConfig) -> None:
    """Give every setting the preset's value again, also where a field holds something that is not allowed."""
    draft.keep(preset, {})
    for dotted in settings.dotted_fields():
        key = draft.setting_key(preset, dotted)
        if key in st.session_state:
            st.session_state[key] = written(get(base, dotted))


def _device_picker(preset: str, base: RunConfig, kept: dict[str, Any], changes: dict[str, Any]) -> None:
    """Draw the choice of device; one that this machine lacks is greyed out, with the reason."""
    chosen = kept.get("device", base.device)
    offered, actual = view.devices(chosen)

    def choose(name: str) -> None:
        draft.keep(preset, {**draft.current_changes(), "device": name})

    with st.popover(actual.title, icon=":material/memory:", help=t("train.device_choice")):
        for info in offered:
            st.button(
                info.title,
                key=f"train:device_{info.name}",
                type="primary" if info.name == actual.name else "secondary",
                disabled=not info.is_available,
                on_click=choose,
                args=(info.name,),
                width="stretch",
            )
            if info.reason:
                st.caption(markdown(message_words(info.reason)))
    if chosen != base.device:
        changes["device"] = chosen


def start(label: str | None = None, **extra: Any) -> None:
    """Start a run on the current corpus and look at it; an error is shown on the page.

    Args:
        label: Second part of the run's name, after the corpus; None: the preset's title.
        **extra: Settings on top of those on the page, `training__max_steps=50` for `training.max_steps`.
    """
    _submit(corpora.current_corpus(), label, {name.replace("__", "."): value for name, value in extra.items()})


def start_on_part(label: str, num_chars: int, **extra: Any) -> None:
    """Start a run on the first characters of the current corpus; the corpus itself stays.

    Args:
        label: Second part of the run's name, after the corpus.
        num_chars: Number of characters.
        **extra: As for `start`.
    """
    part = corpora.current_corpus().head(num_chars)
    _submit(part, label, {name.replace("__", "."): value for name, value in extra.items()})


def start_with_lower_rate(ref: RunRef) -> None:
    """Start a run like one that diverged, on the same text, with a third of its learning rate.

    Args:
        ref: The run that diverged. Resumed with the same rate, it would diverge again.
    """
    folder = RunFolder(ref.path)

    def prepare() -> tuple[RunConfig, Corpus, str]:
        config, corpus = folder.config, folder.corpus()
        given = {"data.corpus": None, "data.num_chars": None, "data.paths": ()}
        return config.updated(view.lower_learning_rates(config) | given), corpus, t("train.name_calmer")

    _begin(prepare)


def _submit(corpus: Corpus, label: str | None, extra: Mapping[str, Any]) -> None:
    def prepare() -> tuple[RunConfig, Corpus, str]:
        preset, changes = _current_settings()
        # The run learns the current corpus, whatever text the preset was made for.
        given = {"data.corpus": None, "data.num_chars": None}
        is_open = bool(st.session_state.get("train:expert"))
        config = _updated(preset, {**changes, **extra, **given}, is_open=is_open)
        return config, corpus, label or presets.title(preset).lower()

    _begin(prepare)


def _updated(preset: str, changes: Mapping[str, Any], *, is_open: bool = True) -> RunConfig:
    """Return a preset's settings with the changes.

    Args:
        preset: Its name.
        changes: Dotted field to value; a text that is not allowed where a number should be is explained.
        is_open: Whether the settings under Expert are drawn; if not, the error says where the setting is.

    Raises:
        ConfigError: A value is not allowed, or two settings contradict each other.
    """
    base = settings.load_config(preset)
    if wrong := refused(changes):
        # first the fields beside Start, since those under Expert have a sentence of their own
        dotted = min(wrong, key=lambda name: name not in IN_THE_ROW)
        sentence = wrong.pop(dotted)
        if not is_open and dotted not in IN_THE_ROW:
            sentence = t("train.under_expert", sentence=sentence)
        value = written(get(base, dotted))
        mend = t("train.preset_has", preset=presets.title(preset), value=t("frame.automatic") if value == "" else value)
        if wrong:
            mend += " " + t("train.also_wrong", labels=", ".join(f"“{label_of(other)}”" for other in wrong))
        raise ConfigError(sentence, mend=mend)
    return base.updated(changes, source=t("train.settings"))


def _begin(prepare: Callable[[], tuple[RunConfig, Corpus, str]]) -> None:
    """Start a run and look at it, once for a double click; an error is shown on the page.

    Args:
        prepare: Returns its settings, its corpus, and the second part of its name.
    """
    place = state.place()  # get it before the slow start of the run, see `state.Place`
    with place.starting:
        try:
            config, corpus, label = prepare()
            press = (config, corpus.name, corpus.num_chars, label)
            if place.is_pressed_again(press):
                return
            name = view.free_name(corpus.name, label, {snapshot.name for snapshot in state.own_runs()})
            run_id = runs.engine().submit(config, corpus, state.owner_token(), name=name)
        except MinigptError as error:
            st.session_state["train:error"] = error
            return
        place.run_id = place.new_run_id = run_id
        place.note_press(press)


def _current_settings() -> tuple[str, dict[str, Any]]:
    """Return the preset and the changes as the widgets hold them now.

    If a visitor types a number and clicks Start at once, the rerun that would put it into the draft has not run yet.
    """
    preset = st.session_state.get("train:preset") or draft.current_preset()
    base = settings.load_config(preset)
    changes = draft.current_changes() if preset == draft.current_preset() else {}
    fields = (field for group in FIELDS.values() for field in group)
    for dotted in ("training.max_steps", *fields):
        key = draft.setting_key(preset, dotted)
        if key in st.session_state:
            changes[dotted] = read_setting(dotted, st.session_state[key])
            if changes[dotted] == get(base, dotted):
                del changes[dotted]
    return preset, changes


def _cost(config: RunConfig) -> None:
    """Draw one line on the cost of the run: parameters, memory, disk, time, and its text."""
    corpus = corpora.current_corpus()
    line = view.cost(
        config,
        corpus,
        num_tokens=corpora.num_tokens(corpus, config.tokenizer),
        vocab_size=corpora.vocab_size(config.tokenizer),
        past_runs=reversed(state.own_runs()),
    )
    with st.container(horizontal=True, vertical_alignment="center", key="train_cost"):
        st.markdown(line, width="content")
        st.page_link(page_path("corpus"), label=t("train.other_corpus"), icon=":material/menu_book:")


def _own_tokenizer(config: RunConfig) -> None:
    """If the run takes the tokenizer that the visitor has brought, say so, with the way back."""
    own = own_tokenizer.current() if config.tokenizer.path is not None else None
    if own is None:
        return

    def learn() -> None:
        draft.change({"tokenizer.path": None})

    with st.container(horizontal=True, vertical_alignment="center", key="train_tokenizer"):
        size = number(own.tokenizer.vocab_size)
        st.markdown(t("train.own_tokenizer", name=escape(own.name), size=size), width="content")
        st.button(t("train.own_tokenizer_learn"), key="train:learn_tokenizer", type="tertiary", on_click=learn)


def _health(config: RunConfig) -> None:
    """Draw the worst finding about the text and its split, if it is worse than a note, with the way to all of them."""
    if finding := view.worst(corpora.current_health(config)):
        with st.container(horizontal=True, vertical_alignment="center", key="train_health"):
            st.markdown(f":material/warning: {markdown(message_words(finding.sentence))}", width="content")
            st.page_link(page_path("corpus"), label=t("train.health"), icon=":material/healing:")


def _offer_corpus(preset: str, base: RunConfig) -> None:
    """Offer the text that the preset was made for, if the run would learn another one."""
    corpus, is_own = corpora.current_corpus(), bool(corpora.current_readings())
    info = next((info for info in corpus_infos() if info.name == base.data.corpus), None)
    if info is None or (corpus.name == info.name and not is_own):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="train_offer"):
        if not is_own:  # whoever has brought a text knows what the run will learn
            names = {known.name: known.title for known in corpus_infos()}
            words = {"preset": presets.title(preset), "text": info.title, "corpus": names.get(corpus.name, corpus.name)}
            st.markdown(t("train.made_for", **{name: escape(word) for name, word in words.items()}), width="content")
        if not info.needs_download or profile.limits().allow_download:
            st.button(
                t("train.take_corpus", text=info.title),
                key="train:take_corpus",
                type="tertiary" if is_own else "secondary",
                icon=":material/download:" if info.needs_download else ":material/menu_book:",
                help=t("train.take_download") if info.needs_download else None,
                on_click=_take_corpus,
                args=(info.name,),
            )


def _take_corpus(name: str) -> None:
    try:
        corpora.use_built_in(name)
    except MinigptError as error:
        st.session_state["train:error"] = error
