"""A real Ray cluster of three node processes, one of which is killed, and a real server that speaks Amazon's S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from minigpt.cli.root import cli
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.runs import manager
from minigpt.runs.loading import load_run
from minigpt.runs.shared import SharedPlace
from minigpt.runs.store import RunStore
from tests.cli.conftest import TINY
from tests.runs import waiting
from tests.runs.test_cluster_engine import ANN, settings
from tests.runs.waiting import status, until

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.filterwarnings("ignore")]  # those of the libraries
MEMORY = {"object_store_memory": 80_000_000, "memory": 2_000_000_000}


@pytest.fixture
def nodes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that trains nothing and two nodes with one processor each; the environment names cluster and bucket."""
    pytest.importorskip("ray", reason="pip install 'minigpt-lab[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(waiting, "PATIENCE", 300.0)  # Ray takes half a minute to believe that a node is lost
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **MEMORY})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **MEMORY)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        monkeypatch.setenv("MINIGPT_RUNNER", "ray")
        monkeypatch.setenv("MINIGPT_SHARED", bucket)
        yield cluster
        manager.shutdown()
    finally:
        cluster.shutdown()


@pytest.fixture
def corpus() -> Corpus:
    return corpus_from_text("the cat sat on the mat. " * 200, name="cats")


def test_runs_outlive_the_server_and_a_node(nodes: Any, corpus: Corpus, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIGPT_PROFILE", "local")
    server = manager.get_engine()
    config = settings(4000, **{"training.checkpoint_steps": 100, "training.eval_steps": 1000})
    ids = [server.submit(config, corpus, ANN, name=name) for name in ("first", "second")]
    third = server.submit(settings(20), corpus, ANN, name="third")
    for run_id in ids:
        status(server, run_id, "running")
    waiting = server.snapshot(third)
    assert (waiting.status, waiting.queue_position) == ("queued", 1)
    for run_id in ids:
        until(lambda run_id=run_id: RunStore().get(run_id).checkpoints())
    server.command(ids[0], ANN, "pause")
    paused = status(server, ids[0], "paused").step

    manager.shutdown()  # the server ends, and starts again
    server = manager.get_engine()
    manager.start()
    for run_id in ids:
        until(lambda run_id=run_id: server.snapshot(run_id).status in ("running", "paused"))
    assert server.snapshot(ids[0]).step == paused
    server.command(ids[0], ANN, "resume")
    until(lambda: server.snapshot(ids[0]).step > paused)
    assert server.weights(ids[0]).stat().st_size > 0

    nodes.remove_node(nodes.list_all_nodes()[1], allow_graceful=False)
    for run_id in (*ids, third):
        status(server, run_id, "finished")
    elsewhere = RunStore(tmp_path / "elsewhere")
    SharedPlace(os.environ["MINIGPT_SHARED"]).mirror(elsewhere)
    resumed = 0
    for run_id in ids:
        folder = elsewhere.get(run_id)
        steps = [record["step"] for record in folder.metrics() if record["kind"] == "step"]
        assert steps == list(range(1, 4001))
        resumed += sum(record["kind"] == "resumed" for record in folder.metrics())
        assert load_run(folder.path).step == 4000
    assert resumed == 1


def test_a_sweep_is_spread_over_the_cluster(nodes: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 100)
    command = ["sweep", *TINY, "--data", str(text), "--vary=seed=1,2,3", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(cli, command, prog_name="minigpt")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["finished"] * 3
    folders = RunStore(tmp_path / "out").list()
    assert {folder.path.name for folder in folders} == {"seed=1", "seed=2", "seed=3"}
    assert all(folder.checkpoints()[-1] == 12 for folder in folders)
