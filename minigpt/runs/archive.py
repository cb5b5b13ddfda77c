"""Importing a run from a zip file that `export` has made.

An imported file is not trusted. Only files that a run has are unpacked, only to the places where a run has them, and
only up to the size that its settings and the server's limits allow each of them. That size is counted while writing,
because the sizes in the zip file may be false. A run is accepted when all of it has been read without an error.

Reads after: export.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from minigpt.errors import ArchiveError, LimitError, MinigptError, StorageError
from minigpt.model.size import BYTES_PER_NUMBER, MAX_HEADER_BYTES, count_parameters
from minigpt.runs.folder import CONFIG, DATA, INFO, METRICS, TOKENIZER, RunFolder
from minigpt.runs.info import RunInfo
from minigpt.runs.metrics import write_records
from minigpt.runs.weights import CHECKPOINTS, HISTORY
from minigpt.storage import MAX_JSON_BYTES, write_text
from minigpt.training.checkpoint import MANIFEST, MODEL, PROGRESS, STATE, check_checkpoint
from minigpt.wording import cause_of, quoted

if TYPE_CHECKING:
    from minigpt.runs.limits import Limits

EXPORT_WANTED = "Give a zip file from Download on the page Runs or from `minigpt export`."
EXPORT_WANTED_ON_PAGE = "Give a zip file that Download on the page Runs has made."
"""Hint for a zip that is not an exported run."""
MAX_BYTES = 4 * 10**9
"""Default of the largest unpacked size."""
MAX_FILES = 5000
MAX_METRICS_BYTES = 64 * 10**6
"""Largest `metrics.jsonl`."""
MAX_READ_BYTES = 1 << 20
"""Most bytes of a zip file that are read at a time; the names of 5,000 files take half of it."""

_FIRST = (INFO, CONFIG, TOKENIZER)
_SMALL = {INFO, CONFIG, TOKENIZER, METRICS, f"{DATA}/meta.json", f"{CHECKPOINTS}/best", f"{CHECKPOINTS}/last"}
_LARGE = {f"{DATA}/train.bin", f"{DATA}/validation.bin"}
_STEP = r"step-\d{7,9}"
_SMALL_PATTERN = re.compile(rf"{CHECKPOINTS}/{_STEP}/({'|'.join(map(re.escape, (TOKENIZER, PROGRESS, MANIFEST)))})")
_LARGE_PATTERN = re.compile(
    rf"{CHECKPOINTS}/{_STEP}/({'|'.join(map(re.escape, (MODEL, STATE)))})|{HISTORY}/{_STEP}\.safetensors"
)


def unpack(
    source: Path | BinaryIO,
    target: Path,
    *,
    run_id: str,
    max_bytes: int | None = None,
    limits: Limits | None = None,
) -> None:
    """Unpack an exported run into an empty folder and check all of it.

    Settings and tokenizer come first: the size of the model decides how large each other file may be.

    Args:
        source: The zip file.
        target: The folder; after an error the caller removes it.
        run_id: The run's new id.
        max_bytes: Largest unpacked size; None: what the limits say, else `MAX_BYTES`.
        limits: What a server allows; None: everything that fits into `max_bytes`.

    Raises:
        ArchiveError: It is not an exported run, is damaged or too large, or contains other files.
        LimitError: The server does not allow such a run.
    """
    folder = RunFolder(target)
    if max_bytes is None:
        allowed = None if limits is None else limits.max_run_megabytes
        max_bytes = MAX_BYTES if allowed is None else allowed * 10**6
    with opened_zip(source, mend=EXPORT_WANTED, on_page=EXPORT_WANTED_ON_PAGE) as archive, _refusing(folder):
        members = _members(archive)
        declared = sum(entry.file_size for entry in members.values())
        left = max_bytes
        if declared > left:
            raise _too_large(declared, max_bytes, limits)
        parameters = 0
        for name in sorted(members, key=lambda name: name not in _FIRST):
            if not parameters and name not in _FIRST:
                parameters = _checked_size(folder, limits)
            largest = _largest(name, folder, parameters, limits)
            left -= _extract(archive, members[name], target / name, limit=min(left, largest))
        _check(folder, limits)
        _rewrite(folder, run_id)


_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OverflowError,
    RuntimeError, OSError,
)  # fmt: skip
"""What `zipfile` raises for a damaged file."""


class _BoundedReads:
    """A file that refuses to be read in long pieces: ZipFile reads the list of entries, of any length, in one."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.seekable, self._read = file.seek, file.tell, file.seekable, file.read

    def read(self, size: int | None = -1) -> bytes:
        most = MAX_READ_BYTES + 1 if size is None or size < 0 else min(size, MAX_READ_BYTES + 1)
        content = self._read(most)
        if len(content) > MAX_READ_BYTES:
            raise zipfile.BadZipFile("its list of files is too long")
        return content


@contextlib.contextmanager
def opened_zip(source: Path | BinaryIO, *, mend: str, on_page: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file that may be somebody else's; of its list of files no more is read than a run's can have.

    Args:
        source: The zip file.
        mend: What to give instead of a file that is none.
        on_page: The same for the visitor of a page.

    Raises:
        ArchiveError: It is no zip file, or has more than `MAX_FILES` files.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            archive = stack.enter_context(zipfile.ZipFile(cast(BinaryIO, _BoundedReads(file))))
        except _UNREADABLE as error:
            raise _unreadable(error, mend, on_page) from None
        yield archive


def _unreadable(error: Exception, mend: str, on_page: str) -> ArchiveError:
    why = cause_of(error).why if isinstance(error, OSError) else error
    return ArchiveError(f"The file is no zip file that can be opened: {why}.", mend=mend, on_page=on_page)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by their paths in the run.

    Raises:
        ArchiveError: It contains something else than the files of one run.
    """
    if len(archive.infolist()) > MAX_FILES:
        raise _refused(f"it has {len(archive.infolist()):,} files; a run has at most {MAX_FILES:,}")
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    tops = [PurePosixPath(entry.filename) for entry in entries if PurePosixPath(entry.filename).name == INFO]
    if len(tops) != 1 or len(tops[0].parts) > 2:
        raise _refused(f"it has no {INFO} at its top")
    prefix = "" if len(tops[0].parts) == 1 else f"{tops[0].parts[0]}/"
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename.removeprefix(prefix)
        if not entry.filename.startswith(prefix) or not is_run_file(name):
            raise _refused(f"it holds {quoted(entry.filename[:100])}, which no run has")
        if fault := entry_fault(entry):
            raise _refused(f"{name} {fault}")
        if name in members:
            raise _refused(f"{name} is in it twice")
        members[name] = entry
    return members


def entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return why a file of a zip must not be unpacked, as the end of a sentence; None if it may."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) or entry.flag_bits & 1:
        return "is a link, a device or encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that needs memory as the file asks"
    return None


def read_blocks(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    *,
    mend: str = EXPORT_WANTED,
    on_page: str = EXPORT_WANTED_ON_PAGE,
) -> Iterator[bytes]:
    """Yield the contents of a file of a zip in blocks of at most `MAX_READ_BYTES`; see `opened_zip`."""
    try:
        with archive.open(entry) as packed:
            while block := packed.read(MAX_READ_BYTES):
                yield block
    except _UNREADABLE as error:
        raise _unreadable(error, mend, on_page) from None


def _is_large(name: str) -> bool:
    return name in _LARGE or _LARGE_PATTERN.fullmatch(name) is not None


def is_run_file(name: str) -> bool:
    """Return whether a run has a file with this relative path; no such path leads out of the folder."""
    return name in _SMALL or _is_large(name) or _SMALL_PATTERN.fullmatch(name) is not None


def _checked_size(folder: RunFolder, limits: Limits | None) -> int:
    """Return the number of the model's parameters, from the settings and the tokenizer.

    Raises:
        LimitError: The server does not allow such a model.
    """
    config, vocab_size = folder.config, folder.tokenizer.vocab_size
    if limits is not None:
        limits.check_import(config, vocab_size)
    return count_parameters(config.model, vocab_size).total


def _largest(name: str, folder: RunFolder, parameters: int, limits: Limits | None) -> int:
    """Return the most bytes that a file of a run may have.

    Args:
        name: Its path in the run.
        folder: The run; its settings are there for every file that is not one of the first.
        parameters: Of its model.
        limits: What the server allows; None: no more than the format.
    """
    from minigpt.tokenizers.base import MAX_BYTES as TOKENIZER_BYTES
    from minigpt.tokenizers.base import smallest_id_type

    base = PurePosixPath(name).name
    if base in (INFO, CONFIG, MANIFEST, PROGRESS):
        return 100_000
    if base == TOKENIZER:
        if limits is None:
            return TOKENIZER_BYTES
        # a character takes 20 bytes, and each has a row of the embedding
        return min(TOKENIZER_BYTES, 4096 + 20 * (limits.max_parameters // folder.config.model.d_model))
    if base == METRICS:
        return MAX_METRICS_BYTES if limits is None else min(MAX_METRICS_BYTES, 10**6 + 1000 * limits.max_steps)
    if base in ("best", "last"):
        return 100
    if base == "meta.json":
        return MAX_JSON_BYTES
    if name in _LARGE:
        # a token is a character or less; a document has one more
        id_bytes = smallest_id_type(folder.tokenizer.vocab_size).itemsize
        return MAX_BYTES if limits is None else 2 * limits.max_corpus_chars * id_bytes
    if base == STATE:  # raw weights and two numbers for each
        return 3 * BYTES_PER_NUMBER * parameters + MAX_HEADER_BYTES
    return BYTES_PER_NUMBER * parameters + MAX_HEADER_BYTES


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, *, limit: int) -> int:
    """Write one file and return its size, counted while writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as file:
        for block in read_blocks(archive, entry):
            size += len(block)
            if size > limit:
                raise _refused(f"unpacked, {path.name} is larger than such a file can be here ({limit:,} bytes)")
            file.write(block)
    return size


@contextlib.contextmanager
def _refusing(folder: RunFolder) -> Iterator[None]:
    """Turn what is wrong with an unpacked run into one error about the zip file."""
    try:
        yield
    except (ArchiveError, LimitError, StorageError):
        raise
    except MinigptError as error:
        # the message must not name the temporary folder
        problem = error.problem.replace(f"The run {folder.path}", "it").replace(f"{folder.path}{os.sep}", "")
        raise _refused(problem.rstrip(".")) from None


def _check(folder: RunFolder, limits: Limits | None) -> None:
    """Read all of an unpacked run. Of weights the headers are read: whatever numbers follow, they are numbers."""
    from minigpt.data.prepared import open_data
    from minigpt.model.weights import read_shape

    shape = (folder.config.model, folder.tokenizer.vocab_size)
    meta = folder.meta if (folder.data_path / "meta.json").exists() else {}
    if meta.get("vocab_size", shape[1]) != shape[1]:
        raise _refused(f"data/meta.json and {TOKENIZER} have vocabularies of different sizes")
    if any((folder.path / name).exists() for name in _LARGE):
        open_data(folder.data_path)
    if limits is not None:
        limits.check_length(meta.get("num_chars", 0))
    folder.weights_path()
    checkpoints = sorted((folder.path / CHECKPOINTS).glob("step-*"))
    for checkpoint in checkpoints:
        check_checkpoint(checkpoint)
    histories = [folder.history_path(step) for step in folder.history_steps()]
    for path in [*(checkpoint / MODEL for checkpoint in checkpoints), *histories]:
        if read_shape(path) != shape:
            where = path.stem if path in histories else path.parent.name
            raise _refused(f"{where} does not fit {CONFIG} and {TOKENIZER}")


def _rewrite(folder: RunFolder, run_id: str) -> None:
    """Give an unpacked run its new id and settings that are safe here, and drop lines that are no records."""
    info, config = folder.info, folder.config
    # an imported run must not make this machine send its metrics to a tracking service
    folder.write_config(config.updated({"data.paths": (), "tokenizer.path": None, "training.track": ()}))
    if (folder.path / METRICS).exists():
        write_records(folder.path / METRICS, folder.metrics())
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


def _too_large(num_bytes: int, max_bytes: int, limits: Limits | None) -> MinigptError:
    if limits is None:
        return _refused(f"unpacked, it is larger than is allowed here ({max_bytes:,} bytes)")
    return LimitError(
        f"Unpacked, the run has {num_bytes / 1e6:,.0f} MB; this server allows {max_bytes / 1e6:,.0f} MB.",
        mend="Download it without its data, or open it with minigpt on your own machine.",
    )


def _refused(why: str) -> ArchiveError:
    return ArchiveError(f"The file is no exported run: {why}.", mend=EXPORT_WANTED, on_page=EXPORT_WANTED_ON_PAGE)
