from __future__ import annotations

import io
import json
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minigpt.config import RunConfig
from minigpt.data.corpora import corpus_from_documents
from minigpt.data.readers import read_text
from minigpt.errors import ArchiveError, CheckpointError, RunExistsError, RunNotFoundError, StorageError
from minigpt.runs import archive, export, loading
from minigpt.runs import weights as weights_module
from minigpt.runs.export import bundle_run, export_zip
from minigpt.runs.folder import RunFolder
from minigpt.runs.job import TrainingJob
from minigpt.runs.loading import load_run
from minigpt.runs.preparation import create_run
from minigpt.runs.store import RunStore
from minigpt.storage import remove_folder

TEXT = "the cat sat on the mat and the dog ate the cake. " * 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run whose text came from a file of this machine."""
    place = tmp_path_factory.mktemp("place")
    (place / "private-diary.txt").write_text(TEXT)
    config = RunConfig().updated(
        {
            "model.num_layers": 1,
            "model.num_heads": 2,
            "model.d_model": 8,
            "model.sequence_length": 8,
            "training.batch_size": 4,
            "training.max_steps": 8,
            "training.eval_steps": 4,
            "training.checkpoint_steps": 3,
            "training.sample_tokens": 3,
            "training.num_threads": 1,
            "data.paths": [str(place / "private-diary.txt")],
        }
    )
    corpus = corpus_from_documents([read_text(place / "private-diary.txt")])
    folder = create_run(config, corpus, store=RunStore(place / "store"), name="Cats & dogs/..", owner_token="secret")
    for _ in TrainingJob(folder).work():
        pass
    return folder


@pytest.fixture
def exported(trained: RunFolder, tmp_path: Path) -> Path:
    path = tmp_path / "run.zip"
    export_zip(trained, path)
    return path


def edit(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a zip file again with other contents; the names are those inside the run."""
    with zipfile.ZipFile(path) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(files)
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return changed


def weights(path: Path, step: int) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in load_run(path, step=step).model.parameters()])


# -- export and import


def test_export_and_import(trained: RunFolder, exported: Path, own_home: Path) -> None:
    imported = RunStore().import_zip(exported)
    assert imported.path == own_home / imported.id
    assert imported.id != trained.id
    info = imported.info
    assert (info.name, info.status, info.parent) == (trained.name, "finished", trained.id)
    assert info.owner_token_sha256 is None
    assert imported.is_owner(None)
    assert imported.metrics() == trained.metrics()
    assert imported.meta == trained.meta
    assert imported.steps() == trained.steps()
    assert imported.best_step == trained.best_step
    for step in (0, 8):
        assert torch.equal(weights(imported.path, step), weights(trained.path, step))


def test_private_fields_are_not_exported(trained: RunFolder, exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        names = archive.namelist()
        contents = b"".join(archive.read(name) for name in names)
    assert trained.info.owner_token_sha256 is not None
    assert trained.info.owner_token_sha256.encode() not in contents
    assert str(trained.path.parent).encode() not in contents
    assert not any(name.endswith((".bin", "trainer.safetensors", "lock")) for name in names)
    assert {name.split("/")[0] for name in names} == {"Cats-dogs"}  # one folder; its name does not matter


def test_with_its_data_it_can_be_trained_on(trained: RunFolder, tmp_path: Path) -> None:
    export_zip(trained, tmp_path / "all.zip", include_data=True)
    imported = RunStore().import_zip(tmp_path / "all.zip")
    assert (imported.data_path / "train.bin").read_bytes() == (trained.data_path / "train.bin").read_bytes()
    imported.write_config(imported.config.updated({"training.max_steps": 10}))
    job = TrainingJob(imported)
    assert job.trainer.step == 8
    for _ in job.work():
        pass
    assert imported.checkpoints()[-1] == 10


def test_to_and_from_open_files(trained: RunFolder) -> None:
    buffer = io.BytesIO()
    export_zip(trained, buffer)
    buffer.seek(0)
    assert RunStore().import_zip(buffer).steps() == trained.steps()


def test_a_run_without_weights_cannot_leave(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="no checkpoint yet"):
        export_zip(RunStore().create(RunConfig()), tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


def test_a_place_that_cannot_be_written(trained: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        export_zip(trained, tmp_path / "none" / "run.zip")


def test_bundled_is_slim_and_works(trained: RunFolder, tmp_path: Path) -> None:
    bundled = bundle_run(trained, tmp_path / "little")
    assert bundled.info.id == "little"
    assert bundled.info.owner_token_sha256 is None
    assert len(bundled.checkpoints()) == 1
    (step,) = bundled.checkpoints()
    assert step == (trained.best_step or 8)
    names = {path.name for path in bundled.path.rglob("*")}
    assert not names & {"train.bin", "validation.bin", "trainer.safetensors", "trainer.json", "lock"}
    original = trained.checkpoint_path(step) / "model.safetensors"
    assert (bundled.checkpoint_path(step) / "model.safetensors").stat().st_size < original.stat().st_size
    run = load_run(bundled.path)
    assert run.step == step
    assert next(run.model.parameters()).dtype == torch.float32
    assert torch.allclose(weights(bundled.path, step), weights(trained.path, step), atol=1e-3)
    with pytest.raises(RunExistsError):
        bundle_run(trained, tmp_path / "little")


# -- what an import refuses


def refused(source: Path, told: str) -> None:
    before = sorted(RunStore().root.iterdir()) if RunStore().root.exists() else []
    with pytest.raises(ArchiveError, match=told) as error:
        RunStore().import_zip(source)
    assert "minigpt export" in error.value.mend
    assert sorted(RunStore().root.iterdir()) == before  # nothing is left of the attempt


@pytest.mark.parametrize("contents", [b"", b"dear", b"PK\x03\x04 and no more", b"\x00" * 1000])
def test_a_file_that_is_no_zip(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "letter.zip"
    path.write_bytes(contents)
    refused(path, "no zip file")


def test_truncated_and_altered_archives(exported: Path) -> None:
    data = exported.read_bytes()
    exported.write_bytes(data[: len(data) // 2])
    refused(exported, "no zip file")
    bent = bytearray(data)
    for at in range(200, len(bent) // 2, 97):
        bent[at] ^= 0x55
    exported.write_bytes(bent)
    with pytest.raises(ArchiveError):
        RunStore().import_zip(exported)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/etc/passwd",
        "checkpoints/../../evil",
        "history/step-0000001.safetensors/../../../evil",
        "C:\\evil",
        "checkpoints\\best",
        "model.pkl",
        "checkpoints/step-0000004/evil.py",
        "data/train.bin/x",
        "lock",
        ".run.json",
        "deep/run/folder/file",
    ],
)
def test_files_that_no_run_has(exported: Path, name: str, tmp_path: Path) -> None:
    refused(edit(exported, lambda files: files.update({name: b"x"})), "which no run has")
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_devices(exported: Path, tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        with zipfile.ZipFile(exported) as source, zipfile.ZipFile(tmp_path / "link.zip", "w") as target:
            for name in source.namelist():
                entry = zipfile.ZipInfo(name.partition("/")[2])
                if entry.filename == "metrics.jsonl":
                    entry.external_attr = (kind | 0o644) << 16
                target.writestr(entry, b"/etc/passwd" if entry.filename == "metrics.jsonl" else source.read(name))
        refused(tmp_path / "link.zip", "link")


def test_the_same_file_twice(exported: Path) -> None:
    with zipfile.ZipFile(exported, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(next(name for name in archive.namelist() if name.endswith("metrics.jsonl")), b"")
    refused(exported, "twice")


def test_a_bomb_is_stopped_while_it_unpacks(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name.partition("/")[2], source.read(name))
        target.writestr("history/step-0000999.safetensors", bytes(20_000_000))
    with pytest.raises(ArchiveError, match="larger"):
        RunStore().import_zip(path, max_bytes=10_000_000)
    # the same with a false size in the file
    data = bytearray(path.read_bytes())
    true, lie = struct.pack("<I", 20_000_000), struct.pack("<I", 100)
    assert true in data
    path.write_bytes(data.replace(true, lie))
    with pytest.raises(ArchiveError):
        RunStore().import_zip(path, max_bytes=10_000_000)


def test_too_many_files(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 5)
    refused(exported, "at most 5")


def test_a_small_file_that_is_huge(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_METRICS_BYTES", 20_000)
    refused(edit(exported, lambda files: files.update({"metrics.jsonl": b" " * 30_000})), "larger")


@pytest.mark.parametrize(
    ("name", "contents", "told"),
    [
        ("run.json", b"{", "run.json"),
        ("run.json", b'{"format_version": 9}', "run.json"),
        ("config.yaml", b"model: {num_layers: 0}", "num_layers"),
        ("config.yaml", b"!!python/object/apply:os.system ['true']", "YAML"),
        ("tokenizer.json", b'{"kind": "other"}', "kind"),
        ("run.json", b'{"id": "x", "name": "n", "created": "2020-01-01T00:00:00"}', "it is damaged: run.json"),
        ("data/meta.json", b"[", "meta"),
        ("data/meta.json", b'{"baselines": [1]}', "baselines"),
        ("history/step-0000001.safetensors", b"x" * 100, "no exported run"),
        ("history/step-0000001.safetensors", struct.pack("<Q", 2**60) + b"{}", "no exported run"),
        ("checkpoints/step-0000008/model.safetensors", b"x" * 100, "model.safetensors"),
        ("checkpoints/step-0000008/manifest.json", b"{}", "manifest"),
    ],
)
def test_damaged_inside(exported: Path, name: str, contents: bytes, told: str) -> None:
    def damage(files: dict[str, bytes]) -> None:
        assert name in files
        files[name] = contents

    refused(edit(exported, damage), told)


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "tokenizer.json"])
def test_lacking_a_part(exported: Path, name: str) -> None:
    refused(edit(exported, lambda files: files.pop(name) and None), "no exported run")


def test_lacking_all_weights(exported: Path) -> None:
    def strip(files: dict[str, bytes]) -> None:
        for name in list(files):
            if name.startswith(("checkpoints/", "history/")):
                del files[name]

    refused(edit(exported, strip), "no weights")


def test_a_model_that_is_not_the_configured_one(exported: Path) -> None:
    def grow(files: dict[str, bytes]) -> None:
        files["config.yaml"] = files["config.yaml"].replace(b"num_layers: 1", b"num_layers: 2")

    refused(edit(exported, grow), "does not fit")


def test_an_imported_run_has_no_path_and_no_owner(exported: Path) -> None:
    def plant(files: dict[str, bytes]) -> None:
        files["config.yaml"] = files["config.yaml"].replace(b"paths: []", b'paths: ["/etc/passwd"]')
        info = json.loads(files["run.json"])
        files["run.json"] = json.dumps({**info, "owner_token_sha256": "0" * 64, "status": "running"}).encode()

    imported = RunStore().import_zip(edit(exported, plant))
    assert imported.config.data.paths == ()
    assert imported.info.owner_token_sha256 is None
    assert imported.info.status == "stopped"


def test_several_folders_in_one_file(exported: Path) -> None:
    shutil.copy(exported, exported.with_name("two.zip"))
    with zipfile.ZipFile(exported.with_name("two.zip"), "a") as archive:
        archive.writestr("other/run.json", b"{}")
    refused(exported.with_name("two.zip"), "run.json at its top")


@pytest.mark.parametrize("name", ["data/train.bin", "data/validation.bin", "tokenizer.json"])
def test_what_is_missing_is_not_called_a_full_disk(trained: RunFolder, tmp_path: Path, name: str) -> None:
    copy = RunFolder(shutil.copytree(trained.path, tmp_path / "copy"))
    (copy.path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing") as error:
        export_zip(copy, tmp_path / "run.zip", include_data=True)
    assert "space" not in str(error.value)
    assert not (tmp_path / "run.zip").exists()


# -- a run in training


def replaced_while(monkeypatch: pytest.MonkeyPatch, place: object, name: str, folder: RunFolder, times: int) -> None:
    """Let a training replace its newest checkpoint by a newer one while a function reads it, the first few times."""
    real, left = getattr(place, name), [times]

    def wrapped(path: Path, *arguments: object, **keywords: object) -> object:
        if left[0]:
            left[0] -= 1
            last = folder.checkpoints()[-1]
            newer = folder.checkpoint_path(last + 1)
            shutil.copytree(folder.checkpoint_path(last), newer)
            remove_folder(folder.checkpoint_path(last))
            (newer.parent / "last").write_text(newer.name)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(place, name, wrapped)


@pytest.mark.parametrize(
    ("place", "name"),
    [(export, "_copy_checkpoint"), (weights_module, "check_checkpoint"), (export, "write_manifest")],
)
@pytest.mark.parametrize("times", [1, 5])
def test_a_run_in_training_can_always_be_exported_and_loaded(
    copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, place: object, name: str, times: int
) -> None:
    for step in copied.checkpoints()[:-1]:
        remove_folder(copied.checkpoint_path(step))  # as with training.keep_checkpoints 1
    (copied.path / "checkpoints" / "best").unlink(missing_ok=True)
    replaced_while(monkeypatch, place, name, copied, times)
    export_zip(copied, tmp_path / "run.zip")
    assert RunStore().import_zip(tmp_path / "run.zip").checkpoints()
    assert caplog.records == [], "a checkpoint that was replaced is not damaged"
    monkeypatch.undo()
    with monkeypatch.context() as patch:
        real = loading.load_weights_file

        def late(folder: RunFolder, path: Path, *, device: str) -> object:
            if path.parent.name == first:
                shutil.copytree(path.parent, folder.checkpoint_path(999))
                remove_folder(path.parent)
            return real(folder, path, device=device)

        first = copied.checkpoint_path(copied.checkpoints()[-1]).name
        patch.setattr(loading, "load_weights_file", late)
        assert loading.load_run(copied.path).step == 999


def test_a_checkpoint_that_is_really_damaged_is_still_refused(copied: RunFolder, tmp_path: Path) -> None:
    (copied.checkpoint_path(copied.checkpoints()[-1]) / "tokenizer.json").unlink()
    (copied.path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        export_zip(copied, tmp_path / "run.zip")
