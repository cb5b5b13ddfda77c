"""Models in the form of Hugging Face's transformers: read from a folder or the hub, as a run; and written from a run.

Such a folder has `config.json`, `tokenizer.json`, and the weights: `model.safetensors`, or several files and
`model.safetensors.index.json`, which says what is where. Pickled weights are refused: opening them can run code.

`load_huggingface` maps the files into memory. The system reads a number when it is used, and of a tensor that is stored
as ours is nothing is copied. Before anything is allocated, the names, shapes and types in the files' headers are
compared with those of the model.

Reads after: architectures.py, hub.py, model/weights.py.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from minigpt.config import RunConfig
from minigpt.config.fields import join_or
from minigpt.errors import CheckpointError, InputError, TokenizerError
from minigpt.interop.architectures import (
    Foreign,
    Link,
    choose_architecture,
    describe,
    is_ignored,
    links,
    read_architecture,
)
from minigpt.interop.hub import ModelFiles, model_files
from minigpt.model.protocols import LanguageModel
from minigpt.model.size import tensor_shapes
from minigpt.model.transformer import Transformer
from minigpt.model.weights import FLOATS, TensorReader, is_finite, open_weights, write_tensors
from minigpt.paths import user_path
from minigpt.runs.cost import check_weights
from minigpt.runs.folder import TOKENIZER, RunFolder
from minigpt.runs.limits import Limits
from minigpt.runs.store import RunStore, check_free
from minigpt.runs.weights import CHECKPOINTS
from minigpt.storage import atomic_folder, read_json, storage_errors, write_text
from minigpt.tokenizers.base import BaseTokenizer, load_tokenizer
from minigpt.tokenizers.bpe import BPETokenizer
from minigpt.tokenizers.exporting import to_huggingface
from minigpt.training.checkpoint import MODEL, eval_metadata, step_name, write_manifest
from minigpt.wording import cause_of, visible

CONFIG, INDEX, TOKENIZER_CONFIG = "config.json", "model.safetensors.index.json", "tokenizer_config.json"
MAX_INDEX_BYTES = 32_000_000
"""Largest list of tensors of a model in several files."""
MAX_SHARDS = 1_000
"""Most files of weights."""
Watch = Callable[[Literal["files", "weights", "run"], float], None]
"""Told between pieces of the work what is being done and what share of that is done: files are fetched or copied,
weights read (and written, if a run is made), the rest of the run written. An error that it raises ends the work, and
nothing is left."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def _unwatched(what: str, done: float) -> None:
    pass


@dataclass(frozen=True)
class ForeignModel:
    """A model from elsewhere, ready for `TextGenerator`, `ModelEvaluator` and `interpret`.

    Attributes:
        model: In evaluation mode, float32. Its weights may be views of the files, so the files must not be changed.
        tokenizer: The tokenizer that belongs to it.
        architecture: Its name in transformers, for example `GPT2LMHeadModel`.
        name: The name of its folder, or `owner/name` on the hub.
    """

    model: Transformer
    tokenizer: BaseTokenizer
    architecture: str
    name: str


# -- reading


def load_huggingface(
    source: str | Path | ModelFiles,
    *,
    tokenizer: str | Path | None = None,
    limits: Limits | None = None,
    watch: Watch = _unwatched,
) -> ForeignModel:
    """Load a model of the GPT-2 or Llama family.

    Args:
        source: A folder as `save_pretrained` of transformers writes it; else `owner/name` of a model on huggingface.co,
            which is fetched unless it has been fetched before.
        tokenizer: A `tokenizer.json` to use in place of the model's own.
        limits: What a server allows; None: as much as this machine has memory for.
        watch: Told how far it is, see `Watch`.

    Raises:
        InputError: There is no such model; its files are missing, damaged, pickled or do not fit together; or it
            computes something that our model cannot.
        LimitError: It is too large.
    """
    given = _find(source, tokenizer, limits, watch)
    foreign = given.foreign
    shapes = tensor_shapes(foreign.model, foreign.vocab_size)
    with _tensors(given, mapped=True) as tensor:
        state = {name: tensor(name) for name in _watched(shapes, watch)}
    model = Transformer(foreign.model, foreign.vocab_size, seed=None)
    model.load_state_dict(state, assign=True)
    return ForeignModel(model.eval(), given.tokenizer, foreign.architecture, given.name)


def import_huggingface(
    source: str | Path | ModelFiles,
    *,
    store: RunStore | None = None,
    path: Path | None = None,
    name: str | None = None,
    tokenizer: str | Path | None = None,
    limits: Limits | None = None,
    owner_token: str | None = None,
    watch: Watch = _unwatched,
) -> RunFolder:
    """Make a run of a model of the GPT-2 or Llama family. It has weights, and no corpus and no metrics.

    The weights are read and written one tensor after another, so only the largest of them has to be in memory.

    Args:
        source: As for `load_huggingface`.
        store: The store to put it in; None: the user's home of runs.
        path: A folder to put it at instead.
        name: A name for people to read; None: that of the model.
        tokenizer: A `tokenizer.json` to use in place of the model's own.
        limits: What a server allows; None: as much as this machine has memory for.
        owner_token: Token of the person who may control it; None: everybody may.
        watch: Told how far it is, see `Watch`.

    Raises:
        InputError: As for `load_huggingface`.
        LimitError: It is too large.
        RunExistsError: There is something at `path` already.
        StorageError: The disk is full or cannot be written.
    """
    store = RunStore() if store is None else store
    if path is not None:
        check_free(user_path(path, for_reading=False))
    given = _find(source, tokenizer, limits, watch)
    model, vocab_size = given.foreign.model, given.foreign.vocab_size
    shapes = {name: (shape, torch.float32) for name, shape in tensor_shapes(model, vocab_size).items()}

    def fill(folder: RunFolder) -> None:
        given.tokenizer.save(folder.path / TOKENIZER)
        checkpoint = folder.checkpoint_path(0)
        with storage_errors(folder.path):
            folder.data_path.mkdir()
            checkpoint.mkdir(parents=True)
        metadata = eval_metadata(model, vocab_size, "raw")
        with _tensors(given, mapped=False) as tensor:
            written = _watched(shapes, watch)

            def finite(name: str) -> torch.Tensor:
                next(written)
                numbers = tensor(name)
                if not is_finite({name: numbers}):
                    raise InputError(
                        f"Weights of {visible(given.name)} are infinite or NaN, so it predicts nothing.",
                        mend="Copy it again.",
                    )
                return numbers

            sha256 = write_tensors(checkpoint / MODEL, shapes, finite, metadata=metadata)
        watch("run", 0.8)
        given.tokenizer.save(checkpoint / TOKENIZER)
        write_manifest(checkpoint, known={MODEL: sha256})
        write_text(folder.path / CHECKPOINTS / "last", step_name(0) + "\n")
        origin = f"{given.foreign.architecture}, {given.name}"
        folder.write_meta({"name": given.name, "origin": origin, "vocab_size": vocab_size})
        folder.update_info(
            status="finished",
            notes=f"Imported: {origin}",
            expires=None if limits is None else limits.expiry(),
        )

    config = RunConfig().updated({"model": model.model_dump(), "tokenizer.kind": given.tokenizer.kind})
    return store.create(config, name=name or given.name, path=path, owner_token=owner_token, fill=fill)


def _watched(names: Collection[str], watch: Watch) -> Iterator[str]:
    """Yield names of tensors, and tell before each which share of the weights is done."""
    for number, name in enumerate(names):
        watch("weights", number / len(names))
        yield name


@dataclass(frozen=True)
class _Found:
    """A model whose configuration and tokenizer have been read, and the files of its weights, which have not."""

    foreign: Foreign
    tokenizer: BaseTokenizer
    paths: list[Path]
    name: str
    where: str


def _find(source: str | Path | ModelFiles, tokenizer: str | Path | None, limits: Limits | None, watch: Watch) -> _Found:
    """Find a model; arguments and errors are those of `load_huggingface`."""
    files = model_files(source)
    names = files.names()
    foreign = _read_config(files, names)
    check_weights(foreign.model, foreign.vocab_size)
    if limits is not None:
        limits.check_import(RunConfig(model=foreign.model), foreign.vocab_size)
    fitting = _read_tokenizer(files, names, foreign, tokenizer)
    paths, wanted = list[Path](), _weight_files(files, names)
    for number, name in enumerate(wanted):
        watch("files", number / len(wanted))
        paths.append(files.path(name))
    return _Found(foreign, fitting, paths, files.name, files.where)


def _read_config(files: ModelFiles, names: list[str]) -> Foreign:
    if CONFIG not in names:
        raise _unfit(files.where, f"it has no {CONFIG}")
    return read_architecture(_json(files, CONFIG), f"{CONFIG} of {files.where}")


def _json(files: ModelFiles, name: str, max_bytes: int = 1_000_000) -> dict[str, Any]:
    try:
        return read_json(files.path(name), max_bytes)
    except OSError as error:
        raise _unfit(files.where, f"its {name} cannot be read: {cause_of(error).why}") from None
    except ValueError as error:
        raise _unfit(files.where, f"its {name} {error}") from None


def _read_tokenizer(files: ModelFiles, names: list[str], foreign: Foreign, other: str | Path | None) -> BaseTokenizer:
    """Return the tokenizer, with as many tokens as the model knows.

    Models often know more tokens than their tokenizer has, so that their number is round. Those that it lacks get
    names, as special tokens: no text becomes one.
    """
    if other is None and TOKENIZER not in names:
        raise _unfit(
            files.where,
            f"it has no {TOKENIZER}",
            mend="Give the tokenizer.json that belongs to it: --tokenizer FILE.",
            on_page="Add the tokenizer.json that belongs to it.",
        )
    path = files.path(TOKENIZER) if other is None else user_path(other)
    tokenizer = load_tokenizer(path)
    lacking = foreign.vocab_size - tokenizer.vocab_size
    is_foreign = isinstance(tokenizer, BPETokenizer) and "tokens" in tokenizer.to_dict()
    if lacking < 0 or (lacking and not is_foreign):
        raise TokenizerError(
            f"The tokenizer {visible(str(path))} has {tokenizer.vocab_size:,} tokens; the model knows "
            f"{foreign.vocab_size:,}.",
            mend="Give the tokenizer.json that belongs to the model.",
        )
    if not is_foreign:
        return tokenizer  # one of ours, which says itself what its special tokens do
    values = tokenizer.to_dict()
    extra = {f"<|unused_{n}|>": n for n in range(tokenizer.vocab_size, foreign.vocab_size)}
    values["tokens"] = [*values["tokens"], *extra]
    values["special"] = {**values["special"], **extra}
    for role, token_id in (("bos", foreign.bos_id), ("eos", foreign.eos_id)):
        if token_id in values["special"].values():
            values["roles"] = {**values["roles"], role: token_id}
    return BPETokenizer.from_dict(values)


def _weight_files(files: ModelFiles, names: list[str]) -> list[str]:
    """Return the names of the files with the weights."""
    if MODEL in names:
        return [MODEL]
    if INDEX not in names:
        pickled = [name for name in names if name.endswith(PICKLED)]
        if pickled:
            raise InputError(
                f"The weights of {files.where} are pickled ({visible(pickled[0])}), and opening them can run code that "
                "is in them. minigpt reads safetensors alone.",
                mend="Take a copy of the model with model.safetensors; transformers writes it with save_pretrained.",
            )
        raise _unfit(files.where, f"it has no {MODEL}")
    places = _json(files, INDEX, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise _unfit(files.where, f"its {INDEX} does not say where the tensors are")
    found = sorted(set(places.values()))
    if len(found) > MAX_SHARDS:
        raise _unfit(files.where, f"its weights are in {len(found):,} files; {MAX_SHARDS:,} are allowed")
    missing = [name for name in found if name not in names]
    if missing or not found:
        raise _unfit(
            files.where, f"it lacks {visible(missing[0])[:100]}, which {INDEX} names" if missing else "it is empty"
        )
    return found


@contextlib.contextmanager
def _tensors(given: _Found, *, mapped: bool) -> Iterator[Callable[[str], torch.Tensor]]:
    """Open the files of the weights, compare their headers with the model, and yield what returns our tensors by name.

    Args:
        given: The model.
        mapped: Whether whole tensors in float32 are views of the files; otherwise each is in memory of its own, and the
            files take none.
    """
    where, parts = given.where, links(given.foreign)
    try:
        with contextlib.ExitStack() as stack:
            found: dict[str, tuple[Any, Path]] = {}
            for path in given.paths:
                if not path.is_file():  # also of a pipe, from which nothing may ever come
                    raise _unfit(where, f"{visible(path.name)} is no file")
                file = stack.enter_context(open_weights(path))
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    if found.setdefault(name, (file, path))[1] != path:
                        raise _unfit(where, f"{visible(name)[:100]} is in two of its files")
            theirs = _their_names(found)
            slices = {theirs.get(name, name): file.get_slice(name) for name, (file, _) in found.items()}
            _check_tensors(given.foreign, parts, slices, where)
            names = {theirs.get(name, name): name for name in found}
            readers = {} if mapped else {path: stack.enter_context(TensorReader(path)) for path in given.paths}

            def read(link: Link) -> torch.Tensor:
                if link.theirs is None:
                    return torch.full(link.shape, link.fill)
                name = names[link.theirs]
                file, path = found[name]
                numbers = file.get_tensor(name) if mapped else readers[path].read(name, link.their_shape)
                return _to_ours(numbers, link)

            ours: dict[str, list[Link]] = {}
            for link in parts:
                if link.ours is not None:
                    ours.setdefault(link.ours, []).append(link)
                elif not bool((read(link) == link.fill).all()):
                    raise _unfit(
                        where, f"{link.theirs} holds learned numbers, which minigpt's models do not have there"
                    )

            def tensor(name: str) -> torch.Tensor:
                made = [read(link) for link in ours[name]]
                return made[0] if len(made) == 1 else torch.cat(made)

            yield tensor
    except CheckpointError as error:
        raise InputError(error.problem, mend="Copy the file again.") from None


def _their_names(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the full names of tensors that are stored without the model's prefix, as in the first files of GPT-2."""
    if "wte.weight" not in found:
        return {}
    return {name: f"transformer.{name}" for name in found if not name.startswith("lm_head.")}


def _check_tensors(foreign: Foreign, parts: list[Link], found: Mapping[str, Any], where: str) -> None:
    """Compare the tensors in the files with those of the model; none of their numbers is read."""
    expected = {link.theirs: link.their_shape for link in parts if link.theirs is not None}
    given = {name for name in found if not is_ignored(name, foreign)}
    for what, names in (("lacks", expected.keys() - given), ("has too much", given - expected.keys())):
        if names:
            few = ", ".join(visible(name)[:80] for name in sorted(names)[:3])
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            raise _unfit(where, f"it {what} for a {foreign.architecture}: {few}{more}")
    for name, shape in expected.items():
        got, dtype = tuple(found[name].get_shape()), found[name].get_dtype()
        if got != shape:
            raise _unfit(where, f"{name} has shape {got}, and {CONFIG} means {shape}")
        if dtype not in FLOATS:
            raise _unfit(where, f"{name} has the type {dtype}; {join_or(FLOATS)} can be read")


def _to_ours(theirs: torch.Tensor, link: Link) -> torch.Tensor:
    """Return their tensor as the part of ours that it is, in float32."""
    x = (theirs.mT if link.transposed else theirs).float()
    if not link.heads:
        return x
    # coordinates i and i + K/2 of a head become 2i and 2i + 1
    return x.view(link.heads, 2, -1, *link.shape[1:]).transpose(1, 2).reshape(link.shape)


def _to_theirs(ours: torch.Tensor, link: Link) -> torch.Tensor:
    """Return the part of our tensor as theirs, in memory of its own."""
    x = ours[link.start : link.start + link.shape[0]]
    if link.heads:
        x = x.view(link.heads, -1, 2, *link.shape[1:]).transpose(1, 2).reshape(link.shape)
    return (x.mT if link.transposed else x).clone(memory_format=torch.contiguous_format)


def _unfit(
    where: str,
    what: str,
    *,
    mend: str = "Give a folder as save_pretrained of transformers writes it.",
    on_page: str = "Give the files as save_pretrained of transformers writes them.",
) -> InputError:
    problem = f"No model of Hugging Face can be read from {where}: {what}."
    return InputError(problem, mend=mend, on_page=on_page)


# -- writing


def export_huggingface(run: LanguageModel, target: Path) -> None:
    """Write a run's model and tokenizer as a folder that transformers loads, with the same logits.

    The numbers are in float32. The state of the training, the corpus and the metrics are not part of it.

    Args:
        run: A run, or anything else with a model and a tokenizer.
        target: The folder, which must not exist or be empty.

    Raises:
        InputError: The model or the tokenizer has no equal there; the message names the setting.
        RunExistsError: There is something at `target` already.
        StorageError: The disk is full or cannot be written.
    """
    tokenizer, model = run.tokenizer, run.model
    foreign = replace(
        choose_architecture(model.config), vocab_size=model.vocab_size, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id
    )
    target = user_path(target, for_reading=False)
    check_free(target)
    split = to_huggingface(tokenizer)
    roles = {role: getattr(tokenizer, f"{role}_id") for role in ("bos", "eos", "pad", "unk")}
    special = {f"{role}_token": tokenizer.token_text(n) for role, n in roles.items() if n is not None}
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config.sequence_length,
        **special,
    }
    state = model.state_dict()
    wanted = {link.theirs: link for link in links(foreign) if link.theirs is not None}

    def tensor(name: str) -> torch.Tensor:
        link = wanted[name]
        if link.ours is None:
            return torch.full(link.their_shape, link.fill)
        return _to_theirs(state[link.ours], link)

    shapes = {name: (link.their_shape, torch.float32) for name, link in wanted.items()}
    with atomic_folder(target) as unfinished:
        write_tensors(unfinished / MODEL, shapes, tensor, metadata={"format": "pt"})
        for name, values in ((CONFIG, describe(foreign)), (TOKENIZER, split), (TOKENIZER_CONFIG, about)):
            write_text(unfinished / name, json.dumps(values, indent=1) + "\n")
