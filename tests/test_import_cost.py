"""What a command imports: libraries that take a second are loaded by what needs them, and by nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOOK_AND_TRAIN = """
import minigpt, torch
run = minigpt.load_run("tales")
minigpt.TextGenerator(run).generate("Once ", max_new_tokens=3)
minigpt.trace_forward(run.model, torch.tensor([run.tokenizer.encode("Once")]))
minigpt.ModelEvaluator(run).evaluate("Once upon a time")

from pathlib import Path
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
small = {"model.num_layers": 1, "model.num_heads": 1, "model.d_model": 4, "model.sequence_length": 4}
for optimizer in ("adamw", "muon", "sgd"):
    config = RunConfig().updated({**small, "training.max_steps": 2, "training.optimizer": optimizer})
    folder = create_run(config, corpus_from_text("the cat sat. " * 20, name="cats"), path=Path(optimizer))
    list(TrainingJob(folder).work())

from minigpt.runs import manager
manager.get_engine().list()
"""
LIST = """
from minigpt.cli.root import cli
cli(["runs"], standalone_mode=False)
"""
SERVE = """
from minigpt.app.shell import server
server._load_own_modules()
"""
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
SEVERAL_PROCESSES = {"torch.distributed.fsdp", "torch.distributed.tensor", "torch.distributed.elastic.agent"}
CLUSTER = {"ray", "s3fs", "fsspec", "minigpt.runs.cluster_engine", "minigpt.runs.shared"}
PAGES = {"streamlit", "pandas", "plotly"}
COSTS = {
    "listing runs": (LIST, {"torch", "numpy", "safetensors"} | PAGES | CLUSTER),
    "a server that is about to answer": (SERVE, {"pydantic", "torch", "numpy", "pandas"} | CLUSTER),
    "looking into a run and training with every optimizer": (LOOK_AND_TRAIN, COMPILER | PAGES | CLUSTER - {"fsspec"}),
}
"""Code, and the modules that it must not import."""


@pytest.mark.process
@pytest.mark.parametrize("what", COSTS)
def test_nothing_expensive_is_imported_without_need(what: str, tmp_path: Path) -> None:
    """In a fresh process, the code runs and none of the modules is there."""
    code, unwanted = COSTS[what]
    code += f"\nimport sys, json\nprint(json.dumps(sorted({unwanted!r} & sys.modules.keys())))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []
