"""Figures of the Circuits page: every number that was given is on them, and nothing else is said."""

import numpy as np
import pytest

from minigpt.viz import cells, circuits, circuits_history, circuits_stream, circuits_vectors
from minigpt.viz.palette import colours

LIGHT = colours("light")


def texts(figure):
    return [note.text for note in figure.layout.annotations]


@pytest.mark.parametrize("heads", [2, 12])
def test_scores_stand_in_their_cells_where_there_is_room(heads):
    scores = {name: np.full((3, heads), value, np.float32) for name, value in (("a", 0.25), ("b", 0.0), ("c", 0.004))}
    figure = circuits.scores_figure(scores, palette=LIGHT, words=circuits.ScoresWords({"a": "A", "b": "B", "c": "C"}))
    maps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.z.shape for trace in maps] == [(3, heads)] * 3
    labels = [set(trace.text) for trace in figure.data if trace.type == "scatter"]
    assert labels == ([{"25"}, {"0"}, {"<1"}] if heads == 2 else [])


def test_a_label_is_read_on_its_cell():
    labels = cells.cell_labels([["a", "b"]], np.array([[0.1, 0.9]]), LIGHT)
    assert list(labels.textfont.color) == [LIGHT.text, LIGHT.background]


def test_the_strongest_heads_are_named_and_the_history_keeps_every_step():
    steps = [0, 10, 100]
    scores = np.zeros((3, 2, 2))
    scores[:, 1, 0] = (0, 0.2, 0.9)
    scores[:, 0, 1] = (0, 0.1, 0.3)
    curves = {"val_loss": [(0, 4.0), (100, 1.5)], "loss_ema": [(1, 4.0), (100, float("nan"))]}
    words = circuits_history.EmergenceWords("loss", "score", "step", training="training", validation="validation")
    figure = circuits_history.emergence_figure(curves, steps, scores, palette=LIGHT, words=words, at=10, num_named=2)
    named = [text for text in texts(figure) if text.startswith("<b>")]
    assert named == ["<b>2.1</b>  90 %", "<b>1.2</b>  30 %"]
    assert "validation 1.50" in texts(figure)
    lines = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert len(lines) == 4
    assert all(list(trace.customdata) == steps for trace in lines)
    assert list(lines[-1].y) == [0, 0.2, 0.9]  # the strongest is drawn last, over the others


def test_a_change_has_an_arrow_only_where_something_moved():
    changes = [circuits.Change("a", 0.5, 0.2), circuits.Change(" ", 0.1, 0.4), circuits.Change("<", 0.3, 0.302)]
    figure = circuits.change_figure(changes, palette=LIGHT, words=circuits.ChangeWords("before", "after"))
    assert [text[0] for text in texts(figure)] == ["▼", "▲", "<"]
    assert list(figure.data[0].marker.color) == [LIGHT.down, LIGHT.up, LIGHT.sequential[4]]
    assert list(figure.data[1].x) == [0.5, 0.1, 0.3]
    assert list(figure.layout.yaxis.ticktext) == ["a", "␣", "&lt;"]


def test_bars_of_a_sum_begin_where_the_one_before_ended():
    parts = [("embedding", 1.0), ("1.1", -3.0), ("FF 1", 2.5)]
    words = circuits_stream.WaterfallWords(total="sum", unit="score")
    figure = circuits_stream.waterfall_figure(parts, 0.5, palette=LIGHT, words=words)
    (bars,) = figure.data
    assert list(bars.base) == [0, 1, -2, 0]
    assert list(bars.x) == [1, -3, 2.5, 0.5]
    assert texts(figure) == ["+1.00", "−3.00", "+2.50", "<b>+0.50</b>"]
    assert bars.marker.color[0] != bars.marker.color[1]


def test_the_lens_shows_rows_of_the_text_and_outlines_one():
    figure = circuits_stream.lens_figure(
        [[["a", "c"], ["b", "c"]], [["\n", "c"], ["<b>", "c"]]],
        np.array([[[0.1, 0.0], [0.9, 0.05]], [[0.2, 0.1], [0.3, 0.2]]]),
        np.array([[3, 2], [0, 0]]),
        words=circuits_stream.LensWords(actual="{token} is number {rank}"),
        places=["start", "after 1"],
        tokens=["t", " "],
        following=["<", ""],
        first=6,
        selected=1,
        palette=LIGHT,
    )
    assert list(figure.layout.yaxis.ticktext) == ["7 t", "8 ␣"]
    assert list(figure.data[1].text) == ["a", "b", "⏎", "&lt;b&gt;"]
    (outline,) = figure.layout.shapes
    assert (outline.y0, outline.y1) == (0.5, 1.5)
    hovers = figure.data[0].customdata
    assert hovers[0][1] == "7 · after 1<br><b>b</b> 90.0 %<br><b>c</b> 5.0 %<br>&lt; is number 2"
    assert hovers[1][0] == "8 · start<br><b>⏎</b> 20.0 %<br><b>c</b> 10.0 %"


def test_patches_are_drawn_around_zero():
    recovered = np.array([[0.0, 1.0], [-0.5, 0.2], [0.0, 0.0]])  # P = 3, T = 2
    figure = circuits_stream.patch_figure(
        recovered,
        ["a", "b"],
        ["a", "<"],
        palette=LIGHT,
        words=circuits_stream.PatchWords("comes back"),
        places=["start", "1", "2"],
    )
    assert list(figure.layout.yaxis.ticktext) == ["1 a", "2 <b>b/&lt;</b>"]
    assert figure.data[0].z.shape == (2, 3)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)
    assert list(figure.data[1].text) == ["", "−50", "", "100", "20", ""]
    words = circuits_stream.HeadsWords("x", layer="Layer", head="Head")
    heads = circuits_stream.heads_figure(np.array([[0.5, -2.0]]), palette=LIGHT, words=words)
    assert (heads.data[0].zmin, heads.data[0].zmax) == (-2, 2)


@pytest.mark.parametrize("dims", [2, 3])
def test_tokens_carry_their_own_text_and_trails_have_gaps(dims):
    points = np.arange(3 * dims, dtype=float).reshape(3, dims)
    trails = np.stack([np.zeros((3, dims)), points])
    figure = circuits_vectors.points_figure(
        points,
        ["a", " ", "&"],
        [0, 2, 2],
        explained=[0.5] * dims,
        trails=trails,
        palette=LIGHT,
        words=circuits_vectors.PointsWords(["vowel", "consonant", "other"], axis="direction {number}, {share}"),
    )
    ways, vowels, others = figure.data
    assert len(ways.x) == 3 * (2 + 1)
    assert np.isnan(ways.x[2])
    assert list(vowels.text) == ["a"]
    assert list(others.text) == ["␣", "&amp;"]


def test_positions_are_compared_from_one():
    words = circuits_vectors.SimilarityWords(position="position", similarity="alike")
    figure = circuits_vectors.similarity_figure(np.eye(4), palette=LIGHT, words=words)
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)
