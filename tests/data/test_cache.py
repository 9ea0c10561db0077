"""What the cache keeps is mapped, verified once by a process, and told apart from what is damaged."""

import pickle

import pytest
import torch

from spineloss.data import cache as caching
from spineloss.data.cache import Cache, map_tensor
from spineloss.data.dataset import Sample
from spineloss.errors import UserError


@pytest.fixture
def kept():
    tensors = {"image": torch.rand(1, 4, 6, 9), "target": (torch.rand(2, 4, 6, 9) > 0.5).byte()}
    Cache().write("a", tensors)
    return Cache().path("a"), tensors


def test_a_sample_is_what_was_kept_and_travels_as_two_paths(kept):
    path, tensors = kept
    sample = pickle.loads(pickle.dumps(Sample("a", (2.0, 1.0, 1.0), path, path)))
    assert torch.equal(sample.image, tensors["image"]) and torch.equal(sample.target, tensors["target"])
    assert vars(sample).keys() == {"case", "spacing", "image_file", "target_file"}


def test_a_file_is_verified_once_until_it_changes(kept, monkeypatch):
    path, tensors = kept
    digests, digest = [], caching._digest
    monkeypatch.setattr(caching, "_digest", lambda *of: digests.append(of[1]) or digest(*of))
    for _ in range(3):
        map_tensor(path, "image"), map_tensor(path, "target")
    assert digests == ["image", "target"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last byte of the target
    path.write_bytes(content)
    assert torch.equal(map_tensor(path, "image"), tensors["image"])
    with pytest.raises(UserError, match="damaged: delete it"):
        map_tensor(path, "target")
    assert Cache().read("a", "target") is None


def test_a_change_of_a_mapped_tensor_leaves_the_file_as_it_is(kept):
    path, tensors = kept
    map_tensor(path, "image").zero_()
    assert torch.equal(map_tensor(path, "image"), tensors["image"])
