import multiprocessing
import os
import signal
import warnings
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.dataset import LanguageModelDataset, make_loader, num_processors
from minigpt.data.order import BatchOrder
from minigpt.errors import ConfigError, CorpusError, ShapeError


@given(st.integers(3, 60), st.integers(1, 12), st.integers(1, 9), st.sampled_from(["uint8", "uint16", "int64"]))
def test_windows_equal_the_slices_one_would_write(num_tokens, length, stride, dtype):
    ids = np.arange(num_tokens).astype(dtype)
    if num_tokens < length + 1:
        return
    dataset = LanguageModelDataset(ids, length, stride)
    starts = [n for n in range(0, num_tokens, stride) if n + length + 1 <= num_tokens]
    assert len(dataset) == len(starts)
    inputs, targets = dataset.gather(range(len(dataset)))
    assert inputs.tolist() == [ids[n : n + length].tolist() for n in starts]
    assert targets.tolist() == [ids[n + 1 : n + length + 1].tolist() for n in starts]
    assert [(x.tolist(), y.tolist()) for x, y in dataset] == list(zip(inputs.tolist(), targets.tolist(), strict=True))


def test_batches_are_int64_of_their_own():
    ids = np.arange(20, dtype=np.uint8)
    ids.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about tensors on read-only arrays
        inputs, targets = LanguageModelDataset(ids, 4).gather(np.array([3, 3, 0]))
    assert inputs.shape == targets.shape == (3, 4)
    assert inputs.dtype == targets.dtype == torch.int64
    inputs.zero_()
    assert targets[0].tolist() == [4, 5, 6, 7], "targets share no memory with inputs"


def test_one_window_is_enough():
    dataset = LanguageModelDataset(np.arange(3), 2)
    assert len(dataset) == 1
    assert dataset[-1][1].tolist() == [1, 2]
    assert dataset[np.int64(0)][0].tolist() == [0, 1]


@pytest.mark.parametrize("index", [1, -2, [0, 1]])
def test_a_window_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError):
        LanguageModelDataset(np.arange(3), 2)[index]


@pytest.mark.parametrize(
    ("num_tokens", "mend"),
    [
        (64, "set model.sequence_length to 63 or less"),
        (3, "to 2 or less"),
        (2, "needs 3 tokens"),
        (0, "needs 3 tokens"),
    ],
)
def test_a_text_shorter_than_a_window_names_both_lengths_and_what_fits(num_tokens, mend):
    with pytest.raises(CorpusError) as caught:
        LanguageModelDataset(np.zeros(num_tokens, np.uint8), 64, name="The validation part")
    assert f"The validation part has {num_tokens} tokens" in caught.value.problem
    assert "a context of 64 needs 65" in caught.value.problem
    assert mend in caught.value.mend


def test_what_the_message_says_fits_does_fit():
    ids = np.zeros(64, np.uint8)
    assert len(LanguageModelDataset(ids, 63)) == 1


@pytest.mark.parametrize("ids", [np.zeros((2, 9), int), np.zeros(9), np.array(5), np.array(["a"])])
def test_ids_are_one_row_of_integers(ids):
    with pytest.raises(ShapeError, match="one row of integers"):
        LanguageModelDataset(ids, 2)


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (2, 0), (2, -1)])
def test_lengths_and_strides_are_positive(length, stride):
    with pytest.raises(ConfigError, match="at least 1"):
        LanguageModelDataset(np.arange(9), length, stride)


@pytest.mark.parametrize("sizes", [(2.5, 1), (2, 1.5), (2, 0)])
def test_a_window_is_a_whole_number_of_tokens(sizes):
    with pytest.raises(ConfigError, match="whole and at least 1"):
        LanguageModelDataset(np.arange(9), *sizes)


# --- loaders


@pytest.mark.parametrize(("training", "sizes"), [(True, [4, 4]), (False, [4, 4, 2])])
def test_a_last_batch_that_is_not_full_goes_in_training_only(training, sizes):
    dataset = LanguageModelDataset(np.arange(13), 3)  # 10 windows
    batches = list(make_loader(dataset, batch_size=4, training=training, device="cpu"))
    assert [len(inputs) for inputs, _ in batches] == sizes
    assert torch.cat([inputs for inputs, _ in batches])[:, 0].tolist() == list(range(sum(sizes)))


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("mps", False), ("cuda", True), ("cuda:1", True)])
def test_memory_is_pinned_for_cuda_alone(device, pinned):
    dataset = LanguageModelDataset(np.arange(13), 3)
    assert make_loader(dataset, batch_size=4, training=True, device=device).pin_memory is pinned


@pytest.mark.process
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_follows_the_order_it_is_given(num_workers):
    dataset = LanguageModelDataset(np.arange(50), 3)
    order = BatchOrder(seed=0, num_windows=len(dataset), batch_size=8)
    loader = make_loader(
        dataset, batch_sampler=(order.indices(n) for n in range(5, 8)), training=True, device="cpu", num_workers=num_workers
    )  # fmt: skip
    assert [inputs[:, 0].tolist() for inputs, _ in loader] == [order.indices(n).tolist() for n in range(5, 8)]


@pytest.mark.process
@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_hand_over_the_same_batches_and_are_gone_with_the_loader(tmp_path, num_workers, recwarn):
    np.arange(500, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    dataset = LanguageModelDataset(np.memmap(tmp_path / "ids.bin", np.uint16, mode="r"), 7)
    order = BatchOrder(seed=3, num_windows=len(dataset), batch_size=5)
    loader = make_loader(
        dataset, batch_sampler=order.from_step(2), training=True, device="cpu", num_workers=num_workers
    )
    batches = iter(loader)
    for step in range(2, 12):
        for found, expected in zip(next(batches), dataset.gather(order.indices(step)), strict=True):
            assert torch.equal(found, expected)
    workers = multiprocessing.active_children()
    assert len(workers) == min(num_workers, num_processors()), "torch warns of more than there are processors"
    del batches
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0, "ended by itself, not killed"
    assert not recwarn.list


@pytest.mark.process
def test_an_interruption_is_for_the_training_to_handle_not_for_its_workers():
    """Ctrl+C reaches all processes of a terminal; the batches of the step that is being finished still come."""
    dataset = LanguageModelDataset(np.arange(500), 7)
    order = BatchOrder(seed=3, num_windows=len(dataset), batch_size=5)
    loader = make_loader(dataset, batch_sampler=order.from_step(0), training=True, device="cpu", num_workers=1)
    batches = iter(loader)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGINT)
    for step in range(1, 9):
        assert torch.equal(next(batches)[0], dataset.gather(order.indices(step))[0])
    assert worker.is_alive()


def test_a_dataset_goes_to_another_process_as_the_name_of_its_file(tmp_path):
    """On systems where processes do not inherit memory, the dataset is sent; its tokens or windows must not be."""
    ids = np.arange(100_000, dtype=np.uint8)
    ids.tofile(tmp_path / "ids.bin")
    mapped = LanguageModelDataset(np.memmap(tmp_path / "ids.bin", np.uint8, mode="r"), 50, stride=2, name="A text")
    for dataset, most in (
        (mapped, 1000),
        (LanguageModelDataset(ids, 50, stride=2), 101_000),
        (LanguageModelDataset(mapped.ids[10:], 50, stride=2), 101_000),  # a part of a map has no place in the file
    ):
        sent = bytes(ForkingPickler.dumps(dataset))
        assert len(sent) < most
        arrived = ForkingPickler.loads(sent)
        assert (len(arrived), arrived.sequence_length, arrived.stride) == (len(dataset), 50, 2)
        assert torch.equal(arrived.gather([0, 70])[1], dataset.gather([0, 70])[1])


def test_an_endless_order_serves_a_loader():
    dataset = LanguageModelDataset(np.arange(9), 3)
    order = BatchOrder(seed=0, num_windows=len(dataset), batch_size=4)
    inputs, targets = next(iter(make_loader(dataset, batch_sampler=order.from_step(3), training=True, device="cpu")))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert inputs[:, 0].tolist() == order.indices(3).tolist()


def test_a_loader_leaves_the_global_generator_alone():
    dataset = LanguageModelDataset(np.arange(9), 3)
    before = torch.get_rng_state()
    list(make_loader(dataset, batch_size=4, training=True, device="cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("arguments", [{}, {"batch_size": 2, "batch_sampler": [[0]]}])
def test_a_loader_takes_one_of_the_two(arguments):
    with pytest.raises(ConfigError, match="either"):
        make_loader(LanguageModelDataset(np.arange(9), 3), training=True, device="cpu", **arguments)
