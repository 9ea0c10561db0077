"""The inputs of a loss and what is derived from them, each computed at most once; nothing of any one loss."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch.nn.utils.rnn import pad_sequence

from spineloss.errors import UserError
from spineloss.kernels.binned_sums import binned_sums
from spineloss.kernels.columns import Column
from spineloss.kernels.distance_transform import Unit
from spineloss.kernels.edges import edge_voxels
from spineloss.kernels.level_sums import level_sum
from spineloss.kernels.plain_sums import counted_voxels, outside_of, probabilities_of, volumes_of, wide_type
from spineloss.kernels.surprises import surprises
from spineloss.kernels.target_maps import MapName, target_map
from spineloss.kernels.voxel_sums import Counts, Over, Sums, sums_of
from spineloss.kernels.weighted_sums import weighted_error_sum, weighted_sum
from spineloss.kernels.world_sum import world_sum
from spineloss.losses.convention import Convention

# A look at a number makes every step wait for these devices: they are told to stop where it does not fit.
LOOK_LATER = ("cuda",)


@dataclass(frozen=True)
class Inputs:
    """Logits and target of a step, as `contract.read` gives them.

    Args:
        logits: (N, C, *spatial), any floating type.
        target: volumes (N, C, *spatial) in [0, 1] or labels (N, *spatial), any type.
        mask: (N, 1 or C, *spatial); 0 ignores a voxel. All count by default.
        convention: how they are read.
        spacing: (N, D) or (D,) mm; 1 voxel by default.
        target_maps: (N, C, *spatial) maps of the target, by name: those given, and those made since.
        columns: what will be asked for beside the usual sums, so that one pass makes them all.
        has_label_axis: whether labels came as (N, 1, *spatial), which other packages' losses want back.
    """

    logits: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None = None
    convention: Convention = field(default_factory=Convention)
    spacing: torch.Tensor | Sequence[float] | None = None
    target_maps: dict[MapName, torch.Tensor] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    has_label_axis: bool = False

    @cached_property
    def sums(self) -> Sums:
        """Over the voxels, from one pass.

        Raises:
            UserError: the target is out of range.
        """
        return self._sums(self.columns)

    def _sums(self, columns: tuple[Column, ...]) -> Sums:
        ignore, activation = self.convention.ignore, self.convention.activation
        found = sums_of(self.logits, self.target, self.mask, activation=activation, ignore=ignore, columns=columns)
        self._refuse_outside(found.outside[..., None])
        return found

    def _check_range(self) -> None:
        """Refuse a target out of range where no sums are made that count what is."""
        known = "sums" in self.__dict__ or self.target.dtype == torch.bool
        if known or self.target.device.type not in ("cpu", *LOOK_LATER) or _is_traced(self.target):
            return
        lowest, highest = self.target.aminmax()
        are_labels = self.target.ndim < self.logits.ndim
        top = self.logits.shape[1] - 1 if are_labels else 1
        broken = are_labels and self.target.is_floating_point() and (self.target != self.target.round()).any()
        if self.target.device.type in LOOK_LATER or broken or not (lowest >= 0 and highest <= top):
            outside = outside_of(self.target, volumes_of(self.target, self.logits))
            self._refuse_outside(outside if self.counted is None else outside & self.counted)

    def _refuse_outside(self, outside: torch.Tensor) -> None:
        """The range check of the target; it costs no pass of its own, as the sums count what is out of range."""
        if _is_traced(outside):
            return
        if outside.device.type in LOOK_LATER:
            torch._assert_async(~outside.any(), f"{self._wanted()}; on the CPU the error says more.")
        elif outside.device.type == "cpu" and outside.any():
            self._refuse(outside)

    def _refuse(self, outside: torch.Tensor) -> None:
        low, high = (value.item() for value in self.target.aminmax())
        many = int(outside.flatten(2).sum(2).amax(1).sum())
        remedy = "name what is not annotated by ignore"
        if self.target.ndim == self.logits.ndim:
            remedy = f"divide a 0/255 mask by 255, or {remedy}"
        raise UserError(
            f"{self._wanted()}, and {many} voxels do not (lowest {low:g}, highest {high:g}): {remedy}."
        )

    def _wanted(self) -> str:
        if self.target.ndim == self.logits.ndim:
            return "target must hold numbers in [0, 1]"
        return f"target must hold labels from 0 to {self.logits.shape[1] - 1}"

    def counts(self, over: Over) -> Counts:
        """Soft counts: per sample (N, C), over the batch (1, C), or over every process's batch (1, C)."""
        counts = self.sums.counts
        if over == "sample":
            return counts
        return counts.over_batch() if over == "batch" else counts.over_world()

    def added(self, sums: torch.Tensor, over: Over) -> torch.Tensor:
        """(N, C) sums over the voxels, added as `counts` are."""
        if over == "sample":
            return sums
        whole = sums.sum(0, keepdim=True)
        return whole if over == "batch" else world_sum(whole)

    def column(self, column: Column) -> torch.Tensor:
        """What a column sums: (N, C)."""
        known = self.sums.columns
        return known[column] if column in known else self._sums((column,)).columns[column]

    @cached_property
    def views(self) -> dict[object, "Inputs"]:
        """Other readings of the same call, so that the terms of a sum share them."""
        return {}

    @cached_property
    def counted(self) -> torch.Tensor | None:
        """Which voxels count, (N, 1 or C, *spatial) booleans, or none where all do."""
        return counted_voxels(self.target, self.mask, self.convention.ignore, self.logits.ndim)

    @cached_property
    def voxels(self) -> torch.Tensor | int:
        """How many voxels of each sample and channel count, at least 1: (N, 1 or C), or one number for all."""
        if "sums" in self.__dict__ and (self.mask is not None or self.convention.ignore is not None):
            return self.sums.counted.clamp(min=1)
        if self.counted is None:
            return self.logits[0, 0].numel()
        return self.counted.flatten(2).sum(2).clamp(min=1)

    @property
    def wide(self) -> torch.dtype:
        """The type that the loss is computed in: float32 at least."""
        return wide_type(self.logits)

    @cached_property
    def seen_logits(self) -> torch.Tensor:
        """The logits, 0 where a voxel is ignored: whatever they were there, even NaN, reaches nothing."""
        return self.logits if self.counted is None else torch.where(self.counted, self.logits, 0.0)

    @cached_property
    def probabilities(self) -> torch.Tensor:
        """(N, C, *spatial), float32 at least."""
        return probabilities_of(self.seen_logits, self.convention.activation)

    @cached_property
    def plain_probabilities(self) -> torch.Tensor:
        """As `probabilities`, without a gradient, and 0 where a voxel is ignored."""
        found = probabilities_of(self.seen_logits.detach(), self.convention.activation)
        return found if self.counted is None else torch.where(self.counted, found, 0.0)

    @cached_property
    def surprises(self) -> torch.Tensor:
        """The cross-entropy of each voxel, -1 where it is ignored; without a gradient.

        (N, C, *spatial); of exclusive classes (N, 1, *spatial).
        """
        self._check_range()
        ignore, activation = self.convention.ignore, self.convention.activation
        return surprises(self.logits, self.target, self.mask, activation=activation, ignore=ignore)

    def binned(self, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
        """How many voxels have their probability in each bin, and their sum of P - Y: (N, C, bins) each."""
        self._check_range()
        ignore, activation = self.convention.ignore, self.convention.activation
        return binned_sums(self.logits, self.target, self.mask, bins=bins, activation=activation, ignore=ignore)

    def at_places(self, places: Sequence[torch.Tensor], columns: tuple[Column, ...] = ()) -> "Inputs":
        """What there is of these voxels alone, in a row: they are all that counts.

        Args:
            places: of voxels in each sample and channel, or of all channels in each sample, one after the other.
            columns: that will be asked for.
        """
        lengths = torch.tensor([len(each) for each in places], device="cpu").view(len(self.logits), -1, 1)
        where = pad_sequence(list(places), batch_first=True).view(*lengths.shape[:2], -1)
        where = where.to(self.logits.device)
        every = where.expand(*self.logits.shape[:2], -1)
        if self.target.ndim == self.logits.ndim:
            target = self.target.flatten(2).gather(2, every)
        elif where.shape[1] == 1:
            target = self.target.flatten(1).gather(1, where[:, 0])
        else:
            target = volumes_of(self.target, self.logits.to(self.wide)).flatten(2).gather(2, every)
        mask = None
        if int(lengths.min()) < where.shape[2]:
            mask = torch.arange(where.shape[2], device=where.device) < lengths.to(where.device)
        logits = self.logits.flatten(2).gather(2, every)
        return replace(self, logits=logits, target=target, mask=mask, columns=columns, target_maps={})

    @cached_property
    def edge_voxels(self) -> torch.Tensor:
        """How many voxels of the target's structures touch what is none of theirs: (N, C)."""
        self._check_range()
        return edge_voxels(self.target, self.counted, self.logits.shape)

    @cached_property
    def log_odds(self) -> torch.Tensor:
        """log(P / (1 - P)), (N, C, *spatial), float32 at least: of the sigmoid, the logits themselves.

        Of the softmax, a class's logit minus the log-sum-exp of all the others.
        """
        logits = self.seen_logits.to(self.wide)
        if self.convention.activation == "sigmoid":
            return logits
        first = logits.argmax(1, keepdim=True)
        everything = logits.logsumexp(1, keepdim=True)
        # 1 - P of the first class would be lost to rounding: its others are summed without it.
        others = logits.scatter(1, first, -torch.inf).logsumexp(1, keepdim=True)
        is_first = torch.zeros_like(logits, dtype=torch.bool).scatter(1, first, True)
        rest = torch.where(is_first, 0.5, (logits - everything).exp())
        return logits - torch.where(is_first, others, everything + torch.log1p(-rest))

    @cached_property
    def truth(self) -> torch.Tensor:
        """The target as volumes (N, C, *spatial), float32 at least, 0 where a voxel is ignored."""
        self._check_range()
        volumes = volumes_of(self.target, self.logits.to(self.wide))
        return volumes if self.counted is None else torch.where(self.counted, volumes, 0.0)

    def target_map(self, name: MapName) -> torch.Tensor:
        """A map of the target, as given or made now; nothing follows from what it is at ignored voxels."""
        self._check_range()
        if name not in self.target_maps:
            masks, exclusive = volumes_of(self.target, self.logits), self.convention.activation == "softmax"
            made = target_map(name, masks, self.spacing, self.counted, exclusive=exclusive)
            self.target_maps[name] = made
        return self.target_maps[name]

    def distances(self, unit: Unit) -> torch.Tensor:
        """Signed distance maps of the target; 0 at ignored voxels."""
        return self._counting(self.target_map(unit))

    def predicted_distances(self, unit: Unit) -> torch.Tensor:
        """Signed distance maps of where the probability is above 1/2; constant, 0 at ignored voxels."""
        logits = self.seen_logits.detach()
        masks = logits.softmax(1) > 0.5 if self.convention.activation == "softmax" else logits > 0
        return target_map(unit, masks, self.spacing, self.counted)

    def weighted_mean(self, weights: torch.Tensor) -> torch.Tensor:
        """Mean over the voxels of P W: (N, C), for weights (N, C, *spatial)."""
        activation = self.convention.activation
        return weighted_sum(self.seen_logits, self._counting(weights), activation=activation) / self.voxels

    def weighted_error(self, weights: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        """Mean over the voxels of (P - Y)^2 W: (N, C), for weights (N, C, *spatial); Y may be another target."""
        activation = self.convention.activation
        if target is None:
            # Volumes may hold anything where a voxel is ignored, even NaN; labels there are known.
            are_volumes = self.target.ndim == self.logits.ndim
            target = self.truth if are_volumes and self.counted is not None else self.target
        sums = weighted_error_sum(self.seen_logits, target, self._counting(weights), activation=activation)
        return sums / self.voxels

    def level_error(self, maps: torch.Tensor) -> torch.Tensor:
        """Mean over the voxels of how far 1 - 2 P is from the target's signed distance maps: (N, C)."""
        return level_sum(self.seen_logits, maps, self.counted, activation=self.convention.activation) / self.voxels

    def mean(self, volumes: torch.Tensor) -> torch.Tensor:
        """Mean over the voxels of volumes (N, C, *spatial): (N, C)."""
        return self._counting(volumes).flatten(2).sum(2) / self.voxels

    def _counting(self, volumes: torch.Tensor) -> torch.Tensor:
        return volumes if self.counted is None else torch.where(self.counted, volumes, 0.0)

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over samples of the weighted mean over classes of (N, C) values; the background as declared."""
        if self.convention.class_weights is None and self.convention.background:
            return values.mean()
        weights = self.weights_of_classes(values)
        return (values * weights).sum(1).mean() / weights.sum().clamp(min=torch.finfo(values.dtype).tiny)

    def weights_of_classes(self, values: torch.Tensor) -> torch.Tensor:
        """How much each class counts in `average`: (C,), of the type of the values."""
        return self.class_weights(values) * self._foreground(values)

    def without_background(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C) values, 0 for a background that is left out."""
        return values * self._foreground(values)

    def per_voxel(self, sums: torch.Tensor) -> torch.Tensor:
        """(N, C) sums over the voxels as values whose mean is the loss where classes weigh the same.

        Of exclusive classes each voxel adds to its own class alone: so C times the mean over the voxels.
        """
        classes = self.logits.shape[1] if self.convention.activation == "softmax" else 1
        return classes * sums / self.voxels

    def average_voxels(self, sums: torch.Tensor) -> torch.Tensor:
        """The mean over the voxels of (N, C) sums over them; the background always counts.

        Sigmoid: mean over samples of the weighted mean over channels of the mean over voxels. Softmax, where each
        voxel adds to its own class alone: the mean over the batch's voxels, each with its label's weight, as
        torch.nn.CrossEntropyLoss has it.
        """
        if self.convention.activation == "sigmoid":
            return self.average_channels(sums / self.voxels)
        if self.convention.class_weights is None:
            return sums.sum() / self.sums.counted[:, 0].sum().clamp(min=1)
        weights = self.class_weights(sums)
        return (sums * weights).sum() / (self.sums.true * weights).sum().clamp(min=torch.finfo(sums.dtype).tiny)

    def average_channels(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over samples of the weighted mean over independent channels of (N, C) values; all of them count."""
        if self.convention.class_weights is None:
            return values.mean()
        weights = self.class_weights(values)
        return (values * weights).sum(1).mean() / weights.sum()

    def class_weights(self, values: torch.Tensor) -> torch.Tensor:
        """The weights of the classes as declared, 1 by default: (C,), of the type of the values."""
        chosen = self.convention.class_weights
        return values.new_ones(self.logits.shape[1]) if chosen is None else values.new_tensor(chosen)

    def _foreground(self, values: torch.Tensor) -> torch.Tensor:
        kept = values.new_ones(self.logits.shape[1])
        if not self.convention.background:
            kept[0] = 0
        return kept


def _is_traced(tensor: torch.Tensor) -> bool:
    """Whether its numbers are not to be looked at."""
    return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
