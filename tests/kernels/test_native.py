"""The library, what it is given to read, and the threads that it works on."""

import pytest
import torch
from torch.autograd import forward_ad

from spineloss.kernels import native, passes
from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.compiled_sums import compiled_sums
from spineloss.kernels.passes import takes

needs_library = pytest.mark.skipif(native.library() is None, reason="spineloss was installed without a C compiler")


def test_there_is_no_library_where_none_was_built(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "HERE", tmp_path)
    (tmp_path / "library.cpython-311-other-platform.so").write_bytes(b"not for this machine")
    assert native.libraries.__wrapped__() == {}


@needs_library
def test_the_library_loads_with_any_suffix(monkeypatch, tmp_path):
    (built,) = (path for path in native.HERE.glob("library.*"))
    (tmp_path / "library.abi3.so").write_bytes(built.read_bytes())
    monkeypatch.setattr(native, "HERE", tmp_path)
    assert native.libraries.__wrapped__().keys() == native.libraries().keys()


@pytest.fixture(params=["OpenMP", "pool"])
def threads(request, monkeypatch):
    """PyTorch's own threads, or ours where its OpenMP is another."""
    if request.param == "pool":
        monkeypatch.setattr(native, "_team", lambda: None)
    return lambda number: monkeypatch.setattr(torch, "get_num_threads", lambda: number)


@needs_library
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_digits_do_not_depend_on_the_number_of_threads(monkeypatch, threads, activation):
    monkeypatch.setattr(passes, "CHUNK", 1000)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 5, 31, 67), generator=random).requires_grad_()
    labels = torch.randint(0, 3, (2, 5, 31, 67), generator=random)
    found = []
    for number in (1, 2, 3):
        threads(number)
        columns = (CROSS_ENTROPY, Column("entropy", 1.45))
        sums = compiled_sums(logits, labels, activation=activation, columns=columns)
        found.append((sums.detach(), *torch.autograd.grad(sums.square().sum(), logits)))
    for sums, slope in found[1:]:
        assert torch.equal(sums, found[0][0]) and torch.equal(slope, found[0][1])


def test_an_error_in_a_thread_is_raised(threads):
    def work(number):
        if number == 3:
            raise ValueError(number)

    threads(2)
    with pytest.raises(ValueError, match="3"):
        native.in_threads(work, range(8))


def test_every_row_is_worked_on_once(threads):
    for number in (1, 2, 5):
        threads(number)
        seen = []
        native.in_threads(lambda *row, seen=seen: seen.append(row), range(100), "ab" * 50)
        assert sorted(seen) == [(number, "ab"[number % 2]) for number in range(100)]


def arguments():
    """Logits, target, mask and weights that the library takes."""
    logits = torch.randn(2, 3, 8, 16, 24)
    labels, mask = torch.randint(0, 3, (2, 8, 16, 24)), torch.rand(2, 1, 8, 16, 24) < 0.5
    return {"logits": logits, "target": labels, "mask": mask, "weights": torch.randn(2, 3, 8, 16, 24)}


@needs_library
def test_it_takes_ordinary_tensors():
    given = arguments()
    assert takes(**given)
    assert takes(given["logits"].requires_grad_(), torch.rand(2, 3, 8, 16, 24))


UNREADABLE = {
    "on another device": lambda tensor: tensor.to("meta"),
    "of another shape": lambda tensor: tensor[..., :-1],
    "of one sample for two": lambda tensor: tensor[:1],
    "with an axis too many": lambda tensor: tensor[None],
    "of complex numbers": lambda tensor: tensor.to(torch.complex64),
    "sparse": lambda tensor: tensor.to_sparse(),
    "negated when read": lambda tensor: torch.ones(tensor.shape, dtype=torch.cfloat).conj().imag,
}


@needs_library
@pytest.mark.parametrize("name", ["logits", "target", "mask", "weights"])
@pytest.mark.parametrize("how", UNREADABLE)
def test_it_refuses_each_tensor(name, how):
    given = arguments()
    given[name] = UNREADABLE[how](given[name])
    assert not takes(**given)


@needs_library
@pytest.mark.parametrize("name", ["target", "mask", "weights"])
def test_it_refuses_constants_that_are_to_be_differentiated(name):
    given = arguments()
    given[name] = given[name].float().requires_grad_()
    assert not takes(**given)


@needs_library
@pytest.mark.parametrize("name", ["logits", "target", "mask", "weights"])
def test_it_refuses_each_tensor_under_a_transform(name):
    given, taken = arguments(), []
    if not given[name].is_floating_point():
        given[name] = given[name].float()

    def call(tensor):
        taken.append(takes(**{**given, name: tensor}))
        return tensor.sum()

    torch.func.vmap(call)(given[name][None])
    torch.func.grad(call)(given[name])
    torch.func.jvp(call, (given[name],), (given[name],))
    with forward_ad.dual_level():
        call(forward_ad.make_dual(given[name], given[name]))
    torch.compile(call, backend="eager")(given[name])
    assert taken == [False] * 5


@needs_library
def test_it_refuses_more_classes_than_a_tile_holds():
    assert takes(torch.zeros(1, 512, 16), torch.zeros(1, 16))
    assert not takes(torch.zeros(1, 513, 16), torch.zeros(1, 16))
