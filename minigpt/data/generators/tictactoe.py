"""Tic-tac-toe: one legal game a line, with its result.

The grammar: squares are called a1 to c3, X begins, and a line is the moves and the result, as in
`b2 a1 c3 a3 a2 c2 c1 b1 b3 draw`. A player who can win at once does so; if several squares win, or none does, each of
them is equally likely.

The entropy rate is exact: both expectations are sums over all positions that can be reached, found backwards from the
ends of the games. With k equally likely moves in a position,

    H(position) = log2 k + mean of H over the positions that follow          H(end) = 0
    rate = H(empty board) / E[characters]          3 characters a move, and the result with its line end

A move is a square that is still free, and three in a row end the game. To write that, the model has to keep the board,
which it has never seen.

Reads after: items.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import fmean

from minigpt.data.generators.generator import CorpusGenerator, Count, Verdict
from minigpt.data.generators.items import Draws, endless, grouped

SQUARES = tuple(f"{column}{row}" for column in "abc" for row in "123")
_ROWS = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
RESULTS = {0: "X wins", 1: "O wins", None: "draw"}
Board = tuple[frozenset[int], frozenset[int]]
"""The squares of the player to move, and those of the other one."""
EMPTY: Board = (frozenset(), frozenset())


def has_won(squares: frozenset[int]) -> bool:
    """Return whether a player's squares hold three in a row."""
    return any(squares.issuperset(row) for row in _ROWS)


@functools.cache
def _is_over(board: Board) -> bool:
    return has_won(board[1]) or len(board[0]) + len(board[1]) == len(SQUARES)


def _after(board: Board, square: int) -> Board:
    """Return the board behind a move, from the other player's side."""
    return board[1], board[0] | {square}


@functools.cache
def moves(board: Board) -> Sequence[int]:
    """Return the squares among which the player to move chooses: those that win at once, else all free ones."""
    free = [square for square in range(len(SQUARES)) if square not in board[0] | board[1]]
    return [square for square in free if has_won(board[0] | {square})] or free


def _result(board: Board) -> str:
    """Return the result of a game that is over."""
    count = len(board[0]) + len(board[1])
    return RESULTS[(count - 1) % 2 if has_won(board[1]) else None]


def _game(draws: Draws) -> str:
    text, board = "", EMPTY
    while not _is_over(board):
        square = draws.pick(moves(board))
        text, board = f"{text}{SQUARES[square]} ", _after(board, square)
    return f"{text}{_result(board)}\n"


@functools.cache
def _rest(board: Board) -> tuple[float, float]:
    """Return the entropy of the rest of a game in bits, and its expected number of characters."""
    if _is_over(board):
        return 0.0, len(_result(board)) + 1.0
    options = moves(board)
    rests = [_rest(_after(board, square)) for square in options]
    return math.log2(len(options)) + fmean(bits for bits, _ in rests), 3 + fmean(length for _, length in rests)


def entropy_bits_per_char() -> float:
    """Return the entropy rate, see above."""
    bits, length = _rest(EMPTY)
    return bits / length


def referee(text: str) -> Verdict:
    r"""Count the legal moves and the right results.

    Of each line, moves count up to the first one that is not legal. A line has a right result if the result ends the
    game as the board says.

    >>> referee("a1 b1 a2 b2 a3 X wins\na1 a1 b2 ")
    (Count(what='moves', right=6, total=7), Count(what='results', right=1, total=1))
    """
    right = total = right_results = results = 0
    *lines, unfinished = text.split("\n")
    for line, is_whole in [*((line, True) for line in lines), (unfinished.rpartition(" ")[0], False)]:
        board, left = EMPTY, line.split(" ") if line else []
        while left and not _is_over(board):
            square = left.pop(0)
            total += 1
            if square not in SQUARES or SQUARES.index(square) in board[0] | board[1]:
                break
            right += 1
            board = _after(board, SQUARES.index(square))
        if is_whole:
            results += 1
            right_results += _is_over(board) and " ".join(left) == _result(board)
    return Count("moves", right, total), Count("results", right_results, results)


TICTACTOE = CorpusGenerator(
    name="tictactoe",
    title="Tic-tac-toe",
    description="Games in which every move is legal: to write them, a model has to keep a board that it never sees.",
    origin="minigpt's generator of tic-tac-toe",
    write=endless(_game, 10),
    documents=grouped(),
    grammar="Each line is a game on the squares a1 to c3. Players win where they can, else they move at random.",
    entropy_bits_per_char=entropy_bits_per_char,
    referee=referee,
)
