from types import SimpleNamespace

import pytest
import torch

from spineloss.data.augmentation import NNUNET, Augment
from spineloss.data.batches import training_batches
from spineloss.data.labelling import Labelling, Structure
from spineloss.data.prefetch import Prefetched

THESIS = Augment(affine=0.5, noise=0.5, mixup=1.0, mixup_alpha=0.2)
TWO = (Structure("a", (1,), 1), Structure("b", (2,), 2))


def samples(channels):
    random = torch.Generator().manual_seed(1)
    return [
        SimpleNamespace(
            case=f"case-{number}",
            image=torch.randn(2, 8, 16, 16, generator=random),
            target=torch.randint(0, 3 if channels == 1 else 2, (channels, 8, 16, 16), generator=random).byte(),
            spacing=(3.0, 1.0, 1.0),
        )
        for number in range(5)
    ]


def tensors(batches):
    for batch in batches:
        yield batch.image
        for share, target in batch.targets:
            yield from (torch.tensor(share), target.truth, target.spacing, *target.maps.values())


@pytest.mark.parametrize(
    ("kind", "channels", "needs", "augment", "steps"),
    [
        ("per-label", 2, frozenset({"mm", "voxel"}), THESIS, None),
        ("exclusive", 1, frozenset({"mm"}), THESIS, 4),
        ("exclusive", 1, frozenset(), NNUNET, None),
    ],
)
def test_the_number_of_threads_changes_no_digit(kind, channels, needs, augment, steps):
    cases, labelling = samples(channels), Labelling(kind, TWO)

    def calls(epoch):
        return training_batches(
            cases, size=2, augment=augment, needs=needs, labelling=labelling, key=(21, 0, epoch), steps=steps
        )

    found = []
    for threads in (0, 1, 2):
        prefetched = Prefetched(calls, last=2, threads=threads)
        found.append([*tensors(prefetched(1)), *tensors(prefetched(2))])
    resumed = list(tensors(Prefetched(calls, last=2, threads=2)(2)))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(found[0][-len(resumed) :], resumed, strict=True))


OFF = Augment(affine=0.0, noise=0.0, mixup=0.0, mixup_alpha=0.2)


def images(cases, augment=OFF, **changes):
    settings = {"size": 2, "needs": frozenset(), "labelling": Labelling("per-label", TWO), "key": (21, 0, 1)}
    made = [make() for make in training_batches(cases, augment=augment, **settings | changes)]
    return [len(batch.image) for batch in made], [image for batch in made for image in batch.image]


def places(cases, found):
    return [next(n for n, case in enumerate(cases) if torch.equal(case.image, image)) for image in found]


def test_an_epoch_is_one_pass_whose_last_batch_may_be_smaller():
    cases = samples(2)
    sizes, found = images(cases)
    assert sizes == [2, 2, 1] and sorted(places(cases, found)) == [0, 1, 2, 3, 4]


def test_an_epoch_of_steps_is_passes_of_full_batches_that_begin_alike():
    cases = samples(2)
    sizes, found = images(cases, steps=6)
    order = places(cases, found)
    assert sizes == [2] * 6
    assert sorted(order[:5]) == sorted(order[5:10]) == [0, 1, 2, 3, 4] and order[:5] != order[5:10]
    assert order[:5] == places(cases, images(cases)[1])


def test_a_case_is_augmented_anew_in_each_pass():
    cases = samples(2)[:1]
    _, found = images(cases, augment=THESIS, steps=2, size=1)
    assert not torch.equal(found[0], found[1])
