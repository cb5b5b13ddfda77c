"""Weights on disk: one safetensors file that describes itself, written completely or not at all.

A safetensors file is a JSON header (names, shapes, metadata) followed by the numbers. Unlike a pickle, it cannot run
code when it is read. A model's file has its configuration in the metadata, so it can be opened without other files.
docs/format.md lists the names of the tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from minigpt.config import TransformerConfig
from minigpt.config.fields import join_or
from minigpt.errors import CheckpointError
from minigpt.model.devices import resolve_device
from minigpt.model.size import MAX_HEADER_BYTES, tensor_shapes
from minigpt.model.transformer import Transformer
from minigpt.storage import UnusableError, atomic_file, parse_json, start_writing
from minigpt.wording import quoted

FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of weights, as safetensors names them."""
_TYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "F16": torch.float16,
    "BF16": torch.bfloat16, "I32": torch.int32, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64,
}  # fmt: skip
"""Types of tensors by their names in a file, in the order of the safetensors library; a file begins with the last."""
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_ORDER = list(_NAMES)
_PIECE = 1 << 22
"""Bytes of a tensor from which on the system is told to begin to write it, while the next one is computed."""
FORMAT_VERSION = 1
"""Format of a model's file; newer formats are refused."""


def save_weights(
    path: Path, state: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str], half: bool = False
) -> None:
    """Write named tensors to a safetensors file atomically: `path` holds either the old file or the whole new one.

    Equal tensors and metadata make equal files, byte for byte.

    Args:
        path: Where to write; its folder must exist.
        state: Name to tensor, on any device.
        metadata: Text entries of the header.
        half: Whether floating-point numbers are stored as float16: half the size, about three decimal digits.

    Raises:
        StorageError: The disk is full or cannot be written.
    """

    def stored(tensor: torch.Tensor) -> torch.dtype:
        return torch.float16 if half and tensor.is_floating_point() else tensor.dtype

    write_tensors(
        path,
        {name: (tuple(tensor.shape), stored(tensor)) for name, tensor in state.items()},
        lambda name: state[name].detach().to(stored(state[name])),
        metadata=metadata,
    )


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    tensor: Callable[[str], torch.Tensor],
    *,
    metadata: Mapping[str, str],
) -> str:
    """Write a safetensors file atomically, one tensor after another, so that no two of them need memory at a time.

    The safetensors library takes all tensors at once and copies each. Its files are the same: the widest numbers come
    first, those of one type by name. Only the order of the text entries is its own.

    Args:
        path: Where to write; its folder must exist.
        shapes: Name to shape and type of each tensor.
        tensor: Returns the tensor of a name; called once for each, in the order of the file.
        metadata: Text entries of the header.

    Returns:
        The SHA-256 of the file in hexadecimal.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    order, end = sorted(shapes, key=lambda name: (-_ORDER.index(shapes[name][1]), name)), 0
    for name in order:
        shape, dtype = shapes[name]
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    digest = hashlib.sha256()
    with atomic_file(path) as unfinished, unfinished.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        digest.update(len(text).to_bytes(8, "little") + text)
        for name in order:
            numbers = tensor(name).cpu().contiguous().reshape(-1)
            assert (numbers.numel(), numbers.dtype) == (math.prod(shapes[name][0]), shapes[name][1]), name
            content = numbers.view(torch.uint8).numpy().data
            file.write(content)
            digest.update(content)
            if len(content) >= _PIECE:
                file.flush()
                start_writing(file.fileno(), file.tell() - len(content), len(content))
    return digest.hexdigest()


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file.

    Returns:
        Name to tensor, in the stored type and in memory of their own; and the text entries of the header.

    Raises:
        CheckpointError: The file is missing, damaged, or not a safetensors file.
    """
    with open_weights(path) as file:
        # Copied, because `safe_open` may return views of the mapped file, and the file may be replaced.
        state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return state, dict(file.metadata() or {})


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[Any]:
    """Open a safetensors file as `safe_open` of safetensors does.

    Its header has been checked then; none of its numbers has been read. The tensors that `get_tensor` returns are views
    of the file, which the system reads as they are used. The safetensors library accepts headers of 100 MB, and a name
    that is given twice.

    Raises:
        CheckpointError: The file is missing, damaged, or not a safetensors file.
    """
    try:
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header of {length:,} bytes is longer than {MAX_HEADER_BYTES:,}")
            header = parse_json(raw.read(length))
        texts = header.get("__metadata__", {})
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("the entries of its header are not texts")
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, ValueError, SafetensorError) as error:
        why = f"its header {error}" if isinstance(error, UnusableError) else error
        raise CheckpointError(
            f"{path} cannot be read as weights: {why}.", mend="Take another checkpoint, or copy the file again."
        ) from error


def save_model(path: Path, model: Transformer, *, half: bool = False) -> None:
    """Write a model's weights together with its configuration; see `save_weights`.

    Args:
        path: Where to write; its folder must exist.
        model: What to write. A tied matrix is stored once.
        half: Whether the numbers are stored as float16.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    save_weights(path, model.state_dict(), metadata=model_metadata(model.config, model.vocab_size), half=half)


def load_model(path: Path, *, device: str = "cpu") -> Transformer:
    """Read a model that `save_model` wrote; it is in evaluation mode and in float32.

    Args:
        path: A model's file.
        device: Device to put it on; see `resolve_device`.

    Raises:
        CheckpointError: The file is missing, damaged or of a newer format, or its tensors do not fit its configuration.
        DeviceError: This machine does not have the device.
    """
    target = resolve_device(device)
    with open_weights(path) as file:
        config, vocab_size = _checked_shape(file, path)  # before anything is allocated: a header may ask for any size
        model = Transformer(config, vocab_size, seed=None)
        _fill(model, path)
    return model.to(target).eval()


@torch.no_grad()
def _fill(model: Transformer, path: Path) -> None:
    """Copy the numbers of a file into a model, in float32, one tensor after another.

    Raises:
        ValueError: The file has been replaced by another one since its header was checked.
    """
    with TensorReader(path) as file:
        for name, parameter in model.state_dict().items():
            parameter.copy_(file.read(name, tuple(parameter.shape)))


class TensorReader:
    """Reads the tensors of a safetensors file one at a time, each into memory of its own.

    The tensors of `open_weights` are views of the mapped file. What has been read of it counts as memory until the file
    is closed, so a model would take twice its size for a moment.

    Args:
        path: A file whose header `open_weights` has checked.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        self._length = int.from_bytes(self._raw.read(8), "little")
        self._header = parse_json(self._raw.read(min(self._length, MAX_HEADER_BYTES)))

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Return a tensor in the stored type.

        Args:
            name: Its name.
            shape: Its shape, as the header had it when it was checked.

        Raises:
            ValueError: The file has been replaced by another one since.
        """
        entry = self._header.get(name, {})
        dtype = _TYPES.get(str(entry.get("dtype")))
        if dtype is None or not dtype.is_floating_point or entry.get("shape") != list(shape):
            raise ValueError("it has just been replaced")
        numbers = torch.empty(shape, dtype=dtype)
        self._raw.seek(8 + self._length + entry["data_offsets"][0])
        if self._raw.readinto(numbers.view(torch.uint8).numpy().data) != numbers.nbytes:
            raise ValueError("it has just been replaced")
        return numbers


def read_shape(path: Path) -> tuple[TransformerConfig, int]:
    """Read the shape of the model in a file and compare its tensors with it; none of its numbers is read.

    Returns:
        The model's configuration and the size of its vocabulary.

    Raises:
        CheckpointError: As for `load_model`.
    """
    with open_weights(path) as file:
        return _checked_shape(file, path)


def _checked_shape(file: Any, path: Path) -> tuple[TransformerConfig, int]:
    config, vocab_size = parse_metadata(file.metadata() or {}, path)
    found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    check_tensors(
        {name: (tuple(tensor.get_shape()), tensor.get_dtype()) for name, tensor in found.items()},
        tensor_shapes(config, vocab_size),
        path,
    )
    return config, vocab_size


def is_finite(state: Mapping[str, torch.Tensor]) -> bool:
    """Return whether no weight is infinite or NaN; a model with such a weight predicts nothing."""
    # NaN passes through minimum and maximum, so these are finite only if all numbers are; asking each takes ten times
    # as long
    extremes = (torch.stack(tensor.aminmax()) for tensor in state.values() if tensor.numel())
    return all(bool(pair.isfinite().all()) for pair in extremes)


def model_metadata(config: TransformerConfig, vocab_size: int) -> dict[str, str]:
    """Return the header of a model's file: `format_version`, `config` as JSON, `vocab_size`."""
    return {
        "format_version": str(FORMAT_VERSION),
        "config": config.model_dump_json(),
        "vocab_size": str(vocab_size),
    }


def parse_metadata(metadata: Mapping[str, str], path: Path) -> tuple[TransformerConfig, int]:
    """Read the header of a model's file back.

    Args:
        metadata: As `load_weights` returns it.
        path: Of the file, for messages.

    Raises:
        CheckpointError: An entry is missing, damaged, or of a newer format.
    """
    missing = [key for key in ("format_version", "config", "vocab_size") if key not in metadata]
    if missing:
        raise CheckpointError(
            f"{path} holds no minigpt model: its header lacks {', '.join(missing)}.",
            mend="Give a model.safetensors that minigpt wrote.",
        )
    version, vocab_size = metadata["format_version"], metadata["vocab_size"]
    # nine digits are enough for both; Python refuses to read a whole number of more than 4,300
    if not re.fullmatch("[0-9]{1,9}", version) or not re.fullmatch("[1-9][0-9]{0,8}", vocab_size):
        raise CheckpointError(
            f"The header of {path} is damaged: format_version {quoted(version[:20])}, "
            f"vocab_size {quoted(vocab_size[:20])}.",
            mend="Take another checkpoint.",
        )
    if int(version) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}; this minigpt reads up to {FORMAT_VERSION}.",
            mend="Update minigpt.",
            on_page="Choose another run; a newer minigpt can read this one.",
        )
    try:
        return TransformerConfig.model_validate_json(metadata["config"]), int(vocab_size)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "config"
        raise CheckpointError(
            f"The header of {path} describes no model: {field}: {first['msg']}.",
            mend="Update minigpt if a newer one wrote it, or take another checkpoint.",
            on_page="Choose another run; a newer minigpt may be able to read this one.",
        ) from error


def check_tensors(
    found: Mapping[str, tuple[tuple[int, ...], str]], expected: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Compare the names, shapes and types of the tensors in a file with those of a model.

    Args:
        found: Name to shape and type, as the header of the file gives them.
        expected: Name to shape, see `tensor_shapes`.
        path: Of the file, for messages.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape, or holds no floating-point numbers.
    """
    mend = "Take another checkpoint, or the configuration that these weights were saved with."
    for problem, names in (("lacks", expected.keys() - found.keys()), ("has too much", found.keys() - expected.keys())):
        if names:
            few = ", ".join(name[:80] for name in sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(f"{path} does not fit the model: it {problem}: {few}{more}.", mend=mend)
    for name, shape in expected.items():
        given, dtype = found[name]
        if given != shape:
            raise CheckpointError(
                f"{path} does not fit the model: {name} has shape {given}, the model has {shape}.", mend=mend
            )
        if dtype not in FLOATS:
            raise CheckpointError(
                f"{path} does not fit the model: {name} has the type {dtype}; weights have {join_or(FLOATS)}.",
                mend=mend,
            )
