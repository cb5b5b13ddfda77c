"""Weights and optimizer state divided between processes (FSDP2), for models beyond one device's memory.

Each parameter is cut along its first dimension, and every process keeps one part of it, with that part's optimizer
state. Before a block computes, its whole weights are put together, and dropped afterwards; its gradient is added up and
cut in the same way. So a process holds 1/N of all parameters, and the whole of one block for a moment.

A checkpoint is written by all processes at once, each its own parts, by `torch.distributed.checkpoint` as safetensors.
Rank 0 then makes the ordinary checkpoint of it, in main memory. It can be resumed with any number of processes, divided
or not.

Importing this module does not import the parts of torch that it uses.

Reads before: distributed, trainer.
Source: Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel"; Rajbhandari et al. 2020,
"ZeRO: Memory Optimizations Toward Training Trillion Parameter Models".
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from minigpt.errors import ConfigError
from minigpt.model.registry import has_own
from minigpt.model.transformer import Transformer, initialise
from minigpt.model.weights import load_weights

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor
    from typing_extensions import TypeIs

    from minigpt.config import TrainingConfig, TransformerConfig
    from minigpt.training.events import TrainerView

WEIGHT, STATE = "weight:", "state:"
"""Prefixes of names in a divided checkpoint."""
M_MMAP_THRESHOLD = -3
"""The number of this setting in glibc's `malloc.h`."""


def check_shardable(settings: TrainingConfig, size: int) -> None:
    """Refuse settings that need whole weights in one process.

    Args:
        settings: Settings of the training.
        size: Number of processes.

    Raises:
        ConfigError: The message names the setting, or there is only one process.
    """
    if size == 1:
        raise ConfigError(
            "--shard was given with one process, which has to hold all weights.",
            mend="Give --nproc or start it with torchrun, or leave --shard out.",
        )
    if settings.batch_size % size:
        above = -(-settings.batch_size // size) * size
        raise ConfigError(
            f"training.batch_size is {settings.batch_size}; with --shard, {size} processes must share it evenly.",
            mend=f"Set training.batch_size to a multiple of {size}, for example {above}.",
        )
    refused = {
        "weights_ema": (bool(settings.weights_ema), "0"),
        "max_seconds": (settings.max_seconds is not None, "null, and give training.max_steps"),
        "precision": (settings.precision == "float16", "bfloat16"),
    }
    for name, (is_set, mend) in refused.items():
        if is_set:
            raise ConfigError(
                f"training.{name} is {getattr(settings, name)}, which minigpt does not support with --shard.",
                mend=f"Set training.{name} to {mend}; or leave --shard out.",
            )


def divided_model(config: TransformerConfig, vocab_size: int, seed: int, device: torch.device) -> Transformer:
    """Make a model whose parameters are divided between all processes of torch's process group from the beginning.

    Each parameter is filled as a whole and then cut, one after the other, so that a process never holds more than its
    part and one whole parameter. The weights are those of `Transformer` with the same seed, bit for bit, for any number
    of processes.

    Args:
        config: Shape of the model.
        vocab_size: V, number of token ids.
        seed: Seed of the initial weights.
        device: Of each process.
    """
    if has_own(config):  # its classes have given their weights the first values, in main memory
        model = Transformer(config, vocab_size, seed=seed)
        shard(model, device)
        return model
    model = Transformer(config, vocab_size, seed=None).to("meta")  # memory that was never touched was never taken
    shard(model, device)
    model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            whole = torch.empty(parameter.shape)
            initialise(whole, name, model, seed)
            own_part(parameter).copy_(part_like(whole, parameter))
    return model


def shard(model: Transformer, device: torch.device) -> None:
    """Divide a model's parameters between all processes of torch's process group, and move them to the device.

    Args:
        model: In main memory and equal in all processes, or without memory (on the meta device).
        device: Of each process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if device.type == "cpu":
        _return_free_memory()
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in (*model.blocks, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)  # after an evaluation no backward pass does it
        # a gradient is the sum over the processes, not the mean; gloo has no other way to say so
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def _return_free_memory() -> None:
    """Have the C library return blocks of 4 MB and more to the system as soon as they are free (glibc's `mallopt`).

    Every step puts the weights of each block together and drops them. By itself glibc keeps such memory, so that a
    process would hold as much as one with all weights. The price is time: with 25 million parameters 0.4 s of each
    step, in which the system hands out memory again.
    """
    with contextlib.suppress(AttributeError, TypeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 22)


def is_divided(tensor: torch.Tensor) -> TypeIs[DTensor]:
    """Return whether this process holds a part of a tensor only."""
    return hasattr(tensor, "to_local")


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return the part of a divided tensor that this process holds, sharing its memory; another tensor as it is."""
    return tensor.to_local() if is_divided(tensor) else tensor


def whole_of(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Put together the parts that the processes hold; all of them must ask. Returns `part` if `like` is not divided."""
    return _divided(part, like).full_tensor() if is_divided(like) else part


def part_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the part of a whole tensor that this process holds of `like`; all of it if `like` is not divided."""
    if not is_divided(like):
        return tensor
    parts = tensor.chunk(like.device_mesh.size())  # fewer than processes if there are fewer rows
    rank = like.device_mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else tensor[:0]


def divided_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor divided as `like` is, on its device and in memory of its own."""
    part = part_like(tensor, like).to(like.device, copy=True)
    return _divided(part, like) if is_divided(like) else part


def _divided(part: torch.Tensor, like: DTensor) -> DTensor:
    """Return the divided tensor of which this process holds `part`."""
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def num_bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return how many bytes this process holds of some tensors."""
    return sum(own_part(tensor).numel() * tensor.element_size() for tensor in tensors.values())


class WholeView:
    """A trainer whose divided weights have been put together, as far as saving a checkpoint needs it.

    Args:
        trainer: The trainer; everything else is its own.
        weights: All weights by name, in main memory.
        state: The optimizer's state by name, in main memory.
    """

    def __init__(self, trainer: TrainerView, weights: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
        self._trainer, self._state = trainer, state
        self.eval_model = Transformer(trainer.model.config, trainer.model.vocab_size)
        self.eval_model.load_state_dict(weights)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return the optimizer's state."""
        return self._state


@contextlib.contextmanager
def gathered(
    folder: Path, weights: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], *, is_writer: bool
) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """Write divided tensors from all processes at once, and yield them as whole ones in main memory.

    Args:
        folder: Where to write, seen by all processes; removed afterwards.
        weights: Name to tensor.
        state: Name to tensor.
        is_writer: Whether this process wants the result; others get empty dictionaries.

    Yields:
        Weights and state by name.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    names = {WEIGHT + name: tensor for name, tensor in weights.items()}
    names |= {STATE + name: tensor for name, tensor in state.items()}
    # AdamW's counts of updates are single numbers, equal everywhere; torch 2.13 loses such ones as it joins the parts
    numbers = {name: tensor.detach().to("cpu", copy=True) for name, tensor in names.items() if tensor.ndim == 0}
    if is_writer:
        shutil.rmtree(folder, ignore_errors=True)
    torch.distributed.barrier()
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True, enable_consolidation=True)
    save({name: tensor for name, tensor in names.items() if name not in numbers}, storage_writer=writer)
    if not is_writer:
        yield {}, {}
        return
    found = dict(numbers)
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_weights(path)[0]
    try:
        yield _under(WEIGHT, found), _under(STATE, found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
