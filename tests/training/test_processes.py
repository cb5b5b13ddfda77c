"""What torchrun's variables say, and what is refused before any process waits for another."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from minigpt.errors import ConfigError, DeviceError
from minigpt.training.distributed import Ranks
from minigpt.training.processes import Place, check_device, find_place, joined

WHOLE = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MASTER_ADDR": None}, "MASTER_ADDR"),
        ({"MASTER_PORT": None, "LOCAL_RANK": None}, "LOCAL_RANK, MASTER_PORT"),
        ({"RANK": None}, "not RANK"),
        ({"WORLD_SIZE": None}, "not WORLD_SIZE"),
        ({"RANK": "", "WORLD_SIZE": ""}, "RANK"),
        ({"RANK": "one"}, "RANK is 'one'"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE is '2.0'"),
        ({"MASTER_PORT": "ssh"}, "MASTER_PORT is 'ssh'"),
        ({"RANK": "4"}, "RANK is 4 of WORLD_SIZE 4"),
        ({"LOCAL_WORLD_SIZE": "1"}, "LOCAL_RANK 1 of 1"),
        ({"LOCAL_WORLD_SIZE": "8"}, "LOCAL_RANK 1 of 8"),
        ({"TORCHELASTIC_RESTART_COUNT": "x"}, "TORCHELASTIC_RESTART_COUNT is 'x'"),
    ],
)
def test_variables_that_do_not_fit_together_are_refused(changes: dict[str, str | None], words: str) -> None:
    """The message names the variable."""
    environment = {name: text for name, text in {**WHOLE, **changes}.items() if text is not None}
    with pytest.raises(ConfigError, match=words):
        find_place(environment)


def test_torchruns_variables_are_read() -> None:
    """Restarts are known; other variables of a machine do not make a place."""
    elastic = {"LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3"}
    assert find_place({**WHOLE, **elastic}) == Place(1, 4, 1, 2, 1, 3)
    assert find_place({"MASTER_ADDR": "here", "LOCAL_RANK": "0"}) is None


@pytest.mark.parametrize(
    ("name", "size", "num_gpus", "words"),
    [
        ("cuda", 4, 2, "4 processes .* has 2 GPUs"),
        ("cuda:0", 2, 2, "device is cuda:0, which several"),
        ("mps", 2, 0, "device is mps, which several"),
        ("cuda", 2, 2, None),
        ("cuda:1", 1, 2, None),
        ("cpu", 64, 0, None),
    ],
)
def test_each_process_needs_a_gpu_of_its_own(
    name: str, size: int, num_gpus: int, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few GPUs, or a single one that is named, are refused; a processor can be shared."""
    monkeypatch.setattr("minigpt.training.processes.resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    if words is None:
        assert check_device(name, size) == torch.device(name)
        return
    with pytest.raises(DeviceError, match=words):
        check_device(name, size)


def test_one_process_needs_no_group() -> None:
    """`torchrun --nproc_per_node=1` trains like a plain command."""
    with joined(Place(0, 1, 0, 1), lambda: ("runs/mine", "cpu")) as found:
        assert found == (Ranks(), "runs/mine")
    assert not torch.distributed.is_initialized()


@pytest.mark.process
def test_the_end_of_a_process_does_not_take_python_apart() -> None:
    """What is registered for the end is done, what was printed is seen, and no object is finalised after that."""
    program = """
import atexit
from minigpt.training.processes import end_process

class Noted:
    def __del__(self):
        print("finalised")

noted = Noted()
atexit.register(print, "registered")
print("printed")
end_process(3)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (3, ["printed", "registered"], "")
