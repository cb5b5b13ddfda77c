"""The shipped result of the mask experiment is what its script writes; `test_experiments` does its beginning again."""

import importlib.util
import json

import torch

from minigpt import resources
from minigpt.runs.experiments import MASK_RESULT, MaskExperiment, shipped_mask_experiment


def test_the_file_is_what_the_script_writes(tmp_path, monkeypatch) -> None:
    shipped = shipped_mask_experiment()
    spec = importlib.util.spec_from_file_location("make", resources.asset_path("make_mask_experiment.py"))
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "mask_experiment", lambda: shipped)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    script.main(str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_bytes() == resources.asset_path(MASK_RESULT).read_bytes()
    assert MaskExperiment.from_dict(json.loads((tmp_path / "out.json").read_text("utf-8"))) == shipped
