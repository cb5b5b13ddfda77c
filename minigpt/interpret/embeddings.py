"""Vectors as points and angles: tokens in two or three dimensions, their way through training, positions compared.

Shapes: V vectors (of tokens or positions), D d_model, T positions, K d_head, N steps of a history.
Source: Pearson 1901, "On Lines and Planes of Closest Fit to Systems of Points in Space", for principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigpt.errors import InputError, ShapeError
from minigpt.interpret.trace import to_numpy
from minigpt.model.positions import LearnedPositions, RotaryPositions
from minigpt.model.transformer import Transformer


@dataclass(frozen=True)
class Projection:
    """Vectors seen from the side from which they are spread out most.

    Attributes:
        points: Where each vector lies in that view, (V, d).
        components: The directions of the view, at right angles and of length 1, (d, D).
        mean: The middle of the vectors, (D,).
        explained: Share of the whole spread along each direction, (d,).
    """

    points: np.ndarray
    components: np.ndarray
    mean: np.ndarray
    explained: np.ndarray


def token_vectors(model: Transformer) -> np.ndarray:
    """Return the vector of every token, (V, D)."""
    return to_numpy(model.embedding.weight)


def principal_components(matrix: np.ndarray, dims: int = 2) -> Projection:
    """Project vectors on the directions in which they differ most.

    A direction and its opposite serve equally well; the one is taken whose largest number is positive, so that the
    picture does not depend on the machine.

    Args:
        matrix: (V, D).
        dims: d, how many directions.

    Raises:
        ShapeError: It is not a matrix with at least one row.
        InputError: There are no so many directions.
    """
    _check_matrix(matrix)
    if not 1 <= dims <= matrix.shape[1]:
        raise InputError(
            f"dims is {dims}; vectors of {matrix.shape[1]} numbers have 1 to {matrix.shape[1]} directions.",
            mend="Ask for 2 or 3.",
        )
    vectors = matrix.astype(np.float64)
    mean = vectors.mean(axis=0)
    # The eigenvectors of the covariance; unlike a decomposition of the vectors it always has D of them.
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
    """Show the vectors of several steps in one and the same view, so that their way can be drawn.

    Args:
        matrices: N times (V, D), for example `token_vectors` at each step of a history.
        basis: The view, mostly that of the last step.

    Returns:
        (N, V, d).

    Raises:
        ShapeError: The vectors have another length than those of the view.
    """
    for matrix in matrices:
        _check_matrix(matrix)
        if matrix.shape[1] != len(basis.mean):
            raise ShapeError(
                f"The vectors have {matrix.shape[1]} numbers, the view is for {len(basis.mean)}.",
                mend="Take both from one run.",
            )
    return np.stack([(matrix - basis.mean) @ basis.components.T for matrix in matrices]).astype(np.float32)


def cosine_similarity(matrix: np.ndarray) -> np.ndarray:
    """Return how alike each two vectors are in direction, from -1 to 1; a vector of zeros is like none.

    Args:
        matrix: (n, D).

    Returns:
        (n, n).
    """
    _check_matrix(matrix)
    vectors = matrix.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    return np.asarray(unit @ unit.T, np.float32).clip(-1, 1)


def position_similarity(model: Transformer) -> np.ndarray | None:
    """Return how alike each two positions look to the model, (T, T) from -1 to 1.

    Learned positions: the cosine between their vectors. Rotary ones: the product of a vector of equal pairs with
    itself, once turned for the one position and once for the other; it depends on their distance alone.

    Returns:
        None where the model has positions of another kind, or none.
    """
    length = model.config.sequence_length
    if isinstance(model.positions, LearnedPositions):
        return cosine_similarity(to_numpy(model.positions(0, length)))
    if isinstance(model.positions, RotaryPositions):
        turned = model.positions(0, length)[:, 0]  # (T, K/2), complex, each of length 1
        return to_numpy((turned @ turned.conj().T).real / turned.shape[1])
    return None


def _check_matrix(matrix: np.ndarray) -> None:
    if matrix.ndim != 2 or not matrix.size:
        raise ShapeError(
            f"The vectors have shape {matrix.shape}; they must be (V, D), at least one of them.",
            mend="Give a matrix with one row a vector.",
        )
