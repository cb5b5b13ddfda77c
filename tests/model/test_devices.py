"""Devices: always described, never an exception, and a reason for each missing one."""

import pytest
import torch

from minigpt.errors import DeviceError
from minigpt.model import devices
from minigpt.model.devices import describe_devices, resolve_device


def only(monkeypatch, *available):
    for kind in ("cpu", "cuda", "mps"):
        reason = "" if kind in available else f"There is no {kind}."
        monkeypatch.setattr(devices, f"_{kind}", lambda kind=kind, reason=reason: (kind.title(), reason))


def test_all_three_are_described_each_with_a_reason_where_it_is_missing():
    infos = describe_devices()
    assert [info.name for info in infos] == ["cpu", "cuda", "mps"]
    assert infos[0].available
    for info in infos:
        assert info.available == (info.reason == "")
        assert info.title


def test_a_broken_driver_is_a_reason_and_no_exception(monkeypatch):
    def broken():
        raise RuntimeError("driver too old")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", broken)
    cuda = describe_devices()[1]
    assert not cuda.available
    assert "driver too old" in cuda.reason


@pytest.mark.parametrize(
    ("available", "expected"), [(["cpu"], "cpu"), (["cpu", "mps"], "mps"), (["cpu", "mps", "cuda"], "cuda")]
)
def test_auto_takes_the_fastest_that_is_there(monkeypatch, available, expected):
    only(monkeypatch, *available)
    assert resolve_device("auto") == torch.device(expected)


def test_a_device_that_is_missing_is_refused_with_its_reason(monkeypatch):
    only(monkeypatch, "cpu")
    with pytest.raises(DeviceError, match=r"cuda cannot be used here: There is no cuda\. Use auto or cpu\."):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["tpu", "", "cpu:1", "cuda:x", "cuda:-1"])
def test_names_that_mean_nothing_are_refused(name):
    with pytest.raises(DeviceError, match="it must be auto, cpu, cuda"):
        resolve_device(name)


def test_a_gpu_by_number(monkeypatch):
    only(monkeypatch, "cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="cuda:2, but this machine has 2"):
        resolve_device("cuda:2")
