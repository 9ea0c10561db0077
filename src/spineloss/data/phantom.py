"""A phantom of spine MRI: sagittal volumes with label maps, each a pure function of (anatomy, seed, case).

Lumbar cases show five vertebral bodies (labels 1-5, L1 to L5), cervical ones seven whole vertebrae with arches and
processes (labels 1-7, C1 to C7). Unlabelled neighbours (T12 and sacrum; T1 and the clivus) keep the task honest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spineloss.data import volumes
from spineloss.errors import UserError
from spineloss.seeding import generator

SHAPE = (20, 96, 96)

# Signal of each tissue in a T2-weighted water image; noise has standard deviation 1 / SNR of fat's.
AIR, MUSCLE, FAT, BONE, DISC, FLUID, CORD, LIGAMENT = 0.0, 0.28, 0.85, 0.52, 0.42, 1.0, 0.6, 0.12


@dataclass(frozen=True)
class Anatomy:
    """Sizes of a region of the spine, in mm: vertebrae labelled and drawn around them, and the body about them."""

    labels: int
    above: int
    below: int
    height: float
    depth: float
    width: float
    disc: float
    growth: float
    lordosis: float
    fluid: float
    cord: float
    whole: bool  # vertebrae with arches and processes are labelled, not bodies alone
    body: tuple[float, float]  # half width and half depth
    spacing: tuple[float, float, float]  # (z, y, x) of sagittal slices


ANATOMIES = {
    "lumbar": Anatomy(5, 1, 1, 26, 33, 44, 9, 0.03, 16, 8, 2.5, False, (120, 80), (4.0, 2.1, 1.8)),
    "cervical": Anatomy(7, 0, 1, 15, 18, 24, 5.5, 0.03, 7, 7.5, 4.5, True, (62, 62), (3.2, 1.9, 1.4)),
}


@dataclass(frozen=True)
class _Frame:
    """Coordinates in mm from a point of the spine: along (down), forward (anterior) and left."""

    along: np.ndarray
    forward: np.ndarray
    left: np.ndarray


class _Canvas:
    """Paints soft-edged regions over each other; an edge is as wide as a voxel is deep."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.signal = np.full(shape, AIR)
        self.labels = np.zeros(shape, np.uint8)

    def paint(self, distance: np.ndarray, signal: float | np.ndarray, label: int = 0) -> None:
        """Paint where the signed distance in mm is negative; `label` only on voxels that none has."""
        cover = np.clip(0.5 - distance / 2.0, 0, 1)
        self.signal += cover * (signal - self.signal)
        if label:
            self.labels[(distance < 0) & (self.labels == 0)] = label


def make_case(
    anatomy: str, seed: int, case: int, shape: tuple[int, int, int] = SHAPE
) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map of one case.

    Args:
        anatomy: `lumbar` or `cervical`.
        seed: of the data set.
        case: its number; pose, size and intensities vary with it.
        shape: (Z, Y, X) voxels: left-right, down, backward, over one field of view.

    Returns:
        (Z, Y, X) uint16 intensities and uint8 labels, spaced as the anatomy says at the default shape.

    Raises:
        UserError: no such anatomy.
    """
    if anatomy not in ANATOMIES:
        raise UserError(f"There is no anatomy {anatomy!r}: choose {' or '.join(ANATOMIES)}.")
    plan, random = ANATOMIES[anatomy], generator(anatomy, seed, case)
    left, down, back = _world(shape, plan, random)
    canvas = _Canvas(shape)
    _paint_body(canvas, left, down, back, plan, random)
    curve = _curve(plan, random)
    _paint_canal(canvas, left, down, back, curve, plan)
    count = plan.above + plan.labels + plan.below
    place, centres = 0.0, []
    for index in range(count):
        size = (1 + plan.growth * (index - count / 2)) * random.uniform(0.97, 1.03)
        centres.append((place + plan.height * size / 2, size))
        place += (plan.height + plan.disc) * size
    middle = place / 2
    for index, (centre, size) in enumerate(centres):
        frame = _frame(left, down, back, curve, centre - middle)
        label = index - plan.above + 1
        _paint_vertebra(canvas, frame, size, label if 1 <= label <= plan.labels else 0, index, plan, random)
    return _acquire(canvas.signal, random), canvas.labels


def _world(
    shape: tuple[int, int, int], plan: Anatomy, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of the voxel centres in mm about the patient's centre, turned and shifted by a random pose."""
    field = np.multiply(SHAPE, plan.spacing)
    axes = [
        (np.arange(size) + 0.5) / size * extent - extent / 2 for size, extent in zip(shape, field, strict=True)
    ]
    axes = [axis * random.uniform(0.93, 1.07) + random.uniform(-4, 4) for axis in axes]
    left, down, back = np.meshgrid(*axes, indexing="ij")
    tilt, roll = np.radians(random.uniform(-7, 7)), np.radians(random.uniform(-4, 4))
    down, back = down * np.cos(tilt) - back * np.sin(tilt), down * np.sin(tilt) + back * np.cos(tilt)
    left, down = left * np.cos(roll) - down * np.sin(roll), left * np.sin(roll) + down * np.cos(roll)
    return left, down, back


def _curve(plan: Anatomy, random: np.random.Generator) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The spine's centre line: (left, back) in mm at a height in mm, a lordosis with a slight scoliosis."""
    length = (plan.labels + plan.above + plan.below) * (plan.height + plan.disc)
    depth = plan.lordosis * random.uniform(0.6, 1.3)
    sway, phase = random.uniform(0, 0.12) * plan.width, random.uniform(0, 2 * np.pi)

    def curve(height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = height / length
        return sway * np.sin(2 * np.pi * share + phase), -depth * np.cos(np.pi * share * 1.1) + depth / 2

    return curve


def _frame(left: np.ndarray, down: np.ndarray, back: np.ndarray, curve: Callable, height: float) -> _Frame:
    """Coordinates along and across the centre line at a height."""
    (left_0, back_0), (left_1, back_1) = curve(np.float64(height - 1)), curve(np.float64(height + 1))
    tangent = np.array([left_1 - left_0, 2.0, back_1 - back_0])
    tangent /= np.linalg.norm(tangent)
    at_left, at_back = curve(np.float64(height))
    offset = left - at_left, down - height, back - at_back
    along = sum(part * step for part, step in zip(offset, tangent, strict=True))
    forward_axis = np.cross([1.0, 0.0, 0.0], tangent)
    forward_axis *= -np.sign(forward_axis[2]) / np.linalg.norm(forward_axis)
    forward = sum(part * step for part, step in zip(offset, forward_axis, strict=True))
    return _Frame(along, forward, offset[0] - along * tangent[0])


def _paint_body(
    canvas: _Canvas,
    left: np.ndarray,
    down: np.ndarray,
    back: np.ndarray,
    plan: Anatomy,
    random: np.random.Generator,
) -> None:
    """Skin, subcutaneous fat behind, muscle and organs inside."""
    scale = plan.body[1] / 80
    width, depth = np.multiply(plan.body, random.uniform(0.92, 1.08, 2))
    centre = -0.23 * depth
    skin = (np.hypot(left / width, (back - centre) / depth) - 1) * depth
    fat = random.uniform(5, 14) * scale
    canvas.paint(skin, FAT)
    canvas.paint(skin + fat, MUSCLE)
    texture = ndimage.gaussian_filter(random.normal(size=left.shape), (0.7, 3, 3))
    canvas.signal[canvas.signal > 0] += 0.1 * (texture / texture.std())[canvas.signal > 0]
    # Organs before the spine: soft blobs whose signal overlaps with bone.
    for _ in range(9):
        middle = random.uniform([-45, -80, -70], [45, 80, -32]) * scale
        radii = random.uniform(8, 20, 3) * scale
        blob = np.sqrt(sum(((x - m) / r) ** 2 for x, m, r in zip((left, down, back), middle, radii, strict=True)))
        canvas.paint(np.maximum((blob - 1) * radii.min(), skin + fat), random.uniform(0.15, 0.75))


def _paint_canal(
    canvas: _Canvas, left: np.ndarray, down: np.ndarray, back: np.ndarray, curve: Callable, plan: Anatomy
) -> None:
    """The ligaments behind the bodies, the fluid in the canal, and the cord in the fluid."""
    at_left, at_back = curve(down)
    across, behind = left - at_left, back - at_back - plan.depth / 2 - plan.fluid - 1.5
    radius = np.hypot(across, behind)
    canvas.paint(radius - plan.fluid - 2.5, LIGAMENT)
    canvas.paint(radius - plan.fluid, FLUID)
    canvas.paint(np.hypot(across, behind) - plan.cord, CORD)


def _rounded_box(frame: _Frame, half: tuple[float, float, float], rounding: float, waist: float) -> np.ndarray:
    """Signed distance, about, to a box with round edges whose sides are drawn in by `waist` at mid-height."""
    height, depth, width = half
    pull = waist * (1 - np.clip(frame.along / height, -1, 1) ** 2)
    sides = np.stack(
        [
            np.abs(frame.along) - height,
            # Bodies are kidney-shaped: round in front, hollow behind.
            np.hypot(frame.forward / depth, 0.75 * frame.left / width) * depth - depth + pull,
            np.abs(frame.left) - width + pull,
            -frame.forward - 0.92 * depth + pull,
        ]
    )
    outside = np.sqrt(np.sum(np.maximum(sides + rounding, 0) ** 2, axis=0))
    return outside + np.minimum((sides + rounding).max(axis=0), 0) - rounding


def _paint_vertebra(
    canvas: _Canvas, frame: _Frame, size: float, label: int, index: int, plan: Anatomy, random: np.random.Generator
) -> None:
    half = (plan.height * size / 2, plan.depth * size / 2, plan.width * size / 2)
    marrow = BONE * random.uniform(0.85, 1.15)
    gap = plan.disc * size
    below = _Frame(frame.along - half[0] - gap / 2, frame.forward, frame.left)
    disc = _rounded_box(below, (gap / 2 + 0.5, 0.98 * half[1], 0.95 * half[2]), 2.5, -1.0)
    nucleus = _rounded_box(below, (gap / 3, 0.6 * half[1], 0.6 * half[2]), 2.0, 0.0)
    canvas.paint(disc, 0.5 * DISC)
    canvas.paint(nucleus, random.uniform(0.7, 1.6) * DISC)
    body = _rounded_box(frame, half, 0.15 * plan.height, 0.06 * plan.depth)
    arch = _arch(frame, half, plan)
    if plan.whole and index == 0:
        # The atlas has no body: an anterior arch closes the ring, with the dens of the axis in it.
        ring = np.abs(
            np.hypot(frame.forward + half[1] + plan.fluid, frame.left * 0.8) - half[1] - plan.fluid * 1.1
        )
        body = np.maximum(ring - 3.2, np.abs(frame.along) - 0.6 * half[0])
    bone = np.minimum(body, arch)
    # A thin dark shell of cortical bone, then marrow.
    canvas.paint(bone - 0.8, LIGAMENT)
    canvas.paint(bone, LIGAMENT, label if plan.whole else 0)
    if not plan.whole:
        canvas.paint(body, LIGAMENT, label)
    canvas.paint(bone + 1.0, marrow)


def _arch(frame: _Frame, half: tuple[float, float, float], plan: Anatomy) -> np.ndarray:
    """Pedicles and laminae around the canal, a spinous process behind, transverse processes aside."""
    behind = frame.forward + half[1] + plan.fluid + 1.5
    ring = np.abs(np.hypot(behind, frame.left) - plan.fluid - 4.5) - 2.8
    arch = np.maximum(ring, np.abs(frame.along) - 0.55 * half[0])
    length = 0.9 * half[1]
    start = -(plan.fluid + 4.5)
    reach = np.clip(behind, start - length, start)
    drop = 0.45 * (start - reach)
    spinous = np.hypot(np.hypot(frame.along - drop, behind - reach), frame.left * 0.9) - 3.2
    side = np.clip(np.abs(frame.left), plan.fluid + 3, plan.fluid + 3 + 0.75 * half[2])
    transverse = np.hypot(np.hypot(frame.along, behind - 0.3 * plan.fluid), np.abs(frame.left) - side) - 3.2
    return np.minimum(np.minimum(arch, spinous), transverse)


def _acquire(signal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What the scanner makes of the tissue: slice blur, a receive-coil bias field, Rician noise, a gain."""
    blurred = ndimage.gaussian_filter(signal, (0.3, 0.4, 0.4))
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in signal.shape), indexing="ij")
    slopes, bends = random.uniform(-0.25, 0.25, 3), random.uniform(-0.15, 0.15, 3)
    field = np.exp(
        sum(slope * axis + bend * axis**2 for slope, bend, axis in zip(slopes, bends, axes, strict=True))
    )
    noise = random.uniform(0.03, 0.06)
    received = np.hypot(
        blurred * field + random.normal(0, noise, signal.shape), random.normal(0, noise, signal.shape)
    )
    return np.round(received * random.uniform(500, 1500)).astype(np.uint16)


def write_phantom(folder: Path, anatomy: str = "lumbar", *, cases: int = 18, seed: int = 21) -> list[Path]:
    """Write cases as `images/phantom-NN.mha` and `masks/phantom-NN.mha`, and return the images' paths.

    Raises:
        UserError: no such anatomy, or the folder cannot be written.
    """
    images = []
    for case in range(1, cases + 1):
        image, labels = make_case(anatomy, seed, case)
        name = f"phantom-{case:02d}.mha"
        for kind, array in (("images", image), ("masks", labels)):
            volumes.write(_volume(array, ANATOMIES[anatomy].spacing), folder / kind / name)
        images.append(folder / "images" / name)
    return images


def _volume(array: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    """A sagittal volume: x points backward, y down, z to the left."""
    volume = sitk.GetImageFromArray(array)
    volume.SetSpacing(spacing[::-1])
    volume.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    return volume
