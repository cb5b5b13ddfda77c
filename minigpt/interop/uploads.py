"""The files of a model that a visitor of a page has uploaded: several files, or a zip of the model's folder.

They are not trusted. A file is written to the disk when the import asks for it, so a model that is too large by its
`config.json` costs nothing more. Only names that a file of a model can have are known; none leads out of the folder.
Bytes are counted while they are written, because the sizes in a zip file may be false.

Reads after: hub.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from minigpt.errors import ArchiveError, InputError, LimitError, MinigptError
from minigpt.runs.archive import MAX_FILES, MAX_READ_BYTES, entry_fault, opened_zip, read_blocks
from minigpt.storage import scratch_folder, storage_errors
from minigpt.wording import quoted, visible

WANTED = "Give config.json, model.safetensors and tokenizer.json of one model, or one zip of its folder."
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""Names of files that a model has."""
_USED = (".json", ".safetensors")
Blocks = Callable[[], Iterator[bytes]]


@contextlib.contextmanager
def uploaded_files(
    files: Sequence[tuple[str, BinaryIO]],
    path: Path,
    *,
    max_bytes: int,
    watch: Callable[[float], None] = lambda done: None,
) -> Iterator[UploadedFiles]:
    """Open uploaded files as those of a model; at the end, what was written of them is removed.

    Args:
        files: Name of each file, and the file itself: the files of one model, or one zip file.
        path: A name for the folder that they are written to, see `scratch_folder`.
        max_bytes: Most bytes that may be written.
        watch: Told between pieces of the copying what share of all is done; an error that it raises ends the copying.

    Raises:
        ArchiveError: A zip that cannot be opened, or has files that a model does not have.
        InputError: A file is there twice.
        LimitError: Unpacked, the files are larger than is allowed.
    """
    with scratch_folder(path) as folder, contextlib.ExitStack() as stack:
        try:
            yield UploadedFiles(files, folder, stack, max_bytes, watch)
        except MinigptError as error:  # the message must not name the temporary folder
            problem = error.problem.replace(f"{folder}{os.sep}", "")
            raise type(error)(problem, mend=error.mend, on_page=error.on_page) from None


class UploadedFiles:
    """The files of a model among uploaded files; a `ModelFiles`. `uploaded_files` makes one."""

    def __init__(
        self,
        files: Sequence[tuple[str, BinaryIO]],
        folder: Path,
        stack: contextlib.ExitStack,
        max_bytes: int,
        watch: Callable[[float], None],
    ) -> None:
        self.where, self.name = "the upload", "imported model"
        self._folder, self._stack, self._max_bytes, self._watch = folder, stack, max_bytes, watch
        self._blocks: dict[str, Blocks] = {}
        self._total = self._written = 0
        found = self._unzipped(files) if _is_zip(files) else [(name, *_plain(file)) for name, file in files]
        for path, size, blocks in found:
            name = re.split(r"[/\\]", path)[-1]
            if name in self._blocks:
                raise InputError(f"{visible(name)} is there twice.", mend="Give the files of one model.")
            if _NAME.fullmatch(name):
                self._blocks[name] = blocks
                self._total += size if name.endswith(_USED) else 0
        self._check(self._total)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self._blocks)

    def path(self, name: str) -> Path:
        """Write a file to the folder, unless it is there, and return its path.

        Raises:
            LimitError: It is larger than is allowed.
            StorageError: The disk is full.
        """
        target = self._folder / name
        if not target.exists():
            with storage_errors(target), target.open("xb") as file:
                for block in self._blocks[name]():
                    self._written += len(block)
                    self._check(self._written)
                    self._watch(min(1.0, self._written / max(1, self._total)))
                    file.write(block)
        return target

    def _unzipped(self, files: Sequence[tuple[str, BinaryIO]]) -> list[tuple[str, int, Blocks]]:
        """Return the files of the folder in a zip that holds `config.json`, the one nearest to the top."""
        ((name, file),) = files
        self.where, self.name = visible(name), PurePosixPath(name).stem
        archive = self._stack.enter_context(opened_zip(file, mend=WANTED, on_page=WANTED))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_FILES:
            raise ArchiveError(f"{self.where} has {len(entries):,} files; {MAX_FILES:,} are allowed.", mend=WANTED)
        tops = [path.parent for entry in entries if (path := PurePosixPath(entry.filename)).name == "config.json"]
        top = min(tops, key=lambda folder: len(folder.parts), default=PurePosixPath("."))
        inside = [entry for entry in entries if PurePosixPath(entry.filename).parent == top]
        for entry in inside:
            if fault := entry_fault(entry):
                raise ArchiveError(f"{quoted(entry.filename[:100])} in {self.where} {fault}.", mend=WANTED)

        def blocks(entry: zipfile.ZipInfo) -> Blocks:
            return lambda: read_blocks(archive, entry, mend=WANTED, on_page=WANTED)

        return [(entry.filename, entry.file_size, blocks(entry)) for entry in inside]

    def _check(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise LimitError(
                f"The files of the model have {num_bytes / 1e6:,.1f} MB; this server takes {self._max_bytes / 1e6:,.1f}"
                " MB.",
                mend="Take a smaller model, or import its folder with minigpt on your own machine.",
            )


def _is_zip(files: Sequence[tuple[str, BinaryIO]]) -> bool:
    return len(files) == 1 and files[0][0].lower().endswith(".zip")


def _plain(file: BinaryIO) -> tuple[int, Blocks]:
    """Return the size of a file, and a function that reads it."""

    def blocks() -> Iterator[bytes]:
        file.seek(0)
        while block := file.read(MAX_READ_BYTES):
            yield block

    return file.seek(0, 2), blocks
