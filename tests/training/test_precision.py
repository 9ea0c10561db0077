import pytest
import torch

from spineloss.cli import doctor
from spineloss.training.precision import GradientNotFinite, Precision, best_device

CPU = torch.device("cpu")


def line(value=1.0):
    """A network of one weight, y = w x."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, value)
    return network


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_only_cuda_computes_in_half_precision(device):
    precision = Precision.mixed(torch.device(device))
    assert precision.dtype == torch.float32 and precision.scaler is None


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler")
def test_bfloat16_is_taken_where_the_gpu_has_it(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    precision = Precision.mixed(torch.device("cuda"))
    assert precision.dtype == dtype
    assert (precision.scaler is not None) == (dtype == torch.float16)


def test_half_precision_is_of_the_forward_pass_alone():
    """bfloat16 keeps 8 bits: 1 + 2^-9 is 1 in it."""
    seen = []
    network = line()
    network.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    image = torch.tensor([[1 + 2.0**-9]])
    half, full = Precision(CPU, torch.bfloat16), Precision(CPU)
    assert half.logits(network, image).item() == 1.0
    assert full.logits(network, image).item() == 1 + 2.0**-9
    assert half.logits(network, image).dtype == torch.float32 and seen[0] == torch.bfloat16
    half.backward(half.logits(network, image).sum())
    assert network.weight.dtype == network.weight.grad.dtype == torch.float32


def test_double_precision_stays():
    assert Precision(CPU).logits(line().double(), torch.ones(1, 1).double()).dtype == torch.float64


@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu", init_scale=1024.0)], ids=["none", "scaler"])
def test_gradients_are_clipped_by_their_norm_without_their_scale(scaler):
    """w = 1, dL/dw = 4: a step of rate 1 ends at -3, or clipped to a norm of 0.5 at 0.5."""
    for clip, expected in ((None, -3.0), (0.5, 0.5)):
        network = line()
        precision = Precision(CPU, scaler=scaler)
        precision.backward(network(torch.tensor([[4.0]])).sum())
        assert network.weight.grad.item() == 4.0 * precision.scale
        precision.step(torch.optim.SGD(network.parameters(), lr=1.0), clip)
        assert network.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_an_infinite_gradient_is_an_error_in_full_precision_and_skipped_by_the_scaler(clip):
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        network = line()
        network.weight.grad = torch.full_like(network.weight, float("inf"))
        precision = Precision(CPU, scaler=scaler)
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
        if scaler is None:
            with pytest.raises(GradientNotFinite, match="became"):
                precision.step(optimiser, clip)
        else:
            assert precision.scale == 1024.0
            precision.step(optimiser, clip)
            assert precision.scale == 512.0
        assert network.weight.item() == 1.0


def test_a_gradient_that_is_finite_at_no_scale_is_an_error():
    network, precision = line(), Precision(CPU, scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    with pytest.raises(GradientNotFinite, match="at any scale"):
        for _ in range(4):
            network.weight.grad = torch.full_like(network.weight, float("nan"))
            precision.scaler.scale(torch.ones(()))
            precision.step(optimiser)


def test_a_state_given_back_is_the_scale():
    first = Precision(CPU, scaler=torch.amp.GradScaler("cpu", init_scale=8.0))
    second = Precision(CPU, scaler=torch.amp.GradScaler("cpu"))
    second.load(first.state())
    assert second.scale == 8.0
    full = Precision(CPU)
    full.load(first.state())
    assert full.state() == {}


def test_a_device_is_found_inside_a_slurm_job_of_two_tasks(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "study")
    assert best_device().type in ("cpu", "cuda")


def test_apples_gpu_is_left_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device().type == "cpu"
    assert doctor._device() == "cpu (studies leave Apple's GPU out)"
