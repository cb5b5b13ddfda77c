"""Optimizers: their parameter groups, and their state keyed by parameter name.

PyTorch keys optimizer state by the position of a parameter in a list, which breaks silently when a layer is added or
renamed. Here it is keyed by name, so it can be stored as named tensors and checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from minigpt.config import TrainingConfig
from minigpt.errors import CheckpointError
from minigpt.training.eager import SGD, AdamW
from minigpt.training.muon import MuonAdamW
from minigpt.training.sharding import divided_like


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters into two groups, with weight decay and without.

    Weight matrices decay towards zero. Biases, the gains of norms and convolution weights do not: they are an offset, a
    scale or a mixture for each coordinate, and zero is no better a value for them than where they start.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; the split as in GPT-2 and nanoGPT.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for name, parameter in named if _is_matrix(name, parameter) is wanted], "weight_decay": d}
        for wanted, d in ((True, weight_decay), (False, 0.0))
    ]


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer that `config.optimizer` names, for all parameters of `model`.

    Each group has a `scale`: its learning rate is `scale` times that of the schedule.
    """
    groups = [group | {"scale": 1.0} for group in decay_groups(model, config.weight_decay)]
    rate, betas = config.learning_rate, (config.beta1, config.beta2)
    if config.optimizer == "muon":
        hidden = {p for name, p in model.named_parameters() if name.startswith("blocks.") and _is_matrix(name, p)}
        orthogonal = {
            "params": [parameter for parameter in groups[0]["params"] if parameter in hidden],
            "weight_decay": config.weight_decay,
            "scale": config.muon_learning_rate / rate,
            "momentum": config.muon_momentum,
            # the iterations need few digits, so bfloat16 if the model computes in 16 bits; float16's range is too small
            "dtype": next(model.parameters()).dtype if config.precision in ("float32", "tf32") else torch.bfloat16,
            "orthogonal": True,
        }
        groups[0]["params"] = [parameter for parameter in groups[0]["params"] if parameter not in hidden]
        groups.append(orthogonal)
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "muon":
        return MuonAdamW(groups, lr=rate, betas=betas)
    if config.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=config.beta1)
    # fused: one pass over memory, 0.5 ms an update instead of 1.7 ms at four layers of width 128 on a processor
    return AdamW(groups, lr=rate, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of each group: the schedule's rate times the group's `scale`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["scale"]


def _is_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a weight matrix: of a linear layer or of an embedding."""
    return parameter.ndim >= 2 and "convolution" not in name


def optimizer_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return copies of the optimizer's state, in main memory, as `<parameter name>.<slot>`.

    AdamW has the slots `step`, `exp_avg` and `exp_avg_sq`, Muon has `momentum`, SGD has `momentum_buffer`. The result
    is empty before the first update, and for SGD without momentum.
    """
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in named_state(model, optimizer)}


def named_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of the optimizer's state, each with its name."""
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                yield f"{name}.{slot}", value


def load_optimizer_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, torch.Tensor]
) -> None:
    """Load what `optimizer_state` returned, as new tensors; the optimizer's former state is dropped.

    Raises:
        CheckpointError: A name belongs to no parameter, a shape does not fit, or a parameter is missing.
    """
    parameters = dict(model.named_parameters())
    loaded: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        name, _, slot = key.rpartition(".")
        parameter = parameters.get(name)
        # AdamW's count of updates is a scalar; every other slot has a number for each of the parameter's
        shape = None if parameter is None else torch.Size([]) if slot == "step" else parameter.shape
        if parameter is None or value.shape != shape or not value.is_floating_point():
            expected = "no such parameter" if shape is None else f"shape {tuple(shape)}, in floating-point numbers"
            raise CheckpointError(
                f"The optimizer state {key} has shape {tuple(value.shape)} and type {value.dtype}; "
                f"the model has {expected}.",
                mend="Resume from the checkpoint of a run with the same model settings.",
            )
        # a scalar is AdamW's count of updates; the fused update needs it on the parameter's device, in float32
        like = torch.empty((), device=parameter.device) if slot == "step" else parameter
        loaded.setdefault(name, {})[slot] = divided_like(value.detach(), like)
    if loaded and loaded.keys() != parameters.keys():
        missing = sorted(parameters.keys() - loaded.keys())
        raise CheckpointError(
            f"The optimizer state lacks {missing[0]} ({len(missing)} of {len(parameters)} parameters are missing).",
            mend="Resume from another checkpoint of this run.",
        )
    optimizer.state.clear()
    for name, slots in loaded.items():
        optimizer.state[parameters[name]] = dict(slots)
