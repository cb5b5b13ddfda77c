"""From a name to a run, in every way a person may name one, and from a run to its model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import ArchiveError, CheckpointError, RunNotFoundError
from minigpt.generation.generator import TextGenerator
from minigpt.runs.archive import bundle_run, export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.loading import find_run, load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore, new_run_id


def test_no_message_contains_the_ids_of_others(small_run: RunConfig) -> None:
    secret = RunStore().create(small_run, name="diary").id
    for wrong in (new_run_id(), "nothing", "tales2"):
        with pytest.raises(RunNotFoundError) as error:
            find_run(wrong)
        assert secret not in str(error.value)
        assert "diary" not in str(error.value)


def test_find_run_in_every_way(copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(copied.path).id == copied.id
    assert find_run(str(copied.path)).id == copied.id
    assert find_run(copied.id).path == copied.path
    export_zip(copied, tmp_path / "run.zip")
    unpacked = find_run(tmp_path / "run.zip")
    assert unpacked.info.parent == copied.id
    assert find_run(str(tmp_path / "run.zip")).path == unpacked.path  # unpacked once
    bundled = bundle_run(copied, tmp_path / "bundled" / "little")
    monkeypatch.setattr(resources, "bundled_runs_path", lambda: tmp_path / "bundled")
    assert find_run("little").path == bundled.path
    with pytest.raises(RunNotFoundError, match=r"nothing.*bundled run \(little\)"):
        find_run("nothing")
    with pytest.raises(RunNotFoundError, match=r"no run\.json"):
        find_run(tmp_path)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArchiveError, match="no zip"):
        find_run(tmp_path / "letter.txt")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(RunNotFoundError, match="There is no run"):
        find_run("a" * 5000)


def test_load_run(small_run: RunConfig, copied: RunFolder) -> None:
    run = load_run(copied.id, step="last")
    assert (run.step, run.id, run.name, run.path) == (8, copied.id, "cats", copied.path)
    assert run.config == small_run
    assert not run.model.training
    assert run.tokenizer.vocab_size == run.model.vocab_size
    assert len(TextGenerator(run).generate("the ", max_new_tokens=4).tokens) == 4
    early = load_run(copied.path, step=0)
    assert early.step == 0
    assert next(early.model.parameters()).dtype == torch.float32  # from half precision
    assert not torch.equal(early.model.embedding.weight, run.model.embedding.weight)


def test_load_run_with_a_tokenizer_of_another_run(small_run: RunConfig, copied: RunFolder) -> None:
    other = RunStore().create(small_run)
    create_run(small_run, corpus_from_text("abcd" * 50, name="x"), path=other.path / "sub")
    shutil.copy(other.path / "sub" / "tokenizer.json", copied.path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="tokenizer has 8 tokens"):
        load_run(copied.path)


@pytest.mark.process
def test_looking_at_runs_does_not_load_torch(copied: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from minigpt.runs.loading import find_run; from minigpt.runs.store import RunStore\n"
        f"folder = find_run({str(copied.path)!r}); folder.metrics(), folder.checkpoints(), folder.weights_path()\n"
        "RunStore().list(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
