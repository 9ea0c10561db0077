"""What a run is trained on, by mocks where it takes a GPU: none is here."""

import os

import pytest
import torch

from spineloss.data.batches import Batch
from spineloss.study.hardware import WHAT, hardware, ready_for, set_determinism, stretches
from spineloss.training.precision import Precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_what_is_recorded_of_a_cpu():
    found = hardware(Precision(CPU))
    assert set(found) == set(WHAT)
    assert (found["precision"], found["threads"]) == ("float32", torch.get_num_threads())
    assert torch.backends.cpu.get_cpu_capability() in found["device"]
    assert found["versions"]["torch"] == torch.__version__


def test_what_is_recorded_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    found = hardware(Precision(GPU, torch.bfloat16))
    assert (found["device"], found["precision"]) == ("NVIDIA H200", "bfloat16")
    assert found["versions"]["cudnn"] == 91002 and "cuda" in found["versions"]


def now(**changes):
    return {"device": "a", "precision": "float32", "threads": 2, "versions": {"torch": "2"}} | changes


def test_a_part_for_each_change_and_none_without():
    first = stretches([], 0, now())
    assert first == [{"from_epoch": 1, **now()}]
    assert stretches(first, 7, now()) == first
    second = stretches(first, 7, now(threads=1))
    assert second == [*first, {"from_epoch": 8, **now(threads=1)}]
    # A run that begins anew forgets what it was trained on before.
    assert stretches(second, 0, now(device="b")) == [{"from_epoch": 1, **now(device="b")}]


@pytest.fixture
def switches(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda *given, **named: asked.append((given, named))
    )
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    return asked


@pytest.mark.parametrize("deterministic", [True, False])
def test_determinism_is_a_gpus_matter(switches, deterministic):
    set_determinism(CPU, deterministic)
    assert switches == [] and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    set_determinism(GPU, deterministic)
    assert switches == [((deterministic,), {"warn_only": True})]
    assert torch.backends.cudnn.benchmark is not deterministic
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"


def test_batches_for_a_gpu_wait_in_page_locked_memory(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    calls = [lambda: Batch(torch.zeros(1), ())]
    assert [call().image.item() for call in ready_for(CPU, calls)] == [0]
    assert [call().image.item() for call in ready_for(GPU, calls)] == [1]
