"""Devices without a GPU: what is text, what is computed in which type, what goes through pinned memory."""

import subprocess
import sys

import pytest

from satellite.device import Device, is_out_of_memory


def test_a_device_is_its_name_and_a_plain_name_becomes_one():
    device = Device("cuda", "bfloat16")
    assert (device, device.dtype) == ("cuda", "bfloat16")
    assert Device.of(device) is device
    assert (Device.of("cpu"), Device.of("cpu").dtype) == ("cpu", "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_are_computed_in_the_type_and_weights_stay(dtype):
    import torch

    device = Device("cpu", dtype)
    net = torch.nn.Linear(4, 2).to(device)
    with torch.inference_mode(), device.autocast():
        assert net(torch.ones(3, 4)).dtype == getattr(torch, dtype)
    assert net.weight.dtype == torch.float32


def test_a_tensor_goes_to_a_gpu_through_pinned_memory_and_nobody_waits():
    class Tensor:
        def __init__(self, did=()):
            self.did = did

        def pin_memory(self):
            return Tensor((*self.did, "pinned"))

        def to(self, device, *, non_blocking):
            return Tensor((*self.did, device, non_blocking))

    assert Device("cuda").put(Tensor()).did == ("pinned", "cuda", True)
    assert Device("cpu").put(Tensor()).did == ()


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, ran_out):
    assert is_out_of_memory(error) is ran_out


def test_torch_itself_says_it_so():
    import torch

    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_no_torch_comes_with_it():
    code = (
        "import sys, satellite.device as d; d.Device('cpu').put(1); d.free_memory(); print(set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" not in done.stdout
