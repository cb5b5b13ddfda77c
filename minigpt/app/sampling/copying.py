"""Sampling, copying: which spans of a text also stand in the training text, and how many would by chance."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt.app.components.copied_text import copied_text
from minigpt.app.components.live_chart import live_chart
from minigpt.app.sampling import copying_view
from minigpt.app.sampling.controls import prompt_field
from minigpt.app.sampling.copying_view import FIGURES, LENGTHS, SOURCES, TEMPERATURES, WARMEST, Baseline, Copy, Spans
from minigpt.app.session import kept_controls, profile, steps, typed
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.download import offer_download
from minigpt.app.session.openings import opening_text
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.texts import markdown, number, plain, t
from minigpt.app.ui import anatomy, controls, forms, theme
from minigpt.config import MOST
from minigpt.errors import CorpusError

SHORTEST = "sampling:copying_shortest"
SOURCE = "sampling:copying_source"
FIGURE = "sampling:copying_figure"


def draw(run: RunRef) -> None:
    """Draw the controls, the text with its underlined spans, and a figure of the share."""
    with errors_explained():
        baseline = _baseline(run)
        if baseline is None:
            return
        request = _choose(run)
        kept_controls.keep("copying", _starts())
        if request is None:  # a field says why, or there is no text yet
            return
        _draw_copy(run, baseline, request)


def _baseline(run: RunRef) -> Baseline | None:
    """Return what a held-out text shares with the training text; say so if that text is gone."""
    try:
        with st.spinner(t("sampling.copying_reading")):
            return ask(run, "copying-baseline", copying_view.baseline_of)
    except CorpusError:
        st.info(t("sampling.copying_gone"), icon=":material/info:")
        offer_download(run, "sampling")
        return None


def _starts() -> dict[str, Any]:
    named = copying_view.starts(profile.limits().max_new_tokens)
    return {f"sampling:copying_{name}": start for name, start in named.items()}


def _first(key: str, is_allowed: Any) -> Any:
    return kept_controls.first("copying", key, _starts()[key], is_allowed)


def _choose(run: RunRef) -> tuple[str, ...] | tuple[str, float, int, int] | None:
    """Draw the controls; return the typed text alone, or prompt, temperature, length and seed; None if one lacks."""
    source = controls.choice("sampling", "copying_source", SOURCES, first=_first(SOURCE, SOURCES.__contains__))
    return _choose_typed(run) if source == "typed" else _choose_written(run)


def _typed_key(run: RunRef) -> str:
    return f"sampling:copying_text_{run.id}"


def _choose_typed(run: RunRef) -> tuple[str] | None:
    """Draw the field of the visitor's text and return the text; None if it is empty."""
    key = _typed_key(run)
    text = st.text_area(
        t("sampling.copying_text"),
        height=120,
        max_chars=copying_view.MOST_TYPED,
        placeholder=t("sampling.copying_text"),
        label_visibility="collapsed",
        persist_state="session",
        **typed.field(typed.PASSAGE, key, lambda: opening_text(run, key)),
    )
    if not text:
        st.info(t("sampling.copying_empty"), icon=":material/edit:")
        return None
    return (text[: copying_view.MOST_TYPED],)


def _choose_written(run: RunRef) -> tuple[str, float, int, int] | None:
    """Draw what the model writes with; return prompt, temperature, length and seed. None: the seed is none."""
    lengths = copying_view.num_tokens(profile.limits().max_new_tokens)
    left, middle, right = st.columns([5, 4, 1.7], vertical_alignment="bottom")
    below = st.container()
    prompt = prompt_field(left, run)
    name = "sampling:copying_temperature"
    temperature = middle.slider(
        t("sampling.rule_temperature"),
        0.0,
        WARMEST,
        _first(name, lambda value: 0 <= value <= WARMEST),
        0.05,
        key=name,
        persist_state="session",
    )
    with right.popover(t("sampling.expert"), width="stretch"):
        tokens = st.select_slider(
            t("sampling.length", unit=token_unit(run)),
            lengths,
            value=_first("sampling:copying_tokens", lengths.__contains__),
            key="sampling:copying_tokens",
            persist_state="session",
        )
        seed = forms.whole_number(
            t("sampling.seed"), key="sampling:copying_seed", low=0, high=MOST, start=copying_view.FIRST_SEED,
            below=below, first=_first("sampling:copying_seed", bool), help=t("sampling.seed_help"),
        )  # fmt: skip
    if seed is None:
        return None
    profile.limits().check_prompt(prompt)
    return prompt, float(temperature), int(tokens), seed


def _copy(run: RunRef, request: tuple[Any, ...]) -> Copy:
    """Return the text with its shared spans, computed through the gate."""
    return ask(
        run,
        "copying",
        lambda loaded, cancelled: (
            copying_view.copy_of(loaded, request[0], cancelled)
            if len(request) == 1
            else copying_view.written_copy(loaded, request, cancelled)
        ),
        *request,
    )


def _draw_copy(run: RunRef, baseline: Baseline, request: tuple[Any, ...]) -> None:
    """Draw the text, the figure and the page's last parts."""
    is_typed = len(request) == 1
    with st.spinner(t("sampling.copying_writing")):
        copy = _copy(run, request)
    left, right = st.columns([11, 9], gap="large")
    with left:
        shortest = _choose_shortest(run, baseline, copy)
        sentences = copying_view.sentences(copy, baseline, shortest, is_typed=is_typed)
        pieces, spans = copying_view.pieces(copy, shortest)
        copied_text(
            pieces,
            spans,
            key="sampling:copied",
            prompt=copy.prompt,
            words={
                "label": plain(sentences[0]),
                "hint": t("sampling.copying_hint" if spans else "sampling.copying_none", shortest=number(shortest)),
            },
        )
        for note in copy.notes:
            st.info(markdown(note), icon=":material/info:")
    with right:
        found = _draw_figure(run, baseline, copy, shortest, request)
    anatomy.what_you_see([*sentences, *found])
    _experiments(run, baseline, shortest, is_typed=is_typed)


def _choose_shortest(run: RunRef, baseline: Baseline, copy: Copy) -> int:
    """Draw the choice of what counts as copied; it starts where held-out text has few such spans."""
    if st.session_state.get(f"{SHORTEST}:of") != run.id:
        st.session_state[f"{SHORTEST}:of"] = run.id
        controls.move(SHORTEST, baseline.first_length(copy.spans.num_chars))
    shortest: int = controls.moved_slider(
        SHORTEST, t("sampling.copying_shortest"), LENGTHS, help=t("sampling.copying_shortest_help")
    )
    return shortest


def _draw_figure(run: RunRef, baseline: Baseline, copy: Copy, shortest: int, request: tuple[Any, ...]) -> list[str]:
    """Draw the share against what the visitor chose, and return what is seen in it."""
    name = st.segmented_control(
        t("sampling.copying_figure"),
        FIGURES if len(request) > 1 else FIGURES[:1],
        format_func=lambda name: t(f"sampling.copying_figure_{name}"),
        default=FIGURES[0],
        required=True,
        key=FIGURE if len(request) > 1 else f"{FIGURE}_typed",
        label_visibility="collapsed",
    )
    if name == "length":
        shares, expected = copying_view.length_curve(copy, baseline)
        labels = [number(length) for length in LENGTHS]
        _chart(name, labels, shares, expected, [], LENGTHS.index(shortest), [])
        return []
    prompt, temperature, tokens, seed = request
    if name == "temperature":
        labels = [f"{value:g}" for value in TEMPERATURES]
        with st.spinner(t("sampling.copying_comparing")):
            spans = ask(
                run,
                "copying-temperatures",
                lambda loaded, cancelled: copying_view.spans_at_temperatures(
                    loaded, prompt, TEMPERATURES, tokens, seed, cancelled
                ),
                *(prompt, tokens, seed),
            )
    else:
        labels, spans = _over_training(run, prompt, temperature, tokens, seed)
    window = copying_view.mean_length([one for group in spans for one in group])
    level = baseline.share(shortest, window)
    shares = [copying_view.mean_share(group, shortest) for group in spans]
    finding = [copying_view.series_sentence(name, labels, shares)] if len(shares) > 1 else []
    each = [[one.share(shortest) for one in group] for group in spans]
    at = min(range(len(TEMPERATURES)), key=lambda place: abs(TEMPERATURES[place] - temperature))
    expected = None if level is None else [level] * len(labels)
    _chart(name, labels, shares, expected, each, at if name == "temperature" else None, finding)
    return finding


def _over_training(
    run: RunRef, prompt: str, temperature: float, tokens: int, seed: int
) -> tuple[list[str], list[list[Spans]]]:
    """Return the kept steps of the run and what the texts written with their weights share with the training text."""
    history = copying_view.thinned(steps.history(run))
    spans = []
    bar = st.progress(0.0, text=t("sampling.copying_comparing"))
    for place, (step, argument) in enumerate(history):
        found = ask(
            run,
            "copying-steps",
            lambda loaded, cancelled: copying_view.spans_at_temperatures(
                loaded, prompt, [temperature], tokens, seed, cancelled
            ),
            *(prompt, temperature, tokens, seed),
            step=argument,
            weights=step,
        )
        spans.append(found[0])
        bar.progress((place + 1) / len(history), text=t("sampling.copying_comparing"))
    bar.empty()
    return [number(step) for step, _ in history], spans


def _chart(
    name: str,
    labels: list[str],
    shares: list[float],
    expected: list[float] | None,
    each: list[list[float]],
    at: int | None,
    finding: list[str],
) -> None:
    from minigpt.viz.copying import CopiedWords, copied_figure

    figure = copied_figure(
        labels,
        shares,
        expected,
        palette=theme.palette(),
        words=CopiedWords(
            axis=t(f"sampling.copying_axis_{name}"),
            share=t("sampling.copying_axis_share"),
            written=t("sampling.copying_curve"),
            held_out=t("sampling.copying_held_out"),
        ),
        each=each,
        at=at,
    )
    alt = finding[0] if finding else t("sampling.copying_alt")
    live_chart(figure, key=f"sampling:copying_by_{name}", alt=plain(alt))
    st.caption(t(f"sampling.copying_about_{name}", count=copying_view.NUM_TEXTS))


def _experiments(run: RunRef, baseline: Baseline, shortest: int, *, is_typed: bool) -> None:
    def passage() -> None:
        typed.offer(typed.PASSAGE, _typed_key(run), baseline.passage)
        st.session_state[SOURCE] = "typed"

    def write() -> None:
        st.session_state.update({SOURCE: "written", "sampling:copying_temperature": 0.3})

    def against(name: str) -> None:
        st.session_state.update({SOURCE: "written", FIGURE: name})

    shorter = max([length for length in LENGTHS if length < shortest], default=LENGTHS[0])
    anatomy.try_this(
        [
            (t("sampling.copying_try_shorter", shortest=number(shorter)), lambda: controls.move(SHORTEST, shorter)),
            (t("sampling.copying_try_write"), write) if is_typed else (t("sampling.copying_try_passage"), passage),
            (t("sampling.copying_try_temperature"), lambda: against("temperature")),
        ],
        key="sampling:copying_try",
    )
