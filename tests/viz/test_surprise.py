import numpy as np
import pytest

from minigpt.viz.palette import colours
from minigpt.viz.surprise import CEILING, MOST_BARS, MOST_POINTS, SurpriseWords, _apart, smoothed, surprise_figure

WORDS = SurpriseWords(axis="bits per token", position="position in the text", bits="bits", mean="this text")


def test_smoothing_is_a_mean_over_a_window():
    values = np.arange(10.0)
    assert smoothed(values, 3)[1:-1] == pytest.approx(values[1:-1])
    assert smoothed([4.0], 5).tolist() == [4.0]


def test_short_texts_are_bars_with_lines_to_compare():
    figure = surprise_figure([1.0, 3.0], ["a", "\n"], {"uniform": 6.0, "bigram": 3.2}, palette=colours(), words=WORDS)
    assert figure.data[0].type == "bar"
    assert list(figure.data[0].y) == [1.0, 3.0]
    assert list(figure.data[0].customdata) == [1.0, 3.0]
    assert list(figure.data[0].hovertext) == ["a", "⏎"]
    assert {note.text for note in figure.layout.annotations} == {"uniform 6.00", "bigram 3.20", "<b>this text 2.00</b>"}
    assert sorted(shape.y0 for shape in figure.layout.shapes) == [2.0, 3.2, 6.0]
    assert figure.layout.yaxis.range[1] > 6


def test_long_texts_are_a_smoothed_line():
    bits = [1.0, 3.0] * MOST_BARS
    figure = surprise_figure(bits, ["a"] * len(bits), {}, palette=colours("dark"), words=WORDS)
    assert figure.data[0].type == "scatter"
    assert figure.data[0].y[50:-50] == pytest.approx([2.0] * (len(bits) - 100), abs=0.2)


@pytest.mark.parametrize("length", [MOST_BARS + 1, MOST_POINTS, MOST_POINTS + 1, 10_000, 10 * MOST_POINTS + 1])
def test_a_long_line_has_few_points_and_each_says_what_stands_there(length):
    bits = np.arange(length) % 97 / 7
    figure = surprise_figure(bits, [str(i) for i in range(length)], {}, palette=colours(), words=WORDS)
    line = figure.data[0]
    assert MOST_POINTS / 2 <= len(line.x) <= MOST_POINTS or len(line.x) == length
    assert list(line.hovertext) == [str(x - 1) for x in line.x]
    np.testing.assert_array_equal(line.customdata, bits[np.array(line.x) - 1])
    np.testing.assert_array_equal(line.y, smoothed(bits, max(3, length // 120))[np.array(line.x) - 1])


def test_an_unknown_character_does_not_flatten_the_rest():
    figure = surprise_figure([1.0, 27.0], ["a", "日"], {}, palette=colours(), words=WORDS)
    assert figure.layout.yaxis.range[1] == CEILING
    assert figure.data[0].customdata[1] == 27.0


def test_labels_keep_their_distance():
    placed = _apart({"a": 3.0, "b": 3.1, "c": 1.0}, 0.5)
    assert placed == {"c": 1.0, "a": 3.0, "b": 3.5}
