"""The tables of docs/scale.md are those of the script, and its formulas agree with each other and with the library."""

from __future__ import annotations

import ast
import doctest

import pytest

from minigpt import resources
from minigpt.model.transformer import Transformer
from tools import make_scale_tables as scale

TEXT = (resources.root() / scale.DOCUMENT).read_text("utf-8")


def test_the_document_has_the_tables_of_the_script():
    assert scale.with_tables(TEXT) == TEXT
    with pytest.raises(SystemExit, match="table class 0 times"):
        scale.with_tables(TEXT.replace("class begins", "class starts"))


def test_the_examples_in_the_script_are_true():
    assert doctest.testmod(scale).failed == 0


def test_the_models_are_those_that_are_measured_on_a_gpu():
    tree = ast.parse((resources.root() / "benchmarks" / "gpu_steps.py").read_text("utf-8"))
    (shapes,) = (node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "SHAPES")
    assert {name: shape for name, shape in ast.literal_eval(shapes.value).items() if name != "tiny"} == scale.MODELS


@pytest.mark.parametrize("name", scale.MODELS)
def test_the_formulas_of_the_page_hold(name):
    parameters, flops = scale.parameters(name), scale.flops(name)
    assert scale.state_bytes(name) == 16 * parameters
    config, vocabulary = scale.settings(name)
    layers, _, width, context, _, _ = scale.MODELS[name]
    in_matrices = parameters - (2 * layers + 1) * width  # without the norms; the embedding is the output matrix too
    assert flops == 6 * in_matrices + 12 * layers * width * context
    for gpus in (2, 8, 16, 64):
        hidden = scale.wire_seconds(name, gpus) <= 2 / 3 * scale.compute_seconds(name, gpus)
        assert hidden == (scale.BATCH_TOKENS / gpus >= scale.fewest_tokens(gpus) * 6 * parameters / flops)
        assert 0 < scale.efficiency(name, gpus) <= 1
    if parameters < 2e6:
        assert parameters == sum(each.numel() for each in Transformer(config.model, vocabulary).parameters())
