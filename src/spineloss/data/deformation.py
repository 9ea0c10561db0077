"""Random motion of image and target together: all that is drawn is applied in one interpolation, by SimpleITK."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch
from scipy.interpolate import BSpline

SCALING = 0.1  # of an affine: scale factors in 1 +- this
ROTATION = 10.0  # of an affine: degrees about each axis
TRANSLATION = 0.05  # of an affine: share of the volume's extent along each axis, before the scaling
TURN, TURN_IN_SLICE = 30.0, 180.0  # degrees of a rotation about each axis; of one within the slices
SHRINKING = (0.7, 1.4)  # of a scaling: structures become smaller by this factor
THIN = 3  # a grid whose longest axis is more than so many times the first has slices
CONTROL_POINTS = 7  # of an elastic deformation, along each axis; the two outermost stay where they are
DISPLACEMENT = 0.1  # largest of a control point, as a share of the extent; from 0.125 on, space may fold
SPLINE_ORDER = 3
FLIP = np.array([-1.0, -1.0, 1.0])  # from TorchIO's axes to SimpleITK's
DIRECTION = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # of TorchIO's volumes: angles mean the same


@dataclass(frozen=True)
class Affine:
    """Scale factors, rotations in degrees and translations as a share of the extent, each (z, y, x)."""

    scales: tuple[float, float, float] = (1.0, 1.0, 1.0)
    degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_affine(random: np.random.Generator, probability: float) -> Affine | None:
    """Affine parameters, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    return Affine(
        tuple(random.uniform(1 - SCALING, 1 + SCALING, 3)),
        tuple(random.uniform(-ROTATION, ROTATION, 3)),
        tuple(random.uniform(-TRANSLATION, TRANSLATION, 3)),
    )


def is_thin(shape: Sequence[int]) -> bool:
    """Whether a (Z, Y, X) grid is a stack of few slices, which nnU-Net turns and scales in their plane alone."""
    return max(shape) > THIN * shape[0]


def draw_rotation(random: np.random.Generator, probability: float, shape: Sequence[int]) -> Affine | None:
    """A rotation as wide as nnU-Net's, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    if is_thin(shape):
        return Affine(degrees=(random.uniform(-TURN_IN_SLICE, TURN_IN_SLICE), 0.0, 0.0))
    return Affine(degrees=tuple(random.uniform(-TURN, TURN, 3)))


def draw_scaling(random: np.random.Generator, probability: float, shape: Sequence[int]) -> Affine | None:
    """A scaling as wide as nnU-Net's, the same along all axes, or none with probability 1 - `probability`."""
    if random.random() >= probability:
        return None
    scale = 1 / random.uniform(*SHRINKING)
    return Affine(scales=(1.0 if is_thin(shape) else scale, scale, scale))


def draw_elastic(random: np.random.Generator, probability: float) -> np.ndarray | None:
    """Displacements of control points, or none with probability 1 - `probability`.

    Returns:
        (points X, points Y, points Z, 3), each (x, y, z) as a share of the extent.
    """
    if random.random() >= probability:
        return None
    displacements = np.zeros((CONTROL_POINTS,) * 3 + (3,))
    displacements[2:-2, 2:-2, 2:-2] = random.uniform(
        -DISPLACEMENT, DISPLACEMENT, displacements[2:-2, 2:-2, 2:-2].shape
    )
    return displacements


def deformed(
    image: torch.Tensor,
    target: torch.Tensor,
    spacing: tuple[float, float, float],
    affines: Sequence[Affine] = (),
    elastic: np.ndarray | None = None,
    shape: Sequence[int] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and target moved alike: by linear and nearest interpolation, a channel's least value and 0 around.

    Args:
        image: (K, Z, Y, X) floats.
        target: (C, Z, Y, X) integers: masks, or numbers of classes.
        spacing: (z, y, x) mm, so that rotations are rigid on anisotropic voxels.
        affines: applied in turn.
        elastic: drawn by `draw_elastic`, applied after them.
        shape: (Z, Y, X) voxels of the volume that is moved, if there is more around it on all sides alike.

    Returns:
        New tensors of the volume's shape and the same types; the same tensors where nothing is drawn.
    """
    if not affines and elastic is None:
        return image, target
    shape = image.shape[1:] if shape is None else shape
    motions: list[sitk.Transform] = [_from_output(affine, shape, spacing) for affine in affines]
    if elastic is not None:
        motions.append(_spline(elastic, shape, spacing))
    motion = motions[0] if len(motions) == 1 else sitk.CompositeTransform(motions)

    def moved(channels: torch.Tensor, interpolator: int, fills: Iterable[float]) -> torch.Tensor:
        return torch.stack(
            [
                _resampled(channel, shape, spacing, motion, interpolator, fill)
                for channel, fill in zip(channels, fills, strict=True)
            ]
        )

    least = image.flatten(1).min(1).values.tolist()
    return moved(image, sitk.sitkLinear, least), moved(target, sitk.sitkNearestNeighbor, [0] * len(target))


def reach(
    shape: Sequence[int],
    spacing: tuple[float, float, float],
    affines: Sequence[Affine],
    elastic: np.ndarray | None,
) -> tuple[int, int, int]:
    """How many voxels around a volume of a shape a motion brings into it, (z, y, x), for all sides alike."""
    if not affines and elastic is None:
        return (0, 0, 0)
    middle = np.multiply(np.subtract(shape, 1) / 2, spacing)
    # A deformation moves a voxel first, by the largest displacement at most; affine maps keep corners outermost.
    half = middle + (0 if elastic is None else DISPLACEMENT * np.multiply(shape, spacing))
    motion = sitk.CompositeTransform([sitk.Transform(), *(_from_output(each, shape, spacing) for each in affines)])
    corners = middle + half * np.array(list(product((-1, 1), repeat=3)))
    places = np.array([motion.TransformPoint(FLIP * corner[::-1]) for corner in corners]) * FLIP
    outside = (np.abs(places[:, ::-1] - middle) - middle).max(axis=0)
    return tuple(int(n) for n in np.ceil(np.maximum(outside, 0) / spacing))


def _from_output(affine: Affine, shape: Sequence[int], spacing: tuple[float, float, float]) -> sitk.Transform:
    """From a place of the moved volume to its place in the volume, which is turned, then shifted, then scaled."""
    middle = FLIP * np.multiply(np.subtract(shape[::-1], 1) / 2, spacing[::-1])
    scaling = sitk.ScaleTransform(3)
    scaling.SetScale(np.array(affine.scales[::-1], float))
    scaling.SetCenter(middle)
    turning = sitk.Euler3DTransform()
    turning.SetRotation(*(FLIP * np.radians(affine.degrees[::-1])))
    extent = np.multiply(shape, spacing)
    turning.SetTranslation(FLIP * np.multiply(affine.translation, extent)[::-1])
    turning.SetCenter(middle)
    return sitk.CompositeTransform([scaling, turning]).GetInverse()


def _spline(
    displacements: np.ndarray, shape: Sequence[int], spacing: tuple[float, float, float]
) -> sitk.Transform:
    """The field of a cubic spline over the volume: a resampler reads it faster than it computes the spline."""
    knots = np.arange(-SPLINE_ORDER, CONTROL_POINTS + 1)
    along = [
        BSpline.design_matrix(
            (np.arange(n) + 0.5) / n * (CONTROL_POINTS - SPLINE_ORDER), knots, SPLINE_ORDER
        ).toarray()
        for n in shape
    ]
    extent = np.multiply(shape, spacing)[::-1]
    field = np.einsum("zi,yj,xk,kjid->zyxd", *along, displacements * extent, optimize=True)
    return sitk.DisplacementFieldTransform(_placed(sitk.GetImageFromArray(field, isVector=True), spacing))


def _resampled(
    channel: torch.Tensor,
    shape: Sequence[int],
    spacing: tuple[float, float, float],
    motion: sitk.Transform,
    interpolator: int,
    fill: float,
) -> torch.Tensor:
    volume = _placed(sitk.GetImageFromArray(channel.numpy()), spacing)
    margin = [(n - size) // 2 for n, size in zip(channel.shape, shape, strict=True)][::-1]
    volume.SetOrigin(volume.TransformIndexToPhysicalPoint([-each for each in margin]))
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)  # batches are made side by side
    resampler.SetSize([*shape][::-1])
    resampler.SetOutputSpacing(volume.GetSpacing())
    resampler.SetOutputDirection(volume.GetDirection())
    resampler.SetTransform(motion)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(fill)
    return torch.from_numpy(sitk.GetArrayFromImage(resampler.Execute(volume)))


def _placed(volume: sitk.Image, spacing: tuple[float, float, float]) -> sitk.Image:
    volume.SetSpacing(spacing[::-1])
    volume.SetDirection(DIRECTION)
    return volume
