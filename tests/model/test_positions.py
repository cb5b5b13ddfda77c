"""Positions: rotary ones compared with a loop of 2 x 2 rotations, and the property that makes them work."""

import math

import pytest
import torch

from minigpt.model.positions import (
    ANGLE_BASE,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    alibi_bias,
    rotate,
)


def rotate_by_loop(x, start=0):
    """The slow, obvious version: rotate one pair at a time by its 2 x 2 matrix, in float64."""
    result = x.double().clone()
    d_head = x.shape[-1]
    for t in range(x.shape[1]):
        for i in range(d_head // 2):
            angle = (start + t) * ANGLE_BASE ** (-2 * i / d_head)
            matrix = torch.tensor(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
            )
            result[:, t, :, 2 * i : 2 * i + 2] = x[:, t, :, 2 * i : 2 * i + 2].double() @ matrix.T
    return result.float()


@pytest.mark.parametrize("start", [0, 5])
def test_rotation_equals_the_loop(start, generator):
    x = torch.randn(2, 4, 3, 8, generator=generator)
    torch.testing.assert_close(rotate(x, RotaryPositions(16, 8)(start, 4)), rotate_by_loop(x, start))


def test_a_quarter_turn_by_hand():
    rotation = torch.tensor([[[1j]]])  # cos 90 = 0, sin 90 = 1
    assert rotate(torch.tensor([[[[3.0, 4.0]]]]), rotation).flatten().tolist() == [-4.0, 3.0]


def test_rotation_keeps_lengths_and_leaves_position_zero_alone(generator):
    x = torch.randn(1, 16, 2, 8, generator=generator)
    turned = rotate(x, RotaryPositions(16, 8)(0, 16))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, 0], x[:, 0])


def test_products_depend_on_the_distance_alone(generator):
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator)
    table = RotaryPositions(64, 8)
    products = [(rotate(q, table(p + 3, 1)) * rotate(k, table(p, 1))).sum() for p in (0, 10, 60)]
    torch.testing.assert_close(torch.stack(products), products[0].expand(3))


def test_the_table_is_no_longer_than_needed_and_its_values_do_not_depend_on_its_length():
    whole = RotaryPositions(200, 8)
    whole.reserve(200)
    grown = RotaryPositions(200, 8)
    assert len(grown.table) == 0
    for length, rows in ((1, 1), (3, 4), (2, 4), (65, 128), (150, 200)):
        assert torch.equal(grown(0, length), whole(0, length))
        assert len(grown.table) == rows
    huge = RotaryPositions(1 << 20, 4096)
    assert torch.equal(huge(5, 2), RotaryPositions(16, 4096)(5, 2))
    assert len(huge.table) == 8


def test_a_table_made_in_inference_mode_is_used_with_gradients(generator):
    positions = RotaryPositions(16, 8)
    with torch.inference_mode():
        positions(0, 8)
    x = torch.randn(1, 8, 1, 8, generator=generator, requires_grad=True)
    rotate(x, positions(0, 8)).sum().backward()
    assert x.grad is not None


def test_half_precision_stays_half(generator):
    x = torch.randn(1, 4, 1, 8, generator=generator, dtype=torch.float16)
    assert rotate(x, RotaryPositions(8, 8)(0, 4)).dtype == torch.float16


def test_learned_positions_are_a_slice_of_the_table(generator):
    positions = LearnedPositions(6, 2)
    with torch.no_grad():
        positions.weight.normal_(generator=generator)
    assert torch.equal(positions(2, 3), positions.weight[2:5])


def test_sinusoidal_positions_by_hand():
    positions = SinusoidalPositions(1 << 20, 4)  # angles: t and t / 100
    for t in (0, 1, 12_345):
        expected = [math.sin(t), math.cos(t), math.sin(t / 100), math.cos(t / 100)]
        assert positions(t, 1)[0].tolist() == pytest.approx(expected, abs=1e-6)
    odd = SinusoidalPositions(8, 3)(2, 1)[0].tolist()  # the second pair is cut in half
    assert odd == pytest.approx([math.sin(2), math.cos(2), math.sin(2 * ANGLE_BASE ** (-2 / 3))], abs=1e-6)


def test_the_bias_of_alibi_is_that_of_the_paper():
    bias = alibi_bias(8, 2, 3)  # slopes 1/2, 1/4, ..., 1/256 for eight heads; the queries are positions 1 and 2
    for head in range(8):
        slope = 2.0 ** -(head + 1)
        assert bias[head].tolist() == [[-slope, 0, -slope], [-2 * slope, -slope, 0]]
