"""Sampling: several rules on the same dice, where they part, and how each token was chosen."""

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.components.token_strip import token_strip
from minigpt.app.sampling import view as sampling_view
from minigpt.app.sampling.view import DEFAULT_RULES, RANGES, RULES, Column, NextToken, Rule
from minigpt.app.session import profile, state
from minigpt.app.session.ask import ask
from minigpt.app.session.compute import Superseded
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import escape, has, plain, quoted, t
from minigpt.app.ui import anatomy, controls, theme
from minigpt.errors import MinigptError
from minigpt.runs.folder import RunFolder

LENGTHS = (40, 80, 120, 240, 480)
USUAL_LENGTH = 120
FIRST_SEED = 9
TALLEST = 236


def default_prompt(run: RunRef) -> str:
    """Return a beginning in the manner of what the run has learned."""
    if run.bundled and has(f"sampling.prompt_{run.id}"):
        return t(f"sampling.prompt_{run.id}")
    samples = RunFolder(run.path).samples()
    return (samples[-1].text.strip()[:28].rpartition(" ")[0] if samples else "") or t("sampling.prompt_default")


def set_state(**values) -> None:
    """Change what is set; for the buttons under "try this"."""
    for name, value in values.items():
        st.session_state[f"sampling:{name}"] = value


def choose_settings(run: RunRef) -> tuple[str, int, int, float]:
    """Draw the row above the columns and return prompt, dice, length, and the temperature before other rules."""
    prompt_key = f"sampling:prompt_{run.id}"
    st.session_state.setdefault(prompt_key, default_prompt(run))
    st.session_state.setdefault("sampling:seed", FIRST_SEED)
    lengths = [length for length in LENGTHS if length <= profile.limits().max_new_tokens] or [LENGTHS[0]]
    left, middle, right, last = st.columns([5, 1.6, 2.6, 1.2], vertical_alignment="bottom")
    prompt = left.text_input(
        t("sampling.prompt"),
        key=prompt_key,
        max_chars=profile.limits().max_prompt_chars,
        live="400ms",
        persist_state="session",
        help=t("sampling.prompt_help"),
    )
    seed = middle.number_input(
        t("sampling.seed"),
        min_value=0,
        max_value=10**9,
        step=1,
        key="sampling:seed",
        persist_state="session",
        help=t("sampling.seed_help"),
    )
    length = right.select_slider(
        t("sampling.length"),
        lengths,
        value=min(lengths, key=lambda n: abs(n - USUAL_LENGTH)),
        key="sampling:length",
        persist_state="session",
    )
    with last.popover(t("sampling.expert"), width="stretch"):
        warmth = st.slider(
            t("sampling.warmth"), 0.0, 2.0, 1.0, 0.05, key="sampling:warmth", help=t("sampling.warmth_help")
        )
    return prompt, int(seed), int(length), warmth


def rule_of(number: int, warmth: float) -> Rule:
    """Draw the choice of a column's rule with its slider and return what is set."""
    kind = st.selectbox(
        t("sampling.rule", number=number + 1),
        RULES,
        index=RULES.index(DEFAULT_RULES[number]),
        format_func=lambda kind: t(f"sampling.rule_{kind}"),
        key=f"sampling:rule_{number}",
        label_visibility="collapsed",
        persist_state="session",
    )
    label = t(f"sampling.control_{kind}")
    if kind == "greedy":
        st.slider(label, 0.0, 1.0, 0.0, key=f"sampling:greedy_{number}", disabled=True)
        return Rule("greedy")
    span = RANGES[kind]
    key = f"sampling:{kind}_{number}"
    st.session_state.setdefault(key, span.start)
    value = st.slider(label, min_value=span.low, max_value=span.high, step=span.step, key=key, persist_state="session")
    return Rule(kind, value, 1.0 if kind == "temperature" else warmth)


def written(run: RunRef, rule: Rule, number: int, prompt: str, length: int, seed: int) -> Column:
    """Let a rule write, through the gate."""
    return ask(
        run,
        "sampling",
        lambda loaded, cancelled: sampling_view.write(loaded, rule, prompt, length, seed, cancelled),
        *(rule, prompt, length, seed),
        slot=f"sampling-{number}",
    )


def chosen(run: RunRef, rule: Rule, number: int, prompt: str, position: int, seed: int) -> NextToken:
    """Look at the choice of one token, through the gate."""
    return ask(
        run,
        "sampling-choice",
        lambda loaded, cancelled: sampling_view.choice_at(loaded, rule, prompt, position, seed, cancelled),
        *(rule, prompt, position, seed),
        slot=f"sampling-choice-{number}",
    )


def draw_text(column: Column, number: int, mark: int | None) -> None:
    """Draw what a column wrote, and its figures."""
    token_strip(
        sampling_view.strip_tokens(column),
        key=f"sampling:strip_{number}",
        labels=[t(f"sampling.tip_{name}") for name in ("model", "after", "bits", "dice")],
        words={
            "label": t("sampling.strip_label", name=column.rule.name(), count=len(column.tokens)),
            "also": t("sampling.tip_also"),
        },
        prompt=column.prompt,
        mark=mark,
        tallest=TALLEST,
        is_even=True,
    )
    figures = [
        t("sampling.surprise", bits=f"{column.mean_surprise():.2f}"),
        t("sampling.distinct", share=sampling_view.percent(column.distinct_share())),
    ]
    st.caption(" · ".join(figures) + (f"  \n{t('sampling.ended')}" if column.stop_reason == "eos" else ""))


def draw_choice(column: Column, choice: NextToken, number: int, position: int, longest: float) -> None:
    """Draw how a column's token was chosen: the bars, and the dice on the cumulative bar."""
    from minigpt.viz.distribution import SamplingWords, dice_figure, next_token_figure

    palette, name, token = theme.palette(), column.rule.name(), choice.chosen.text
    words = SamplingWords(
        before=t("sampling.before"), after=t("sampling.after"), cut=t("sampling.cut"), dice=t("sampling.dice")
    )
    share, named = sampling_view.percent(choice.chosen.after), quoted(token)
    st.markdown(f"**{name}**")
    live_chart(
        next_token_figure(choice.bars, chosen=choice.bar, palette=palette, longest=longest, words=words),
        key=f"sampling:bars_{number}",
        alt=plain(t("sampling.bars_alt", name=name, number=position + 1, token=named, share=share)),
    )
    live_chart(
        dice_figure(choice.segments, u=choice.u, chosen=choice.segment, palette=palette, words=words),
        key=f"sampling:dice_{number}",
        alt=plain(t("sampling.dice_alt", name=name, u=f"{choice.u:.2f}", token=named)),
    )
    if choice.num_left == 1:
        st.caption(t("sampling.lands_one", token=named))
    else:
        st.caption(t("sampling.lands", u=f"{choice.u:.2f}", token=named, left=choice.num_left))


def position_slider(columns: list[Column], question: tuple) -> int:
    """Draw the choice of the token to look at; a new text starts where its columns part."""
    last = max(len(column.tokens) for column in columns)
    part = sampling_view.first_parting(columns)
    if st.session_state.get("sampling:question") != question:
        set_state(question=question)
        controls.move("sampling:position", min((part or 0) + 1, max(last, 1)))
    if last < 2:
        return 0
    places = range(1, last + 1)
    return (
        controls.moved_slider("sampling:position", t("sampling.position"), places, help=t("sampling.position_help")) - 1
    )


@st.fragment
def compare(run: RunRef) -> None:
    """Draw everything that follows from the controls; moving one redraws only this."""
    prompt, seed, length, warmth = choose_settings(run)
    places = st.columns(len(DEFAULT_RULES), gap="medium")
    rules = []
    for number, place in enumerate(places):
        with place:
            rules.append(rule_of(number, warmth))
    try:
        profile.limits().check_prompt(prompt)
        columns = []
        for number, (place, rule) in enumerate(zip(places, rules, strict=True)):
            with place, st.spinner(t("sampling.computing", name=rule.name())):
                columns.append(written(run, rule, number, prompt, length, seed))
        for number, (place, column) in enumerate(zip(places, columns, strict=True)):
            with place:
                draw_text(column, number, mark_of(columns, number))
        legend()
        for note in dict.fromkeys(note for column in columns for note in column.notes):
            st.info(escape(note), icon=":material/info:")
        choose(run, columns, prompt, seed, (run.id, prompt, seed, length, tuple(rules)))
    except Superseded:
        st.stop()
    except MinigptError as error:
        anatomy.explain_error(error)
        st.stop()


def mark_of(columns: list[Column], number: int) -> int | None:
    """Return which token of a column is framed: where all part, if that one is there."""
    part = sampling_view.first_parting(columns)
    return part if part is not None and part < len(columns[number].tokens) else None


def legend() -> None:
    """Draw the scale below the columns."""
    words = {name: t(f"sampling.{name}") for name in ("none", "much", "hint")}
    token_strip([], key="sampling:legend", labels=[], words={"label": "", "also": "", **words})


def choose(run: RunRef, columns: list[Column], prompt: str, seed: int, question: tuple) -> None:
    """Draw how one token was chosen in each column, and the page's last parts."""
    heading, slider = st.columns([5, 4], vertical_alignment="bottom")
    with slider:
        position = position_slider(columns, question)
    part = sampling_view.first_parting(columns)
    with heading:
        st.header(t("sampling.choice_title", number=position + 1), anchor=False)
        together = part is None or position <= part
        st.caption(t("sampling.choice_same") if together else t("sampling.choice_own", number=part + 2))
    choices = [chosen(run, column.rule, i, prompt, position, seed) for i, column in enumerate(columns)]
    longest = sampling_view.longest_bar(choices)
    for number, place in enumerate(st.columns(len(columns), gap="medium")):
        with place:
            draw_choice(columns[number], choices[number], number, position, longest)
    anatomy.what_you_see(sampling_view.sentences(columns, choices, position))
    anatomy.try_this(
        [
            (t("sampling.try_dice"), lambda: set_state(seed=seed + 1)),
            (t("sampling.try_k_one"), lambda: set_state(rule_2="top_k", top_k_2=1)),
            (t("sampling.try_hot"), lambda: set_state(rule_1="temperature", temperature_1=1.8)),
        ],
        key="sampling:try",
    )


def code() -> None:
    """Show the library's lines behind the picture."""
    from minigpt.generation.samplers import TemperatureSampler, TopKSampler, TopPSampler, draw

    anatomy.show_code(draw, TemperatureSampler, TopKSampler, TopPSampler)


def draw() -> None:
    """Draw the page."""
    anatomy.header("sampling")
    compare(state.current_run())
    code()
