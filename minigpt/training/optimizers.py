"""How gradients become updates, and the optimizer's memory keyed by parameter name.

PyTorch keys that memory by the position of a parameter in a list, which breaks silently when a layer is added or
renamed; here it is keyed by name, so it can be stored as plain named tensors and checked when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from minigpt.config import TrainingConfig
from minigpt.errors import CheckpointError


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters into those that are pulled towards zero and those that are left alone.

    Matrices decay. Biases and the gains of norms (1-D) do not: they set a scale or an offset, and zero is no better a
    guess for them than what they start from.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; the split as in GPT-2 and nanoGPT.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer that `config.optimizer` names, over all parameters of `model`."""
    groups = [group for group in decay_groups(model, config.weight_decay) if group["params"]]
    # fused does an update in one pass over memory: 0.5 ms against 1.7 ms at four layers of width 128 on a processor
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def optimizer_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return copies of the optimizer's memory, on the processor, as `<parameter name>.<slot>`.

    For AdamW the slots are `step`, `exp_avg` and `exp_avg_sq`. Before the first update it is empty.
    """
    return {
        f"{name}.{slot}": value.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def load_optimizer_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_state` returned, into fresh tensors; what the optimizer remembered is forgotten.

    Raises:
        CheckpointError: A name belongs to no parameter, or a shape does not fit it.
    """
    parameters = dict(model.named_parameters())
    loaded: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        name, _, slot = key.rpartition(".")
        parameter = parameters.get(name)
        if parameter is None or value.shape not in (parameter.shape, torch.Size([])):
            expected = "no such parameter" if parameter is None else f"shape {tuple(parameter.shape)}"
            raise CheckpointError(
                f"The optimizer state {key} has shape {tuple(value.shape)}; the model has {expected}.",
                mend="Resume from the checkpoint of a run with the same model settings.",
            )
        # a scalar is AdamW's own count of updates; the fused update wants it beside the parameter, in float32
        loaded.setdefault(name, {})[slot] = value.detach().to(parameter.device, copy=True)
    if loaded and loaded.keys() != parameters.keys():
        missing = sorted(parameters.keys() - loaded.keys())
        raise CheckpointError(
            f"The optimizer state lacks {missing[0]} ({len(missing)} of {len(parameters)} parameters are missing).",
            mend="Resume from another checkpoint of this run.",
        )
    optimizer.state.clear()
    for name, slots in loaded.items():
        optimizer.state[parameters[name]] = dict(slots)
