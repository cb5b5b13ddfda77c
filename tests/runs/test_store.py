from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.data.corpora import Corpus, corpus_from_text
from minigpt.errors import ArchiveError, CheckpointError, CorpusError, RunExistsError, RunNotFoundError, StorageError
from minigpt.generation.generator import TextGenerator
from minigpt.runs.archive import bundle_run, export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import find_run, load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore, is_valid_id, new_run_id
from minigpt.runs.weights import thinned
from minigpt.storage import remove_folder

CONFIG = RunConfig().updated(
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
TEXT = "the cat sat on the mat and the dog ate the cake. " * 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run; a test that changes it works on a copy."""
    store = RunStore(tmp_path_factory.mktemp("store"))
    folder = create_run(CONFIG, corpus_from_text(TEXT, name="cats"), store=store, owner_token="secret")
    for _ in TrainingJob(folder).work():
        pass
    return folder


@pytest.fixture
def copied(trained: RunFolder, own_home: Path) -> RunFolder:
    return RunFolder(shutil.copytree(trained.path, own_home / trained.id))


# -- ids


def test_ids_are_many_and_well_formed() -> None:
    ids = {new_run_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_valid_id(run_id) and len(run_id) == 26 for run_id in ids)
    assert {character for run_id in ids for character in run_id} == set("abcdefghijklmnopqrstuvwxyz234567")


@pytest.mark.parametrize(
    "text", ["", "..", "../../etc/passwd", "A" * 26, "a" * 25, "a" * 27, "a" * 25 + "1", "a" * 26 + "\n"]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_valid_id(text)
    with pytest.raises(RunNotFoundError):
        RunStore().get(text)


# -- making


def test_a_new_run(own_home: Path) -> None:
    folder = RunStore().create(CONFIG, name="  A run  ", owner_token="secret", parent="abc")
    assert folder.path == own_home / folder.id
    assert is_valid_id(folder.id)
    info = folder.info
    assert (info.name, info.status, info.parent, info.error, info.format_version) == ("A run", "queued", "abc", None, 1)
    assert (datetime.now(UTC) - info.created).total_seconds() < 600
    assert folder.config == CONFIG
    assert "secret" not in (folder.path / "run.json").read_text()
    assert folder.is_owner("secret")
    assert not folder.is_owner("other")
    assert not folder.is_owner(None)
    assert RunStore().create(CONFIG).is_owner(None)


@pytest.mark.parametrize("name", ["", "   ", None])
def test_a_run_always_has_a_name(name: str | None) -> None:
    assert RunStore().create(CONFIG, name=name).name == "run"
    assert len(RunStore().create(CONFIG, name="x" * 500).name) == 200


def test_a_run_of_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "deep/er"):
        folder = RunStore().create(CONFIG, path=tmp_path / place)
        assert folder.path == tmp_path / place
        with pytest.raises(RunExistsError, match="already"):
            RunStore().create(CONFIG, path=tmp_path / place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(RunExistsError, match="not empty"):
        RunStore().create(CONFIG, path=tmp_path / "full")
    with pytest.raises(RunExistsError):
        RunStore().create(CONFIG, path=tmp_path / "full" / "letter.txt")
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_what_fails_leaves_nothing_behind(own_home: Path) -> None:
    with pytest.raises(CorpusError, match="tokens"):
        create_run(CONFIG, corpus_from_text("short", name="short"))
    assert list(own_home.iterdir()) == []


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        RunStore(tmp_path / "file").create(CONFIG)


# -- finding


def test_list_is_newest_first_and_leaves_damaged_ones_out(own_home: Path) -> None:
    store = RunStore()
    assert store.list() == []
    old, _, broken = (store.create(CONFIG, name=name) for name in ("old", "new", "broken"))
    old.update_info(created=datetime(2020, 1, 1, tzinfo=UTC))
    (broken.path / "run.json").write_text("{")
    (own_home / "notes").mkdir()
    (own_home / ".tmp-abc").mkdir()
    (own_home / "letter.txt").write_text("dear")
    assert [folder.name for folder in store.list()] == ["new", "old"]
    ((path, error),) = store.list_damaged()
    assert path == broken.path
    assert isinstance(error, CheckpointError)


def test_get_finds_a_run_in_a_folder_with_a_name(own_home: Path) -> None:
    folder = RunStore().create(CONFIG, path=own_home / "mine")
    assert RunStore().get(folder.id).path == own_home / "mine"
    assert find_run(folder.id).path == own_home / "mine"


def test_delete(own_home: Path) -> None:
    store = RunStore()
    keep, go = store.create(CONFIG), store.create(CONFIG)
    store.delete(go.id)
    assert [path.name for path in own_home.iterdir()] == [keep.id]
    with pytest.raises(RunNotFoundError):
        store.delete(go.id)


def test_ids_of_others_are_never_told() -> None:
    secret = RunStore().create(CONFIG, name="diary").id
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


# -- one folder


def test_a_finished_run(trained: RunFolder) -> None:
    assert trained.info.status == "finished"
    assert trained.name == "cats"
    assert trained.checkpoints() == [4, 6, 8] if trained.best_step == 4 else [6, 8]
    assert trained.history_steps() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert trained.steps() == list(range(9))
    assert (trained.path / "checkpoints" / "last").read_text() == "step-0000008\n"
    assert trained.disk_bytes() == sum(path.stat().st_size for path in trained.path.rglob("*") if path.is_file())
    kinds = [record["kind"] for record in trained.metrics()]
    assert kinds.count("step") == 8
    assert set(trained.meta["baselines"]) == {"uniform", "unigram", "bigram"}


def test_update_info_keeps_the_rest(copied: RunFolder) -> None:
    before = copied.info
    after = copied.update_info(name="new name", tags=("a", "b"))
    assert after == copied.info == before.model_copy(update={"name": "new name", "tags": ("a", "b")})


@pytest.mark.parametrize(
    ("name", "contents", "look"),
    [
        ("run.json", "", lambda folder: folder.info),
        ("run.json", "[]", lambda folder: folder.info),
        ("run.json", '{"id": "../x", "name": "n", "created": "2020-01-01T00:00:00Z"}', lambda folder: folder.info),
        ("run.json", '{"id": "x", "name": "n", "created": "2020-01-01T00:00:00Z", "status": "odd"}', lambda f: f.info),
        ("run.json", '{"id": "x", "name": "n", "created": "2020-01-01T00:00:00"}', lambda folder: folder.info),
        ("config.yaml", "model: {num_layers: -1}", lambda folder: folder.config),
        ("config.yaml", "\x00", lambda folder: folder.config),
        ("tokenizer.json", "{", lambda folder: folder.tokenizer),
        ("data/meta.json", "{", lambda folder: folder.meta),
        ("data/meta.json", "[]", lambda folder: folder.meta),
        ("data/meta.json", '{"baselines": [1]}', lambda folder: folder.meta),
        ("data/meta.json", '{"baselines": {"uniform": "x"}}', lambda folder: folder.meta),
        ("data/meta.json", '{"num_chars": "many"}', lambda folder: folder.meta),
    ],
)
def test_a_damaged_folder_says_so(
    copied: RunFolder, name: str, contents: str, look: Callable[[RunFolder], object]
) -> None:
    (copied.path / name).write_text(contents)
    with pytest.raises(CheckpointError) as error:
        look(copied)
    assert "is damaged" in str(error.value)
    assert str(copied.path) in str(error.value)
    (copied.path / name).unlink()
    with pytest.raises((CheckpointError, RunNotFoundError)):
        look(copied)


def test_a_newer_format_is_refused(copied: RunFolder) -> None:
    values = json.loads((copied.path / "run.json").read_text())
    (copied.path / "run.json").write_text(json.dumps({**values, "format_version": 2}))
    with pytest.raises(CheckpointError, match="format 2"):
        copied.info  # noqa: B018 - reading it is what is tested


def test_unknown_fields_of_a_newer_writer_are_passed_over(copied: RunFolder) -> None:
    values = json.loads((copied.path / "run.json").read_text())
    (copied.path / "run.json").write_text(json.dumps({**values, "mood": "good"}))
    assert copied.info.name == "cats"


# -- which weights


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    copied: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    path = copied.checkpoint_path(8) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        newest = copied.newest_checkpoint()
    assert newest == copied.checkpoint_path(6)
    assert "step-0000008" in caplog.text
    assert "model.safetensors" in caplog.text
    assert copied.weights_path("last") == copied.checkpoint_path(6) / "model.safetensors"
    if copied.best_step == 8:
        assert copied.weights_path() == copied.weights_path("last")
        with pytest.raises(RunNotFoundError):
            copied.weights_path("best")
    assert copied.weights_path(8) == copied.history_path(8)


def test_weights_of_every_kind(copied: RunFolder) -> None:
    assert copied.weights_path(8) == copied.checkpoint_path(8) / "model.safetensors"
    assert copied.weights_path(2) == copied.history_path(2)
    assert copied.weights_path("last") == copied.weights_path(8)
    assert copied.best_step is not None
    assert copied.weights_path() == copied.weights_path("best") == copied.weights_path(copied.best_step)
    with pytest.raises(RunNotFoundError, match=r"step 77.*0, 1, 2"):
        copied.weights_path(77)


def test_before_the_first_checkpoint_history_serves(copied: RunFolder) -> None:
    shutil.rmtree(copied.path / "checkpoints")
    assert copied.weights_path() == copied.history_path(8)
    assert load_run(copied.path).step == 8
    shutil.rmtree(copied.path / "history")
    with pytest.raises(RunNotFoundError, match="no weights yet"):
        copied.weights_path()


def test_the_text_can_be_put_together_again_from_the_data(own_home: Path) -> None:
    documents = ["the cat sat on the mat. " * 20, "", "a second text, with é and 猫\n" * 20]
    corpus = Corpus("pets", tuple(documents), "made here")
    folder = create_run(RunConfig().updated({"model.sequence_length": 8}), corpus)
    assert folder.corpus() == corpus
    assert folder.corpus().sha256 == folder.meta["sha256"]
    shutil.rmtree(folder.data_path)
    with pytest.raises(CheckpointError):
        folder.corpus()


def test_load_run(copied: RunFolder) -> None:
    run = load_run(copied.id, step="last")
    assert (run.step, run.id, run.name, run.path) == (8, copied.id, "cats", copied.path)
    assert run.config == CONFIG
    assert not run.model.training
    assert run.tokenizer.vocab_size == run.model.vocab_size
    assert len(TextGenerator(run).generate("the ", max_new_tokens=4).tokens) == 4
    early = load_run(copied.path, step=0)
    assert early.step == 0
    assert next(early.model.parameters()).dtype == torch.float32  # from half precision
    assert not torch.equal(early.model.embedding.weight, run.model.embedding.weight)


def test_load_run_with_a_tokenizer_of_another_run(copied: RunFolder) -> None:
    other = RunStore().create(CONFIG)
    create_run(CONFIG, corpus_from_text("abcd" * 50, name="x"), path=other.path / "sub")
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


# -- keeping no more than was asked for


@pytest.mark.parametrize(
    ("steps", "per_octave", "most", "kept"),
    [
        ([0, 1, 2, 4, 8], 1, 5, [0, 1, 2, 4, 8]),
        ([0, 1, 2, 4, 8], 1, 4, [0, 1, 4]),
        ([0, 1, 2, 3, 4, 6, 8], 2, 6, [0, 1, 2, 4, 8]),
        ([0, 1, 2, 4, 8, 16, 32, 64, 128, 256], 1, 4, [0, 1, 16, 256]),
        ([0, 1, 2, 4], 1, 1, [0]),
        ([0, 1, 2, 4], 1, 0, []),
    ],
)
def test_thinned(steps: list[int], per_octave: int, most: int, kept: list[int]) -> None:
    assert thinned(steps, per_octave, most) == kept


def test_history_stays_within_its_bytes_and_even(trained: RunFolder, tmp_path: Path) -> None:
    size = trained.history_path(1).stat().st_size
    folder, model = RunFolder(tmp_path), load_run(trained.path).model
    for step in [0, 1, 2, 4, 8, 16, 32, 64, 128]:
        folder.save_history(model, step, per_octave=1, megabytes=4.5 * size / 1e6)
        assert len(folder.history_steps()) <= 4
    before = folder.history_steps()
    assert before == [0, 1, 16, 128]
    folder.save_history(model, 256, per_octave=1, megabytes=1e-6)
    assert folder.history_steps() == before  # one that does not fit at all drives nothing out


def test_rolling_checkpoints_and_the_best_apart(own_home: Path) -> None:
    config = CONFIG.updated({"training.max_steps": 12, "training.checkpoint_steps": 1, "training.keep_checkpoints": 2})
    folder = create_run(config, corpus_from_text(TEXT, name="cats"))
    job = TrainingJob(folder)
    for work in job.work():
        if work.kind == "micro_batch" and work.step > 0:  # the step before it is done and saved
            kept, best = folder.checkpoints(), job.trainer.best_step
            assert set(kept) == {step for step in (work.step - 1, work.step, best) if step}
            assert folder.best_step == best
    assert folder.best_step == job.trainer.best_step
    assert (folder.path / "checkpoints" / "last").read_text().strip() == "step-0000012"


def test_metrics_are_on_the_disk_before_the_checkpoint_that_they_led_to(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_run(CONFIG.updated({"training.checkpoint_steps": 4}), corpus_from_text(TEXT, name="cats"))
    seen: list[tuple[str, list[int]]] = []
    monkeypatch.setattr("minigpt.runs.folder.flush", lambda path: seen.append((path.name, folder.checkpoints())))
    for _ in TrainingJob(folder).work():
        for step in folder.checkpoints():
            assert any(name == "metrics.jsonl" and step not in there for name, there in seen)
    assert len(seen) > 1


def test_names_that_no_file_can_have_and_weights_that_nobody_knows(copied: RunFolder) -> None:
    with pytest.raises(RunNotFoundError, match="There is no run"):
        find_run("a" * 5000)
    with pytest.raises(RunNotFoundError, match="best, last"):
        copied.weights_path("finest")  # type: ignore[arg-type]


def test_a_folder_that_goes_while_it_is_counted(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page counts what a training is about to rename: what is gone counts nothing, and the page stands."""
    fleeting = trained.path / "checkpoints" / ".step-0000009.tmp"
    before, scandir = trained.disk_bytes(), os.scandir
    fleeting.mkdir()

    def vanishing(path: object) -> object:
        if str(path) == str(fleeting) and fleeting.exists():
            fleeting.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert trained.disk_bytes() == before
    assert not fleeting.exists()


def test_bytes_are_counted_again_only_where_something_has_changed(
    copied: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of runs asks on each visit, of every run."""

    def on_disk() -> int:
        return sum(path.stat().st_size for path in copied.path.rglob("*") if path.is_file())

    walks: list[str] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda path: (walks.append(str(path)), walk(path))[1])
    assert copied.disk_bytes() == copied.disk_bytes() == on_disk()
    assert len(walks) == 1
    copied.append_metrics({"kind": "step", "step": 99})
    assert copied.disk_bytes() == on_disk()
    remove_folder(copied.checkpoint_path(copied.checkpoints()[0]))
    assert copied.disk_bytes() == on_disk()
    copied.update_info(notes="kept for its rhymes")
    assert copied.disk_bytes() == on_disk()
    assert len(walks) == 4
