"""The map and the row of one head: what is drawn is what was given, and the mask is seen."""

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.viz.attention import MixWords, attention_map, attention_row, mix_map
from minigpt.viz.palette import colours
from minigpt.viz.token_axes import AttentionWords, staircase, thinned

LIGHT = colours("light")
WORDS = AttentionWords("looks", "is looked at", "weight", "score", "no entry", "may look")


def weights(length: int) -> np.ndarray:
    """Causal weights whose rows sum to 1."""
    scores = np.tril(np.arange(1.0, length * length + 1).reshape(length, length))
    return scores / scores.sum(axis=1, keepdims=True)


def hatching(figure: go.Figure) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.type == "scatter" and trace.fillpattern.shape]


def tokens(length: int) -> list[str]:
    return [chr(97 + index % 26) for index in range(length)]


@given(st.integers(2, 40))
def test_the_outline_holds_exactly_the_forbidden_cells(length: int) -> None:
    x, y = staircase(length)
    area = abs(sum(x[i] * y[i + 1] - x[i + 1] * y[i] for i in range(len(x) - 1))) / 2  # shoelace formula
    assert (x[0], y[0]) == (x[-1], y[-1])
    assert area == pytest.approx(length * (length - 1) / 2)
    assert all(round(a + b) == a + b for a, b in zip(x, y, strict=True))  # only corners of cells


@given(st.integers(1, 2000), st.integers(1, 80))
def test_labels_fit_and_begin_at_the_first(length: int, room: int) -> None:
    shown = thinned(length, room)
    assert shown[0] == 0
    assert len(shown) <= room
    assert len(set(np.diff(shown))) <= 1


@pytest.mark.parametrize("length", [1, 2, 8, 60, 256])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_weights_are_drawn_as_they_are_on_a_scale_from_0_to_1(length: int, theme: str) -> None:
    values = weights(length)
    figure = attention_map(values, tokens(length), stage=3, palette=colours(theme), words=WORDS, query=0)
    drawn = figure.data[0]
    allowed = np.tril_indices(length)
    np.testing.assert_allclose(np.asarray(drawn.z)[allowed], values[allowed], rtol=1e-6)
    assert (drawn.zmin, drawn.zmax) == (0, 1)
    assert figure.layout.yaxis.scaleanchor == "x"
    assert len(figure.layout.xaxis.tickvals) <= 88
    assert len(figure.layout.xaxis.ticktext) == len(figure.layout.xaxis.tickvals)
    assert not figure.layout.xaxis.showgrid


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_future_is_hatched_from_the_mask_on_and_open_before(stage: int) -> None:
    scores = np.arange(16.0).reshape(4, 4)
    figure = attention_map(scores, tokens(4), stage=stage, palette=LIGHT, words=WORDS)
    drawn = np.asarray(figure.data[0].z)
    future = np.triu_indices(4, 1)
    if stage < 2:
        assert not hatching(figure)
        np.testing.assert_array_equal(drawn, scores)
    else:
        (overlay,) = hatching(figure)
        assert overlay.text == "no entry"
        assert np.isnan(drawn[future]).all()
        assert list(zip(overlay.x, overlay.y, strict=True)) == list(zip(*staircase(4), strict=True))


def test_scores_are_symmetric_about_zero() -> None:
    figure = attention_map(np.array([[-7.0, 1.0], [2.0, 3.0]]), tokens(2), stage=0, palette=LIGHT, words=WORDS)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-7, 7)


def test_one_token_has_nothing_to_hatch() -> None:
    figure = attention_map(np.ones((1, 1)), ["<bos>"], stage=3, palette=LIGHT, words=WORDS, query=0)
    assert not hatching(figure)
    assert figure.layout.xaxis.ticktext == ("⊢",)


def test_hover_names_both_tokens_visibly() -> None:
    masked, open_ = (
        attention_map(weights(2), [" ", "\n"], stage=stage, palette=LIGHT, words=WORDS).data[0].text for stage in (3, 0)
    )
    assert masked[1][0] == open_[1][0] == "⏎ 2 → ␣ 1"
    assert (masked[0][1], open_[0][1]) == ("", "␣ 1 → ⏎ 2")


def test_all_scores_equal_to_zero_still_make_a_scale() -> None:
    figure = attention_map(np.zeros((2, 2)), tokens(2), stage=0, palette=LIGHT, words=WORDS)
    assert figure.data[0].zmax > figure.data[0].zmin


@pytest.mark.parametrize("stage", [0, 3])
def test_a_row_shows_its_numbers_and_what_is_blocked(stage: int) -> None:
    row = np.array([0.2, 0.8, 0.0, 0.0])
    figure = attention_row(row, tokens(4), stage=stage, query=1, palette=LIGHT, words=WORDS)
    bars = np.asarray(figure.data[0].y)
    np.testing.assert_allclose(bars[:2], [0.2, 0.8])
    assert bool(hatching(figure)) == (stage == 3)
    if stage == 3:
        assert np.isnan(bars[2:]).all()
        assert figure.layout.yaxis.range == (0, 1)
        assert (min(hatching(figure)[0].x), max(hatching(figure)[0].x)) == (1.5, 3.5)


def test_masked_scores_with_minus_infinity_can_be_drawn() -> None:
    row = np.array([1.5, -np.inf])
    figure = attention_row(row, tokens(2), stage=2, query=0, palette=LIGHT, words=WORDS)
    assert np.isfinite(figure.layout.yaxis.range).all()


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_model_without_a_mask_is_drawn_whole(stage: int) -> None:
    scores = np.arange(9.0).reshape(3, 3) / 9
    figure = attention_map(scores, tokens(3), stage=stage, palette=LIGHT, words=WORDS, causal=False)
    np.testing.assert_allclose(np.asarray(figure.data[0].z), scores, rtol=1e-6)
    assert len(figure.data) == 1
    row = attention_row(scores[0], tokens(3), stage=stage, query=0, palette=LIGHT, words=WORDS, causal=False)
    assert not hatching(row)
    np.testing.assert_allclose(np.asarray(row.data[0].y), scores[0])


def test_the_parts_of_a_mix_add_up_to_what_stands_below_them() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    weights, values = weights_of_a_row(30), rng.normal(size=(40, 5))
    weights = np.concatenate([weights, np.zeros(10)])  # ten positions behind the mask
    parts = weights[:, None] * values
    figure = mix_map(
        weights,
        parts,
        parts.sum(axis=0),
        tokens(40),
        palette=LIGHT,
        words=MixWords(rest="{count} others", total="sum", number="n"),
    )
    drawn = np.asarray(figure.data[0].z, dtype=float)
    assert drawn.shape == (12 + 1 + 1 + 1, 5)
    assert figure.layout.yaxis.ticktext[12:] == ("18 others", "<b>sum</b>")
    np.testing.assert_allclose(drawn[:13].sum(axis=0), drawn[-1])
    assert np.isnan(drawn[-2]).all()


def test_a_mix_of_few_has_no_row_for_the_rest() -> None:
    figure = mix_map(
        np.array([1.0]),
        np.zeros((1, 3)),
        np.zeros(3),
        ["a"],
        palette=LIGHT,
        words=MixWords(rest="{count}", total="sum", number="n"),
    )
    assert figure.layout.yaxis.ticktext == ("a 1 × 1.000", "<b>sum</b>")
    assert figure.data[0].zmax > figure.data[0].zmin


def weights_of_a_row(length: int) -> np.ndarray:
    """Weights of different sizes that sum to 1."""
    raw = np.arange(1.0, length + 1)
    return raw / raw.sum()


def test_scaled_colours_are_marked_on_the_colour_bar():
    def bar_of(full):
        figure = attention_map(np.tril(np.ones((3, 3))) / 3, tokens(3), stage=3, palette=LIGHT, words=WORDS, full=full)
        return figure.data[0].zmax, figure.data[0].colorbar.ticktext

    assert bar_of(1.0) == (1.0, None)
    assert bar_of(0.25) == (0.25, ("0", "0.12", "≥ 0.25"))
