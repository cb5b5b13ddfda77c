"""Sampling, branches: the tree of texts that begin with the prompt, grown by hand or by a beam search."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt.app.components.branch_tree import branch_tree, message
from minigpt.app.sampling import branches_view
from minigpt.app.sampling.branches_view import BEAMS, MOST_PENALTY, MOST_TREES, Search, Tree, Written
from minigpt.app.session import kept_controls, profile, runs
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.openings import opening_text
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.run_text import PROPOSED
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.session.subject import prompt_input, prompt_key
from minigpt.app.texts import number, t, template
from minigpt.app.ui import anatomy

KEY = "sampling:branch_tree"
PROMPT_END = 14
"""Characters of the prompt that are drawn before the tree."""


def draw(run: RunRef) -> None:
    """Draw the controls and the tree."""
    prompt, length, is_search = _choose(run)
    with errors_explained():
        profile.limits().check_prompt(prompt)
        with st.spinner(t("sampling.branch_computing")):
            first = _written(run, prompt, (), length)
        anatomy.notes(prompt_notes(first.reading, prompt))
        place = (run.id, runs.latest_step(run), prompt, length)
        tree, greedy = _kept(place).grown(first.steps)
        if not _kept(place).nodes:
            tree = _with_runner_up(run, tree, greedy, prompt, length)
        tree = _grow(run, place, tree, prompt, length)
        _keep(place, tree)
        kept_controls.keep("branches", _starts())
        if is_search:
            _draw_search(run, tree, greedy, first, prompt, length)
        else:
            _draw_tree(run, tree, greedy, first, prompt)


def _starts() -> dict[str, Any]:
    named = branches_view.starts(profile.limits().max_new_tokens)
    return {f"sampling:branch_{name}": start for name, start in named.items()}


def _first(key: str, is_allowed: Any) -> Any:
    return kept_controls.first("branches", key, _starts()[key], is_allowed)


def _choose(run: RunRef) -> tuple[str, int, bool]:
    """Draw the row above the tree; return prompt, length, and whether to search with beams."""
    key = prompt_key(run, "sampling")
    lengths = branches_view.lengths(profile.limits().max_new_tokens)
    left, middle, right = st.columns([5, 3, 2.2], vertical_alignment="bottom")
    opening = lambda: opening_text(run, key, PROPOSED)  # noqa: E731
    prompt = prompt_input(left, t("sampling.prompt"), key=key, opening=opening, help=t("sampling.prompt_help"))
    length = middle.select_slider(
        t("sampling.branch_length", unit=token_unit(run)),
        lengths,
        value=_first("sampling:branch_length", lengths.__contains__),
        key="sampling:branch_length",
        persist_state="session",
    )
    is_search = right.toggle(
        t("sampling.branch_search"),
        value=_first("sampling:branch_is_search", lambda value: True),
        key="sampling:branch_is_search",
        help=t("sampling.branch_search_help"),
        persist_state="session",
    )
    return prompt, int(length), is_search


def _choose_search() -> tuple[int, float]:
    """Draw the controls of the search; return the number of beams and the length penalty."""
    with st.container(key="sampling_search"):
        left, right = st.columns(2, gap="medium", vertical_alignment="bottom")
    beams = left.select_slider(
        t("sampling.branch_beams"),
        BEAMS,
        value=_first("sampling:branch_beams", BEAMS.__contains__),
        key="sampling:branch_beams",
        help=t("sampling.branch_beams_help"),
        persist_state="session",
    )
    penalty = right.slider(
        t("sampling.branch_penalty"),
        0.0,
        MOST_PENALTY,
        _first("sampling:branch_penalty", lambda value: 0 <= value <= MOST_PENALTY),
        0.1,
        key="sampling:branch_penalty",
        help=t("sampling.branch_penalty_help"),
        persist_state="session",
    )
    return int(beams), float(penalty)


def _written(run: RunRef, prompt: str, path: tuple[int, ...], length: int) -> Written:
    return ask(
        run,
        "branches",
        lambda loaded, cancelled: branches_view.write(loaded, prompt, path, length, cancelled),
        *(prompt, path, length),
    )


def _with_runner_up(run: RunRef, tree: Tree, greedy: tuple[int, ...], prompt: str, length: int) -> Tree:
    """Return the greedy text with a first branch, where its decision was closest."""
    place = branches_view.most_open(tree, greedy)
    other = None if place is None else branches_view.unused(tree, place)
    if place is None or other is None:
        return tree
    path = branches_view.path_of(tree, place, other.token_id) or ()
    return tree.grown(_written(run, prompt, path, length).steps)[0]


# ---- the visitor's trees


def _kept(place: tuple[object, ...]) -> Tree:
    """Return the tree that the visitor has grown here, an empty one at first."""
    found: Tree = st.session_state.get("sampling:trees", {}).get(place, Tree())
    return found


def _keep(place: tuple[object, ...], tree: Tree) -> None:
    """Keep a tree in the session. It is no widget, so it stays when another view or page is drawn."""
    trees = {key: kept for key, kept in st.session_state.get("sampling:trees", {}).items() if key != place}
    st.session_state["sampling:trees"] = dict([*trees.items(), (place, tree)][-MOST_TREES:])


def _wish() -> None:
    """Remember the branch that the visitor wants; the script grows it."""
    wish = getattr(st.session_state[KEY], "grow", None)
    if isinstance(wish, list) and len(wish) == 2 and all(isinstance(part, int | float) for part in wish):
        st.session_state["sampling:wish"] = (int(wish[0]), int(wish[1]))


def _grow(run: RunRef, place: tuple[object, ...], tree: Tree, prompt: str, length: int) -> Tree:
    """Return the tree with the branch that the visitor wants, if any; else say why it does not grow."""
    wish = st.session_state.get("sampling:wish")
    if wish is None:
        return tree
    path = branches_view.path_of(tree, *wish)
    most = branches_view.most_nodes(profile.limits().max_new_tokens)
    if path is None or len(path) > length:
        st.session_state.pop("sampling:wish", None)
        return tree
    if len(tree.nodes) + length - len(path) + 1 > most:
        st.session_state.pop("sampling:wish", None)
        st.info(
            t("sampling.branch_full", count=number(len(tree.nodes)), most=number(most), unit=token_unit(run)),
            icon=":material/info:",
        )
        return tree
    with st.spinner(t("sampling.branch_computing")):
        steps = _written(run, prompt, path, length).steps
    tree, way = tree.grown(steps)
    _keep(place, tree)
    _open(way[len(path) - 1])
    st.session_state.pop("sampling:wish", None)  # only now: an interrupted script leaves the wish to the next one
    return tree


def _open(place: int | None) -> None:
    """Let the tree show a token."""
    moved = st.session_state.get("sampling:branch_open", (None, 0))[1]
    st.session_state["sampling:branch_open"] = (place, moved + 1)


def _shown(tree: Tree, greedy: tuple[int, ...]) -> int | None:
    """Return the token to show: the one that was opened last, else the one that was the hardest to decide."""
    place = st.session_state.get("sampling:branch_open", (None, 0))[0]
    return place if place is not None and place < len(tree.nodes) else branches_view.most_open(tree, greedy)


# ---- drawing


def _draw_tree(run: RunRef, tree: Tree, greedy: tuple[int, ...], first: Written, prompt: str) -> None:
    _draw(run, tree, greedy, first, branches_view.rows(tree, greedy))
    anatomy.what_you_see(branches_view.sentences(tree, greedy, token_unit(run)))
    offers = []
    place = branches_view.most_open(tree, greedy)
    if place is not None and (other := branches_view.unused(tree, place)) is not None:
        wish = (place, other.token_id)
        words = t("sampling.branch_try_other", number=tree.nodes[place].column + 1, unit=token_unit(run))
        offers.append((words, lambda: st.session_state.update({"sampling:wish": wish})))
    offers.append(
        (t("sampling.branch_try_search"), lambda: st.session_state.update({"sampling:branch_is_search": True}))
    )
    if len(tree.leaves()) > 1:
        offers.append((t("sampling.branch_try_again"), _start_again))
    anatomy.try_this(offers, key="sampling:branch_try")


def _start_again() -> None:
    """Drop the branches of the tree on the page."""
    trees = dict(st.session_state.get("sampling:trees", {}))
    if trees:
        trees.popitem()  # the one on the page was kept last
    st.session_state["sampling:trees"] = trees
    _open(None)


def _draw_search(run: RunRef, tree: Tree, greedy: tuple[int, ...], first: Written, prompt: str, length: int) -> None:
    beams, penalty = _choose_search()
    with st.spinner(t("sampling.branch_searching", beams=beams)):
        found: Search = ask(
            run,
            "beams",
            lambda loaded, cancelled: branches_view.search(loaded, prompt, length, beams, penalty, cancelled),
            *(prompt, length, beams, penalty),
        )
    tree, best = tree.grown(found.best.steps)
    rows = branches_view.rows(tree, greedy, best)
    tree, kept = tree.with_beams(found.found.tree, found.texts.__getitem__)
    _draw(run, tree, greedy, first, rows, kept=kept, best=best)
    anatomy.what_you_see(branches_view.search_sentences(tree, greedy, found, best))
    more = next((count for count in BEAMS if count > beams), BEAMS[0])
    offers = [
        (t("sampling.branch_try_beams", count=more), lambda: st.session_state.update({"sampling:branch_beams": more})),
        (t("sampling.branch_try_own"), lambda: st.session_state.update({"sampling:branch_is_search": False})),
    ]
    anatomy.try_this(offers, key="sampling:branch_try_search")


def _draw(
    run: RunRef,
    tree: Tree,
    greedy: tuple[int, ...],
    first: Written,
    rows: Any,
    *,
    kept: tuple[tuple[int, ...], ...] = (),
    best: tuple[int, ...] = (),
) -> None:
    """Draw the tree, with the steps of a search if there was one."""
    tail = "".join(first.reading.tokens)
    tail = tail if len(tail) <= PROMPT_END else f"…{tail[-PROMPT_END:]}"
    words = {name: template(f"sampling.branch_word_{name}") for name in branches_view.WORDS}
    words["label"] = t("sampling.branch_label", count=len(rows), unit=token_unit(run))
    if kept:
        words["legend"] = template("sampling.branch_word_legend_search")
    words["token"] = words["token"].replace("{unit}", token_unit(run).capitalize())
    data = message(
        branches_view.cells(tree),
        prompt=tail,
        rows=rows,
        trunk=greedy,
        place=_shown(tree, best or greedy),
        moved=(run.id, greedy, st.session_state.get("sampling:branch_open", (None, 0))[1], bool(kept)),
        beams=kept,
        best=best,
        words=words,
    )
    branch_tree(data, key=KEY, on_grow=_wish)
