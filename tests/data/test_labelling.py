from dataclasses import replace

import numpy as np
import pytest
import torch

from spineloss.data.cases import Labels
from spineloss.data.labelling import Labelling, Structure, labelling_of
from spineloss.errors import UserError

LABEL_MAP = np.array([[[0, 1, 7], [1024, 7, 3]]])


def test_a_target_of_each_kind_by_hand():
    one = labelling_of("merged", [1, 7, 1024])
    assert one.target_of(LABEL_MAP).tolist() == [[[[0, 1, 1], [1, 1, 0]]]] and one.names == ["all"]
    each = labelling_of("per-label", [1, 1024])
    assert each.target_of(LABEL_MAP).tolist() == [[[[0, 1, 0], [0, 0, 0]]], [[[0, 0, 0], [1, 0, 0]]]]
    exclusive = labelling_of("exclusive", [1, 7, 1024])
    assert exclusive.target_of(LABEL_MAP).tolist() == [[[[0, 1, 2], [3, 2, 0]]]]
    assert (one.outputs, each.outputs, exclusive.outputs) == (1, 2, 4)


@pytest.mark.parametrize("kind", ["merged", "per-label", "exclusive"])
def test_a_sure_prediction_of_the_target_gives_the_labels_back(kind):
    labelling = labelling_of(kind, [1, 7, 1024])
    target = labelling.target_of(LABEL_MAP)
    volumes = labelling.volumes(target[None])
    assert volumes.shape == (1, labelling.outputs, 1, 2, 3)
    probabilities = labelling.probabilities(40.0 * volumes - 20)[0]
    assert torch.equal(labelling.decide(probabilities), labelling.masks(target))
    found = labelling.label_map(probabilities)
    kept = np.where(LABEL_MAP == 3, 0, LABEL_MAP)
    assert np.array_equal(found, kept > 0 if kind == "merged" else kept)
    assert found.dtype == (np.uint8 if kind == "merged" else np.uint16)


def test_exclusive_structures_are_decided_among_each_other_and_the_background():
    labelling = labelling_of("exclusive", [5, 9])
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]]).T.reshape(3, 1, 1, 3)
    assert labelling.label_map(probabilities).tolist() == [[[0, 5, 9]]]


@pytest.mark.parametrize("kind", ["merged", "per-label", "exclusive"])
def test_what_nobody_annotated_is_no_structure_and_does_not_count(kind):
    labelling = labelling_of(kind, [1, 7], Labels(ignore=3))
    target = labelling.target_of(LABEL_MAP)
    known = LABEL_MAP != 3
    assert labelling.counted(target).tolist() == known[None].tolist()
    assert not labelling.masks(target)[:, ~torch.from_numpy(known)].any()
    assert not labelling.volumes(target[None])[0][:, ~torch.from_numpy(known)].any()
    with pytest.raises(UserError, match="label 7 is ignored"):
        labelling_of(kind, [1, 7], Labels(ignore=7))


def test_of_a_map_the_mask_is_its_sign_and_the_probability_a_steep_function_of_it():
    labelling = replace(labelling_of("per-label", [1, 7]), predicts="distance")
    maps = torch.tensor([[-0.5, 0.002, 1.0], [0.25, -0.002, 1.0]]).view(2, 1, 1, 3)
    probabilities = labelling.probabilities(-2 * torch.atanh(maps.clamp(max=0.999))[None])[0]
    assert torch.allclose(1 - 2 * probabilities, maps, atol=2e-3)
    assert torch.equal(labelling.decide(probabilities), maps < 0)
    assert labelling.label_map(probabilities).tolist() == [[[1, 7, 0]]]
    likely = labelling.of_structures(probabilities)
    assert torch.allclose(likely, 1 / (1 + torch.exp(1500 * maps)), atol=1e-3)


def test_it_is_the_same_again_from_its_record():
    labelling = labelling_of("exclusive", [1, 1024])
    of_maps = replace(labelling, predicts="distance")
    for each in (labelling, of_maps):
        assert Labelling.from_plain(each.plain()) == each
    assert labelling.plain().keys() == of_maps.plain().keys() - {"predicts"}  # by it prepared cases are known
    assert labelling.structures[1] == Structure("1024", (1024,), 1024)


def test_more_labels_than_numbers_are_refused():
    with pytest.raises(UserError, match="254"):
        labelling_of("exclusive", range(1, 256))


def test_regions_lie_over_one_another_and_fill_the_label_map_in_their_order():
    described = Labels({}, 3, {"whole": (1, 7), "core": (7,), "rest": (1024,)}, {"whole": 1, "core": 7, "rest": 2})
    labelling = labelling_of("regions", [], described)
    target = labelling.target_of(LABEL_MAP)
    assert target.tolist() == [
        [[[0, 1, 1], [0, 1, 255]]],
        [[[0, 0, 1], [0, 1, 255]]],
        [[[0, 0, 0], [1, 0, 255]]],
    ]
    probabilities = torch.tensor([[0.9, 0.8, 0.4], [0.4, 0.6, 0.6], [0.1, 0.1, 0.9]]).reshape(3, 1, 1, 3)
    # By hand, as nnU-Net's `convert_probabilities_to_segmentation` goes through regions_class_order.
    assert labelling.label_map(probabilities).tolist() == [[[1, 7, 2]]]
    with pytest.raises(UserError, match="regions in dataset.json|needs regions"):
        labelling_of("regions", [1, 7])


def test_structures_have_the_names_that_the_data_set_gives():
    labelling = labelling_of("exclusive", [1, 7], Labels({1: "myocardium"}))
    assert labelling.names == ["myocardium", "7"] and labelling.structures[0].value == 1
