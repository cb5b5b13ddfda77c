"""A finished run that several modules look at, and a bucket for those that copy runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore
from tests.runs.waiting import until


@pytest.fixture(scope="session")
def small_run() -> RunConfig:
    """Settings of a run that takes a moment."""
    return RunConfig().updated(
        {
            "seed": 3,
            "model.num_layers": 1,
            "model.num_heads": 2,
            "model.d_model": 8,
            "model.sequence_length": 8,
            "training.batch_size": 4,
            "training.max_steps": 8,
            "training.eval_steps": 4,
            "training.eval_batches": 1,
            "training.checkpoint_steps": 3,
            "training.sample_steps": 0,
            "training.num_threads": 1,
        }
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_run: RunConfig) -> RunFolder:
    """A finished run; a test that changes it works on a copy."""
    store = RunStore(tmp_path_factory.mktemp("store"))
    text = "the cat sat on the mat and the dog ate the cake. " * 12
    folder = create_run(small_run, corpus_from_text(text, name="cats"), store=store, owner_token="secret")
    for _ in TrainingJob(folder).work():
        pass
    return folder


@pytest.fixture
def copied(trained: RunFolder, own_home: Path) -> RunFolder:
    return RunFolder(shutil.copytree(trained.path, own_home / trained.id))


@pytest.fixture
def bucket(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket of a server on this machine that speaks Amazon's S3."""
    pytest.importorskip("moto", reason="pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="pip install 'minigpt-lab[ray]'")
    s3fs.S3FileSystem.clear_instance_cache()  # it would go on asking the server of the test before
    boto3 = pytest.importorskip("boto3", reason="pip install 'moto[server]'")
    endpoint = f"http://127.0.0.1:{(port := free_port())}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        client = boto3.client("s3", endpoint_url=endpoint)

        def made() -> bool:
            try:
                client.create_bucket(Bucket="lab")
            except Exception:
                assert server.poll() is None
                return False
            return True

        until(made)
        yield "s3://lab/runs"
    finally:
        server.terminate()
        server.wait()
