"""Sampling, the Shannon game: the visitor guesses the next character of a held-out text against the model."""

from __future__ import annotations

import streamlit as st

from minigpt.app.components.token_strip import token_strip
from minigpt.app.sampling import play_shannon_view
from minigpt.app.sampling.play_shannon_view import MOST_CHARS, SURE, USUAL, Game, Guess, Text
from minigpt.app.session import runs
from minigpt.app.session.ask import ask
from minigpt.app.session.openings import origin_words
from minigpt.app.session.run_text import Opening, opening
from minigpt.app.session.runs import RunRef
from minigpt.app.texts import escape, number, percent, t, template
from minigpt.app.ui import anatomy

OWN = "sampling:shannon_own"
TYPED = "sampling:shannon_guess"
SURENESS = "sampling:shannon_sure"
TALLEST = 190
FIELDS = ("guess", "you", "model", "model_bits", "rank")


def draw(run: RunRef) -> None:
    """Draw the game."""
    passage, about, again = _passage(run)
    if not passage:
        st.info(t("sampling.shannon_none"), icon=":material/info:")
        _own_text()
        return
    text: Text = ask(run, "shannon-text", lambda loaded, cancelled: play_shannon_view.text_of(loaded, passage), passage)
    game = _game(run, passage)
    wrong = _take_guess(run, text, game)
    place = game.place(text)
    left, right = st.columns([13, 8], gap="large")
    with left:
        _draw_text(text, game)
        if place is None:
            st.markdown(t("sampling.shannon_end" if game.guesses else "sampling.shannon_short"))
        else:
            _draw_guess(text, len(game.guesses))
        if wrong:
            st.markdown(f":red[:material/error: {wrong}]")
    with right:
        _draw_score(text, game)
        if game.guesses:
            st.markdown(play_shannon_view.verdict(game.guesses[-1]))
    with st.container(horizontal=True, vertical_alignment="center", key="sampling_shannon_text"):
        st.caption(about, width="content")
        if again:
            st.button(
                again, key="sampling:shannon_another", icon=":material/menu_book:",
                type="tertiary", on_click=_another, args=(run,),
            )  # fmt: skip
        _own_text()
    anatomy.what_you_see(play_shannon_view.sentences(game, text))
    with st.expander(t("sampling.shannon_how"), icon=":material/calculate:"):
        st.markdown(t("sampling.shannon_explained", others=number(len(text.alphabet) - 1)))


def _passage(run: RunRef) -> tuple[str, str, str]:
    """Return the text to guess, sentences that say where it comes from, and the label of the button for another one.

    The label is "" if the visitor typed the text.
    """
    typed = str(st.session_state.get(OWN) or "").strip()
    if typed:
        return typed, t("sampling.shannon_typed"), ""
    found: Opening = opening(run, _number(run))
    if found.count:
        return found.text, origin_words(found), t("frame.opening_another")
    about = f"{t('frame.opening_no_text')} {origin_words(found)}"
    if found.source == "written":
        about += f" {t('sampling.shannon_written')}"
    return found.text, about, t("sampling.shannon_again")


def _number(run: RunRef) -> int:
    """Return which of the run's passages is guessed."""
    chosen: int = st.session_state.get(f"sampling:shannon_number_{run.id}", 0)
    return chosen


def _another(run: RunRef) -> None:
    """Take the next passage, or the same text again if there is no other; a callback."""
    st.session_state[f"sampling:shannon_number_{run.id}"] = _number(run) + 1
    st.session_state.pop(_key(run), None)


def _own_text() -> None:
    """Draw the field for a text of the visitor's own, which somebody else may guess."""
    with st.popover(t("sampling.shannon_own")):
        st.text_area(
            t("sampling.shannon_own_label"), max_chars=MOST_CHARS, key=OWN, persist_state="session",
            help=t("sampling.shannon_own_help"),
        )  # fmt: skip


def _key(run: RunRef) -> str:
    """Return the session-state key of a run's game."""
    return f"sampling:shannon_game_{run.id}"


def _game(run: RunRef, passage: str) -> Game:
    """Return the game; with another text or other weights it begins again."""
    question = (run.id, runs.latest_step(run), passage)
    game: Game | None = st.session_state.get(_key(run))
    if game is None or game.question != question:
        game = st.session_state[_key(run)] = Game(question)
    return game


def _take_guess(run: RunRef, text: Text, game: Game) -> str | None:
    """Score what the visitor has guessed since the last time; return why it cannot be used, if so."""
    guess: tuple[int, str, float] | None = st.session_state.pop("sampling:shannon_guessed", None)
    place = game.place(text)
    if guess is None or place is None or guess[0] != len(game.guesses) or not guess[1]:
        return None
    _, typed, sure = guess
    character = play_shannon_view.guessed_character(typed, text)
    if character is None:
        return t("sampling.shannon_unknown", character=escape(typed[:1]) or "?", count=number(len(text.alphabet)))
    judged: Guess = ask(
        run,
        "shannon",
        lambda loaded, cancelled: play_shannon_view.judge(loaded, text, place, character, sure),
        *(text.ids, place, character, sure),
    )
    game.guesses.append(judged)
    return None


def _draw_text(text: Text, game: Game) -> None:
    """Draw the text so far; the background of a guessed token shows the visitor's surprise."""
    tokens = play_shannon_view.strip_tokens(game, text)
    token_strip(
        tokens,
        key="sampling:shannon_strip",
        labels=[t(f"sampling.shannon_tip_{name}") for name in FIELDS],
        title=template("sampling.shannon_tip_title"),
        words={"label": t("sampling.shannon_strip", count=len(game.guesses)), "also": ""},
        prompt=[token for token in text.tokens[: text.first] if token],
        mark=None if game.place(text) is None else len(tokens) - 1,
        tallest=TALLEST,
    )


def _draw_guess(text: Text, count: int) -> None:
    """Draw how sure the visitor is, the field for a guess, and buttons for what cannot be seen.

    Args:
        text: The text.
        count: The number of guesses so far; a guess that is sent twice has the same number and counts once.
    """
    st.select_slider(
        t("sampling.shannon_sure"), SURE, value=USUAL, format_func=percent, key=SURENESS, persist_state="session",
        help=t("sampling.shannon_sure_help"),
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", key="sampling_shannon_row"):
        form = st.form("sampling:shannon_form", clear_on_submit=True, border=False, width=290)
        with form, st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(t("sampling.shannon_guess"), max_chars=4, key=TYPED, width=190)
            st.form_submit_button(
                t("sampling.shannon_submit"), key="sampling:shannon_submit", type="primary", on_click=_guess,
                args=(count,),
            )  # fmt: skip
        for character, name in ((" ", "space"), ("\n", "line")):
            if character in text.alphabet:
                st.button(
                    t(f"sampling.shannon_{name}"), key=f"sampling:shannon_{name}", on_click=_guess,
                    args=(count, character),
                )  # fmt: skip


def _guess(count: int, character: str | None = None) -> None:
    """Remember a guess until the page is drawn, which scores it; a callback."""
    typed = str(st.session_state.get(TYPED) or "") if character is None else character
    sure = st.session_state.get(SURENESS, USUAL)
    st.session_state["sampling:shannon_guessed"] = (count, typed, sure if sure in SURE else USUAL)


def _draw_score(text: Text, game: Game) -> None:
    """Draw the bits of the visitor, of the model and of blind guessing, side by side."""
    found = play_shannon_view.figures(game, text)
    with st.container(horizontal=True, key="sampling_shannon_score"):
        for name in ("you", "model", "blind"):
            st.metric(t(f"sampling.shannon_{name}"), found[name], help=t(f"sampling.shannon_{name}_help"))
