"""A checkpoint: one moment of a training as a folder, with a manifest to verify it.

```
step-0001200/
  model.safetensors      weights to use, with the model's configuration in the header
  tokenizer.json         so that the folder is usable by itself
  trainer.safetensors    optimizer state as `<parameter name>.<slot>`; and the weights in training, if those in
                         model.safetensors are a running mean of them
  trainer.json           counters, and the version of torch, number of threads and processor that produced them
  manifest.json          size and SHA-256 of each file above
```
The folder is written under a temporary name, the manifest last, and then renamed. So a folder with a checkpoint's name
is complete. A folder without a valid manifest is not a checkpoint, whatever it contains. A bundled or exported
checkpoint may lack the two trainer files; it can be used but not resumed.

Importing this module does not import torch.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from minigpt.errors import CheckpointError, NonFiniteLossError
from minigpt.storage import atomic_folder, flush, read_json, sha256_of, write_text
from minigpt.wording import cause_of

if TYPE_CHECKING:
    import torch

    from minigpt.config import TransformerConfig
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer
    from minigpt.training.events import TrainerView
    from minigpt.training.state import TrainerState

FORMAT_VERSION = 1
"""Format of `manifest.json` and `trainer.json`; a reader refuses newer versions."""
MODEL, TOKENIZER, STATE, PROGRESS, MANIFEST = (
    "model.safetensors",
    "tokenizer.json",
    "trainer.safetensors",
    "trainer.json",
    "manifest.json",
)
RAW = "raw:"
"""Prefix of the names of weights in `trainer.safetensors`; optimizer state has none."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _ManifestEntry(_Strict):
    """Size and hash of one file."""

    bytes: int
    sha256: str


class _Manifest(_Strict):
    """The contents of `manifest.json`. A name in it is that of a file in the folder itself."""

    format_version: int
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")], _ManifestEntry]


class _Progress(_Strict):
    """The types of what `trainer.json` holds; more may be in it."""

    format_version: int
    step: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    tokens_seen: Annotated[int, Field(ge=0)]
    smoothed_loss: float
    loss: float | None
    best_val_loss: float | None
    best_step: int | None
    early_end: str | None = None
    environment: dict[str, str | int]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and verified.

    Attributes:
        path: The folder.
        state: Weights, optimizer state and counters, for `Trainer.load_state_dict`.
        environment: `torch`, `num_threads`, `device` and `processor` of the training, see `describe_environment`.
    """

    path: Path
    state: TrainerState
    environment: dict[str, Any]

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.state.progress["step"])


def step_name(step: int) -> str:
    """Return the name of a step's folder or file, zero-padded so that names sort by step.

    >>> step_name(1200)
    'step-0001200'
    """
    return f"step-{step:07d}"


def parse_step(name: str) -> int | None:
    """Return the step that a name stands for, or None if it is not the name of a step.

    >>> parse_step("step-0001200"), parse_step("step-0000064.safetensors"), parse_step(".tmp-step-0000001")
    (1200, 64, None)
    """
    match = re.fullmatch(r"step-(\d{7,})(\.safetensors)?", name)
    return int(match.group(1)) if match else None


# -- writing


def save_checkpoint(directory: Path, trainer: TrainerView, tokenizer: BaseTokenizer) -> None:
    """Write a checkpoint. Afterwards `directory` is a complete checkpoint; after an error it is what it was before.

    Args:
        directory: The folder to write, see `step_name`.
        trainer: The training to save.
        tokenizer: The tokenizer of the run.

    Raises:
        StorageError: The disk is full or cannot be written.
        CheckpointError: An update is just being applied.
        NonFiniteLossError: A weight is infinite or NaN; checkpoints with finite weights are not replaced by such a one.
    """
    from minigpt.model.weights import is_finite, save_weights

    if not is_finite(trainer.eval_model.state_dict()):
        raise NonFiniteLossError(
            f"The weights became infinite or NaN in update {trainer.step}.",
            mend="In a new run, lower training.learning_rate; what this one saved before is kept.",
        )
    environment = describe_environment(trainer.model.device)
    progress = {"format_version": FORMAT_VERSION, **trainer.progress(), "environment": environment}
    state = trainer.optimizer_state()
    if trainer.weights_kind == "ema":
        state |= {RAW + name: value for name, value in trainer.model.state_dict().items()}
    # it replaces a damaged checkpoint, or one of a step that is trained again after a resume
    with atomic_folder(directory, replace=True) as folder:
        save_eval_model(folder / MODEL, trainer.eval_model, trainer.weights_kind)
        tokenizer.save(folder / TOKENIZER)
        save_weights(folder / STATE, state, metadata={"format_version": str(FORMAT_VERSION)})
        write_text(folder / PROGRESS, json.dumps(progress, indent=1) + "\n")
        write_manifest(folder)


def save_eval_model(path: Path, model: Transformer, kind: str, *, half: bool = False) -> None:
    """Write the weights to use, with the model's configuration and the kind of weights in the file's header.

    Args:
        path: The file to write; its folder must exist.
        model: `Trainer.eval_model`.
        kind: `Trainer.weights_kind`, `raw` or `ema`.
        half: Whether to store the numbers in 16 bits.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    from minigpt.model.weights import save_weights

    save_weights(path, model.state_dict(), metadata=eval_metadata(model.config, model.vocab_size, kind), half=half)


def eval_metadata(config: TransformerConfig, vocab_size: int, kind: str) -> dict[str, str]:
    """Return the header of the file that `save_eval_model` writes."""
    from minigpt.model.weights import model_metadata

    return {**model_metadata(config, vocab_size), "weights": kind}


def write_manifest(directory: Path, *, known: Mapping[str, str] | None = None) -> None:
    """Write the manifest of all files in a folder, after flushing them to the disk. It is the last file to be written.

    Args:
        directory: The folder.
        known: Name to SHA-256 of files whose hash is known already.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": (known or {}).get(path.name) or sha256_of(path)}
        for path in sorted(directory.iterdir())
        if path.name != MANIFEST and not path.name.startswith(".")
    }
    for name in files:
        flush(directory / name)
    write_text(directory / MANIFEST, json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=1) + "\n")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return what, besides the run itself, the exact numbers of a training depend on."""
    import torch

    return {
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "device": device.type,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


# -- reading


def read_manifest(directory: Path) -> dict[str, tuple[int, str]]:
    """Return size in bytes and SHA-256 of each file in the manifest.

    Raises:
        CheckpointError: There is no manifest, or it is damaged or of a newer format.
    """
    path = directory / MANIFEST
    try:
        manifest = _Manifest.model_validate(read_json(path))
    except FileNotFoundError:
        raise _damaged(directory, f"{MANIFEST} is missing") from None
    except (OSError, ValueError):
        raise _damaged(directory, f"{MANIFEST} cannot be read") from None
    if manifest.format_version > FORMAT_VERSION:
        raise CheckpointError(
            f"The checkpoint {directory} has format {manifest.format_version}; this minigpt reads up to "
            f"{FORMAT_VERSION}.",
            mend="Update minigpt.",
            on_page="Choose another run; a newer minigpt can read this one.",
        )
    if not manifest.files.keys() >= {MODEL, TOKENIZER}:
        raise _damaged(directory, f"{MANIFEST} names {', '.join(manifest.files)[:80] or 'nothing'}")
    return {name: (entry.bytes, entry.sha256) for name, entry in manifest.files.items()}


def check_checkpoint(directory: Path, *, hashes: bool = True) -> None:
    """Compare a checkpoint's files with its manifest.

    Args:
        directory: The checkpoint.
        hashes: Whether to compare the contents too, not only the sizes.

    Raises:
        CheckpointError: Something is missing or differs; the message says what.
    """
    for name, (num_bytes, digest) in read_manifest(directory).items():
        path = directory / name
        try:
            size = path.stat().st_size
            if size != num_bytes:
                raise _damaged(directory, f"{name} has {size} bytes instead of {num_bytes}")
            if hashes and sha256_of(path) != digest:
                raise _damaged(directory, f"{name} has other contents than when it was saved")
        except OSError as error:
            raise _damaged(directory, f"{name}: {cause_of(error).why}") from None


def verify_checkpoint(directory: Path, *, hashes: bool = True) -> bool:
    """Return whether a checkpoint is complete and undamaged; see `check_checkpoint`."""
    try:
        check_checkpoint(directory, hashes=hashes)
    except CheckpointError:
        return False
    return True


def is_resumable(directory: Path) -> bool:
    """Return whether a checkpoint holds the state of the training besides the weights."""
    return (directory / STATE).is_file() and (directory / PROGRESS).is_file()


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read and verify a checkpoint to resume from.

    Raises:
        CheckpointError: It is damaged, has a newer format, or holds weights only.
    """
    from minigpt.model.weights import load_weights
    from minigpt.training.state import TrainerState

    check_checkpoint(directory)
    if not is_resumable(directory):
        raise CheckpointError(
            f"The checkpoint {directory} holds weights alone, without the state of the training.",
            mend="Use it to generate and to look inside; to train further, start a new run.",
        )
    try:
        progress = read_json(directory / PROGRESS)
        _Progress.model_validate(progress)
        environment = progress.pop("environment")
    except (OSError, ValueError):
        raise _damaged(directory, f"{PROGRESS} cannot be read") from None
    model, metadata = load_weights(directory / MODEL)
    optimizer, averaged = load_weights(directory / STATE)[0], None
    if metadata.get("weights") == "ema":
        averaged = model
        model = {name.removeprefix(RAW): optimizer.pop(name) for name in list(optimizer) if name.startswith(RAW)}
    return Checkpoint(directory, TrainerState(model, optimizer, progress, averaged), environment)


def _damaged(directory: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {directory} is damaged: {what}.",
        mend="Use another checkpoint of this run, or copy it again.",
        on_page="Start a new run; if you have this one as a zip, import it again on the page Runs.",
    )
