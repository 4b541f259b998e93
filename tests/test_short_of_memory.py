"""Memory that runs out where nothing is trained."""

import gc

import pytest
import tiny_runs
import torch
from tiny_families import flags_of

from spknorm.config.memory import garbage_sought_in_what_is_new, in_smaller_parts, once_more
from spknorm.errors import ConfigError, is_out_of_memory


class Device:
    """Computes squares of at most `room` numbers at once."""

    def __init__(self, room):
        self.room, self.asked = room, []

    def squares(self, numbers):
        self.asked.append(len(numbers))
        if len(numbers) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return [number**2 for number in numbers]


def parts(device, numbers):
    return in_smaller_parts(device.squares, numbers, name=lambda n: f"number {n}", device="cuda:1")


def test_fewer_are_taken_at_once_where_memory_is_short():
    device = Device(room=2)
    assert parts(device, [1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]
    assert device.asked == [5, 2, 3, 1, 2]


def test_what_is_too_much_alone_is_named_with_what_to_do():
    device = Device(room=0)
    with pytest.raises(ConfigError) as raised:
        parts(device, [7, 8])
    assert str(raised.value) == (
        "Out of memory on cuda:1 with number 7 alone: take a device with more memory "
        "(--device cpu has the machine's), or a smaller upstream."
    )
    assert device.asked == [2, 1, 1]  # once more, with nothing held in reserve


def test_other_errors_are_not_memory():
    def fail(numbers):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        in_smaller_parts(fail, [1, 2], name=str, device="cpu")


def test_once_more_is_once():
    tried = []

    def act():
        tried.append(1)
        raise MemoryError

    with pytest.raises(MemoryError):
        once_more(act)
    assert len(tried) == 2


ASSERT = 'INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/'


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), True),
        (RuntimeError("CUDA error: out of memory\nSearch for"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate("),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), True),
        (
            RuntimeError(
                "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(ha"
            ),
            True,
        ),
        (RuntimeError(f"NVML_SUCCESS == r {ASSERT}CUDACachingAllocator.cpp"), True),
        (RuntimeError(f"NVML_SUCCESS == DriverAPI::get() {ASSERT}PeerToPeerAccess.cpp"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSge"), False),
        (RuntimeError("cuFFT error: CUFFT_INTERNAL_ERROR"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ConfigError("Out of memory at step 3; out of memory"), False),
        (OSError("out of memory"), False),
    ],
)
def test_an_error_of_memory_is_known_as_one(error, is_memory):
    assert is_out_of_memory(error) == is_memory


@pytest.mark.parametrize("family", ["hubert", "hf whisper", "hf sew-d", "hf wav2vec2-bert"])
def test_dev_is_predicted_in_parts_as_in_whole_batches(family, tiny_corpora, tmp_path, monkeypatch):
    flags = flags_of(family, tmp_path / "upstream")
    settings = tiny_runs.settings_of(tiny_corpora)
    runner = tiny_runs.make_runner(flags.pop("upstream_ckpt"), settings, tmp_path, **flags)
    whole, own = runner._predict("dev"), type(runner.source).__call__

    def small(self, batch, *, corpus):
        if len(batch.ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(self, batch, corpus=corpus)

    monkeypatch.setattr(type(runner.source), "__call__", small)
    alone = runner._predict("dev")
    assert alone.predicted == whole.predicted
    assert alone.loss == pytest.approx(whole.loss, abs=1e-6)


def test_the_garbage_collector_passes_by_what_was_there_until_the_end():
    there: list[object] = []
    with garbage_sought_in_what_is_new():
        new: list[object] = []
        looked_through = {id(one) for one in gc.get_objects()}
        assert id(new) in looked_through and id(there) not in looked_through
    assert id(there) in {id(one) for one in gc.get_objects()}
