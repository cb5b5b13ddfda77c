"""Exporting a run as one zip file, and importing one.

An exported run is a zip file with one folder in it, laid out as a run. It never contains the owner's token or a path of
this machine. It contains the encoded corpus, and the state of the training, only if the person exporting asks for it.

An imported file is not trusted. Only files that a run has are unpacked, only to the places where a run has them, and
only up to a size. That size is counted while writing, because the sizes in the zip file may be false. A run is accepted
when all of it has been read without an error.

Reads after: folder.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from minigpt.errors import ArchiveError, CheckpointError, MinigptError, RunExistsError, RunNotFoundError
from minigpt.runs.folder import CONFIG, DATA, INFO, METRICS, TOKENIZER, RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.metrics import write_records
from minigpt.runs.weights import CHECKPOINTS, HISTORY
from minigpt.storage import atomic_file, atomic_folder, storage_errors, write_text
from minigpt.training.checkpoint import (
    MANIFEST,
    MODEL,
    PROGRESS,
    STATE,
    check_checkpoint,
    step_name,
    write_manifest,
)
from minigpt.wording import cause_of, quoted

EXPORT_WANTED = "Give a zip file from Download on the page Runs or from `minigpt export`."
EXPORT_WANTED_ON_PAGE = "Give a zip file that Download on the page Runs has made."
"""Hint for a zip that is not an exported run."""
MAX_BYTES = 4 * 10**9
"""Default of the largest unpacked size."""
MAX_FILES = 5000
MAX_TEXT_BYTES = 64 * 10**6
"""Largest size of one of the small files, which are read into memory."""

_SMALL = {INFO, CONFIG, TOKENIZER, METRICS, f"{DATA}/meta.json", f"{CHECKPOINTS}/best", f"{CHECKPOINTS}/last"}
_LARGE = {f"{DATA}/train.bin", f"{DATA}/validation.bin"}
_STEP = r"step-\d{7,9}"
_SMALL_PATTERN = re.compile(rf"{CHECKPOINTS}/{_STEP}/({'|'.join(map(re.escape, (TOKENIZER, PROGRESS, MANIFEST)))})")
_LARGE_PATTERN = re.compile(
    rf"{CHECKPOINTS}/{_STEP}/({'|'.join(map(re.escape, (MODEL, STATE)))})|{HISTORY}/{_STEP}\.safetensors"
)


# -- export


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
        copy = Path(temporary) / "run"
        _copy(folder, copy, steps=_exported_steps(folder), include_data=include_data)
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
        RunFolder(unfinished).update_info(id=target.name, status="finished", error=None, parent=None)
    return RunFolder(target)


def _exported_steps(folder: RunFolder) -> list[int]:
    """Return the steps whose checkpoints are exported: the best and the newest."""
    newest = folder.newest_checkpoint()
    if newest is None:
        raise RunNotFoundError(
            f"The run {folder.path.name} has no checkpoint yet.", mend="Train it until its first checkpoint."
        )
    last, best = int(newest.name.removeprefix("step-")), folder.best_step
    return [last] if best is None or best == last else [best, last]


def _copy(folder: RunFolder, target: Path, *, steps: list[int], include_data: bool, half: bool = False) -> None:
    """Copy the parts of a run that may be exported into a new folder."""
    for name in ("train.bin", "validation.bin") if include_data else ():
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
        copy.write_config(folder.config.updated({"data.paths": ()}))
        shutil.copyfile(folder.path / TOKENIZER, target / TOKENIZER)
        write_records(target / METRICS, folder.metrics())
        copy.write_meta(folder.meta)
        if include_data:
            for name in ("train.bin", "validation.bin"):
                shutil.copyfile(folder.data_path / name, target / DATA / name)
        for step in folder.history_steps():
            with contextlib.suppress(FileNotFoundError):  # removed by the training in the meantime
                shutil.copyfile(folder.history_path(step), copy.history_path(step))
        for step in steps:
            _copy_checkpoint(folder.checkpoint_path(step), copy.checkpoint_path(step), whole=include_data, half=half)
        for name, named in (("best", folder.best_step), ("last", max(steps))):
            if named is not None and named in steps:
                write_text(target / CHECKPOINTS / name, step_name(named) + "\n")


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


# -- import


def unpack(source: Path | BinaryIO, target: Path, *, run_id: str, max_bytes: int = MAX_BYTES) -> None:
    """Unpack an exported run into an empty folder and check all of it.

    Args:
        source: The zip file.
        target: The folder; after an error the caller removes it.
        run_id: The run's new id.
        max_bytes: Largest unpacked size.

    Raises:
        ArchiveError: It is not an exported run, is damaged or too large, or contains other files.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            left = max_bytes
            for entry, name in _members(archive):
                left -= _extract(
                    archive, entry, target / name, limit=left if _is_large(name) else min(left, MAX_TEXT_BYTES)
                )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise ArchiveError(
            f"The file is no zip file that can be opened: {error}.", mend=EXPORT_WANTED, on_page=EXPORT_WANTED_ON_PAGE
        ) from None
    _check(RunFolder(target), run_id)


def _members(archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, str]]:
    """Return the files of an archive with their paths in the run.

    Raises:
        ArchiveError: It contains something else than the files of one run.
    """
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES:
        raise _refused(f"it has {len(entries)} files; a run has at most {MAX_FILES}")
    tops = [PurePosixPath(entry.filename) for entry in entries if PurePosixPath(entry.filename).name == INFO]
    if len(tops) != 1 or len(tops[0].parts) > 2:
        raise _refused(f"it has no {INFO} at its top")
    prefix = "" if len(tops[0].parts) == 1 else f"{tops[0].parts[0]}/"
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename.removeprefix(prefix)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not entry.filename.startswith(prefix) or not _is_known(name):
            raise _refused(f"it holds {quoted(entry.filename[:100])}, which no run has")
        if kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
            raise _refused(f"{name} is a link, a device or encrypted")
        if name in members:
            raise _refused(f"{name} is in it twice")
        members[name] = entry
    return [(entry, name) for name, entry in members.items()]


def _is_large(name: str) -> bool:
    return name in _LARGE or _LARGE_PATTERN.fullmatch(name) is not None


def _is_known(name: str) -> bool:
    """Return whether a run has a file with this relative path; no such path leads out of the folder."""
    return name in _SMALL or _is_large(name) or _SMALL_PATTERN.fullmatch(name) is not None


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, *, limit: int) -> int:
    """Write one file and return its size, counted while writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(entry) as packed, path.open("xb") as file:
        while block := packed.read(1 << 20):
            size += len(block)
            if size > limit:
                raise _refused("unpacked, it is larger than is allowed here")
            file.write(block)
    return size


def _check(folder: RunFolder, run_id: str) -> None:
    """Read all of an unpacked run, then give it its new id and settings that are safe here."""
    from safetensors import SafetensorError, safe_open

    from minigpt.model.weights import load_model

    try:
        info, config, tokenizer = folder.info, folder.config, folder.tokenizer
        folder.metrics()
        if (folder.data_path / "meta.json").exists():
            folder.meta  # noqa: B018 - reading it is the check
        checkpoints = sorted((folder.path / CHECKPOINTS).glob("step-*"))
        for checkpoint in checkpoints:
            check_checkpoint(checkpoint)
        for step in folder.history_steps():
            with safe_open(folder.history_path(step), framework="np") as file:
                file.keys()
        for path in [*(checkpoint / MODEL for checkpoint in checkpoints)] or [folder.weights_path()]:
            model = load_model(path)
            if model.config != config.model or model.vocab_size != tokenizer.vocab_size:
                raise _refused(f"{path.parent.name} does not fit {CONFIG} and {TOKENIZER}")
    except ArchiveError:
        raise
    except MinigptError as error:
        # the message must not name the temporary folder
        problem = error.problem.replace(f"The run {folder.path}", "it").replace(f"{folder.path}{os.sep}", "")
        raise _refused(problem.rstrip(".")) from None
    except (OSError, SafetensorError) as error:
        raise _refused(cause_of(error).why) from None
    # an imported run must not make this machine send its metrics to a tracking service
    folder.write_config(config.updated({"data.paths": (), "training.track": ()}))
    imported = RunInfo(
        id=run_id,
        name=info.name,
        status="finished" if info.status == "finished" else "stopped",
        created=info.created,
        parent=info.id,
        tags=info.tags,
        notes=info.notes,
    )
    write_text(folder.path / INFO, imported.model_dump_json(indent=1) + "\n")


def _refused(why: str) -> ArchiveError:
    return ArchiveError(f"The file is no exported run: {why}.", mend=EXPORT_WANTED, on_page=EXPORT_WANTED_ON_PAGE)
