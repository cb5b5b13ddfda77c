"""A real Ray cluster of three node processes, one of which is killed, and a real server that speaks Amazon's S3."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from minigpt.cli.root import cli
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.runs import manager
from minigpt.runs.cluster_job import AFTER_PAUSE
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
    monkeypatch.setattr(waiting, "PATIENCE", 1200.0)  # of a busy machine; Ray takes half a minute to miss a node
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
    for run_id in ids:
        server.command(run_id, ANN, "pause")
    paused = [status(server, run_id, "paused").step for run_id in ids]

    manager.shutdown()  # the server ends, and starts again
    manager.start()
    server = manager.get_engine()
    for run_id in ids:
        status(server, run_id, "paused")
    assert [server.snapshot(run_id).step for run_id in ids] == paused
    for run_id in ids:
        server.command(run_id, ANN, "resume")
    for run_id, step in zip(ids, paused, strict=True):
        until(lambda run_id=run_id, step=step: server.snapshot(run_id).step > step)
    assert server.weights(ids[0]).stat().st_size > 0

    nodes.remove_node(nodes.list_all_nodes()[1], allow_graceful=False)
    for run_id in (*ids, third):
        status(server, run_id, "finished")
    elsewhere = RunStore(tmp_path / "elsewhere")
    SharedPlace(os.environ["MINIGPT_SHARED"]).mirror(elsewhere)
    records = [elsewhere.get(run_id).metrics() for run_id in ids]
    assert sorted(sum(each["kind"] == "resumed" for each in found) for found in records) == [0, 1]
    losses = [[(each["step"], each["loss"]) for each in found if each["kind"] == "step"] for found in records]
    assert losses[0] == losses[1]  # the same settings: no step is lost or done twice, and none has another result
    for run_id in ids:
        assert load_run(elsewhere.get(run_id).path, step="last").step == 4000


def test_a_long_pause_gives_the_place_back(nodes: Any, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the two minutes that a paused run keeps its place."""
    monkeypatch.setenv("MINIGPT_PROFILE", "local")
    server = manager.get_engine()
    first, second = (server.submit(settings(1_000_000), corpus, ANN) for _ in range(2))
    for run_id in (first, second):
        status(server, run_id, "running")
    server.command(first, ANN, "pause")
    status(server, first, "paused")
    third = server.submit(settings(20), corpus, ANN)
    status(server, third, "finished")
    assert server.snapshot(first).message == AFTER_PAUSE
    assert server.snapshot(second).status == "running"
    server.command(second, ANN, "stop")
    server.command(first, ANN, "resume")
    status(server, first, "running")
    server.command(first, ANN, "stop")
    status(server, first, "stopped")


def test_a_sweep_is_spread_over_the_cluster(nodes: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 100)
    parts = tmp_path / "parts.py"
    parts.write_text("import minigpt\n\nclass Plain(minigpt.Block):\n    pass\n")
    own = ["--module-file", str(parts), "--set=model.block=own:plain"]  # each node is sent the file
    command = ["sweep", *TINY, *own, "--data", str(text), "--vary=seed=1,2,3", "--out", str(tmp_path / "out"), "--json"]
    handler = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(cli, command, prog_name="minigpt")
    assert signal.getsignal(signal.SIGTERM) == handler  # Ray would set its own, and a sweep could not save
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["finished"] * 3
    folders = RunStore(tmp_path / "out").list()
    assert {folder.path.name for folder in folders} == {"seed=1", "seed=2", "seed=3"}
    assert all(folder.checkpoints()[-1] == 12 for folder in folders)
