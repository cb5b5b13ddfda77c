"""Sampling, the lab of the key/value cache: one text written with and without it, timed token by token."""

from __future__ import annotations

import secrets
from typing import Any

import streamlit as st

from minigpt.app.components.live_chart import live_chart
from minigpt.app.sampling import cache_view
from minigpt.app.sampling.cache_view import CacheShape, Lab, TimedToken, TokenCost
from minigpt.app.sampling.controls import prompt_field
from minigpt.app.session import kept_controls, profile, runs
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.texts import compact, number, plain, t, template
from minigpt.app.ui import anatomy, theme

TICK_SECONDS = 0.15
"""Between two slices of a measurement."""
LAB = "sampling:cache_lab"
"""Where the session keeps the measurement, with what it belongs to and a name that no other one has."""


def draw(run: RunRef) -> None:
    """Draw the controls and the measurement, which goes on in a fragment of its own."""
    prompt, length, place = _choose(run)
    with errors_explained():
        profile.limits().check_prompt(prompt)
    lab, name = _lab(run, prompt, length)
    with place:
        if lab.is_over:
            st.button(
                t("sampling.cache_again"), key="sampling:cache_again", icon=":material/restart_alt:",
                on_click=_forget, width="stretch",
            )  # fmt: skip
        else:
            st.button(
                t("sampling.cache_stop"), key="sampling:cache_stop", icon=":material/stop:",
                on_click=_stop, args=(lab,), width="stretch",
            )  # fmt: skip
    st.fragment(_measure, run_every=None if lab.is_over else TICK_SECONDS)(run, lab, name, lab.is_over)


def _choose(run: RunRef) -> tuple[str, int, Any]:
    """Draw the row of controls; return prompt, length, and the place for a button."""
    limit = profile.limits().max_new_tokens
    starts: dict[str, Any] = {f"sampling:cache_{name}": start for name, start in cache_view.starts(limit).items()}
    lengths = cache_view.lengths(limit)
    left, middle, right = st.columns([5, 3, 2.2], vertical_alignment="bottom")
    prompt = prompt_field(left, run)
    length = middle.select_slider(
        t("sampling.cache_length", unit=token_unit(run)),
        lengths,
        value=kept_controls.first(
            "cache", "sampling:cache_length", starts["sampling:cache_length"], lengths.__contains__
        ),
        key="sampling:cache_length",
        persist_state="session",
    )
    kept_controls.keep("cache", starts)
    return prompt, int(length), right


def _lab(run: RunRef, prompt: str, length: int) -> tuple[Lab, str]:
    """Return the session's measurement; a new one if another text or length is asked for."""
    belongs_to = (run.id, runs.latest_step(run), prompt, length)
    kept = st.session_state.get(LAB)
    if kept is None or kept[0] != belongs_to:
        kept = st.session_state[LAB] = (belongs_to, Lab(prompt, length), secrets.token_hex(8))
    return kept[1], kept[2]


def _forget() -> None:
    st.session_state.pop(LAB, None)


def _stop(lab: Lab) -> None:
    lab.is_stopped = True


def _measure(run: RunRef, lab: Lab, name: str, was_over: bool) -> None:
    """Measure a slice and draw what there is; once it is over, draw the whole page again, with its last parts."""
    with errors_explained():
        if not lab.is_over:
            # each slice is a question of its own, which equal names and counts make the same one
            ask(
                run,
                "cache-lab",
                lambda loaded, cancelled: lab.advance(
                    loaded, lambda: cancelled() or lab.is_stopped, seconds=cache_view.SLICE_SECONDS
                ),
                *(name, len(lab.tokens)),
            )
    if lab.is_over and not was_over:
        st.rerun()
    _draw(run, lab)


def _draw(run: RunRef, lab: Lab) -> None:
    st.progress(len(lab.tokens) / lab.length, cache_view.progress_words(lab))
    if lab.reading is not None:
        anatomy.notes(prompt_notes(lab.reading, lab.prompt))
    tokens = list(lab.tokens)
    _draw_times(tokens, lab)
    shape, cost = lab.shape, lab.cost
    if not tokens or shape is None or cost is None:
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.header(t("sampling.cache_holds_title"), anchor=False)
        _draw_size(tokens, lab, shape)
        st.markdown(cache_view.holds_words(shape, tokens[-1].held))
    with right:
        st.header(t("sampling.cache_cost_title"), anchor=False)
        _draw_cost(lab, shape, cost)
    if not lab.is_over:
        return
    st.markdown(cache_view.same_words(lab))
    st.code(lab.text, language=None, wrap_lines=True, height=120)
    anatomy.what_you_see(cache_view.sentences(lab))
    longer = [length for length in cache_view.lengths(profile.limits().max_new_tokens) if length > lab.length]
    offers = [(t("sampling.cache_again"), _forget)]
    if longer:
        offers.insert(
            0,
            (
                t("sampling.cache_try_longer", count=longer[0], unit=token_unit(run)),
                lambda: st.session_state.update({"sampling:cache_length": longer[0]}),
            ),
        )
    anatomy.try_this(offers, key="sampling:cache_try")


def _words() -> Any:
    from minigpt.viz.cache import CacheWords

    names = ("token", "time", "size", "kept", "anew", "keys", "values", "full")
    return CacheWords(
        **{name: t(f"sampling.cache_axis_{name}") for name in names}, hover=template("sampling.cache_axis_hover")
    )


def _draw_times(tokens: list[TimedToken], lab: Lab) -> None:
    from minigpt.viz.cache import cache_time_figure

    live_chart(
        cache_time_figure(
            [1000 * token.with_cache for token in tokens],
            [1000 * token.without for token in tokens],
            total=lab.length,
            full=_full(tokens),
            palette=theme.palette(),
            words=_words(),
        ),
        key="sampling:cache_times",
        alt=plain(cache_view.progress_words(lab)),
    )


def _full(tokens: list[TimedToken]) -> list[int]:
    return [n for n, token in enumerate(tokens, 1) if token.is_full]


def _draw_size(tokens: list[TimedToken], lab: Lab, shape: CacheShape) -> None:
    from minigpt.viz.cache import cache_size_figure

    live_chart(
        cache_size_figure(
            [token.held * shape.per_position / 1000 for token in tokens],
            total=lab.length,
            most=shape.context * shape.per_position / 1000,
            full=_full(tokens),
            palette=theme.palette(),
            words=_words(),
        ),
        key="sampling:cache_sizes",
        alt=plain(cache_view.holds_words(shape, tokens[-1].held)),
    )


def _draw_cost(lab: Lab, shape: CacheShape, cost: TokenCost) -> None:
    rows = [("", t("sampling.cache_axis_kept"), t("sampling.cache_axis_anew")), ("---",) * 3]
    rows += cache_view.cost_rows(cost, lab)
    st.markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))
    st.caption(
        t(
            "sampling.cache_cost_note",
            matrices=compact(cost.matrices // 2),
            layers=shape.layers,
            width=cost.attention // (4 * shape.layers),
            positions=number(lab.tokens[-1].read_without),
        )
    )
