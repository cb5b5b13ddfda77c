"""What a command imports: libraries that take a second are loaded by what needs them, and by nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COSTS = {
    "looking into a run": (
        "import minigpt, torch; run = minigpt.load_run('tales'); ids = torch.tensor([run.tokenizer.encode('Once')]);"
        "minigpt.TextGenerator(run).generate('Once ', max_new_tokens=3); minigpt.trace_forward(run.model, ids);"
        "minigpt.ModelEvaluator(run).evaluate('Once upon a time')",
        {"torch._dynamo", "torch._inductor", "sympy", "streamlit", "pandas", "plotly"},
    ),
    "listing runs": (
        "from minigpt.cli.root import cli; cli(['runs'], standalone_mode=False)",
        {"torch", "numpy", "pandas", "streamlit", "plotly", "safetensors"},
    ),
}
"""Code, and the modules that it must not import."""


@pytest.mark.process
@pytest.mark.parametrize("what", COSTS)
def test_nothing_expensive_is_imported_without_need(what: str) -> None:
    """In a fresh process, the code runs and none of the modules is there."""
    code, unwanted = COSTS[what]
    code += f"\nimport sys, json; print(json.dumps(sorted({unwanted!r} & sys.modules.keys())))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []
