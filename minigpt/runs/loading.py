"""From the name of a run to its folder, and from the folder to a model.

This is the only place that resolves what a person calls a run. `find_by_id` takes an id or the name of a bundled run
and is safe for text from a web address; `find_run` also takes paths and zip files, for people at their own machine.
Importing this module does not import torch.

Reads after: store.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minigpt import resources
from minigpt.config import RunConfig
from minigpt.errors import (
    ArchiveError,
    CheckpointError,
    InputError,
    MinigptError,
    RunExistsError,
    RunNotFoundError,
    StorageError,
)
from minigpt.paths import user_path
from minigpt.runs.archive import EXPORT_WANTED
from minigpt.runs.folder import INFO, RunFolder
from minigpt.runs.store import RunStore, is_valid_id
from minigpt.storage import sha256_of
from minigpt.training.checkpoint import MODEL, TOKENIZER, check_checkpoint, parse_step
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.model.transformer import Transformer
    from minigpt.tokenizers.base import BaseTokenizer


# -- from a name to a folder


def bundled_runs() -> list[RunFolder]:
    """Return the runs that ship with minigpt, the default one first."""
    return [RunFolder(resources.bundled_runs_path() / name) for name in resources.bundled_run_names()]


def find_by_id(run_id: str, *, store: RunStore | None = None) -> RunFolder:
    """Return a run by its id or bundled name. The text never becomes part of a path unless it is one of these.

    Args:
        run_id: A run's id, or the name of a bundled run.
        store: Where to look for ids; None: the user's home of runs.

    Raises:
        RunNotFoundError: There is no such run.
    """
    if run_id in resources.bundled_run_names():
        return RunFolder(resources.bundled_runs_path() / run_id)
    return (RunStore() if store is None else store).get(run_id)


def find_run(name: str | Path, *, store: RunStore | None = None) -> RunFolder:
    """Return the run that a person names.

    Args:
        name: A run's folder or the folder of one of its checkpoints, its id, an exported zip file, or the name of a
            bundled run; tried in this order.
        store: Where to look for ids; None: the user's home of runs.

    Raises:
        RunNotFoundError: There is no such run; the message names the bundled ones.
        ArchiveError: It is a file, but not an exported run.
    """
    path = _path_of(name)
    text = str(name)
    if _is_checkpoint(path):
        path = _run_of(path)
        if not (path / INFO).is_file():
            raise RunNotFoundError(
                f"The folder {name} is a checkpoint without its run.",
                mend="By itself it can generate and be evaluated; for everything else give the run's folder.",
            )
    if (path / INFO).is_file():
        return RunFolder(path)
    if path.is_file():
        return _unpacked(path)
    if is_valid_id(text) or text in resources.bundled_run_names():
        return find_by_id(text, store=store)
    bundled = ", ".join(resources.bundled_run_names()) or "none"
    raise RunNotFoundError(
        f"The folder {visible(str(path))} is no run: it has no {INFO}."
        if path.is_dir()
        else f"There is no run {quoted(text)}.",
        mend=f"Give a run's folder, its id, an exported zip file, or a bundled run ({bundled}); "
        "`minigpt runs` lists your own.",
        on_page="Choose one on the page Runs.",
    )


def _path_of(name: str | Path) -> Path:
    """Return the path that a person may mean by the name of a run; it need not exist.

    Raises:
        RunNotFoundError: No file can have this path.
    """
    try:
        return user_path(name, for_reading=False)
    except InputError as error:
        raise RunNotFoundError(f"There is no run of this name. {error.problem}", mend=error.mend) from None


def _is_checkpoint(path: Path) -> bool:
    return parse_step(path.name) is not None and (path / MODEL).is_file()


def _run_of(checkpoint: Path) -> Path:
    """Return the folder of the run that a checkpoint lies in, if it lies in one."""
    return checkpoint.parent.parent


def _unpacked(path: Path) -> RunFolder:
    """Unpack a zip file into the cache, under a name made from its contents, so that it is unpacked only once."""
    if not zipfile.is_zipfile(path):
        raise ArchiveError(f"{path} is no zip file.", mend=EXPORT_WANTED)
    store = RunStore(resources.cache() / "archives")
    target = store.root / hashlib.sha256(sha256_of(path).encode()).hexdigest()[:32]
    if not (target / INFO).is_file():
        try:
            store.import_zip(path, path=target)
        except (RunExistsError, StorageError):
            if not (target / INFO).is_file():  # else another process has unpacked the same file in the meantime
                raise
    return RunFolder(target)


# -- from a folder to a model


@dataclass(frozen=True)
class Run:
    """A run with its weights in memory: what `TextGenerator`, `ModelEvaluator` and `interpret` take.

    Attributes:
        model: In evaluation mode, float32.
        tokenizer: The run's tokenizer.
        config: All settings of the run.
        path: The run's folder.
        step: Weight updates behind these weights.
        id: The run's id.
        name: The run's name.
    """

    model: Transformer
    tokenizer: BaseTokenizer
    config: RunConfig
    path: Path
    step: int
    id: str
    name: str

    def learned_text(self) -> str:
        """Return the training part of the text that the run learned from; see `runs.text.learned_text`.

        Raises:
            CorpusError: The text is not on this machine.
        """
        from minigpt.runs.text import learned_text

        return learned_text(RunFolder(self.path)).train


def load_run(
    name: str | Path,
    *,
    step: int | Literal["best", "last"] | None = None,
    device: str = "cpu",
    store: RunStore | None = None,
) -> Run:
    """Load a run's weights and tokenizer.

    Args:
        name: A run's folder, its id, an exported zip file, or the name of a bundled run; tried in this order. Also the
            folder of a checkpoint; if it is not inside its run, all settings but the model's are the defaults.
        step: A step whose weights were kept, `best`, `last`, or None for the best and else the last.
        device: `auto`, `cpu`, `cuda` or `mps`.
        store: Where to look for ids; None: the user's home of runs.

    Raises:
        RunNotFoundError: There is no such run or no such step.
        InputError: A step is given beside the folder of a checkpoint.
        CheckpointError: It is damaged, or its weights are not finite.
        DeviceError: This machine does not have the device.
    """
    while True:
        folder, weights = find_weights(name, step=step, store=store)
        if folder is None:
            return _load_checkpoint_alone(weights.parent, device)
        try:
            return load_weights_file(folder, weights, device=device)
        except CheckpointError:
            if weights.exists() or step == step_of(weights):
                raise  # else the training has just replaced it by a newer one


def find_weights(
    name: str | Path, *, step: int | Literal["best", "last"] | None = None, store: RunStore | None = None
) -> tuple[RunFolder | None, Path]:
    """Return the run and the file with the weights that a person names, without opening them.

    Arguments and errors are those of `load_run`. The run is None for a checkpoint that is not inside its run.
    """
    path = _path_of(name)
    if not _is_checkpoint(path):
        folder = find_run(name, store=store)
        return folder, folder.weights_path(step)
    if step is not None:
        raise InputError(
            f"{path.name} is a checkpoint, so its step cannot be chosen; {step} was given.",
            mend="Give the run's folder and a step, or the checkpoint alone.",
        )
    check_checkpoint(path)
    return (RunFolder(_run_of(path)) if (_run_of(path) / INFO).is_file() else None), path / MODEL


def _load_checkpoint_alone(path: Path, device: str) -> Run:
    """Load a checkpoint that is not inside its run, from its weights and its tokenizer."""
    from minigpt.model.weights import is_finite, load_model
    from minigpt.tokenizers.base import load_tokenizer

    tokenizer, model = load_tokenizer(path / TOKENIZER), load_model(path / MODEL, device=device)
    what = "its weights do not fit its tokenizer" if model.vocab_size != tokenizer.vocab_size else ""
    what = what or ("" if is_finite(model.state_dict()) else "its weights are not finite")
    if what:
        raise CheckpointError(f"The checkpoint {path} cannot be used: {what}.", mend="Take another checkpoint.")
    config = RunConfig(model=model.config)
    return Run(model, tokenizer, config, path, step_of(path / MODEL), id=path.name, name=path.name)


def load_weights_file(folder: RunFolder, weights: Path, *, device: str = "cpu") -> Run:
    """Load a run with the weights of one file.

    Args:
        folder: The run.
        weights: A file of `folder.weights_path`, or a copy of the weights in training; its name has the step.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        RunNotFoundError: The folder is no run.
        CheckpointError: Something is damaged, or the weights are not finite.
        DeviceError: This machine does not have the device.
    """
    from minigpt.model.weights import is_finite, load_model

    info, config, tokenizer = folder.info, folder.config, folder.tokenizer
    model = load_model(weights, device=device)
    if model.vocab_size != tokenizer.vocab_size:
        raise folder.damaged(f"the tokenizer has {tokenizer.vocab_size} tokens and the model {model.vocab_size}")
    if not is_finite(model.state_dict()):
        raise _non_finite(folder, step_of(weights))
    return Run(model, tokenizer, config, folder.path, step_of(weights), info.id, info.name)


def _non_finite(folder: RunFolder, step: int) -> CheckpointError:
    """Return the error for weights that are not finite, with the newest step whose weights are."""
    from minigpt.model.weights import is_finite, load_model

    for other in reversed(folder.steps()):
        with contextlib.suppress(MinigptError):
            if other != step and is_finite(load_model(folder.weights_path(other)).state_dict()):
                mend = f"Take the weights of step {other:,} instead: --step {other}."
                on_page = f"Choose step {other:,} instead, where the page lets you choose, or another run."
                break
    else:
        on_page = mend = "None of its weights can be used; train a new run with a lower training.learning_rate."
    return CheckpointError(
        f"The weights of step {step:,} of the run {visible(str(folder.path))} are not finite: "
        "they hold infinity or NaN.",
        mend=mend,
        on_page=on_page,
    )


def step_of(weights: Path) -> int:
    """Return the step of a weights file, from its own name or from the name of its checkpoint.

    >>> step_of(Path("history/step-0000064.safetensors")), step_of(Path("checkpoints/step-0001200/model.safetensors"))
    (64, 1200)
    """
    found = parse_step(weights.name)
    return (parse_step(weights.parent.name) or 0) if found is None else found
