"""Exporting a run as one zip file, and making one that ships with minigpt.

An exported run is a zip file with one folder in it, laid out as a run. It never contains the owner's token or a path of
this machine. It contains the encoded corpus, and the state of the training, only if the person exporting asks for it.

Reads after: folder.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from minigpt.data.prepared import open_data
from minigpt.data.shards import is_sharded
from minigpt.errors import CheckpointError, RunExistsError, RunNotFoundError
from minigpt.runs.folder import DATA, INFO, METRICS, TOKENIZER, RunFolder
from minigpt.runs.metrics import write_records
from minigpt.runs.weights import CHECKPOINTS, HISTORY
from minigpt.storage import atomic_file, atomic_folder, storage_errors, write_text
from minigpt.training.checkpoint import MODEL, PROGRESS, STATE, step_name, write_manifest

_ATTEMPTS = 20
_TOKENS = 1 << 20
"""Tokens copied at a time."""

BUNDLED_STEPS = 1500
"""Records of single steps that a bundled run keeps, about; a chart is not wider."""
"""How often an export begins again while the training replaces checkpoints; each time it has made another one."""


def export_zip(folder: RunFolder, target: Path | BinaryIO, *, include_data: bool = False) -> None:
    """Write a run as one zip file.

    Args:
        folder: The run; it may be in training.
        target: Path of the file, or an open binary file.
        include_data: Whether to include the encoded corpus and the state of the training, so that it can be resumed;
            without them it can still be used and inspected.

    Raises:
        StorageError: The disk is full or cannot be written.
        CheckpointError: A file of the run is missing.
        RunNotFoundError: The run has no checkpoint yet.
    """
    info = folder.info
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", info.name).strip("-.") or info.id
    with tempfile.TemporaryDirectory(prefix="minigpt-export-") as temporary:
        copy = _copied(folder, Path(temporary), include_data=include_data)
        if isinstance(target, Path):
            with atomic_file(target) as unfinished:
                _zip(copy, name, unfinished)
        else:
            with storage_errors(folder.path):
                _zip(copy, name, target)


def _zip(source: Path, name: str, target: Path | BinaryIO) -> None:
    """Write the files of a folder into a zip file, inside one folder of the given name."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, f"{name}/{path.relative_to(source).as_posix()}")


def bundle_run(folder: RunFolder, target: Path) -> RunFolder:
    """Copy a run to `target` as small as possible: half precision, one checkpoint, no corpus, no state of the training.

    Of the records of single steps `BUNDLED_STEPS` are kept, at equal distances.

    The runs that ship with minigpt are made this way. The id of the copy is the name of its folder.

    Args:
        folder: A finished run.
        target: The new folder; it must not exist.

    Raises:
        RunExistsError: There is something at `target`.
        RunNotFoundError: The run has no weights.
    """
    if target.exists():
        raise RunExistsError(f"There is something at {target} already.", mend="Remove it or choose another folder.")
    steps = _exported_steps(folder)[:1]  # the best, if there is one
    with atomic_folder(target) as unfinished:
        _copy(folder, unfinished, steps=steps, include_data=False, half=True)
        copy = RunFolder(unfinished)
        write_records(copy.path / METRICS, _thinned(copy.metrics()))
        copy.update_info(id=target.name, status="finished", error=None, parent=None)
    return RunFolder(target)


def _thinned(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records with fewer of single steps, the last one among them."""
    steps = [record["step"] for record in records if record["kind"] == "step"]
    kept = {*steps[:: max(1, round(len(steps) / BUNDLED_STEPS))], *steps[-1:]}
    return [record for record in records if record["kind"] != "step" or record["step"] in kept]


def _exported_steps(folder: RunFolder) -> list[int]:
    """Return the steps whose checkpoints are exported: the best and the newest."""
    newest = folder.newest_checkpoint()
    if newest is None:
        raise RunNotFoundError(
            f"The run {folder.path.name} has no checkpoint yet.", mend="Train it until its first checkpoint."
        )
    last, best = int(newest.name.removeprefix("step-")), folder.best_step
    return [last] if best is None or best == last else [best, last]


def _copied(folder: RunFolder, temporary: Path, *, include_data: bool) -> Path:
    """Copy what is exported, again if the training has meanwhile removed a checkpoint that was being copied."""
    for attempt in range(_ATTEMPTS):
        steps, copy = _exported_steps(folder), temporary / str(attempt)
        try:
            _copy(folder, copy, steps=steps, include_data=include_data)
            return copy
        except CheckpointError:
            if attempt + 1 == _ATTEMPTS or all(folder.checkpoint_path(step).is_dir() for step in steps):
                raise  # really missing
            shutil.rmtree(copy)
    raise AssertionError("the loop returns or raises")


def _copy(folder: RunFolder, target: Path, *, steps: list[int], include_data: bool, half: bool = False) -> None:
    """Copy the parts of a run that may be exported into a new folder."""
    files = ("validation.bin",) if is_sharded(folder.data_path) else ("train.bin", "validation.bin")
    for name in files if include_data else ():
        if not (folder.data_path / name).is_file():
            raise CheckpointError(
                f"{folder.data_path / name} is missing, so the encoded corpus cannot be exported.",
                mend="Export the run without its data; it can then be used and inspected, but not resumed.",
            )
    with storage_errors(target), _missing_files(folder):
        for part in (DATA, CHECKPOINTS, HISTORY):
            (target / part).mkdir(parents=True)
        # the owner, the expiry date and the paths of texts have no meaning on another machine
        info = folder.info.model_copy(update={"owner_token_sha256": None, "expires": None})
        write_text(target / INFO, info.model_dump_json(indent=1) + "\n")
        copy = RunFolder(target)
        copy.write_config(folder.config.updated({"data.paths": (), "tokenizer.path": None}))
        shutil.copyfile(folder.path / TOKENIZER, target / TOKENIZER)
        write_records(target / METRICS, folder.metrics())
        copy.write_meta(_meta_of_copy(folder, target / DATA, include_data=include_data))
        for name in files if include_data else ():
            shutil.copyfile(folder.data_path / name, target / DATA / name)
        for step in folder.history_steps():
            with contextlib.suppress(FileNotFoundError):  # removed by the training in the meantime
                shutil.copyfile(folder.history_path(step), copy.history_path(step))
        for step in steps:
            _copy_checkpoint(folder.checkpoint_path(step), copy.checkpoint_path(step), whole=include_data, half=half)
        for name, named in (("best", folder.best_step), ("last", max(steps))):
            if named is not None and named in steps:
                write_text(target / CHECKPOINTS / name, step_name(named) + "\n")


def _meta_of_copy(folder: RunFolder, target: Path, *, include_data: bool) -> dict[str, Any]:
    """Return what `data/meta.json` of a copy says; the training part of a corpus in shards becomes one file."""
    meta = folder.meta
    if not is_sharded(folder.data_path):
        return meta
    meta = {key: value for key, value in meta.items() if key not in ("held_out", "shards_sha256")}
    if include_data:
        train, digest = open_data(folder.data_path, check=False).train, hashlib.sha256()
        with (target / "train.bin").open("wb") as file:
            for start in range(0, len(train), _TOKENS):
                ids = train[start : start + _TOKENS]
                file.write(ids.data)
                digest.update(ids.data)
        meta["train_sha256"] = digest.hexdigest()
    return meta


@contextlib.contextmanager
def _missing_files(folder: RunFolder) -> Iterator[None]:
    """Turn the error for a file that is missing in a run into a `CheckpointError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        missing = Path(str(error.filename))
        if not missing.is_relative_to(folder.path):
            raise
        raise folder.damaged(f"{missing.relative_to(folder.path)} is missing") from error


def _copy_checkpoint(source: Path, target: Path, *, whole: bool, half: bool) -> None:
    """Copy a checkpoint, whole or only its weights, and write a manifest of the copy."""
    from minigpt.model.weights import load_weights, save_weights

    target.mkdir()
    names = [TOKENIZER] if half else [TOKENIZER, MODEL]
    names += [name for name in (STATE, PROGRESS) if whole and (source / name).is_file()]
    for name in names:
        shutil.copyfile(source / name, target / name)
    if half:
        state, metadata = load_weights(source / MODEL)
        save_weights(target / MODEL, state, metadata=metadata, half=True)
    write_manifest(target)
