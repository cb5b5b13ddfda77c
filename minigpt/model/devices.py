"""Devices that a model can compute on: which ones this machine has, and why the others are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from minigpt.errors import DeviceError
from minigpt.wording import quoted


@dataclass(frozen=True)
class DeviceInfo:
    """One kind of device."""

    name: str
    """Its name in settings: cpu, cuda or mps."""
    title: str
    """Its name for people, with the name of the hardware if known."""
    available: bool
    """Whether this machine can use it."""
    reason: str
    """Why it cannot be used, in one sentence; empty if it can."""


def describe_devices() -> list[DeviceInfo]:
    """Return every kind of device that minigpt knows, including the missing ones; never raises."""
    return [_describe(name, look) for name, look in (("cpu", _cpu), ("cuda", _cuda), ("mps", _mps))]


def resolve_device(name: str) -> torch.device:
    """Turn the setting `device` into a device of this machine.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`, which takes the first available of cuda, mps and cpu.

    Raises:
        DeviceError: There is no such device, or this machine does not have it.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    known = {info.name: info for info in describe_devices()}
    usable = [info.name for info in known.values() if info.available]
    mend = f"Use auto or {' or '.join(usable)}."
    if not isinstance(name, str):
        raise DeviceError(f"device is {name!r}; it must be auto, cpu, cuda, cuda:<number> or mps.", mend=mend)
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if known[kind].available))
    kind, _, index = name.partition(":")
    if kind not in known or (index and not (kind == "cuda" and index.isdecimal())):
        raise DeviceError(f"device is {quoted(name)}; it must be auto, cpu, cuda, cuda:<number> or mps.", mend=mend)
    if not known[kind].available:
        raise DeviceError(f"device {name} cannot be used here: {known[kind].reason}", mend=mend)
    if index and int(index) >= torch.cuda.device_count():
        raise DeviceError(
            f"device is {name}, but this machine has {torch.cuda.device_count()} CUDA devices, numbered from 0.",
            mend=mend,
        )
    return torch.device(name)


def _describe(name: str, look: Callable[[], tuple[str, str]]) -> DeviceInfo:
    try:
        title, reason = look()
    except Exception as error:  # a broken driver may raise anything, and the CPU must stay usable
        title, reason = name.upper(), f"PyTorch failed to look for it: {error}"
    return DeviceInfo(name, title, available=not reason, reason=reason)


def _cpu() -> tuple[str, str]:
    return f"Processor, {torch.get_num_threads()} threads", ""


def _cuda() -> tuple[str, str]:
    if torch.version.cuda is None and torch.version.hip is None:  # AMD's ROCm is also called cuda
        return "NVIDIA GPU", "This PyTorch was built without CUDA."
    if not torch.cuda.is_available():
        return "NVIDIA GPU", "PyTorch finds no NVIDIA GPU with a working driver."
    return torch.cuda.get_device_name(), ""


def _mps() -> tuple[str, str]:
    if not torch.backends.mps.is_built():
        return "Apple GPU", "It needs an Apple computer and a PyTorch that was built for it."
    if not torch.backends.mps.is_available():
        return "Apple GPU", "It needs a Mac with Apple silicon and a recent macOS."
    return "Apple GPU", ""
