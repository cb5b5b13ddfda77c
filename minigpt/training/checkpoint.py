"""One moment of a training as a folder: weights, tokenizer, optimizer, counters, and a manifest that vouches for them.

```
step-0001200/
  model.safetensors      weights to use, with the model's configuration in the header
  tokenizer.json         so that the folder can be used by itself
  trainer.safetensors    the optimizer's memory, `<parameter name>.<slot>`, and the weights to train on, where
                         those to use are a running mean of them
  trainer.json           counters, and the torch, threads and processor that the numbers were made with
  manifest.json          size and SHA-256 of each file above
```
The folder is written under another name, the manifest last, and then renamed: what carries the name is whole. A folder
without a valid manifest is no checkpoint, whatever else is in it. A bundled or exported one may lack the two trainer
files; it can be used but not resumed.

Importing this module does not import torch.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigpt.errors import CheckpointError
from minigpt.storage import atomic_folder, flush, sha256_of, write_text

if TYPE_CHECKING:
    import torch

    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer
    from minigpt.training.events import TrainerView
    from minigpt.training.state import TrainerState

FORMAT_VERSION = 1
"""Of `manifest.json` and `trainer.json`; a reader refuses newer ones."""
MODEL, TOKENIZER, STATE, PROGRESS, MANIFEST = (
    "model.safetensors",
    "tokenizer.json",
    "trainer.safetensors",
    "trainer.json",
    "manifest.json",
)
RAW = "raw:"
"""What the name of a weight in `trainer.safetensors` begins with."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and found whole.

    Attributes:
        path: The folder.
        state: Weights, optimizer and counters, as `Trainer.load_state_dict` takes them.
        environment: `torch`, `num_threads`, `device` and `processor` that the numbers were made with.
    """

    path: Path
    state: TrainerState
    environment: dict[str, Any]

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.state.progress["step"])


def step_name(step: int) -> str:
    """Return the name of a step's folder or file, with zeros in front so that names sort by step.

    >>> step_name(1200)
    'step-0001200'
    """
    return f"step-{step:07d}"


def parse_step(name: str) -> int | None:
    """Return the step that a name stands for, or None if it is no such name.

    >>> parse_step("step-0001200"), parse_step("step-0000064.safetensors"), parse_step(".tmp-step-0000001")
    (1200, 64, None)
    """
    match = re.fullmatch(r"step-(\d{7,})(\.safetensors)?", name)
    return int(match.group(1)) if match else None


# -- writing


def save_checkpoint(directory: Path, trainer: TrainerView, tokenizer: BaseTokenizer) -> None:
    """Write a checkpoint; `directory` is then a whole one, or still what it was before.

    Raises:
        StorageError: The disk is full or cannot be written.
        CheckpointError: An update is being applied at this moment.
    """
    from minigpt.model.weights import save_weights

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
    """Write weights to be used as a model's file, whose header says which they are.

    Args:
        path: Where to write; its folder must exist.
        model: `Trainer.eval_model`.
        kind: `Trainer.weights_kind`: `raw` or `ema`.
        half: Store the numbers in 16 bits.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    from minigpt.model.weights import model_metadata, save_weights

    metadata = {**model_metadata(model.config, model.vocab_size), "weights": kind}
    save_weights(path, model.state_dict(), metadata=metadata, half=half)


def write_manifest(directory: Path) -> None:
    """Write the manifest of all files in a folder; it comes last, and what it names is on the disk by then.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(directory.iterdir())
        if path.name != MANIFEST and not path.name.startswith(".")
    }
    for name in files:
        flush(directory / name)
    write_text(directory / MANIFEST, json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=1) + "\n")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return what bit-identical repetition depends on besides the run itself."""
    import torch

    return {
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "device": device.type,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


# -- reading


def read_manifest(directory: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file that the manifest names.

    Raises:
        CheckpointError: There is no manifest, or it is damaged or of a newer format.
    """
    path = directory / MANIFEST
    try:
        values = json.loads(path.read_text("utf-8"))
        version = int(values["format_version"])
        files = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in values["files"].items()}
    except FileNotFoundError:
        raise _damaged(directory, f"{MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(directory, f"{MANIFEST} cannot be read") from None
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"The checkpoint {directory} has format {version}; this minigpt reads up to {FORMAT_VERSION}.",
            mend="Update minigpt.",
        )
    if not files.keys() >= {MODEL, TOKENIZER} or any(Path(name).name != name for name in files):
        raise _damaged(directory, f"{MANIFEST} names {', '.join(files) or 'nothing'}")
    return files


def check_checkpoint(directory: Path, *, hashes: bool = True) -> None:
    """Hold a checkpoint's files against its manifest.

    Args:
        directory: The checkpoint.
        hashes: Whether contents are compared too, not only sizes.

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
            raise _damaged(directory, f"{name}: {error.strerror}") from None


def verify_checkpoint(directory: Path, *, hashes: bool = True) -> bool:
    """Return whether a checkpoint is whole; see `check_checkpoint`."""
    try:
        check_checkpoint(directory, hashes=hashes)
    except CheckpointError:
        return False
    return True


def is_resumable(directory: Path) -> bool:
    """Return whether a checkpoint holds the state of the training, not the weights alone."""
    return (directory / STATE).is_file() and (directory / PROGRESS).is_file()


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint to resume from.

    Raises:
        CheckpointError: It is damaged, of a newer format, or holds weights alone.
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
        progress = json.loads((directory / PROGRESS).read_text("utf-8"))
        environment = dict(progress.pop("environment"))
        int(progress["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(directory, f"{PROGRESS} cannot be read") from None
    model, metadata = load_weights(directory / MODEL)
    optimizer, averaged = load_weights(directory / STATE)[0], None
    if metadata.get("weights") == "ema":
        averaged = model
        model = {name.removeprefix(RAW): optimizer.pop(name) for name in list(optimizer) if name.startswith(RAW)}
    return Checkpoint(directory, TrainerState(model, optimizer, progress, averaged), environment)


def _damaged(directory: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {directory} is damaged: {what}.", mend="Use another checkpoint of this run, or copy it again."
    )
