"""Sampling, side by side: rules with the same random numbers, where their texts differ, how each token was chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.token_strip import token_strip
from minigpt.app.sampling import own, pipeline, pipeline_view, side_rules, side_texts, side_view
from minigpt.app.sampling.controls import choose_prompt, prompt_field
from minigpt.app.sampling.own_view import NO_FILE, RuleFile
from minigpt.app.sampling.pipeline_view import Range
from minigpt.app.sampling.side_rules import (
    BASE_RANGE,
    COLUMNS,
    FIRST_SEED,
    OWN,
    PIPELINE,
    PRESETS,
    RANGES,
    RULES,
    USUAL_COLUMNS,
    Rule,
)
from minigpt.app.sampling.side_texts import FRONT, NUM_SEEDS, Column, Growing, NextToken
from minigpt.app.session import kept_controls, profile
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.session.subject import prompt_key
from minigpt.app.texts import markdown, t, template
from minigpt.app.ui import anatomy, controls, forms, theme
from minigpt.app.ui.tunes import player
from minigpt.config import MOST
from minigpt.errors import MinigptError

TALLEST = 236
"""Pixels of a text; a longer one scrolls."""

SETTINGS = ("warmth", "length", "seed")
"""Controls that belong to all columns."""

CONTROLS_FIRST = "sampling:controls_first"
"""Is in the session if the next script shall not draw the texts before the controls."""

LEAD = 0.03
"""Seconds that the texts are ahead of the rest; a browser that gets both together shows both 40 ms later."""

LONG_NAME = 26
"""Characters of a rule's name that stand on one line in a column."""


def set_state(**values: object) -> None:
    """Set controls of the page; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"sampling:{name}"] = value


def take(specs: Sequence[str]) -> None:
    """Set the columns to these pipelines; for callbacks."""
    set_state(**side_rules.controls_of(specs))
    for number, spec in enumerate(specs):
        if side_rules.simple(spec)[0] == PIPELINE:
            pipeline.put(f"sampling:pipeline_{number}", spec)


def starts() -> dict[str, Any]:
    """Return the key of each control that is kept, with its value until the visitor chooses another one."""
    named = side_rules.starts(profile.limits().max_new_tokens)
    return {f"sampling:{name}": start for name, start in named.items()}


def first(key: str, is_allowed: Callable[[Any], bool]) -> Any:
    """Return the first value of a control; see `kept_controls`."""
    return kept_controls.first("sampling", key, starts()[key], is_allowed)


def choose_settings(run: RunRef) -> tuple[str, int | None, int, int, float]:
    """Draw the row above the columns; return prompt, seed, length, number of columns, and the temperature before rules.

    The seed is None while its field holds something that is no seed.
    """
    lengths = side_rules.lengths(profile.limits().max_new_tokens)
    left, middle, right, last = st.columns([5, 2, 2.6, 1.7], vertical_alignment="bottom")
    below = st.container()
    prompt = prompt_field(left, run)
    with middle:
        seed = forms.whole_number(
            t("sampling.seed"), key="sampling:seed", low=0, high=MOST, start=FIRST_SEED, below=below,
            first=first("sampling:seed", bool), help=t("sampling.seed_help"),
        )  # fmt: skip
    with last.popover(t("sampling.expert"), width="stretch"):
        length = st.select_slider(
            t("sampling.length", unit=token_unit(run)),
            lengths,
            value=first("sampling:length", lengths.__contains__),
            key="sampling:length",
            persist_state="session",
        )
        count = st.select_slider(
            t("sampling.columns"),
            COLUMNS,
            value=first("sampling:columns", COLUMNS.__contains__),
            key="sampling:columns",
            persist_state="session",
        )
        base_temperature = range_slider(t("sampling.warmth"), "sampling:warmth", BASE_RANGE, t("sampling.warmth_help"))
    with right:
        choose_preset([shown_rule(number, base_temperature).spec for number in range(int(count))])
    choose_prompt(run)
    return prompt, seed, int(length), int(count), base_temperature


def choose_preset(specs: Sequence[str]) -> None:
    """Draw the list of comparisons, which shows the one that the columns are."""
    key = "sampling:preset"

    def set_columns() -> None:
        if (name := st.session_state[key]) in PRESETS:
            take(PRESETS[name])

    st.session_state[key] = side_rules.preset_of(specs)
    st.selectbox(
        t("sampling.preset"), [*PRESETS, OWN], format_func=lambda name: t(f"sampling.preset_{name}"), key=key,
        on_change=set_columns,
    )  # fmt: skip


def range_slider(label: str, key: str, span: Range, help: str | None = None) -> float:
    """Draw a slider of a range that opens with what is kept, and return its value."""
    start = first(key, span.__contains__)
    value: float = st.slider(label, span.low, span.high, start, span.step, key=key, help=help, persist_state="session")
    return value


def kept_pipeline(number: int) -> str:
    """Return the pipeline that a column's editor opens with; a rule in it whose file is gone stays, to be explained."""
    spec: str = first(
        f"sampling:pipeline_{number}", lambda spec: pipeline_view.fault(spec, pipeline_view.unknown(spec)) is None
    )
    return spec


def shown_rule(number: int, base_temperature: float, own_file: RuleFile = NO_FILE) -> Rule:
    """Return the rule that the controls of a column stand for, before they are drawn."""
    kinds = (*RULES, PIPELINE)
    kind = st.session_state.get(f"sampling:rule_{number}", first(f"sampling:rule_{number}", kinds.__contains__))
    if kind == PIPELINE:
        key = f"sampling:pipeline_{number}"
        spec = pipeline_view.usable(st.session_state.get(key, kept_pipeline(number)))
        return Rule(spec, own_file.used_by(spec))
    if kind not in RANGES:
        return Rule.of("greedy")
    key = f"sampling:{kind}_{number}"
    return Rule.of(kind, st.session_state.get(key, first(key, RANGES[kind].__contains__)), base_temperature)


def rule_of(run: RunRef, own_file: RuleFile, number: int, count: int, base_temperature: float) -> Rule:
    """Draw the choice of a column's rule with its slider, or its pipeline behind a button, and return the rule."""
    key, kinds = f"sampling:rule_{number}", (*RULES, PIPELINE)
    kind = st.selectbox(
        t("sampling.rule", number=number + 1),
        kinds,
        index=kinds.index(first(key, kinds.__contains__)),
        format_func=lambda kind: t(f"sampling.rule_{kind}"),
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    label = t(f"sampling.control_{kind}")
    room = "level" if count <= USUAL_COLUMNS else "narrow"
    with st.container(
        key=f"sampling-{room}_{number}", gap="xxsmall"
    ):  # equally tall: the texts of all columns begin level
        if kind in RANGES:
            return Rule.of(kind, range_slider(label, f"sampling:{kind}_{number}", RANGES[kind]), base_temperature)
        st.caption(label)
        if kind != PIPELINE:
            return Rule.of("greedy")
        editor = f"sampling:pipeline_{number}"
        stages = len(pipeline_view.read(st.session_state.get(editor, kept_pipeline(number))))
        with st.popover(t("sampling.pipeline_button", count=stages), width="stretch", icon=":material/tune:"):
            spec = pipeline_view.usable(pipeline.draw(editor, kept_pipeline(number), run, own_file))
        return Rule(spec, own_file.used_by(spec))


class Request(NamedTuple):
    """What the controls ask for: a text of `length` tokens for each rule."""

    run: RunRef
    rules: tuple[Rule, ...]
    prompt: str
    length: int
    seed: int

    def texts(self, watch: Callable[[Any], None]) -> tuple[Column, ...]:
        """Return the texts, computed through the gate.

        Args:
            watch: As for `ask`.

        Raises:
            MinigptError: See `ask`; also for a prompt that is longer than the profile allows.
        """
        profile.limits().check_prompt(self.prompt)
        question = (self.rules, self.prompt, self.length, self.seed)
        return ask(
            self.run, "sampling", lambda loaded, task: side_texts.write(loaded, *question, task), *question, watch=watch
        )


def request_in_session(run: RunRef, own_file: RuleFile) -> Request | None:
    """Return what the controls ask for, before they are drawn; None if the session does not hold all of it yet."""
    state = st.session_state
    prompt_name = prompt_key(run, "sampling")
    if not all(name in state for name in (prompt_name, *(f"sampling:{name}" for name in ("columns", *SETTINGS)))):
        return None
    base_temperature, length, typed_seed = (state[f"sampling:{name}"] for name in SETTINGS)
    seed = forms.read_number(typed_seed, int)
    if not isinstance(seed, int) or not 0 <= seed <= MOST:
        return None
    rules = tuple(shown_rule(number, base_temperature, own_file) for number in range(state["sampling:columns"]))
    return Request(run, rules, state[prompt_name], length, seed)


class _TakesLongerError(Exception):
    """The texts are not written in a moment."""


def written_at_once(request: Request) -> tuple[Column, ...] | None:
    """Return the texts if they can be written in a moment; None if that takes longer or fails."""

    def look(_: Any) -> None:
        raise _TakesLongerError

    try:
        return request.texts(look)
    except (_TakesLongerError, MinigptError):
        return None


def written(request: Request, slots: Sequence[DeltaGenerator]) -> tuple[tuple[Column, ...], Sequence[DeltaGenerator]]:
    """Return the texts, and the places where to draw them. What is written so far is drawn there meanwhile.

    Args:
        request: What to write.
        slots: Where to draw the text of each column.
    """
    growing_texts: list[DeltaGenerator] = []

    def draw_growing(growing: Growing) -> None:
        is_first = not growing_texts
        for number, text in enumerate(growing.texts(FRONT if is_first else None)):
            if is_first:  # until then the former texts stay
                growing_texts.append(slots[number].empty())
            growing_texts[number].code(text, language=None, wrap_lines=True, height=TALLEST)

    try:
        return request.texts(draw_growing), growing_texts or slots
    except MinigptError:
        for text in growing_texts:
            text.empty()
        raise


def chosen(run: RunRef, rules: tuple[Rule, ...], prompt: str, position: int, seed: int) -> tuple[NextToken, ...]:
    """Return how one token was chosen in each column, computed through the gate."""
    return ask(
        run,
        "sampling-choice",
        lambda loaded, task: side_texts.choices_at(loaded, rules, prompt, position, seed, task),
        *(rules, prompt, position, seed),
    )


def make_places(
    below: DeltaGenerator, count: int
) -> tuple[Sequence[DeltaGenerator], Sequence[DeltaGenerator], Sequence[DeltaGenerator]]:
    """Return the columns, and in each the place of its rule and below that the place of its text."""
    places = below.columns(count, gap="medium" if count <= USUAL_COLUMNS else "small")
    return places, [place.container() for place in places], [place.container() for place in places]


def draw_strips(slots: Sequence[DeltaGenerator], columns: Sequence[Column]) -> None:
    """Draw the texts of all columns, and let the browser show them before it gets anything else to do."""
    for number, slot in enumerate(slots):
        draw_strip(slot, columns, number)
    time.sleep(LEAD)


def draw_strip(slot: DeltaGenerator, columns: Sequence[Column], number: int) -> None:
    """Draw the tokens that a column wrote into its place; the browser shows new texts of all columns together."""
    column = columns[number]
    with slot:
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
            mark=side_view.mark_of(columns, number),
            tallest=TALLEST,
            is_even=True,
            row=(side_view.fingerprint(columns), len(columns)),
        )


def draw_choice(
    column: Column, choice: NextToken, number: int, position: int, longest: float, *, is_narrow: bool
) -> None:
    """Draw how a column's token was chosen: bars of the probabilities, and the random number on a cumulative bar."""
    from minigpt.viz.distribution import SamplingWords, dice_figure, next_token_figure

    palette = theme.palette()
    words = SamplingWords(
        before=t("sampling.before"), after=t("sampling.after"), cut=t("sampling.cut"), dice=t("sampling.dice")
    )
    with st.container(key=f"sampling-{'long' if is_narrow else 'short'}_{number}"):
        st.markdown(f"**{markdown(column.rule.name())}**")
    live_chart(
        next_token_figure(
            choice.bars,
            chosen=choice.bar,
            palette=palette,
            longest=longest,
            words=words,
            room=1.5 if is_narrow else 1.24,
        ),
        key=f"sampling:bars_{number}",
        alt=side_view.bars_alt(column, choice, position),
    )
    live_chart(
        dice_figure(choice.segments, u=choice.u, chosen=choice.segment, palette=palette, words=words),
        key=f"sampling:dice_{number}",
        alt=side_view.dice_alt(column, choice),
    )
    st.caption(side_view.choice_sentence(choice))


def position_slider(columns: Sequence[Column], question: tuple[object, ...]) -> int:
    """Draw the slider for the token to inspect; for a new text it starts at the first that differs between columns."""
    last = max(len(column.tokens) for column in columns)
    part = side_texts.first_difference(columns)
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
    own_file = own.rule_file()
    settings, below = st.container(), st.container(key="sampling_columns")
    expected = request_in_session(run, own_file)
    slots: Sequence[DeltaGenerator] = []
    columns: tuple[Column, ...] | None = None
    with errors_explained():
        if expected is not None and not st.session_state.pop(CONTROLS_FIRST, False):
            columns = written_at_once(expected)
    if columns is not None:  # the texts come first: the controls are on the page already
        places, rule_places, slots = make_places(below, len(columns))
        draw_strips(slots, columns)
    with settings:
        prompt, seed, length, count, base_temperature = choose_settings(run)
    if columns is None:
        places, rule_places, slots = make_places(below, count)
    chosen_rules = []
    for number, place in enumerate(rule_places):
        with place:
            chosen_rules.append(rule_of(run, own_file, number, count, base_temperature))
    rules = tuple(chosen_rules)
    kept_controls.keep("sampling", starts())
    if seed is None:  # the field says why
        st.stop()
    request = Request(run, rules, prompt, length, seed)
    if columns is not None and request != expected:  # a control was not what the session held
        st.session_state[CONTROLS_FIRST] = True
        st.rerun()
    with errors_explained():
        if columns is None:
            columns, slots = written(request, slots)
            draw_strips(slots, columns)
        captions: list[DeltaGenerator] = []
        verdicts = [side_view.verdict_on(column, run.path) for column in columns]
        for number, (place, column) in enumerate(zip(places, columns, strict=True)):
            with place:
                captions.append(st.empty())
                captions[-1].caption(side_view.figures(column, verdicts[number]), help=t("sampling.figures_help"))
                player(side_texts.text_of(column), key=f"sampling:tune_{number}")
        legend(token_unit(run))
        for note in dict.fromkeys(note for column in columns for note in column.notes):
            st.info(markdown(note), icon=":material/info:")
        choose(run, columns, prompt, seed, (run.id, prompt, seed, length, rules))
        draw_seeds(run, rules, prompt, length, seed)
        draw_export(run, columns, prompt, length, seed)
        if (shares := copied_shares(run, columns)) is not None:  # last: the text may have to be made again first
            for caption, column, verdict, share in zip(captions, columns, verdicts, shares, strict=True):
                caption.caption(side_view.figures(column, verdict, share), help=t("sampling.figures_help"))


def copied_shares(run: RunRef, columns: Sequence[Column]) -> tuple[float, ...] | None:
    """Return which share of each column stands in the training text, None if that text is not on this machine."""
    if not ask(run, "sampling-learned", lambda loaded, task: side_texts.has_learned_text(loaded.path)):
        return None
    texts = tuple(side_texts.written_text(column) for column in columns)
    return ask(run, "sampling-copied", lambda loaded, task: side_texts.copied_shares(loaded.path, texts, task), texts)


def draw_seeds(run: RunRef, rules: tuple[Rule, ...], prompt: str, length: int, seed: int) -> None:
    """Draw the switch for the summary of many draws, and the summary."""
    is_on = st.toggle(
        t("sampling.seeds", count=NUM_SEEDS), value=first("sampling:seeds", lambda _: True), key="sampling:seeds",
        help=t("sampling.seeds_help", count=NUM_SEEDS), persist_state="session",
    )  # fmt: skip
    if not is_on:
        return
    from minigpt.viz.seeds import SeedsWords, seeds_figure

    with st.spinner(t("sampling.seeds_computing", count=NUM_SEEDS * len(rules))):
        found = ask(
            run,
            "sampling-seeds",
            lambda loaded, task: side_texts.many_seeds(loaded, rules, prompt, length, seed, task),
            *(rules, prompt, length, seed),
        )
    names = [rule.name() for rule in rules]
    for place, measure in zip(st.columns(len(side_texts.MEASURES)), side_texts.MEASURES, strict=True):
        with place:
            title = t(f"sampling.measure_{measure}")
            live_chart(
                seeds_figure(
                    found[measure],
                    names,
                    is_share=measure != "surprise",
                    palette=theme.palette(),
                    words=SeedsWords(title),
                ),
                key=f"sampling:seeds_{measure}",
                alt=side_view.seeds_alt(found[measure], names, title),
            )
    st.markdown(side_view.seeds_sentence(found, rules))


def draw_export(run: RunRef, columns: Sequence[Column], prompt: str, length: int, seed: int) -> None:
    """Draw what takes the columns along: all texts as a file, and each rule as a command and as lines of Python."""
    shown = st.expander(t("sampling.export"), icon=":material/download:", on_change="rerun", key="sampling:export")
    with shown:
        if not shown.open:
            return
        text = side_view.export(columns, run.id, prompt, length, seed)
        st.download_button(t("sampling.export_file"), text, "columns.txt", "text/plain", key="sampling:file")
        for column in columns:
            st.markdown(f"**{markdown(column.rule.name())}**")
            st.code(side_view.command_line(run.id, column.rule, prompt, length, seed), language="bash", wrap_lines=True)
            st.code(
                side_view.python_lines(run.id, column.rule, prompt, length, seed), language="python", wrap_lines=True
            )


def legend(unit: str) -> None:
    """Draw the scale below the columns.

    Args:
        unit: The word for one token.
    """
    words = {name: t(f"sampling.{name}", unit=unit) for name in ("none", "much", "hint")}
    token_strip([], key="sampling:legend", labels=[], words={"label": "", "also": "", **words})


def choose(run: RunRef, columns: Sequence[Column], prompt: str, seed: int, question: tuple[object, ...]) -> None:
    """Draw how one token was chosen in each column, and the page's last parts."""
    heading, slider = st.columns([5, 4], vertical_alignment="bottom")
    with slider:
        position = position_slider(columns, question)
    with heading:
        st.header(t("sampling.choice_title", number=position + 1), anchor=False)
        st.caption(side_view.choice_note(columns, position))
    choices = chosen(run, tuple(column.rule for column in columns), prompt, position, seed)
    longest = side_view.longest_bar(choices)
    is_narrow = len(columns) > USUAL_COLUMNS or any(len(column.rule.name()) > LONG_NAME for column in columns)
    with st.container(key="sampling_choices"):
        places = st.columns(len(columns), gap="medium")
    for number, place in enumerate(places):
        with place:
            draw_choice(columns[number], choices[number], number, position, longest, is_narrow=is_narrow)
    anatomy.what_you_see(side_view.sentences(columns, choices, position))
    anatomy.try_this(
        [
            (t("sampling.try_dice"), lambda: set_state(seed=forms.written((seed + 1) % (MOST + 1)))),
            (t("sampling.try_k_one"), lambda: set_state(columns=max(len(columns), 3), rule_2="top_k", top_k_2=1)),
            (t("sampling.try_hot"), lambda: set_state(rule_1="temperature", temperature_1=1.8)),
        ],
        key="sampling:try",
    )
