"""Figures of a training: what is drawn where, and that nothing is drawn outside its axes."""

from __future__ import annotations

import itertools
import math

import pytest

from minigpt.viz.layout import spread
from minigpt.viz.palette import colours
from minigpt.viz.training import LayersWords, LossWords, ScheduleWords, layers_figure, loss_figure, schedule_figure

LOSS = {
    "palette": colours("light"),
    "words": LossWords(
        step="step",
        loss="loss, nats per token",
        training="training",
        validation="validation",
        hover="{name} {loss}, perplexity {perplexity}",
        best="best: {loss} at step {step}",
        whole="on all of it {loss}",
        references={"uniform": "uniform", "unigram": "unigram", "bigram": "bigram"},
        entropy="entropy",
    ),
}
RATE = {"palette": colours("light"), "words": ScheduleWords("step", rate="Rate", hover="{name} {rate} at step {step}")}
UPDATE = {"palette": colours("light"), "words": LayersWords("Update")}
BASELINES = {"uniform": 4.0, "unigram": 3.0, "bigram": 2.3}


def words(figure):
    return [annotation.text for annotation in figure.layout.annotations]


def rings(figure):
    return [trace for trace in figure.data if trace.mode == "markers"]


@pytest.mark.parametrize(
    ("loss", "entropy", "anchor"), [(2.0, None, "top"), (0.2, None, "bottom"), (2.0, 1.7, "bottom"), (2.0, 0.4, "top")]
)
def test_the_best_measurement_is_ringed_and_named_where_there_is_room(loss, entropy, anchor):
    curves = {"val_loss": [(0, 4.0), (600, loss), (800, loss + 0.3)]}
    figure = loss_figure(curves, BASELINES, **LOSS, max_steps=1000, best_step=600, entropy=entropy)
    (ring,) = rings(figure)
    assert (list(ring.x), list(ring.y)) == ([600], [loss])
    label = next(annotation for annotation in figure.layout.annotations if annotation.text.startswith("best"))
    assert label.text == f"best: {loss:.2f} at step 600"
    assert (label.xanchor, label.yanchor) == ("center", anchor)


def test_a_last_measurement_on_all_of_it_has_a_label_of_its_own_and_the_best_stays_the_lowest_point():
    curves = {"val_loss": [(0, 4.0), (300, 1.5), (400, 1.53)]}
    figure = loss_figure(curves, BASELINES, **LOSS, max_steps=400, best_step=300, whole=1.48)
    assert {"best: 1.50 at step 300", "<b>validation 1.53</b>", "on all of it 1.48"} <= set(words(figure))
    for whole in (None, 1.5301):
        figure = loss_figure(curves, BASELINES, **LOSS, max_steps=400, whole=whole)
        assert not any("all of it" in word for word in words(figure))


def test_a_best_step_that_was_not_measured_is_not_drawn():
    for best_step in (None, 7):
        figure = loss_figure({"val_loss": [(0, 4.0)]}, BASELINES, **LOSS, max_steps=10, best_step=best_step)
        assert not rings(figure)


def test_one_rate_needs_no_name_and_two_are_told_apart_without_colour():
    falling = [(0, 0.03), (99, 0.0)]
    alone = schedule_figure({"learning rate": falling}, max_steps=100, **RATE)
    assert words(alone) == []
    both = schedule_figure({"matrices": falling, "rest": [(0, 0.025), (99, 0.0)]}, max_steps=100, **RATE)
    assert [trace.line.dash for trace in both.data] == ["solid", "dash"]
    assert words(both) == ["─ matrices", "╌ rest"]
    first, second = (annotation.y for annotation in both.layout.annotations)
    assert abs(first - second) >= 0.14 * both.layout.yaxis.range[1]  # names that do not overlap
    assert both.layout.yaxis.range[1] > 0.03


def test_layers_stand_in_order_on_powers_of_ten():
    values = {"embedding": 3e-4, "block 1": 0.02, "output": 0.0}
    figure = layers_figure(values, **UPDATE)
    assert list(figure.data[0].y) == ["embedding", "block 1"]
    assert list(figure.data[0].text) == ["0.0003", "0.02"]
    assert list(figure.layout.yaxis.categoryarray) == list(values)
    assert figure.layout.yaxis.autorange == "reversed"
    low, high = figure.layout.xaxis.range
    assert low <= math.log10(3e-4)
    assert high > math.log10(0.02)
    assert layers_figure({}, **UPDATE).layout.height > 0


def test_labels_keep_their_order_and_their_distance():
    placed = spread([1.0, 1.01, 1.02, 3.9], gap=0.2, low=0.0, high=4.0)
    assert placed == sorted(placed)
    assert min(b - a for a, b in itertools.pairwise(placed)) == pytest.approx(0.2)


def test_the_loss_axis_stays_where_it_is_until_a_run_goes_wrong():
    def top(*losses):
        raw = list(enumerate(losses))
        return loss_figure({"loss": raw}, BASELINES, **LOSS, max_steps=10).layout.yaxis.range[1]

    assert top() == top(4.1) == top(4.3, 2.0) == pytest.approx(4.4)
    assert top(6.0) == pytest.approx(6.36)
    assert top(1e9) == pytest.approx(4.4)  # far outside anything that could be seen
