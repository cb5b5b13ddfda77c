"""The rules for all figures: a palette and words, no theme and no word of their own, one base layout."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from minigpt import viz
from minigpt.viz.architecture import ArchitecturePart
from minigpt.viz.circuits import Change
from minigpt.viz.distribution import TokenChance
from minigpt.viz.forward import Piece
from minigpt.viz.layout import base_layout
from minigpt.viz.palette import Palette, colours
from minigpt.viz.pipeline import PipelineRow

MODULES = [importlib.import_module(f"minigpt.viz.{name}") for _, name, _ in pkgutil.iter_modules(viz.__path__)]


def figures() -> dict[str, Callable[..., go.Figure]]:
    """Return every public function of viz that makes a figure."""
    functions = [
        function
        for module in MODULES
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__
    ]
    return {
        function.__name__: function
        for function in functions
        if typing.get_type_hints(function).get("return") is go.Figure and not function.__name__.startswith("_")
    }


FIGURES = figures()


def words_of(function: Callable[..., go.Figure]) -> type:
    """Return the class of a figure's words."""
    return typing.get_type_hints(function)["words"]


class Mark(str):
    """A word that no figure has by itself; filled, it shows the values of its placeholders."""

    def format(self, *_: object, **values: object) -> str:
        return " ".join([self, *map(str, values.values())])


def marked(cls: type) -> Any:
    """Return words that are all marks, such as `§axis§`."""
    values: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(cls).items():
        mark = Mark(f"§{name}§")
        origin = typing.get_origin(kind)
        values[name] = mark if kind is str else [mark] * 3 if origin is Sequence else dict.fromkeys(BASELINES, mark)
    return cls(**values)


TOKENS = ["1", " ", "\n", "<", "2", "3", "4", "5"]
WEIGHTS = np.tril(np.ones((8, 8))) / np.arange(1, 9)[:, None]
EFFECTS = np.array([0.0, 0, 0, 0, 2, 1, 1, 1])
SCORES = np.linspace(0, 0.9, 8).reshape(2, 4)
CURVE = [(0, 4.0), (50, 2.0), (100, 2.5)]
CURVES = {"loss": CURVE, "loss_ema": CURVE, "val_loss": CURVE}
BASELINES = {"uniform": 4.0, "unigram": 3.0, "bigram": 2.3}
CHANCES = [TokenChance("1", 0.5, 0.7, 0.0), TokenChance(" ", 0.3, 0.3, 0.7), TokenChance("2", 0.2, 0.0, 1.0)]
PLACES = ["§place§", "§place§", "§place§"]
DATA: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "attention_map": [((WEIGHTS, TOKENS), {"stage": stage, "query": 3}) for stage in range(4)],
    "attention_row": [((WEIGHTS[2], TOKENS), {"stage": stage, "query": 2}) for stage in range(4)],
    "mix_map": [((WEIGHTS[7] / 100, np.ones((8, 4)), np.ones(4), TOKENS), {})],
    "distance_figure": [((WEIGHTS[-1],), {})],
    "entropy_figure": [((np.linspace(0, 1, 8), np.log2(np.arange(1, 9))), {})],
    "comparison_figure": [(([("§a§", CURVE), ("§b§", CURVE), ("§c§", [])],), {})],
    "mask_map": [((TOKENS, 3), {"causal": causal}) for causal in (True, False)],
    "token_change_figure": [((EFFECTS, TOKENS, 4), {})],
    "unmasked_loss_figure": [((CURVE, CURVE, 4.0), {"max_steps": 100})],
    "reason_figure": [((WEIGHTS[3], EFFECTS - 1, TOKENS, 3, [1]), {})],
    "scores_figure": [((dict.fromkeys(BASELINES, SCORES),), {})],
    "change_figure": [(([Change("1", 0.5, 0.2), Change(" ", 0.1, 0.4)],), {})],
    "emergence_figure": [((CURVES, [0, 50, 100], np.stack([SCORES] * 3)), {"at": 50})],
    "lens_figure": [
        (([[["1", "2"]] * 3, [[" ", "3"]] * 3], np.ones((2, 3, 2)), np.array([[1, 2, 3], [0, 0, 0]])),
         {"places": PLACES, "tokens": ["1", " "], "following": [" ", ""], "first": 6, "selected": 1}),
    ],
    "depth_figure": [((WEIGHTS[:2, :3], ["1", " "]), {"places": PLACES})],
    "waterfall_figure": [(([("§part§", 1.0), ("§part§", -3.0)], -2.0), {})],
    "patch_figure": [((WEIGHTS[:3, :2], ["1", "2"], ["1", "3"]), {"places": PLACES})],
    "heads_figure": [((SCORES,), {})],
    "points_figure": [
        ((np.eye(8)[:, :d], TOKENS, [0, 1, 2, 2, 2, 0, 0, 0]), {"explained": [0.5] * d, "trails": np.ones((2, 8, d))})
        for d in (2, 3)
    ],
    "similarity_figure": [((np.eye(4),), {})],
    "common_figure": [((["1", " ", "2"], [0.1, 0.08, 0.01], values), {}) for values in ([0.2, 0.05, 0.0], [])],
    "rank_figure": [
        ((([1, 2, 9], [0.5, 0.3, 0.01]), curve), {"is_frequency": is_frequency})
        for curve in (([1, 2], [0.6, 0.4]), ([], []))
        for is_frequency in (True, False)
    ],
    "lengths_figure": [(([0, 10, 20], [0.4, 0.6], values), {}) for values in ([0.5, 0.5], [])],
    "split_figure": [((90, 10), {})],
    "next_token_figure": [((CHANCES,), {"chosen": 1, "longest": longest}) for longest in (1.0, 0.2)],
    "dice_figure": [((CHANCES,), {"u": u, "chosen": 0}) for u in (0.2, 0.8)],
    "seeds_figure": [
        (([[0.1, 0.2, 0.2], [0.5]], ["§name§", "§other§"]), {"is_share": is_share}) for is_share in (True, False)
    ],
    "pipeline_figure": [
        (([PipelineRow("§name§", (0.9, 0.1, 0.0), after, (False, cut), 2, left, 0)
           for after, cut, left in (((0.9, 0.1, 0.0), False, 2), ((1.0, 0.0, 0.0), True, 1))], ["1", "2345678"]), {}),
    ],
    "tensor_map": [((np.ones((8, 12)), TOKENS), {"position": 3}), ((np.ones((128, 128)), ["1"] * 128), {"position": 0})],
    "tensor_row": [((np.array([1.0, -2.0]),), {})],
    "token_bars": [((TOKENS[:2], np.array([0.75, 0.2])), {"is_share": is_share}) for is_share in (True, False)],
    "architecture_figure": [
        (([ArchitecturePart("embedding", "§name§", "§detail§"), ArchitecturePart("norm", "§name§", "", True, True),
           ArchitecturePart("attention", "§name§", "§detail§", True), ArchitecturePart("plus", "+", "", True),
           ArchitecturePart("head", "§name§", "")],), {}),
    ],
    "part_figure": [((("§a§", CURVE), ("§b§", CURVE)), {"low": 1.0, "top": 4.0})],
    "position_figure": [(({"§a§": [4.0] * 9, "§b§": [3.0] * 9}, 4), {})],
    "size_tree": [(([Piece("§group§", "§group§", "head", 10), Piece("§block§", "§part§", "norm", 30)],), {})],
    "surprise_figure": [(([1.0, 3.0] * 4, TOKENS, {"§name§": 6.0}), {}), (([1.0] * 500, ["1"] * 500, {}), {})],
    "loss_figure": [((CURVES, BASELINES), {"max_steps": 100, "best_step": 50, "whole": 2.1, "entropy": 1.5})],
    "shares_figure": [(({"§group§": [(0, 0.0), (50, 0.5)], "§rest§": [(0, 0.25)]},), {"max_steps": 100})],
    "copied_figure": [
        ((TOKENS[4:6], [0.5, 0.2], expected), {"each": [[0.4, 0.6], [0.2]], "at": 1}) for expected in ([0.3, 0.1], None)
    ],
    "cache_time_figure": [
        (([0.1] * 9, [0.2 * n for n in range(9)]), {"total": 20, "full": [5, 8]}), (([], []), {"total": 20}),
    ],
    "cache_size_figure": [(([4.0, 8.0, 2.0],), {"total": 20, "most": 9.0, "full": [3]}), (([],), {"total": 1, "most": 9.0})],
    "line_figure": [((CURVE,), {"max_steps": 100})],
    "schedule_figure": [(({"§group§": CURVE, "§rest§": CURVE},), {"max_steps": 100})],
    "layers_figure": [(({"§layer§": 0.1, "§last§": 0.2},), {})],
}  # fmt: skip
"""Data for each figure, without letters outside of marks; every other letter is then the figure's own."""
CASES = [(name, index) for name in DATA for index in range(len(DATA[name]))]


def drawn(name: str, index: int, palette: Palette) -> go.Figure:
    """Return a figure with its data and with marks for words."""
    positional, named = DATA[name][index]
    return FIGURES[name](*positional, **named, palette=palette, words=marked(words_of(FIGURES[name])))


SHOWN = {"text", "hovertemplate", "hovertext", "texttemplate", "name", "ticktext", "labels", "customdata", "title"}
"""Where Plotly keeps texts that a reader sees."""


def texts(node: object, key: str = "") -> Iterator[str]:
    """Yield every text of a figure's specification that a reader may see."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, name)
    elif isinstance(node, list | tuple | np.ndarray):
        for value in node:
            yield from texts(value, key)
    elif isinstance(node, str) and key in SHOWN:
        yield node


def own_words(figure: go.Figure) -> set[str]:
    """Return the texts of a figure that have a letter outside of marks, Plotly's placeholders and markup."""
    specification = figure.to_dict()
    specification["layout"].pop("template", None)
    bare = {text: re.sub(r"§\w+§|%\{[^}]*\}|<[^>]*>|&lt;", "", text) for text in texts(specification)}
    return {text for text, rest in bare.items() if re.search(r"[^\W\d_]", rest)}


def test_every_figure_is_tried():
    assert set(FIGURES) == set(DATA)


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_takes_a_palette_and_words_by_keyword_and_no_theme(name):
    parameters = inspect.signature(FIGURES[name]).parameters
    hints = typing.get_type_hints(FIGURES[name])
    named = {key for key, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY}
    assert hints["palette"] is Palette
    assert {"palette", "words"} <= named
    words = words_of(FIGURES[name])
    assert dataclasses.is_dataclass(words)
    assert words.__dataclass_params__.frozen
    assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(words))
    for parameter in parameters.values():
        assert parameter.name not in {"theme", "title", "titles", "label", "unit", "axis"}
        assert not (isinstance(parameter.default, str) and re.search("[a-z]{2}", parameter.default)), parameter


@pytest.mark.parametrize("path", sorted(Path(viz.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_only_the_palette_knows_themes(path):
    used = {
        getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name | ast.arg | ast.alias)
    }
    assert path.stem == "palette" or not used & {"theme", "colours"}


@pytest.mark.parametrize(("name", "index"), CASES)
def test_every_word_on_a_figure_comes_from_its_words(name, index):
    assert not own_words(drawn(name, index, colours("light")))


def test_a_word_of_a_figures_own_is_noticed():
    figure = go.Figure(go.Scatter(y=[1], hovertemplate="<b>%{y}</b> nats"), {"title": {"text": "§loss§, 5 %"}})
    assert own_words(figure) == {"<b>%{y}</b> nats"}
    figure.add_annotation(text="best: §value§")
    assert "best: §value§" in own_words(figure)


@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "index"), CASES)
def test_all_figures_share_the_base_layout(name, index):
    for palette in (colours("light"), colours("dark")):
        layout = drawn(name, index, palette).layout
        base = base_layout(palette, height=layout.height)
        assert (base.pop("font")["family"], palette.text) == (layout.font.family, layout.font.color)
        label = base.pop("hoverlabel")
        assert (label["bgcolor"], label["bordercolor"]) == (layout.hoverlabel.bgcolor, layout.hoverlabel.bordercolor)
        assert layout.hoverlabel.font.color == palette.text
        shared = {key: layout[key].to_plotly_json() if key == "modebar" else layout[key] for key in base}
        assert shared == base
