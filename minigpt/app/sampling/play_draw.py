"""Sampling, be the sampler: the visitor finds the token on which the draw falls, and the text grows by it."""

from __future__ import annotations

import math
from collections.abc import Callable

import streamlit as st

from minigpt.app.components.draw_bar import draw_bar, message, picked_token
from minigpt.app.components.token_strip import StripToken, token_strip
from minigpt.app.sampling import play_draw_view
from minigpt.app.sampling.controls import choose_prompt, prompt_field
from minigpt.app.sampling.play_draw_view import CHOICES, USUAL, Game, Turn
from minigpt.app.session import profile, runs
from minigpt.app.session.ask import ask
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.texts import probability, t, template
from minigpt.app.ui import anatomy

BAR = "sampling:draw_bar"
FIRST_SEED = 64
TALLEST = 150


def draw(run: RunRef) -> None:
    """Draw the game."""
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    prompt = prompt_field(left, run)
    count = right.select_slider(
        t("sampling.draw_count", unit=token_unit(run)), CHOICES, value=USUAL, key="sampling:draw_count",
        persist_state="session", help=t("sampling.draw_count_help"),
    )  # fmt: skip
    choose_prompt(run)
    profile.limits().check_prompt(prompt)
    game = _game(run, prompt)
    turn = game.turn or _ask(run, game, prompt, count)
    _take_pick(game, turn)
    anatomy.notes(prompt_notes(turn.reading, prompt))
    _draw_text(game, turn)
    _draw_bar(game, turn)
    _draw_verdict(game, turn)
    anatomy.what_you_see(play_draw_view.sentences(turn))
    anatomy.try_this(
        [(t("sampling.draw_try_again"), lambda: _restart(run, game.seed + 1)), *_counts(count)], key="sampling:try_draw"
    )


def _counts(count: int) -> list[anatomy.Experiment]:
    """Return the experiment with the number of tokens that is not shown: more of them, or fewer."""
    other = CHOICES[-1] if count < CHOICES[-1] else CHOICES[0]

    def change() -> None:
        st.session_state["sampling:draw_count"] = other

    return [(t("sampling.draw_try_count", count=other), change)]


def _key(run: RunRef) -> str:
    """Return the session-state key of a run's game."""
    return f"sampling:draw_game_{run.id}"


def _game(run: RunRef, prompt: str) -> Game:
    """Return the game; with another prompt or other weights it begins again, with the same draws."""
    question = (run.id, runs.latest_step(run), prompt)
    game: Game | None = st.session_state.get(_key(run))
    if game is None or game.question != question:
        game = st.session_state[_key(run)] = Game(question, FIRST_SEED if game is None else game.seed)
    return game


def _restart(run: RunRef, seed: int) -> None:
    """Begin again with other draws; a callback."""
    game: Game = st.session_state[_key(run)]
    st.session_state[_key(run)] = Game(game.question, seed)


def _ask(run: RunRef, game: Game, prompt: str, count: int) -> Turn:
    """Return the next draw, computed through the gate."""
    written, seed = tuple(token.token_id for token in game.written), game.seed
    with st.spinner(t("sampling.draw_computing")):
        return ask(
            run,
            "sampling-draw",
            lambda loaded, cancelled: play_draw_view.turn_of(loaded, prompt, written, count, seed),
            *(prompt, written, count, seed),
        )


def _take_pick(game: Game, turn: Turn) -> None:
    """Let the visitor's last pick decide the draw, if it is about this one."""
    pick = picked_token(st.session_state.pop("sampling:draw_pick", None), game.name, len(turn.chances))
    if game.turn is None and pick is not None:
        game.decide(turn, pick)


def _draw_text(game: Game, turn: Turn) -> None:
    """Draw the text so far, with the newest token framed."""
    written = game.tokens(turn)
    tokens = [
        StripToken(token.text, -math.log2(token.share), (probability(token.share), f"{token.u:.2f}"))
        for token in written
    ]
    token_strip(
        tokens,
        key="sampling:draw_strip",
        labels=[t("sampling.tip_after"), t("sampling.tip_dice")],
        title=template("sampling.tip_title"),
        words={"label": play_draw_view.text_label(written), "also": t("sampling.tip_also")},
        prompt=turn.reading.tokens,
        mark=len(tokens) - 1 if game.turn is not None else None,
        tallest=TALLEST,
    )


def _draw_bar(game: Game, turn: Turn) -> None:
    """Draw the bar with the draw."""

    def on_pick() -> None:
        st.session_state["sampling:draw_pick"] = st.session_state[BAR].pick

    is_decided = game.turn is not None
    hint = "sampling.draw_hint_decided" if is_decided else "sampling.draw_hint"
    data = message(
        turn.chances,
        [probability(chance.after) for chance in turn.chances],
        turn=game.name,
        u=turn.u,
        right=turn.right if is_decided else None,
        picked=game.picked if is_decided else None,
        words={
            "draw": t("sampling.draw_question"),
            "label": t("sampling.draw_label"),
            "hint": t(hint),
            "right": t("sampling.draw_word_right"),
            "wrong": t("sampling.draw_word_wrong"),
        },
    )
    draw_bar(data, key=BAR, on_pick=on_pick)


def _draw_verdict(game: Game, turn: Turn) -> None:
    """Draw whether the pick was right and why, the score, and the button for the next draw."""
    with st.container(key="sampling_verdict"):
        if game.turn is not None:
            is_right = game.picked == turn.right
            icon = ":material/check_circle:" if is_right else ":material/cancel:"
            st.markdown(f"{icon} {play_draw_view.verdict(turn, game.picked)}")
        with st.container(horizontal=True, vertical_alignment="center"):
            next_draw: Callable[[], None] = game.go_on
            st.button(
                t("sampling.draw_next"), key="sampling:draw_next", on_click=next_draw, disabled=game.turn is None,
                type="primary", icon=":material/casino:",
            )  # fmt: skip
            st.markdown(play_draw_view.score(game.tokens(turn)), width="content")
