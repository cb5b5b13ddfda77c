"""Projections of points with a known shape, trails in one projection, and similar positions."""

import numpy as np
import pytest

from minigpt.errors import InputError, ShapeError
from minigpt.interpret import embeddings
from minigpt.interpret.embeddings import (
    cosine_similarity,
    nearest_neighbours,
    position_similarity,
    principal_components,
    token_vectors,
    trail,
)


def test_a_cloud_along_two_axes_by_hand():
    """Spread 2 * 9 along the second axis, 2 * 1 along the first, none along the third."""
    matrix = np.array([[1, 3, 5], [1, -3, 5], [-1, 3, 5], [-1, -3, 5]], np.float32) + np.float32(10)
    view = principal_components(matrix)
    np.testing.assert_allclose(view.components, [[0, 1, 0], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(view.points, [[3, 1], [-3, 1], [3, -1], [-3, -1]], atol=1e-5)
    np.testing.assert_allclose(view.explained, [0.9, 0.1], atol=1e-6)
    np.testing.assert_allclose(view.mean, [10, 10, 15])


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_agrees_with_the_singular_values(make, dims):
    matrix = token_vectors(make())
    view = principal_components(matrix, dims)
    centred = matrix - matrix.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(view.points, axis=0), singular[:dims], rtol=1e-4)
    np.testing.assert_allclose(view.explained, singular[:dims] ** 2 / (singular**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(view.components @ view.components.T, np.eye(dims), atol=1e-5)
    assert (view.components[np.arange(dims), np.abs(view.components).argmax(axis=1)] > 0).all()


def test_fewer_vectors_than_directions():
    view = principal_components(np.array([[1.0, 2.0, 3.0]]), 3)
    np.testing.assert_allclose(view.points, 0, atol=1e-6)
    np.testing.assert_allclose(view.explained, 0)


def test_a_trail_ends_at_the_projected_points_of_its_basis():
    first, last = np.eye(4, 5, dtype=np.float32), np.diag([4.0, 3, 2, 1])[:, [0, 1, 2, 3, 3]].astype(np.float32)
    view = principal_components(last)
    way = trail([first, last], view)
    assert way.shape == (2, 4, 2)
    np.testing.assert_allclose(way[1], view.points, atol=1e-5)
    assert not np.allclose(way[0], way[1])


def test_similarity_by_hand():
    similarity = cosine_similarity(np.array([[2.0, 0.0], [3.0, 3.0], [-1.0, 0.0], [0.0, 0.0]]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        similarity, [[1, half, -1, 0], [half, 1, -half, 0], [-1, -half, 1, 0], [0] * 4], atol=1e-6
    )


def test_rotary_positions_differ_by_distance_alone(make):
    similarity = position_similarity(make())
    assert similarity.shape == (16, 16)
    angles = 3 * 10_000.0 ** -np.array([0, 0.5])  # head width 4: two pairs
    for start in range(13):
        assert similarity[start, start + 3] == pytest.approx(np.cos(angles).mean(), abs=1e-5)
    np.testing.assert_allclose(np.diag(similarity), 1, rtol=1e-5)


def test_learned_positions_are_compared_by_their_vectors(make):
    model = make(positions="learned")
    weights = model.positions.weight.detach().numpy()
    np.testing.assert_allclose(position_similarity(model), cosine_similarity(weights))


def test_what_is_no_matrix_is_refused():
    for wrong in (np.zeros(3), np.zeros((0, 3))):
        with pytest.raises(ShapeError, match=r"must be \(V, D\)"):
            principal_components(wrong)
        with pytest.raises(ShapeError, match=r"must be \(V, D\)"):
            cosine_similarity(wrong)
    with pytest.raises(InputError, match="dims is 4"):
        principal_components(np.zeros((5, 3)), 4)
    with pytest.raises(ShapeError, match=r"2 numbers, the projection is for 3"):
        trail([np.zeros((5, 2))], principal_components(np.eye(3)))


def test_nearest_neighbours_of_many_vectors_are_those_of_the_whole_matrix(monkeypatch):
    matrix = np.random.default_rng(0).integers(-1, 2, (30, 3))  # many are equally near, some are zero
    similar = cosine_similarity(matrix)
    np.fill_diagonal(similar, -np.inf)
    order = np.argsort(-similar, axis=1, kind="stable")[:, :5]
    monkeypatch.setattr(embeddings, "_PAIRS", 100)  # three rows at a time
    found = nearest_neighbours(matrix, 5)
    for row, (near, wanted) in enumerate(zip(found, order.tolist(), strict=True)):
        np.testing.assert_allclose([similar[row, other] for other, _ in near], similar[row, wanted], atol=1e-6)


def test_few_of_a_million_positions_are_compared(make):
    assert position_similarity(make(sequence_length=1 << 20)).shape == (1024, 1024)


def test_nearest_neighbours_by_hand():
    matrix = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    found = nearest_neighbours(matrix, 2)
    assert [[index for index, _ in row] for row in found] == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert found[0][1][1] == pytest.approx(0, abs=1e-6)
    assert [len(row) for row in nearest_neighbours(matrix)] == [3] * 4
    assert nearest_neighbours(matrix[:1]) == [[]]
