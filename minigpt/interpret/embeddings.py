"""Vectors as points and angles: tokens in two or three dimensions, their path through training, similar positions.

    principal components   points = (x - mean) components^T, components: the directions of largest variance
    cosine similarity      cos(x, y) = x · y / (|x| |y|)

Shapes: V vectors (of tokens or positions), D d_model, T positions, K d_head, N steps of a history.
Source: Pearson 1901, "On Lines and Planes of Closest Fit to Systems of Points in Space", for principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.arguments import check_count
from minigpt.errors import InputError, ShapeError
from minigpt.interpret.trace import to_numpy
from minigpt.model.positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from minigpt.model.transformer import Transformer

MOST_POSITIONS = 1024
"""Positions compared with each other; a context may hold a million, which makes a million millions of pairs."""
_PAIRS = 4_000_000
"""Cosines in memory at a time."""


@dataclass(frozen=True)
class Projection:
    """Vectors projected on their principal components.

    Attributes:
        points: Coordinates of each vector in the projection, (V, d).
        components: The principal components, orthogonal and of length 1, (d, D).
        mean: Mean of the vectors, (D,).
        explained: Fraction of the total variance along each component, (d,).
    """

    points: np.ndarray
    components: np.ndarray
    mean: np.ndarray
    explained: np.ndarray


def token_vectors(model: Transformer) -> np.ndarray:
    """Return the vector of every token, (V, D)."""
    return to_numpy(model.embedding.weight)


def principal_components(matrix: np.ndarray, dims: int = 2) -> Projection:
    """Project vectors on the directions of their largest variance (PCA).

    A direction and its opposite are equally good. The one whose largest coordinate is positive is chosen, so that the
    picture is the same on every machine.

    Args:
        matrix: (V, D).
        dims: d, number of directions.

    Raises:
        ShapeError: `matrix` is not a matrix with at least one row.
        InputError: The vectors have fewer than `dims` directions.
    """
    _check_matrix(matrix)
    if not 1 <= dims <= matrix.shape[1]:
        raise InputError(
            f"dims is {dims}; vectors of {matrix.shape[1]} numbers have 1 to {matrix.shape[1]} directions.",
            mend="Ask for 2 or 3.",
        )
    vectors = matrix.astype(np.float64)
    mean = vectors.mean(axis=0)
    # Eigenvectors of the covariance: there are always D of them, unlike singular vectors of fewer than D vectors.
    spread, directions = np.linalg.eigh((vectors - mean).T @ (vectors - mean))
    spread, components = spread[::-1].clip(min=0), directions.T[::-1][:dims]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(dims), largest])[:, None]
    return Projection(
        points=((vectors - mean) @ components.T).astype(np.float32),
        components=components.astype(np.float32),
        mean=mean.astype(np.float32),
        explained=(spread[:dims] / max(spread.sum(), 1e-30)).astype(np.float32),
    )


def trail(matrices: Sequence[np.ndarray], basis: Projection) -> np.ndarray:
    """Project the vectors of several steps on the same components, so that their paths can be drawn.

    Args:
        matrices: N matrices (V, D), for example `token_vectors` at each step of a history.
        basis: The projection to use, usually that of the last step.

    Returns:
        (N, V, d).

    Raises:
        ShapeError: The vectors and the projection differ in length.
    """
    for matrix in matrices:
        _check_matrix(matrix)
        if matrix.shape[1] != len(basis.mean):
            raise ShapeError(
                f"The vectors have {matrix.shape[1]} numbers, the projection is for {len(basis.mean)}.",
                mend="Take both from one run.",
            )
    return np.stack([(matrix - basis.mean) @ basis.components.T for matrix in matrices]).astype(np.float32)


def cosine_similarity(matrix: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between each two vectors, from -1 to 1; 0 with a vector of zeros.

    Args:
        matrix: (n, D).

    Returns:
        (n, n).
    """
    unit = _unit(matrix)
    return np.asarray(unit @ unit.T, np.float32).clip(-1, 1)


def _unit(matrix: np.ndarray) -> np.ndarray:
    """Return the vectors, each divided by its length."""
    _check_matrix(matrix)
    vectors = matrix.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def nearest_neighbours(matrix: np.ndarray, count: int = 3) -> list[list[tuple[int, float]]]:
    """Return for each vector the others that are most like it in direction.

    Args:
        matrix: (n, D).
        count: Neighbours at most for each.

    Returns:
        For each vector (index, cosine) of its neighbours, the nearest first; equally near ones in their order.
    """
    check_count("count", count)
    unit = _unit(matrix)
    found: list[list[tuple[int, float]]] = []
    rows = max(1, _PAIRS // len(unit))  # the cosines of some vectors with all, as a large vocabulary has too many pairs
    for start in range(0, len(unit), rows):
        similar = np.asarray(unit[start : start + rows] @ unit.T, np.float32).clip(-1, 1)  # (rows, n)
        each = np.arange(len(similar))
        similar[each, start + each] = -np.inf  # so that no vector is its own neighbour
        nearest: list[list[tuple[int, float]]] = [[] for _ in each]
        for _ in range(min(count, len(unit) - 1)):
            best = similar.argmax(axis=1)  # the first of equally near ones
            for row, other in enumerate(best.tolist()):
                nearest[row].append((other, float(similar[row, other])))
            similar[each, best] = -np.inf
        found += nearest
    return found


def position_similarity(model: Transformer) -> np.ndarray | None:
    """Return how similar each two of the first positions are to the model, (T, T), from -1 to 1.

    T is the context, but at most `MOST_POSITIONS`.

    For learned and sinusoidal positions, this is the cosine between their vectors. For rotary positions, it is the mean
    over all pairs of cos(angle at one position - angle at the other), which depends only on their distance.

    Returns:
        None if the model has another kind of positions, or none.
    """
    length = min(model.config.sequence_length, MOST_POSITIONS)
    if isinstance(model.positions, LearnedPositions | SinusoidalPositions):
        return cosine_similarity(to_numpy(model.positions(0, length)))
    if isinstance(model.positions, RotaryPositions):
        rotations = model.positions(0, length)[:, 0]  # (T, K/2), complex, each of length 1
        return to_numpy((rotations @ rotations.conj().T).real / rotations.shape[1])
    return None


def _check_matrix(matrix: np.ndarray) -> None:
    given = f"shape {matrix.shape}" if isinstance(matrix, np.ndarray) else f"type {type(matrix).__name__}"
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or not matrix.size:
        raise ShapeError(
            f"The vectors have {given}; they must be (V, D), at least one of them, in an array.",
            mend="Give a matrix with one row per vector.",
        )
    if not np.issubdtype(matrix.dtype, np.number) or not np.isfinite(matrix).all():
        raise InputError("The vectors are not all finite numbers.", mend="Take the weights of an earlier step.")
