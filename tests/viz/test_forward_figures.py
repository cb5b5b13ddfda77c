"""Figures of one step: what is drawn is what was given, bounded, and the followed position is seen."""

import numpy as np
import pytest

from minigpt.viz.forward import (
    MOST_CELLS,
    BarsWords,
    Piece,
    SizeWords,
    TensorWords,
    num_columns,
    size_tree,
    tensor_map,
    tensor_row,
    token_bars,
)
from minigpt.viz.palette import colours

LIGHT = colours("light")
WORDS = TensorWords(number="number", value="value")


@pytest.mark.parametrize(("length", "width"), [(1, 1), (8, 128), (256, 512), (256, 16384), (64, 300)])
def test_a_map_shows_the_first_numbers_and_never_more_than_it_may(length, width):
    values = np.arange(length * width, dtype=np.float32).reshape(length, width) - 5
    figure = tensor_map(values, ["x"] * length, palette=LIGHT, words=WORDS, position=length - 1)
    shown = np.asarray(figure.data[0].z)
    assert shown.shape == (length, num_columns(length, width))
    assert shown.size <= max(MOST_CELLS, 64 * length)
    assert np.array_equal(shown, values[:, : shown.shape[1]])
    (outline,) = figure.layout.shapes
    assert (outline.y0, outline.y1) == (length - 1.5, length - 0.5)
    assert (outline.x0, outline.x1) == (0.5, shown.shape[1] + 0.5)
    assert figure.data[0].zmin == -figure.data[0].zmax


def test_a_map_of_zeros_has_a_scale():
    figure = tensor_map(np.zeros((2, 3)), ["a", "b"], palette=LIGHT, words=WORDS, position=0)
    assert figure.data[0].zmax > 0


def test_hover_names_token_and_number_where_there_is_room():
    figure = tensor_map(np.ones((2, 3)), ["a", " "], palette=LIGHT, words=WORDS, position=0)
    assert figure.data[0].text[1][2] == "␣ 2 · number 3"
    assert tensor_map(np.ones((128, 128)), ["a"] * 128, palette=LIGHT, words=WORDS, position=0).data[0].text is None


def test_a_row_tells_positive_from_negative_by_more_than_its_sign():
    figure = tensor_row(np.array([1.0, -2.0, 0.0]), palette=LIGHT, words=WORDS)
    assert list(figure.data[0].y) == [1.0, -2.0, 0.0]
    assert figure.data[0].marker.color[0] != figure.data[0].marker.color[1]


def test_tokens_are_labelled_with_their_share():
    figure = token_bars(["a", " "], np.array([0.75, 0.2]), palette=LIGHT, words=BarsWords("probability"), is_share=True)
    assert list(figure.data[0].text) == ["75.0 %", "20.0 %"]
    assert [label.strip() for label in figure.layout.yaxis.ticktext] == ["a", "␣"]
    assert list(figure.layout.xaxis.range) == [0, 1]


def test_the_tree_adds_up_and_leaves_nothing_without_size():
    pieces = [
        Piece("Embedding", "Embedding", "embedding", 10),
        Piece("Block 1", "Attention", "attention", 30),
        Piece("Block 1", "Feed-forward", "feedforward", 50),
        Piece("Head", "Head", "head", 0),
        Piece("Unheard of", "Unheard of", "unheard", 10),
    ]
    tree = size_tree(pieces, palette=LIGHT, words=SizeWords("parameters")).data[0]
    sizes = dict(zip(tree.ids, tree.values, strict=True))
    assert sizes == {
        "Embedding": 10, "Block 1": 80, "Block 1/Attention": 30, "Block 1/Feed-forward": 50, "Unheard of": 10,
    }  # fmt: skip
    assert dict(zip(tree.ids, tree.customdata, strict=True))["Block 1"] == "80.0 %"
