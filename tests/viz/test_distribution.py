import json

import pytest

from minigpt.viz.distribution import SamplingWords, TokenChance, dice_figure, next_token_figure
from minigpt.viz.palette import colours

WORDS = SamplingWords(before="the model", after="after the rule", cut="cut", dice="dice")
CHANCES = [TokenChance("e", 0.5, 0.625, 0.0), TokenChance(" ", 0.3, 0.375, 0.625), TokenChance("<b>", 0.2, 0.0, 1.0)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_show_before_hollow_and_after_filled(theme):
    palette = colours(theme)
    figure = next_token_figure(CHANCES, chosen=1, palette=palette, words=WORDS)
    after, before = figure.data
    assert list(before.x) == [0.5, 0.3, 0.2]
    assert list(after.x) == [0.625, 0.375, 0.0]
    assert before.marker.color == "rgba(0,0,0,0)"
    assert after.marker.color[1] == palette.brand != after.marker.color[0]
    assert list(figure.layout.yaxis.ticktext) == ["e", "<b>␣</b>", "&lt;b&gt;"]
    assert [note.text for note in figure.layout.annotations] == ["62 %", "<b>38 %</b>", "<i>cut</i>"]
    assert "&lt;b&gt;" in json.loads(figure.to_json())["data"][0]["customdata"][2]


def test_a_bar_that_is_longer_than_the_axis_says_so():
    figure = next_token_figure([TokenChance("a", 0.2, 1.0, 0.0)], chosen=0, palette=colours(), words=WORDS, longest=0.4)
    note = figure.layout.annotations[0]
    assert note.text == "<b>100 % ➔</b>"
    assert note.x < figure.layout.xaxis.range[1]


def test_the_dice_stands_where_it_fell():
    figure = dice_figure(CHANCES[:2], u=0.73, chosen=1, palette=colours(), words=WORDS)
    (bars,) = figure.data
    assert list(zip(bars.base, bars.x, strict=True)) == [(0.0, 0.625), (0.625, 0.375)]
    assert CHANCES[1].low <= figure.layout.shapes[0].x0 == 0.73 < CHANCES[1].high
    assert "0.73" in figure.layout.annotations[0].text
    assert bars.text[1] == "␣"


def test_narrow_segments_are_drawn_without_their_token():
    figure = dice_figure([TokenChance("a", 0.01, 0.01, 0.0)], u=0.0, chosen=0, palette=colours(), words=WORDS)
    assert figure.data[0].text == ("",)
