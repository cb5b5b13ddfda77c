"""Sampling, side by side: rules with the same random numbers, where their texts differ, how each token was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.token_strip import token_strip
from minigpt.app.sampling import side_view
from minigpt.app.sampling.side_view import (
    BASE_RANGE,
    DEFAULT_RULES,
    FIRST_SEED,
    RANGES,
    RULES,
    Column,
    NextToken,
    Range,
    Rule,
)
from minigpt.app.session import kept_controls, profile
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.openings import choose_opening, opening_text
from minigpt.app.session.run_text import PROPOSED
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.session.subject import prompt_input, prompt_key
from minigpt.app.session.typed import PROMPT
from minigpt.app.texts import markdown, t, template
from minigpt.app.ui import anatomy, controls, forms, theme
from minigpt.app.ui.tunes import player
from minigpt.config import MOST
from minigpt.data.generators import Verdict

TALLEST = 236


def set_state(**values: object) -> None:
    """Set controls of the page; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"sampling:{name}"] = value


def starts() -> dict[str, Any]:
    """Return the key of each control that is kept, with its value until the visitor chooses another one."""
    named = side_view.starts(profile.limits().max_new_tokens)
    return {f"sampling:{name}": start for name, start in named.items()}


def first(key: str, is_allowed: Callable[[Any], bool]) -> Any:
    """Return the first value of a control; see `kept_controls`."""
    return kept_controls.first("sampling", key, starts()[key], is_allowed)


def choose_settings(run: RunRef) -> tuple[str, int | None, int, float]:
    """Draw the row above the columns; return prompt, seed, length, and the temperature applied before other rules.

    The seed is None while its field holds something that is no seed.
    """
    key = prompt_key(run, "sampling")
    lengths = side_view.lengths(profile.limits().max_new_tokens)
    left, middle, right, last = st.columns([5, 2, 2.6, 1.7], vertical_alignment="bottom")
    below = st.container()
    prompt = prompt_input(
        left,
        t("sampling.prompt"),
        key=key,
        opening=lambda: opening_text(run, key, PROPOSED),
        help=t("sampling.prompt_help"),
    )
    with middle:
        seed = forms.whole_number(
            t("sampling.seed"), key="sampling:seed", low=0, high=MOST, start=FIRST_SEED, below=below,
            first=first("sampling:seed", bool), help=t("sampling.seed_help"),
        )  # fmt: skip
    length = right.select_slider(
        t("sampling.length", unit=token_unit(run)),
        lengths,
        value=first("sampling:length", lengths.__contains__),
        key="sampling:length",
        persist_state="session",
    )
    with last.popover(t("sampling.expert"), width="stretch"):
        base_temperature = range_slider(t("sampling.warmth"), "sampling:warmth", BASE_RANGE, t("sampling.warmth_help"))
    choose_opening(run, "sampling", PROMPT, key, PROPOSED)
    return prompt, seed, int(length), base_temperature


def range_slider(label: str, key: str, span: Range, help: str | None = None) -> float:
    """Draw a slider of a range that opens with what is kept, and return its value."""
    start = first(key, span.__contains__)
    value: float = st.slider(label, span.low, span.high, start, span.step, key=key, help=help, persist_state="session")
    return value


def rule_of(number: int, base_temperature: float) -> Rule:
    """Draw the choice of a column's rule with its slider and return the rule."""
    key = f"sampling:rule_{number}"
    kind = st.selectbox(
        t("sampling.rule", number=number + 1),
        RULES,
        index=RULES.index(first(key, RULES.__contains__)),
        format_func=lambda kind: t(f"sampling.rule_{kind}"),
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    label = t(f"sampling.control_{kind}")
    if kind == "greedy":
        with st.container(key=f"sampling-greedy_{number}"):  # as tall as a slider: the texts of all columns begin level
            st.caption(label)
        return Rule("greedy")
    value = range_slider(label, f"sampling:{kind}_{number}", RANGES[kind])
    return Rule(kind, value, 1.0 if kind == "temperature" else base_temperature)


def written(run: RunRef, rule: Rule, number: int, prompt: str, length: int, seed: int) -> Column:
    """Return the text that a rule writes, computed through the gate."""
    return ask(
        run,
        "sampling",
        lambda loaded, cancelled: side_view.write(loaded, rule, prompt, length, seed, cancelled),
        *(rule, prompt, length, seed),
        slot=f"sampling-{number}",
    )


def chosen(run: RunRef, rule: Rule, number: int, prompt: str, position: int, seed: int) -> NextToken:
    """Return how one token was chosen, computed through the gate."""
    return ask(
        run,
        "sampling-choice",
        lambda loaded, cancelled: side_view.choice_at(loaded, rule, prompt, position, seed, cancelled),
        *(rule, prompt, position, seed),
        slot=f"sampling-choice-{number}",
    )


def draw_text(column: Column, number: int, mark: int | None, verdict: Verdict) -> None:
    """Draw what a column wrote, and its figures with those of the referee."""
    token_strip(
        side_view.strip_tokens(column),
        key=f"sampling:strip_{number}",
        labels=[t(f"sampling.tip_{name}") for name in ("model", "after", "bits", "dice")],
        title=template("sampling.tip_title"),
        words={
            "label": t("sampling.strip_label", name=column.rule.name(), count=len(column.tokens)),
            "also": t("sampling.tip_also"),
        },
        prompt=column.prompt,
        mark=mark,
        tallest=TALLEST,
        is_even=True,
    )
    st.caption(side_view.figures(column, verdict))
    player(side_view.text_of(column), key=f"sampling:tune_{number}")


def draw_choice(column: Column, choice: NextToken, number: int, position: int, longest: float) -> None:
    """Draw how a column's token was chosen: bars of the probabilities, and the random number on a cumulative bar."""
    from minigpt.viz.distribution import SamplingWords, dice_figure, next_token_figure

    palette = theme.palette()
    words = SamplingWords(
        before=t("sampling.before"), after=t("sampling.after"), cut=t("sampling.cut"), dice=t("sampling.dice")
    )
    st.markdown(f"**{column.rule.name()}**")
    live_chart(
        next_token_figure(choice.bars, chosen=choice.bar, palette=palette, longest=longest, words=words),
        key=f"sampling:bars_{number}",
        alt=side_view.bars_alt(column, choice, position),
    )
    live_chart(
        dice_figure(choice.segments, u=choice.u, chosen=choice.segment, palette=palette, words=words),
        key=f"sampling:dice_{number}",
        alt=side_view.dice_alt(column, choice),
    )
    st.caption(side_view.choice_sentence(choice))


def position_slider(columns: list[Column], question: tuple[object, ...]) -> int:
    """Draw the slider for the token to inspect; for a new text it starts at the first that differs between columns."""
    last = max(len(column.tokens) for column in columns)
    part = side_view.first_difference(columns)
    if st.session_state.get("sampling:question") != question:
        set_state(question=question)
        controls.move("sampling:position", min((part or 0) + 1, max(last, 1)))
    if last < 2:
        return 0
    places = range(1, last + 1)
    about = t("sampling.position_help")
    position: int = controls.moved_slider("sampling:position", t("sampling.position"), places, help=about)
    return position - 1


def draw(run: RunRef) -> None:
    """Draw the controls and the columns."""
    prompt, seed, length, base_temperature = choose_settings(run)
    with st.container(key="sampling_columns"):
        places = st.columns(len(DEFAULT_RULES), gap="medium")
    rules = []
    for number, place in enumerate(places):
        with place:
            rules.append(rule_of(number, base_temperature))
    kept_controls.keep("sampling", starts())
    if seed is None:  # the field says why
        st.stop()
    with errors_explained():
        profile.limits().check_prompt(prompt)
        columns = []
        for number, (place, rule) in enumerate(zip(places, rules, strict=True)):
            with place, st.spinner(t("sampling.computing", name=rule.name())):
                columns.append(written(run, rule, number, prompt, length, seed))
        for number, (place, column) in enumerate(zip(places, columns, strict=True)):
            with place:
                verdict = side_view.verdict_on(column, run.path)
                draw_text(column, number, side_view.mark_of(columns, number), verdict)
        legend(token_unit(run))
        for note in dict.fromkeys(note for column in columns for note in column.notes):
            st.info(markdown(note), icon=":material/info:")
        choose(run, columns, prompt, seed, (run.id, prompt, seed, length, tuple(rules)))


def legend(unit: str) -> None:
    """Draw the scale below the columns.

    Args:
        unit: The word for one token.
    """
    words = {name: t(f"sampling.{name}", unit=unit) for name in ("none", "much", "hint")}
    token_strip([], key="sampling:legend", labels=[], words={"label": "", "also": "", **words})


def choose(run: RunRef, columns: list[Column], prompt: str, seed: int, question: tuple[object, ...]) -> None:
    """Draw how one token was chosen in each column, and the page's last parts."""
    heading, slider = st.columns([5, 4], vertical_alignment="bottom")
    with slider:
        position = position_slider(columns, question)
    with heading:
        st.header(t("sampling.choice_title", number=position + 1), anchor=False)
        st.caption(side_view.choice_note(columns, position))
    choices = [chosen(run, column.rule, i, prompt, position, seed) for i, column in enumerate(columns)]
    longest = side_view.longest_bar(choices)
    with st.container(key="sampling_choices"):
        places = st.columns(len(columns), gap="medium")
    for number, place in enumerate(places):
        with place:
            draw_choice(columns[number], choices[number], number, position, longest)
    anatomy.what_you_see(side_view.sentences(columns, choices, position))
    anatomy.try_this(
        [
            (t("sampling.try_dice"), lambda: set_state(seed=forms.written((seed + 1) % (MOST + 1)))),
            (t("sampling.try_k_one"), lambda: set_state(rule_2="top_k", top_k_2=1)),
            (t("sampling.try_hot"), lambda: set_state(rule_1="temperature", temperature_1=1.8)),
        ],
        key="sampling:try",
    )
