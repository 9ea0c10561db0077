"""Losses for which voxels are put in order: top-k cross-entropy and the Lovász extensions of the Jaccard index.

An order is no sum: these need more than the one pass over the voxels that other losses share.
"""

from abc import abstractmethod
from typing import Literal

import torch

from spineloss.errors import UserError
from spineloss.kernels.columns import CROSS_ENTROPY, Column
from spineloss.kernels.order import descending, largest
from spineloss.losses.base import Loss, choice, parameter
from spineloss.losses.distribution import CrossEntropy
from spineloss.losses.inputs import Inputs


class TopK(CrossEntropy):
    """The mean cross-entropy of the k % of the voxels at which it is largest.

    Of exclusive classes, voxels are ranked within a sample or the batch; of independent channels, within each of
    them. Of equal ones the first are taken. k = 100 is cross-entropy.

    References:
        Wu et al., Bridging category-level and instance-level semantic image segmentation, arXiv 1605.06885, 2016.

    >>> logits, target = torch.tensor([[[0.0, 9.0, 9.0, 9.0]]]), torch.ones(1, 1, 4)
    >>> round(TopK(k=25)(logits, target).item(), 3)  # log 2 of the one that is unsure
    0.693
    """

    name = "top_k"
    equation = r"\frac{1}{|K|} \sum_{i \in K} c_i, \quad K = \text{the } k\,\% \text{ largest } c_i = -\log P(Y_i)"
    use = (
        "Beside Dice, as nnU-Net has it, when most voxels are easy and mistakes are few. Not where annotations "
        "are noisy: the voxels that are wrong in them are then all that is learned."
    )

    k: float = parameter(default=10.0, low=0.1, high=100, meaning="per cent of the voxels that count")
    over: Literal["sample", "batch"] = choice(  # type: ignore[assignment]  # ranks have meanings of their own
        default="sample", meaning="what voxels are ranked over"
    )

    @property
    def columns(self) -> tuple[Column, ...]:
        return ()  # those of all voxels are of no use

    def values(self, inputs: Inputs) -> torch.Tensor:
        hardest = self._hardest(inputs)
        sums, counted = (hardest.added(each, self.over) for each in (self.sums(hardest), hardest.sums.counted))
        classes = inputs.logits.shape[1] if inputs.convention.activation == "softmax" else 1
        return classes * sums / counted.clamp(min=1)

    def compute(self, inputs: Inputs) -> torch.Tensor:
        if inputs.convention.activation == "softmax":
            return super().compute(self._hardest(inputs))
        return inputs.average_channels(self.values(inputs))

    def shares(self, inputs: Inputs) -> torch.Tensor:
        values = self.values(inputs)
        if len(values) != len(inputs.logits):
            raise UserError(f"{self} ranks over the batch, so its samples have no value each.")
        return values

    def _hardest(self, inputs: Inputs) -> Inputs:
        """The hardest voxels of the inputs."""
        ranked = _rows(inputs.surprises, self.over)
        chosen = [largest(row, self.k) for row in ranked.flatten(0, 1)]
        if self.over == "batch":
            # A row holds all samples, one after the other: its places are cut where a sample begins, and counted
            # from there.
            voxels = inputs.logits[0, 0].numel()
            begins = range(0, ranked.shape[2], voxels)
            ends = [torch.searchsorted(row, row.new_tensor(begins[1:])).tolist() for row in chosen]
            samples = zip(*(row.tensor_split(each) for row, each in zip(chosen, ends, strict=True)), strict=True)
            chosen = [part - begin for begin, parts in zip(begins, samples, strict=True) for part in parts]
        return inputs.at_places(chosen, (CROSS_ENTROPY,))


class RankedJaccard(Loss):
    """A convex surrogate of 1 - IoU: errors in falling order, each times what it adds to 1 - IoU."""

    category = "region"

    over: Literal["sample", "batch"] = choice(default="sample", meaning="what errors are ranked over")

    @abstractmethod
    def errors(self, inputs: Inputs) -> torch.Tensor:
        """Of each voxel, (N, C, *spatial), at least 0; 0 where it does not count. Without a gradient."""

    @abstractmethod
    def weighted(self, inputs: Inputs, slopes: torch.Tensor) -> torch.Tensor:
        """The sum over the voxels of the errors times `slopes`: (N, C), with its gradient."""

    def values(self, inputs: Inputs) -> torch.Tensor:
        errors, truth = self.errors(inputs), inputs.truth
        rows = zip(_rows(errors, self.over), _rows(truth, self.over), strict=True)
        slopes = torch.stack(
            [torch.stack([_slopes(*each) for each in zip(*sample, strict=True)]) for sample in rows]
        )
        return inputs.added(self.weighted(inputs, _unrowed(slopes, errors)), self.over)


class Lovasz(RankedJaccard):
    """The Lovász extension of 1 - IoU at the errors |P - Y|, averaged over the classes: Lovász-softmax.

    L = sum_i e_i (J_i - J_(i-1)), with e the errors of a class in falling order, and J_i = 1 - IoU were the first
    i of them wrong

    References:
        Berman et al., The Lovász-softmax loss: a tractable surrogate for the optimization of the
        intersection-over-union measure in neural networks, CVPR 2018.

    >>> logits, target = torch.tensor([[[0.0, 99.0, -99.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    >>> Lovasz()(logits, target).item()  # one of two voxels is half missed: 1/2 (1 - 1/2)
    0.25
    """

    name = "lovasz"
    equation = r"\sum_i e_i\,(J_i - J_{i-1}), \quad e = |P - Y| \text{ in falling order}, \; J = 1 - \text{IoU}"
    use = (
        "IoU is scored: to finish a training begun with cross-entropy. Not from scratch, and not where time is "
        "short: it sorts all voxels at every step."
    )

    classes: Literal["present", "all"] = choice(
        default="present",
        meaning="which count: those that the target holds, or absent ones too, by their largest error",
    )

    def values(self, inputs: Inputs) -> torch.Tensor:
        values = super().values(inputs)
        if self.classes == "all":
            return values
        chosen = inputs.weights_of_classes(values)
        counts = inputs.added(inputs.truth.flatten(2).sum(2), self.over)
        present = (counts > 0).to(values.dtype)
        # The mean over all classes that `average` will take becomes that over those which are there.
        share = (chosen * present).sum(1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
        return chosen.sum() * present * values / share

    def errors(self, inputs: Inputs) -> torch.Tensor:
        return (inputs.plain_probabilities - inputs.truth).abs_()

    def weighted(self, inputs: Inputs, slopes: torch.Tensor) -> torch.Tensor:
        weights = torch.copysign(slopes, inputs.plain_probabilities - inputs.truth)
        return inputs.voxels * (inputs.weighted_mean(weights) - inputs.mean(inputs.truth * weights))


class LovaszHinge(RankedJaccard):
    """The Lovász extension of 1 - IoU at the hinge errors max(0, 1 - x (2 Y - 1)), x being the log-odds of P.

    L = sum_i e_i (J_i - J_(i-1)), with e the errors of a class in falling order, and J_i = 1 - IoU were the first
    i of them wrong

    References:
        Berman et al., The Lovász-softmax loss: a tractable surrogate for the optimization of the
        intersection-over-union measure in neural networks, CVPR 2018.

    >>> logits, target = torch.tensor([[[0.0, 9.0, -9.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    >>> LovaszHinge()(logits, target).item()  # one of two voxels is off its margin by 1: 1 - 1/2
    0.5
    """

    name = "lovasz_hinge"
    equation = r"\sum_i e_i\,(J_i - J_{i-1}), \quad e = \max(0,\,1 - x\,(2 Y - 1)) \text{ in falling order}"
    use = (
        "As Lovász-softmax, of one structure: sure mistakes keep their gradient. Not where probabilities are "
        "read: nothing is learned beyond a margin of 1."
    )

    def errors(self, inputs: Inputs) -> torch.Tensor:
        errors = (1 - inputs.log_odds.detach() * (2 * inputs.truth - 1)).clamp_(min=0)
        return errors if inputs.counted is None else torch.where(inputs.counted, errors, 0.0)

    def weighted(self, inputs: Inputs, slopes: torch.Tensor) -> torch.Tensor:
        slopes = torch.where(self.errors(inputs) > 0, slopes, 0.0)
        weights = slopes * (1 - 2 * inputs.truth)
        return slopes.flatten(2).sum(2) + (inputs.log_odds * weights).flatten(2).sum(2)


def _rows(volumes: torch.Tensor, over: str) -> torch.Tensor:
    """What is ranked together in a row: (N, C, M), or (1, C, M) over the batch."""
    return volumes.flatten(2) if over == "sample" else volumes.transpose(0, 1).flatten(1)[None]


def _unrowed(rows: torch.Tensor, volumes: torch.Tensor) -> torch.Tensor:
    """The inverse of `_rows`."""
    if len(rows) == len(volumes):
        return rows.view_as(volumes)
    return rows.view(volumes.shape[1], len(volumes), *volumes.shape[2:]).transpose(0, 1).contiguous()


def _slopes(errors: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What each error, in falling order, adds to 1 - IoU."""
    order = descending(errors)
    missing = truth[order].double().cumsum_(0)
    held = missing[-1].item()
    missing.neg_().add_(held)
    ranks = torch.arange(1, len(order) + 1, dtype=missing.dtype, device=missing.device)
    overlap = missing.div_(ranks.add_(missing))
    added = torch.cat([1 - overlap[:1], overlap[:-1] - overlap[1:]]).to(errors.dtype)
    return torch.empty_like(errors).scatter_(0, order, added)
