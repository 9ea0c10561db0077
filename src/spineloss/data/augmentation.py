"""Which augmentations a case gets: every draw a function of its key; and MixUp of a batch."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from spineloss.data import deformation, intensity
from spineloss.data.patches import Window
from spineloss.seeding import generator


@dataclass(frozen=True)
class Augment:
    """Probabilities of each augmentation, the noise's largest standard deviation, and MixUp's alpha.

    Those without a default are the thesis's (Table A.6); those with one are nnU-Net's, and an elastic deformation.
    `mirror` is of each axis; from `brightness` on, each channel of the image draws for itself.
    """

    affine: float
    noise: float
    mixup: float
    mixup_alpha: float
    noise_std: float = intensity.NOISE
    rotation: float = 0.0
    scaling: float = 0.0
    elastic: float = 0.0
    mirror: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    inverted_gamma: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0

    def of_one_case(self) -> dict[str, float]:
        """Probabilities above 0 of what is drawn for a case alone."""
        others = ("mixup", "mixup_alpha", "noise_std")
        return {name: each for name, each in vars(self).items() if each > 0 and name not in others}

    def only(self, name: str) -> "Augment":
        """One of them, drawn always, and no other."""
        return replace(self, **dict.fromkeys(self.of_one_case(), 0.0) | {name: 1.0})


# nnU-Net's default list and probabilities: `get_training_transforms` of the nnUNetTrainer in version 2 of its code
# (Isensee et al., nnU-Net, Nature Methods 2021). It draws blur and low resolution of half the channels of every
# fifth and every fourth case: here each channel draws, with half the probability.
NNUNET = Augment(
    affine=0.0,
    noise=0.1,
    mixup=0.0,
    mixup_alpha=0.2,
    noise_std=0.1,
    rotation=0.2,
    scaling=0.2,
    mirror=0.5,
    brightness=0.15,
    contrast=0.15,
    gamma=0.3,
    inverted_gamma=0.1,
    blur=0.1,
    low_resolution=0.125,
)


def augmented(
    image: torch.Tensor,
    target: torch.Tensor,
    spacing: tuple[float, float, float],
    augment: Augment,
    key: tuple[int | str, ...],
    window: Window | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and target of a case as a training batch has them: moved together, the image's values changed.

    Of a patch, what is moved into it comes from the case around it: nothing is padded that the case has.

    Args:
        image: (K, Z, Y, X) floats.
        target: (C, Z, Y, X) integers: masks, or numbers of classes.
        spacing: (z, y, x) mm.
        augment: probabilities.
        key: of every draw. Each augmentation but the first two draws from a stream of its own, so that none
            changes another.
        window: the patch; none for the whole case.

    Returns:
        New tensors of the same types, of the shape of the patch or the case. Of a case that is seen whole,
        the same tensors where nothing is drawn.
    """
    random = generator(*key)
    shape = image.shape[1:] if window is None else window.size
    affines = [
        deformation.draw_affine(random, augment.affine),
        deformation.draw_scaling(generator(*key, "scaling"), augment.scaling, shape),
        deformation.draw_rotation(generator(*key, "rotation"), augment.rotation, shape),
    ]
    elastic = deformation.draw_elastic(generator(*key, "elastic"), augment.elastic)
    noise = intensity.draw_noise(random, augment.noise, augment.noise_std)
    drawn = [affine for affine in affines if affine is not None]
    if window is not None:
        around = window.wider(deformation.reach(shape, spacing, drawn, elastic))
        image, target = around.cut(image), around.cut(target)
    image, target = deformation.deformed(image, target, spacing, drawn, elastic, shape)
    if noise is not None:
        image = torch.from_numpy(intensity.noisy(image.numpy(), noise))
    for name, (draw, change) in intensity.CHANGES.items():
        random, probability = generator(*key, name), getattr(augment, name)
        changes = [draw(random) if random.random() < probability else None for _ in image]
        if any(drawn is not None for drawn in changes):
            channels = zip(image.numpy(), changes, strict=True)
            changed = [each if drawn is None else change(each, drawn) for each, drawn in channels]
            image = torch.from_numpy(np.stack(changed))
    random = generator(*key, "mirror")
    axes = [axis for axis in (1, 2, 3) if random.random() < augment.mirror]
    return (image.flip(axes), target.flip(axes)) if axes else (image, target)


@dataclass(frozen=True)
class MixUp:
    """Each case's partner in the batch, and the share of the case itself (lambda)."""

    partner: tuple[int, ...]
    share: float


def draw_mixup(random: np.random.Generator, probability: float, alpha: float, size: int) -> MixUp | None:
    """A permutation of the batch and lambda ~ Beta(alpha, alpha), or none with probability 1 - `probability`.

    References:
        Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.
    """
    if random.random() >= probability:
        return None
    return MixUp(tuple(int(index) for index in random.permutation(size)), float(random.beta(alpha, alpha)))
