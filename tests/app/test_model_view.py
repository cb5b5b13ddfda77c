"""Model: the picture shows the parts that a model has, the code runs as it stands, every field is explained."""

import shlex

import pytest
from click.testing import CliRunner

from minigpt.app.model import view
from minigpt.app.texts import has
from minigpt.cli.root import cli
from minigpt.config import RunConfig, TransformerConfig, load_config
from minigpt.model.transformer import Transformer
from minigpt.runs.parts import BASE, CHANGES, POSITIONS, shipped_parts_experiment
from minigpt.runs.step_cost import MachineConstants

V = 63
SHAPES = {
    "usual": {},
    "learned, biases, untied": {"positions": "learned", "bias": True, "tie_embeddings": False},
    "post-norm, sinusoidal": {"norm_position": "post", "positions": "sinusoidal", "norm": "layernorm"},
    "no norm": {"norm_position": "none", "positions": "alibi", "attention_window": 3, "logit_cap": 30.0},
    "no residual": {"residual": False, "convolution": 3},
    "no feed-forward": {"d_ff": 0, "positions": "none", "num_kv_heads": 1, "qk_norm": True},
    "a bare chain": {"d_ff": 0, "residual": False, "norm_position": "none", "causal": False},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_the_picture_has_the_parts_of_the_model_and_no_other(changes):
    config = TransformerConfig(num_layers=2, num_heads=2, d_model=8, sequence_length=16, **changes)
    model, parts = Transformer(config, V), view.architecture_parts(config, V)
    block = dict(model.blocks[0].named_children())

    def count(role, *, inside):
        return sum(part.role == role and part.inside is inside for part in parts)

    for role in ("norm", "convolution"):
        assert count(role, inside=True) == sum(name.endswith(role) for name in block)
    assert count("feedforward", inside=True) == ("feedforward" in block)
    assert count("attention", inside=True) == 1
    assert count("norm", inside=False) == (model.final_norm is not None)
    assert count("positions", inside=False) == (config.positions in ("learned", "sinusoidal"))
    layers = 1 + config.has_feedforward
    assert count("plus", inside=True) == sum(part.begins_branch for part in parts) == (layers if config.residual else 0)
    roles = [part.role for part in parts if part.inside]
    if config.norm_position != "none":
        assert roles.index("norm") > roles.index("attention") or config.norm_position == "pre"
    detail = next(part.detail for part in parts if part.role == "attention")
    said = {"rotary": "rotary", "alibi": "ALiBi"}
    assert [word for kind, word in said.items() if word in detail] == [
        w for k, w in said.items() if k == config.positions
    ]
    alt = view.architecture_alt(config, V)
    assert all(part.name in alt for part in parts)


def test_every_field_is_on_the_page_and_explained():
    names = [name for group in view.GROUPS.values() for name in group]
    assert sorted(names) == sorted(TransformerConfig.model_fields)
    assert [name for name in names if not has(f"model.effect_{name}")] == []
    rows = view.field_rows(TransformerConfig(d_ff=0, num_heads=2, d_model=8), V)
    assert len(rows) == len(names)
    assert all(all(row.values()) for row in rows)
    width = next(row for row in rows if "Feed-forward width" in row.values())
    assert "-2,080 parameters" in str(width)  # in four blocks two matrices of 8 x 32 and a norm of 8


def test_costs_say_whether_they_were_tried():
    config = load_config("nano", environment={})
    slow, quick = MachineConstants((2.0, 0, 0, 0, 0, 0)), MachineConstants((0.001, 0, 0, 0, 0, 0))
    predicted = view.step_cost(config, V, slow)
    assert predicted.measured is None
    assert "too large to be tried" in view.step_sentence(predicted, config)
    tried = view.step_cost(config, V, quick)
    assert tried.measured is not None
    assert "tried just now" in view.step_sentence(tried, config)
    assert "1 ms" in view.step_sentence(tried, config)


def test_presets_are_side_by_side():
    rows = view.preset_rows(V)
    assert [row["parameters"] for row in rows] == sorted(row["parameters"] for row in rows)
    assert next(row for row in rows if row["preset"] == "nano")["parameters"] == 26752


TINY = {
    "model.num_layers": 1, "model.d_model": 16, "model.sequence_length": 16, "model.positions": "alibi", "model.d_ff": None,
    "model.attention_window": 8, "model.norm_position": "post", "training.max_steps": 3, "training.warmup_steps": 0,
    "training.eval_batches": 1, "training.eval_steps": 0, "training.sample_steps": 0, "data.num_chars": 20_000,
    "data.max_validation_tokens": 200, "training.num_threads": 1,
}  # fmt: skip


def test_the_script_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60, encoding="utf-8")
    script = view.script("nano", load_config("nano", environment={}).updated(TINY), "my text")
    assert all(name in script for name in ("model.positions", "training.max_steps"))
    exec(compile(script, "script", "exec"), {})
    assert len(capsys.readouterr().out) > 20
    assert "\"data.corpus\": 'tales'" in view.script("nano", RunConfig(), "tales")


def test_the_command_runs_as_it_stands_and_means_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 60, encoding="utf-8")
    config = load_config("nano", environment={}).updated(TINY)
    command = view.command("nano", config, "my text").replace("\\\n", " ")
    words = shlex.split(command)
    assert words[:2] == ["minigpt", "train"]
    result = CliRunner().invoke(cli, [*words[1:], "--out", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "data.corpus=tales" in view.command("nano", config, "tales")


def test_the_shipped_trainings_are_explained_with_their_numbers():
    found = shipped_parts_experiment()
    assert list(found.results) == list(CHANGES)
    assert tuple(found.by_position) == POSITIONS
    whole = f"{found.results[BASE].loss:.2f}"
    for name in CHANGES:
        assert view.part_title(name)
        if name != BASE:
            assert f"{found.results[name].loss:.2f}" in view.part_sentence(name)
            assert whole in view.part_sentence(name)
    assert found.corpus in view.about_experiment()
    assert str(4 * found.trained_length) in view.position_sentence()
