"""The tree of texts that begin with one prompt.

A node is a token. Its text is the way from the prompt to it, so texts that begin alike share their beginning. The
logarithm of a text's probability is the sum of its tokens' logarithms; it only falls.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from minigpt.app.components.branch_tree import TreeCell

if TYPE_CHECKING:
    from minigpt.generation.beam import BeamNode


MOST_NODES = 1000
"""Most tokens in a tree; a larger one can no longer be read."""

NUM_CANDIDATES = 6
"""Tokens offered at each place."""


class Candidate(NamedTuple):
    """A token that can follow, with the model's own probability."""

    token_id: int
    text: str
    probability: float


class Step(NamedTuple):
    """One token of a text.

    Attributes:
        token_id: The token.
        text: Its text; `END` for the token that ends a text.
        log_prob: Logarithm of its probability after all tokens before it, in nats.
        candidates: The most likely tokens at its place, most likely first.
    """

    token_id: int
    text: str
    log_prob: float
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Node:
    """One token of the tree.

    Attributes:
        step: The token.
        parent: Index of the token before it; None for a first one.
        column: How many tokens come before it.
        log_prob: Logarithm of the probability of the text up to this token, in nats.
    """

    step: Step
    parent: int | None
    column: int
    log_prob: float


@dataclass(frozen=True)
class Tree:
    """Texts that begin with one prompt. Nodes are only added, at the end, so an index stays valid; see `nodes`.

    Attributes:
        nodes: The tokens; each comes after its parent. The first text that was added is the greedy one.
    """

    nodes: tuple[Node, ...] = ()

    def grown(self, steps: Sequence[Step]) -> tuple[Tree, tuple[int, ...]]:
        """Add a text.

        Args:
            steps: Its tokens from the first one on; those that the tree has already are not added again.

        Returns:
            The tree, and the indices of the text's tokens in it.
        """
        nodes, known, way = list(self.nodes), self._places(), []
        parent: int | None = None
        for column, step in enumerate(steps):
            place = known.get((parent, step.token_id))
            if place is None:
                before = 0.0 if parent is None else nodes[parent].log_prob
                nodes.append(Node(step, parent, column, before + step.log_prob))
                place = len(nodes) - 1
            elif step.candidates and not nodes[place].step.candidates:
                nodes[place] = replace(nodes[place], step=step)
            way.append(place)
            parent = place
        return Tree(tuple(nodes)), tuple(way)

    def with_beams(
        self, beams: Sequence[BeamNode], text_of: Callable[[int], str]
    ) -> tuple[Tree, tuple[tuple[int, ...], ...]]:
        """Add all beginnings that a beam search kept for a step.

        Args:
            beams: The tree of the search.
            text_of: Returns the text of a token.

        Returns:
            The tree, and for each step of the search the indices of the tokens that it kept, best first.
        """
        nodes, known = list(self.nodes), self._places()
        places: list[int] = []
        kept: list[list[int]] = []
        for beam in beams:
            parent = None if beam.parent is None else places[beam.parent]
            place = known.get((parent, beam.token_id))
            if place is None:
                before = 0.0 if parent is None else nodes[parent].log_prob
                step = Step(beam.token_id, text_of(beam.token_id), beam.log_prob - before)
                nodes.append(Node(step, parent, beam.step, beam.log_prob))
                place = known[parent, beam.token_id] = len(nodes) - 1
            places.append(place)
            if beam.step == len(kept):
                kept.append([])
            kept[beam.step].append(place)
        return Tree(tuple(nodes)), tuple(map(tuple, kept))

    def way(self, place: int | None) -> tuple[int, ...]:
        """Return the indices of the tokens from the first one to this one; None is the prompt, which has none."""
        result: list[int] = []
        while place is not None:
            result.append(place)
            place = self.nodes[place].parent
        return tuple(reversed(result))

    def ids(self, place: int | None) -> tuple[int, ...]:
        """Return the token ids of the text up to a node."""
        return tuple(self.nodes[i].step.token_id for i in self.way(place))

    def text(self, place: int) -> str:
        """Return the text up to a node."""
        return "".join(self.nodes[i].step.text for i in self.way(place))

    def find(self, ids: Sequence[int]) -> int | None:
        """Return the last token of a text, given by its token ids; None if the tree does not have it."""
        known, place = self._places(), None
        for token_id in ids:
            place = known.get((place, token_id))
            if place is None:
                return None
        return place

    def children(self) -> dict[int | None, list[int]]:
        """Return the indices of the tokens after each node, in the order in which they came; None is the prompt."""
        result: dict[int | None, list[int]] = {}
        for place, node in enumerate(self.nodes):
            result.setdefault(node.parent, []).append(place)
        return result

    def leaves(self) -> list[int]:
        """Return the last token of each text."""
        parents = {node.parent for node in self.nodes}
        return [place for place in range(len(self.nodes)) if place not in parents]

    def lanes(self) -> list[int]:
        """Return the row in which to draw each node, from 0.

        A text runs on in its row; of several continuations the longest one does, and of equally long ones the first.
        The others take the nearest free row, below rather than above. The longest branch is placed first, and of
        equally long ones that which parts last: so no line to a branch of full length crosses another branch.
        """
        following, reach = self.children(), [0] * len(self.nodes)
        for place in reversed(range(len(self.nodes))):
            after = following.get(place)
            reach[place] = max(reach[i] for i in after) if after else self.nodes[place].column
        lanes = [0] * len(self.nodes)
        taken: list[set[int]] = []  # for each row the columns that are in use
        waiting: list[tuple[int, int, int, int]] = []  # (priority, priority, node, row of its parent)

        def wait(places: Sequence[int], lane: int) -> None:
            for place in places:
                heapq.heappush(waiting, (-reach[place], -self.nodes[place].column, place, lane))

        wait(following.get(None, ()), 0)
        while waiting:
            _, _, place, origin = heapq.heappop(waiting)
            columns = set(range(self.nodes[place].column - 1, reach[place] + 1))  # the first is for the line
            rows = sorted(range(len(taken) + 1), key=lambda row: (abs(row - origin), -row))
            lane = next(row for row in rows if row == len(taken) or not taken[row] & columns)
            if lane == len(taken):
                taken.append(set())
            taken[lane] |= columns
            while True:
                lanes[place] = lane
                after = following.get(place)
                if not after:
                    break
                longest = max(after, key=lambda i: reach[i])
                wait([i for i in after if i != longest], lane)
                place = longest
        return lanes

    def _places(self) -> dict[tuple[int | None, int], int]:
        """Return the index of each node by its parent and token."""
        return {(node.parent, node.step.token_id): place for place, node in enumerate(self.nodes)}


def runner_up(tree: Tree, way: Sequence[int]) -> tuple[int, ...]:
    """Return the branch to try next: at the hardest decision of a text the likeliest token that is not in the tree.

    Args:
        tree: The tree.
        way: The tokens of the text.

    Returns:
        The ids of its first tokens; empty if there is nothing left to try.
    """
    place = most_open(tree, way)
    if place is None:
        return ()
    node = tree.nodes[place]
    there = {other.step.token_id for other in tree.nodes if other.parent == node.parent}
    ids = [candidate.token_id for candidate in node.step.candidates if candidate.token_id not in there]
    return (*tree.ids(node.parent), ids[0]) if ids else ()


def most_nodes(limit: int) -> int:
    """Return how many tokens a tree may hold.

    Args:
        limit: Most tokens that the server writes in one request.
    """
    return min(limit, MOST_NODES)


def fits(tree: Tree, path: Sequence[int], length: int, most: int) -> bool:
    """Return whether a branch can be added to a tree.

    Args:
        tree: The tree.
        path: The ids of the branch's first tokens.
        length: Tokens of a text.
        most: How many tokens the tree may hold.
    """
    shared = sum(tree.find(path[: n + 1]) is not None for n in range(len(path)))
    return len(path) <= length and len(tree.nodes) + length - shared <= most


def most_open(tree: Tree, way: Sequence[int]) -> int | None:
    """Return the token of a text at which the runner-up came closest; None for an empty text."""
    gaps = [
        (node.step.candidates[0].probability - node.step.candidates[1].probability, place)
        for place in way
        if len((node := tree.nodes[place]).step.candidates) > 1
    ]
    return min(gaps)[1] if gaps else (way[0] if way else None)


def cells(tree: Tree) -> list[TreeCell]:
    """Return the tokens of a tree for drawing."""
    return [
        TreeCell(
            node.step.text,
            node.parent,
            node.column,
            lane,
            math.exp(node.step.log_prob),
            node.log_prob,
            tuple(node.step.candidates),
            node.step.token_id,
        )
        for node, lane in zip(tree.nodes, tree.lanes(), strict=True)
    ]
