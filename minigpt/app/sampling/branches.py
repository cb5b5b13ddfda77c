"""Sampling, branches: the tree of texts that begin with the prompt, grown by hand or by a beam search."""

from __future__ import annotations

from typing import Any

import streamlit as st

from minigpt.app.components.branch_tree import TextRow, branch_tree, message
from minigpt.app.sampling import branches_tree, branches_view
from minigpt.app.sampling.branches_tree import Tree
from minigpt.app.sampling.branches_view import BEAMS, MOST_PENALTY, MOST_TREES, Search, Written
from minigpt.app.sampling.controls import prompt_field
from minigpt.app.session import kept_controls, profile, runs
from minigpt.app.session.ask import ask, errors_explained
from minigpt.app.session.reading import prompt_notes
from minigpt.app.session.runs import RunRef, token_unit
from minigpt.app.texts import number, t, template
from minigpt.app.ui import anatomy
from minigpt.errors import MinigptError

KEY = "sampling:branch_tree"
Place = tuple[str, int | None, str, int]
"""What a tree belongs to: the run, the step of its weights, the prompt, and the length of a text."""
PROMPT_END = 14
"""Characters of the prompt that are drawn before the tree."""


def draw(run: RunRef) -> None:
    """Draw the controls and the tree."""
    prompt, length, is_search = _choose(run)
    place = (run.id, runs.latest_step(run), prompt, length)
    with errors_explained():
        profile.limits().check_prompt(prompt)
        with st.spinner(t("sampling.branch_computing")):
            first = _written(run, prompt, (), length)
        anatomy.notes(prompt_notes(first.reading, prompt))
        kept = _kept(place)
        tree, greedy = kept.grown(first.steps)
        if not kept.nodes:  # begin with a branch, so that one is seen at once
            path = branches_tree.runner_up(tree, greedy)
            if path and branches_tree.fits(tree, path, length, _most_nodes()):
                tree = _grow(run, place, tree, path)
        tree = _grow_wish(run, place, tree)
        _keep(place, tree)
        kept_controls.keep("branches", _starts())
        if is_search:
            _draw_search(run, place, tree, greedy, first)
        else:
            _draw_tree(run, place, tree, greedy, first)


def _starts() -> dict[str, Any]:
    named = branches_view.starts(profile.limits().max_new_tokens)
    return {f"sampling:branch_{name}": start for name, start in named.items()}


def _first(key: str, is_allowed: Any) -> Any:
    return kept_controls.first("branches", key, _starts()[key], is_allowed)


def _choose(run: RunRef) -> tuple[str, int, bool]:
    """Draw the row above the tree; return prompt, length, and whether to search with beams."""
    lengths = branches_view.lengths(profile.limits().max_new_tokens)
    left, middle, right = st.columns([5, 3, 2.2], vertical_alignment="bottom")
    prompt = prompt_field(left, run)
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


# ---- the visitor's trees


def _kept(place: Place) -> Tree:
    """Return the tree that the visitor has grown here, an empty one at first."""
    found: Tree = st.session_state.get("sampling:trees", {}).get(place, Tree())
    return found


def _keep(place: Place, tree: Tree) -> None:
    """Keep a tree in the session. It is no widget, so it stays when another view or page is drawn."""
    trees = {key: kept for key, kept in st.session_state.get("sampling:trees", {}).items() if key != place}
    st.session_state["sampling:trees"] = dict([*trees.items(), (place, tree)][-MOST_TREES:])


def _start_again(place: Place) -> None:
    """Drop the branches of a tree."""
    _keep(place, Tree())
    _open(place, None)


def _wish(path: object) -> None:
    """Remember the branch that the visitor wants, as the ids of its first tokens; the script grows it."""
    if isinstance(path, list | tuple) and path and all(type(part) is int for part in path):
        st.session_state["sampling:wish"] = tuple(path)


def _grow_wish(run: RunRef, place: Place, tree: Tree) -> Tree:
    """Return the tree with the branch that the visitor wants, if any, and open it; else say why it does not grow."""
    path = st.session_state.get("sampling:wish")
    if path is None:
        return tree
    most = _most_nodes()
    if not branches_tree.fits(tree, path, place[3], most):
        words = t("sampling.branch_full", count=number(len(tree.nodes)), most=number(most), unit=token_unit(run))
        st.info(words, icon=":material/info:")
    else:
        with st.spinner(t("sampling.branch_computing")):
            try:
                tree = _grow(run, place, tree, path)
            except MinigptError:
                st.session_state.pop("sampling:wish", None)
                raise
        _open(place, tree.find(path))
    st.session_state.pop("sampling:wish", None)  # only now: an interrupted script leaves the wish to the next one
    return tree


def _most_nodes() -> int:
    return branches_tree.most_nodes(profile.limits().max_new_tokens)


def _grow(run: RunRef, place: Place, tree: Tree, path: tuple[int, ...]) -> Tree:
    """Return the tree with a branch, and keep it."""
    _, _, prompt, length = place
    tree, _ = tree.grown(_written(run, prompt, path, length).steps)
    _keep(place, tree)
    return tree


def _open(place: Place, node: int | None) -> None:
    """Let a tree show one of its tokens; None: the one that was hardest to decide."""
    st.session_state["sampling:branch_open"] = (place, node, _moved() + 1)


def _moved() -> int:
    """Return how often the page has chosen the token to show."""
    moved: int = st.session_state.get("sampling:branch_open", (None, None, 0))[2]
    return moved


def _shown(place: Place, tree: Tree, text: tuple[int, ...]) -> int | None:
    """Return the token to show: the one that was opened last in this tree, else the hardest decision of a text."""
    opened, node, _ = st.session_state.get("sampling:branch_open", (None, None, 0))
    return node if opened == place and node is not None else branches_tree.most_open(tree, text)


# ---- drawing


def _draw_tree(run: RunRef, place: Place, tree: Tree, greedy: tuple[int, ...], first: Written) -> None:
    _draw(run, place, tree, greedy, first, branches_view.rows(tree, greedy))
    anatomy.what_you_see(branches_view.sentences(tree, greedy, token_unit(run)))
    offers: list[anatomy.Experiment] = []
    if path := branches_tree.runner_up(tree, greedy):
        words = t("sampling.branch_try_other", number=len(path), unit=token_unit(run))
        offers.append((words, lambda: _wish(path)))
    words = t("sampling.branch_try_search")
    offers.append((words, lambda: st.session_state.update({"sampling:branch_is_search": True})))
    if len(tree.leaves()) > 2:
        offers.append((t("sampling.branch_try_again"), lambda: _start_again(place)))
    anatomy.try_this(offers, key="sampling:branch_try")


def _draw_search(run: RunRef, place: Place, tree: Tree, greedy: tuple[int, ...], first: Written) -> None:
    beams, penalty = _choose_search()
    _, _, prompt, length = place
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
    _draw(run, place, tree, greedy, first, rows, kept=kept, best=best)
    anatomy.what_you_see(branches_view.search_sentences(tree, greedy, found, best))
    more = next((count for count in BEAMS if count > beams), BEAMS[0])
    offers = [
        (t("sampling.branch_try_beams", count=more), lambda: st.session_state.update({"sampling:branch_beams": more})),
        (t("sampling.branch_try_own"), lambda: st.session_state.update({"sampling:branch_is_search": False})),
    ]
    anatomy.try_this(offers, key="sampling:branch_try_search")


def _draw(
    run: RunRef,
    place: Place,
    tree: Tree,
    greedy: tuple[int, ...],
    first: Written,
    rows: list[TextRow],
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
        branches_tree.cells(tree),
        prompt=tail,
        rows=rows,
        trunk=greedy,
        place=_shown(place, tree, best or greedy),
        moved=(place, _moved(), best),
        beams=kept,
        best=best,
        words=words,
    )
    branch_tree(data, key=KEY, on_grow=lambda: _wish(getattr(st.session_state[KEY], "grow", None)))
