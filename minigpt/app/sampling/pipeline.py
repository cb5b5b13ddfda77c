"""The editor of a pipeline: its stages in order, each with its number and its sliders, and the text of all of them.

A view draws it with `draw`, which returns the pipeline's text. The session keeps that text under the editor's key, so
a view may put its own choice there: see `put`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from minigpt.app.sampling import pipeline_view
from minigpt.app.sampling.own_view import RuleFile
from minigpt.app.sampling.pipeline_view import MOST_CHARS, MOST_STAGES, SETTINGS, Stage
from minigpt.app.session import state
from minigpt.app.session.compute import gate
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import has, markdown, t
from minigpt.runs.folder import RunFolder
from minigpt.wording import quoted

if TYPE_CHECKING:
    from minigpt.tokenizers.base import BaseTokenizer


def put(key: str, spec: str) -> None:
    """Replace a pipeline; for callbacks and before it is drawn.

    Args:
        key: Key of the editor.
        spec: The pipeline's text.
    """
    st.session_state.update({key: spec, f"{key}:typed": None, f"{key}:made": _made(key) + 1})


def draw(key: str, start: str, run: RunRef, own: RuleFile) -> str:
    """Draw the stages of a pipeline, with what adds, moves and removes them, and return the pipeline's text.

    Args:
        key: Key of the editor; the session keeps the pipeline under it.
        start: The pipeline at first.
        run: Its tokenizer reads the tokens that a rule names.
        own: Rules of one's own, which stand beside ours.

    Returns:
        The text, as `pipeline_view.read` reads it. `parse_sampler` reads what `pipeline_view.usable` makes of it. A
        rule of one's own that refuses its values is left out, and the editor says why where the rule is.
    """
    if key not in st.session_state:
        put(key, start)
    stages = list(pipeline_view.read(st.session_state[key]))
    for index, stage in enumerate(stages):
        with st.container(key=_css(f"{key}_stage_{index}"), gap="xsmall"):
            _head(key, index, len(stages), stage)
            stages[index] = _values(key, index, stage, run, own)
    if not stages:
        st.caption(t("sampling.no_stage"))
    st.session_state[key] = pipeline_view.written(stages)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _add(key, len(stages), own)
    _as_text(key, own)
    return pipeline_view.written([stage for stage in stages if _own_refusal(key, stage, own) is None])


def _made(key: str) -> int:
    """Return how often the pipeline was replaced; a replaced pipeline has new widgets, which start at its numbers."""
    made: int = st.session_state.get(f"{key}:made", 0)
    return made


def _css(key: str) -> str:
    return key.replace(":", "_")


def _head(key: str, index: int, count: int, stage: Stage) -> None:
    """Draw the number and the name of a stage, and the buttons that move or remove it."""
    about = t(f"sampling.stage_{stage.kind}_help") if has(f"sampling.stage_{stage.kind}_help") else None
    with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall"):
        st.markdown(f"**{index + 1}** · {markdown(_title(stage.kind))}", help=about, width="stretch")
        buttons = (
            ("up", ":material/arrow_upward:", index > 0, index - 1),
            ("down", ":material/arrow_downward:", index < count - 1, index + 1),
            ("remove", ":material/close:", True, None),
        )
        for name, icon, is_possible, target in buttons:
            st.button(
                t(f"sampling.stage_{name}"), key=f"{key}:{name}_{index}", icon=icon, disabled=not is_possible,
                type="tertiary", on_click=_move, args=(key, index, target), help=t(f"sampling.stage_{name}_hint"),
            )  # fmt: skip


def _title(kind: str) -> str:
    """Return what a rule is called in the editor; one of one's own is marked."""
    if kind in SETTINGS:
        return t(f"sampling.stage_{kind}")
    return kind if kind == "greedy" else t("sampling.stage_own", name=kind)


def _move(key: str, index: int, target: int | None) -> None:
    """Move a stage to another place, or remove it; a callback."""
    stages = list(pipeline_view.read(st.session_state[key]))
    if index >= len(stages):  # the browser pressed a button of a pipeline that was replaced meanwhile
        return
    stage = stages.pop(index)
    if target is not None:
        stages.insert(target, stage)
    put(key, pipeline_view.written(stages))


def _values(key: str, index: int, stage: Stage, run: RunRef, own: RuleFile) -> Stage:
    """Draw the sliders of a stage and the field of its tokens, and return the stage that they describe."""
    name = f"{key}:{_made(key)}_{index}"
    if stage.kind in pipeline_view.NAMED:
        stage = _tokens(name, stage, RunFolder(run.path).tokenizer)
    if stage.kind in pipeline_view.WORDED:
        stage = _word(name, stage)
    if pipeline_view.unknown(stage.kind):
        stage = _own_values(name, stage)
        if refused := _own_refusal(key, stage, own):
            st.caption(f":red[{markdown(refused)} {t('sampling.own_values_wanted')}]")
    for number, (place, span) in enumerate(stage.settings()):
        value = st.slider(
            t(f"sampling.setting_{stage.kind}_{number}"), span.low, span.high, span.start, span.step,
            key=f"{name}:{number}",
        )  # fmt: skip
        stage = stage.moved(place, value)
    return stage


def _word(name: str, stage: Stage) -> Stage:
    """Draw the field of the word that a stage takes, and return the stage with it; one that is no word stays out."""
    most = pipeline_view.WORDED[stage.kind]
    text = st.text_input(
        t(f"sampling.word_{stage.kind}"), "".join(stage.values), max_chars=most, key=f"{name}:word"
    ).strip()  # fmt: skip
    changed = replace(stage, values=(text,) if text else ())
    if pipeline_view.fault(pipeline_view.written([changed])) is None:
        return changed
    st.caption(markdown(t("sampling.word_refused", given=quoted(text))))
    return stage


def _own_values(name: str, stage: Stage) -> Stage:
    """Draw the field of the values of a rule of one's own, and return the stage with them."""
    text = st.text_input(
        t("sampling.own_values"), ":".join(stage.values), max_chars=60, key=f"{name}:values",
        help=t("sampling.own_values_help"),
    )  # fmt: skip
    if "," in text:
        st.caption(t("sampling.own_values_comma"))
        return stage
    return replace(stage, values=tuple(value.strip() for value in text.split(":")) if text.strip() else ())


def _tokens(name: str, stage: Stage, tokenizer: BaseTokenizer) -> Stage:
    """Draw the field of the tokens that a stage names, and return the stage with them."""
    shown = pipeline_view.text_of(tokenizer, stage.ids)
    single = stage.kind == "bias"
    text = st.text_input(
        t(f"sampling.tokens_{stage.kind}"), shown, max_chars=1 if single else 60, key=f"{name}:tokens",
        help=t("sampling.tokens_help"),
    )  # fmt: skip
    if text == shown:
        return stage
    ids, unknown = pipeline_view.ids_of(tokenizer, text)
    if unknown:
        st.caption(markdown(t("sampling.tokens_unknown", characters=unknown)))
    return stage.with_ids(ids[:1] if single else ids)


def _add(key: str, count: int, own: RuleFile) -> None:
    """Draw the list of rules that can be added."""
    name = f"{key}:add_{_made(key)}"

    def add() -> None:
        if kind := st.session_state.get(name):
            put(key, pipeline_view.written([*pipeline_view.read(st.session_state[key]), pipeline_view.new_stage(kind)]))

    st.selectbox(
        t("sampling.stage_add"), [*SETTINGS, *own.rules], index=None, format_func=_title,
        placeholder=t("sampling.stage_add"), key=name, on_change=add, disabled=count >= MOST_STAGES,
        label_visibility="collapsed",
    )  # fmt: skip


def _as_text(key: str, own: RuleFile) -> None:
    """Draw the pipeline as a text that can be changed; a text that is no pipeline stays there with what is wrong."""
    name, typed = f"{key}:text", f"{key}:typed"

    def take() -> None:
        text = " ".join(st.session_state[name].split())
        if not text:  # a browser can send an empty field that no one emptied
            return
        if _refusal(key, text, own):
            st.session_state[typed] = text
        else:
            put(key, pipeline_view.written(pipeline_view.read(text)))

    st.session_state[name] = st.session_state.get(typed) or st.session_state[key]
    st.text_input(t("sampling.pipeline_text"), max_chars=MOST_CHARS, key=name, on_change=take,
                  help=t("sampling.pipeline_text_help"))  # fmt: skip
    if wrong := st.session_state.get(typed):
        st.caption(f":red[{markdown(_refusal(key, wrong, own) or '')} {t('sampling.pipeline_stays')}]")


def _own_refusal(key: str, stage: Stage, own: RuleFile) -> str | None:
    """Return why a rule of one's own refuses its values, None for every other rule and if it takes them."""
    return _refusal(key, pipeline_view.written([stage]), own) if stage.kind in own.rules else None


def _refusal(key: str, text: str, own: RuleFile) -> str | None:
    """Return what is wrong with a text; the rules are loaded in the compute gate."""
    return pipeline_view.fault(text, own.rules) or gate().run(
        ("sampling-pipeline", text, own.used_by(text)),
        lambda _: pipeline_view.refusal(text, own.rules),
        session=state.session_id(),
        slot=f"{key}:text",
    )
