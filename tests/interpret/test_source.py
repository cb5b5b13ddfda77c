"""The lines behind a step are found in the code that runs, not in a table that could become outdated."""

from types import SimpleNamespace

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.interpret.source import called_in, lines_of, lines_of_point, lines_of_step, return_of
from minigpt.model.attention import explicit_attention
from minigpt.model.norms import RMSNorm
from minigpt.model.points import point_names
from minigpt.model.transformer import Transformer
from minigpt.resources import root
from minigpt.tokenizers.character import CharacterTokenizer

MODEL = Transformer(TransformerConfig(num_layers=1, num_heads=2, d_model=8, sequence_length=8, positions="learned"), 5)
POINTS = [name.rpartition(".")[2] for name in point_names(MODEL.config)]


@pytest.mark.parametrize("point", POINTS)
def test_the_lines_of_every_point_are_in_the_file_where_they_are_said_to_be(point):
    found = lines_of_point(MODEL, point)
    assert found is not None
    assert f'tap(probe, "{point}"' in found.text
    lines = (root() / found.file).read_text("utf-8").splitlines()
    shown = found.text.splitlines()
    assert [line.strip() for line in lines[found.first - 1 :][: len(shown)]] == [line.strip() for line in shown]
    assert len(shown) <= 16


def test_what_a_step_is_made_from_comes_along():
    assert "self.qkv(x)" in lines_of_point(MODEL, "q").text
    assert "masked_fill" in lines_of_point(MODEL, "attn_scores_masked").text
    assert "sqrt" not in lines_of_point(MODEL, "attn_scores_masked").text
    assert "self.attention(" in lines_of_point(MODEL, "resid_mid").text


def test_the_functions_that_lines_call_can_be_shown_too():
    (point, *called) = [lines_of_point(MODEL, "ff_act"), *called_in(lines_of_point(MODEL, "ff_act"))]
    assert "activate(" in point.text
    assert any("def activate(" in found.text and "gelu" in found.text for found in called)
    assert not any("def tap(" in found.text for found in called)


def test_an_unknown_point_has_no_lines():
    assert lines_of_point(MODEL, "no_such_point") is None


def test_a_part_written_at_a_prompt_has_no_file_and_breaks_nothing():
    code = compile("class Prompted(Module):\n    pass", "<prompt>", "exec")
    space = {"Module": torch.nn.Module, "__name__": "no_such_module"}
    exec(code, space)
    model = torch.nn.Sequential(space["Prompted"](), MODEL)
    assert lines_of_point(model, "no_such_point") is None
    assert lines_of_point(model, "z") is not None


def test_a_function_is_shown_without_its_documentation():
    found = lines_of(RMSNorm.forward)
    assert "weight" in found.text
    assert '"""' not in found.text
    assert return_of(explicit_attention).text.startswith("return pattern @ v")


def test_the_lines_of_a_step_are_its_point_and_the_functions_called_there():
    run = SimpleNamespace(model=MODEL, tokenizer=CharacterTokenizer())
    assert lines_of_step(run, "ids", None, "") == (lines_of(CharacterTokenizer.encode_array),)
    (probabilities,) = lines_of_step(run, "probabilities", None, "")
    assert "softmax" in probabilities.text
    assert lines_of_step(run, "z", 0, "") == (lines_of_point(MODEL, "z"), return_of(explicit_attention))
    point, norm = lines_of_step(run, "attn_in", 0, "attention_norm")[:2]
    assert point == lines_of_point(MODEL, "attn_in")
    assert norm == lines_of(RMSNorm.forward)
    assert lines_of_step(run, "final_norm", None, "final_norm")[1] == norm
    assert any("def activate(" in found.text for found in lines_of_step(run, "ff_act", 0, ""))
    assert lines_of_step(run, "no_such_point", 0, "") == ()
