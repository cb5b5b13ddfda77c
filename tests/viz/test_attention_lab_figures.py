"""The figures of the mask lab, of averages and of effects: what is drawn is what was measured."""

import numpy as np
import plotly.graph_objects as go
import pytest

from minigpt.viz.attention_averages import DistanceWords, EntropyWords, distance_figure, entropy_figure
from minigpt.viz.attention_lab import (
    TokenChangeWords,
    UnmaskedWords,
    mask_map,
    token_change_figure,
    unmasked_loss_figure,
)
from minigpt.viz.attention_reason import ReasonWords, reason_figure
from minigpt.viz.palette import colours
from minigpt.viz.token_axes import AttentionWords

LIGHT = colours("light")
WORDS = AttentionWords("looks", "is looked at", "weight", "score", "not allowed to look", "may look")
UNMASKED = UnmaskedWords(step="s", loss="l", masked="with", unmasked="without", uniform="g")
TOKENS = list("abcdefgh")


def hatched(figure: go.Figure) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.type == "scatter" and trace.fillpattern.shape]


def test_the_mask_is_painted_and_one_column_marked() -> None:
    figure = mask_map(TOKENS, 3, palette=LIGHT, words=WORDS)
    cells = np.asarray(figure.data[0].z)
    assert np.isnan(cells[np.triu_indices(8, 1)]).all()
    assert (cells[3:, 3] == 2).all()
    assert (cells[4:, 4] >= 1).all()
    assert np.nansum(cells == 2) == 5
    assert len(hatched(figure)) == 1
    everybody = mask_map(TOKENS, 3, palette=LIGHT, words=WORDS, causal=False)
    assert not np.isnan(np.asarray(everybody.data[0].z)).any()
    assert not hatched(everybody)


@pytest.mark.parametrize("leak", [0.0, 1e-6])
def test_only_what_did_not_move_at_all_is_called_untouched(leak: float) -> None:
    effects = np.array([0, leak, 0, 0, 2.0, 1, 1, 1])
    figure = token_change_figure(effects, TOKENS, 4, palette=LIGHT, words=TokenChangeWords("moved", "exactly 0"))
    np.testing.assert_array_equal(np.asarray(figure.data[0].y), effects)
    assert bool(hatched(figure)) == (leak == 0)
    assert figure.data[0].marker.color[4] == LIGHT.key


def test_a_change_of_the_first_token_and_of_nothing_can_be_drawn() -> None:
    figure = token_change_figure(np.zeros(1), ["a"], 0, palette=LIGHT, words=TokenChangeWords("moved", "0"))
    assert figure.layout.yaxis.range[1] > 0


def test_two_trainings_are_told_apart_without_colour() -> None:
    masked, unmasked = [(0, 4.0), (10, 2.0)], [(0, 4.0), (10, 0.1)]
    figure = unmasked_loss_figure(masked, unmasked, 4.0, palette=LIGHT, words=UNMASKED, max_steps=10)
    lines = [trace for trace in figure.data if trace.hovertemplate]
    assert [tuple(line.y) for line in lines] == [(4.0, 2.0), (4.0, 0.1)]
    assert lines[0].line.dash != lines[1].line.dash
    assert any("without 0.10" in note.text for note in figure.layout.annotations)
    waiting = unmasked_loss_figure(masked, [], 4.0, palette=LIGHT, words=UNMASKED, max_steps=10)
    assert len([trace for trace in waiting.data if trace.hovertemplate]) == 1


def test_weights_stand_over_effects_and_disagreements_are_framed() -> None:
    weights, effects = np.linspace(0, 1, 8), np.linspace(-2, 0.5, 8)
    words = ReasonWords(weight="w", effect="e", blocked="no")
    figure = reason_figure(weights, effects, TOKENS, 5, [2, 4], palette=LIGHT, words=words)
    np.testing.assert_allclose(np.asarray(figure.data[0].y), weights)
    np.testing.assert_allclose(np.asarray(figure.data[1].y), effects)
    assert figure.layout.yaxis.range == (0, 1)
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(1.5, 2.5), (3.5, 4.5)]
    assert len(hatched(figure)) == 2
    assert len(set(figure.data[1].marker.color)) == 2


def test_averages_are_drawn_up_to_where_there_is_something() -> None:
    profile = np.array([0.2, 0.6, 0.2, 0.0001, 0.0])
    figure = distance_figure(profile, palette=LIGHT, words=DistanceWords("d", "w", "back"))
    np.testing.assert_allclose(np.asarray(figure.data[0].y), profile[:3])
    entropy, most = np.array([0, 0.5, 1.0]), np.log2([1, 2, 3])
    words = EntropyWords(position="p", bits="b", uniform="even")
    figure = entropy_figure(entropy, most, palette=LIGHT, words=words)
    np.testing.assert_allclose(np.asarray(figure.data[1].y), entropy)
    np.testing.assert_allclose(np.asarray(figure.data[0].y), most)
    one = entropy_figure(np.zeros(1), np.zeros(1), palette=LIGHT, words=words)
    assert one.layout.yaxis.range[1] > 0
