"""Inputs as a loss of each component of the target reads them: a component is what a sample is elsewhere."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, get_args

import torch

from spineloss.kernels.columns import Column
from spineloss.kernels.regional_sums import regional_sums
from spineloss.kernels.voxel_sums import Counts, Over, Sums
from spineloss.losses.inputs import Inputs

Part = Literal["component", "blob"]
PARTS = get_args(Part)


@dataclass(frozen=True)
class ComponentInputs(Inputs):
    """Inputs whose sums are those of each component of the target.

    `component`: over the voxels that are nearer to it than to any other component.
    `blob`: over the component and the whole background; the other components do not count.

    R regions of each class, N samples, C classes: sums over a region are (N, C, R, 2), of its background and its
    foreground; a component is a row of (N R, C).

    A loss's values of the rows are averaged over the components of each sample and class. Without foreground, a
    sample and class is one component with all the voxels.

    Args:
        part: which voxels belong to a component.
        every_class: whether a voxel brings what it adds to all classes.
    """

    part: Part = "component"
    every_class: bool = False

    def _sums(self, columns: tuple[Column, ...]) -> Sums:
        regions = self._regions if columns == self.columns else self._summed(columns)
        return regions.each(self._rows)

    @cached_property
    def _regions(self) -> Sums:
        return self._summed(self.columns)

    def _summed(self, columns: tuple[Column, ...]) -> Sums:
        self._check_range()
        return regional_sums(
            self.logits,
            self.target,
            self.target_map("components"),
            self.mask,
            activation=self.convention.activation,
            ignore=self.convention.ignore,
            columns=columns,
            every_class=self.every_class,
        )

    @cached_property
    def _present(self) -> torch.Tensor:
        """Which regions are a component's, (N, C, R): those with foreground, or the first one where none has."""
        present = self._regions.counted[..., 1] > 0
        first = torch.arange(present.shape[2], device=present.device) == 0
        return present | (first & ~present.any(2, keepdim=True))

    def _rows(self, sums: torch.Tensor) -> torch.Tensor:
        """(N, C, R, 2) sums of background and foreground as (N R, C) sums of the components."""
        background, foreground = sums.unbind(3)
        if self.part == "blob":
            background = background.sum(2, keepdim=True)
        return (background + foreground).transpose(1, 2).flatten(0, 1)

    @cached_property
    def voxels(self) -> torch.Tensor:
        """How many voxels of each component count, at least 1: (N R, C)."""
        return self.sums.counted.clamp(min=1)

    def counts(self, over: Over) -> Counts:
        """Soft counts of each component."""
        return self.sums.counts

    def added(self, sums: torch.Tensor, over: Over) -> torch.Tensor:
        """The sums of each component, as they are."""
        return sums

    def per_voxel(self, sums: torch.Tensor) -> torch.Tensor:
        """(N R, C) sums over the voxels of a component as means over them."""
        return sums / self.voxels

    def merged(self, values: torch.Tensor) -> torch.Tensor:
        """(N R, C) values as their means over the components of each sample and class, (N, C)."""
        values = values.unflatten(0, (len(self.logits), -1)).transpose(1, 2)
        return torch.where(self._present, values, 0.0).sum(2) / self._present.sum(2)

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the components of each sample and class, then as `Inputs.average`."""
        return super().average(self.merged(values))

    def without_background(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the components, (N, C), 0 for a background that is left out."""
        return super().without_background(self.merged(values))


def read_over(inputs: Inputs, over: Over | Literal["voxel"], *, by_voxel: bool = False) -> Inputs:
    """The inputs as a loss over `component` or `blob` reads them; as they are for any other.

    `by_voxel`: the loss is one of voxels, so that one of exclusive classes costs the same in every class's region.
    """
    if over == "component" or over == "blob":
        every_class = by_voxel and inputs.convention.activation == "softmax"
        if (over, every_class) not in inputs.views:
            given = {item.name: getattr(inputs, item.name) for item in fields(Inputs)}
            inputs.views[over, every_class] = ComponentInputs(**given, part=over, every_class=every_class)
        return inputs.views[over, every_class]
    return inputs
