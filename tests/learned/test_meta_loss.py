import pytest
import torch
from safetensors.torch import save_file

from spineloss.errors import UserError
from spineloss.learned.imitation import imitate, predictions, slope_and_value
from spineloss.learned.meta_loss import MetaLoss
from spineloss.text import parse


def example(shape=(2, 2, 4, 6, 5), seed=0):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=random, dtype=torch.float64)
    return logits, (torch.rand(shape, generator=random) < 0.3).double()


@pytest.fixture
def file(tmp_path):
    MetaLoss(seed=5).write(tmp_path / "meta.safetensors")
    return tmp_path / "meta.safetensors"


def test_the_place_of_a_voxel_does_not_matter():
    logits, target = example()
    order = torch.randperm(4 * 6 * 5)
    mixed = [volume.flatten(2)[..., order].view(volume.shape) for volume in (logits, target)]
    assert MetaLoss()(*mixed).item() == pytest.approx(MetaLoss()(logits, target).item(), rel=1e-12)


def test_the_size_of_the_volume_does_not_matter():
    logits, target = example()
    larger = [volume.repeat(1, 1, 3, 2, 1) for volume in (logits, target)]
    assert MetaLoss()(*larger).item() == pytest.approx(MetaLoss()(logits, target).item(), rel=1e-5)


def test_a_batch_is_the_mean_of_its_samples():
    logits, target = example((3, 2, 4, 5, 4))
    alone = [MetaLoss()(logits[i : i + 1], target[i : i + 1]).item() for i in range(3)]
    assert MetaLoss()(logits, target).item() == pytest.approx(sum(alone) / 3, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_it_is_never_negative_and_its_gradient_is_finite(seed, scale):
    logits, target = example(seed=seed)
    for mask in (target, torch.zeros_like(target), torch.ones_like(target)):
        known = (scale * logits).float().requires_grad_()
        value = MetaLoss(seed)(known, mask.float())
        value.backward()
        assert value >= 0 and torch.isfinite(known.grad).all()


def test_its_gradient_is_that_of_its_value():
    logits, target = example((2, 1, 3, 3, 3))
    assert torch.autograd.gradcheck(lambda known: MetaLoss()(known, target), logits.requires_grad_())


def test_ignored_voxels_change_nothing():
    logits, target = example((2, 1, 4, 5, 6))
    mask = torch.ones_like(target)
    mask[..., 3:] = 0
    noisy = torch.where(mask.bool(), logits, 9 * torch.randn_like(logits))
    value = MetaLoss()(noisy, target, mask=mask)
    assert value.item() == pytest.approx(MetaLoss()(logits, target, mask=mask).item(), rel=1e-12)


def test_its_text_holds_the_digest_of_its_file(file):
    loss = parse(f"0.5*meta({file}) + 0.5*dice")
    assert str(parse(str(loss))) == str(loss)
    assert parse(f"meta({file})")(*example()) == MetaLoss(seed=5)(*example())
    MetaLoss(seed=6).write(file)
    assert str(parse(f"0.5*meta({file}) + 0.5*dice")) != str(loss)
    with pytest.raises(UserError, match="has the digest"):
        parse(str(loss))


def test_a_path_may_hold_spaces(file):
    spaced = file.parent / "my losses" / "meta, 1+1.safetensors"
    MetaLoss(seed=5).write(spaced)
    assert str(parse(f'meta("{spaced}")')) == str(parse(str(parse(f'meta("{spaced}")'))))


@pytest.mark.parametrize("kind", ["absent", "not tensors", "other tensors"])
def test_a_file_that_is_no_meta_loss_is_told(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    if kind == "not tensors":
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    if kind == "other tensors":
        save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="x.safetensors"):
        parse(f"meta({path})")


def test_a_missing_path_is_told():
    with pytest.raises(UserError, match="needs a path"):
        parse("meta")


@pytest.mark.parametrize("text", ["cross_entropy", "dice_cross_entropy"])
@pytest.mark.parametrize("seed", [0, 21])
def test_it_can_start_as_another_loss(text, seed, monkeypatch):
    monkeypatch.setattr("spineloss.learned.imitation.STEPS", 150)
    monkeypatch.setattr("spineloss.learned.imitation.GRID", (6, 6, 6))
    loss = parse(text)
    logits, target = predictions(torch.Generator().manual_seed(1))
    losses = imitate(loss, seed), MetaLoss(seed), loss
    slopes = [slope_and_value(each, logits, target)[0].flatten(1) for each in losses]
    imitated, random = (torch.cosine_similarity(slope, slopes[2]).min() for slope in slopes[:2])
    assert imitated > 0.97 > random


def test_it_can_start_as_a_loss_that_has_no_slope_where_all_is_right(monkeypatch):
    def sure_and_unsure(random):
        target = (torch.rand(2, 1, 2, 4, 4, generator=random) > 0.5).float()
        return torch.tensor([9.0, 0.1]).view(2, 1, 1, 1, 1) * (2 * target - 1), target

    monkeypatch.setattr("spineloss.learned.imitation.STEPS", 2)
    monkeypatch.setattr("spineloss.learned.imitation.predictions", sure_and_unsure)
    assert all(weight.isfinite().all() for weight in imitate(parse("lovasz_hinge"), 0).parameters())


def test_autocast_does_not_coarsen_it():
    logits, target = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    meta = MetaLoss()
    plain = meta(logits, target)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(meta(logits, target), plain)
