"""A case in three dimensions, for the viewer in the page: its image, its masks, and surfaces by distance."""

import base64
import gzip

import numpy as np
import SimpleITK as sitk

from spineloss.data import nifti
from spineloss.kernels.distance_transform import distance_map
from spineloss.metrics import border
from spineloss.report.gallery import Gallery, Scan

LEAST = 0.01  # of the colours' range: the viewer leaves its first colour out


def scene_of(gallery: Gallery, case: str, methods: list[str]) -> dict[str, object]:
    """Volumes as base64 .nii.gz: the image, the truth, and of each method its mask and its surface's distances.

    A surface's voxels hold their distance from the truth's surface in mm, others 0, which is transparent. The
    range of colours ends at `far`, the same for all methods: all but a twentieth of the voxels are nearer. An
    empty truth has no surface: all are as far from it as the image's diagonal.
    """
    scan = gallery.scan(case)
    low, high = np.percentile(scan.intensities, [0.5, 99.5])
    grey = 255 * np.clip((scan.intensities - low) / max(float(high - low), 1e-6), 0, 1)
    to_truth = _distances_to(scan.truth, scan.spacing)
    masks = {method: gallery.prediction(method, case) for method in methods}
    distances = np.concatenate([to_truth[border(mask)] for mask in masks.values()])
    far = max(1.0, float(np.percentile(distances, 95))) if distances.size else 1.0
    layers = {}
    for method, mask in masks.items():
        surface = np.where(border(mask), np.maximum(to_truth, LEAST * far), 0).astype(np.float32)
        layers[method] = {"mask": _nifti(mask.astype(np.uint8), scan), "surface": _nifti(surface, scan)}
    return {
        "case": case,
        "image": _nifti(grey.astype(np.uint8), scan),
        "truth": _nifti(scan.truth.astype(np.uint8), scan),
        "methods": layers,
        "far": far,
        "centre": centre(scan),
    }


def _distances_to(truth: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    if truth.any():
        return distance_map(border(truth), spacing)
    return np.full(truth.shape, np.linalg.norm(np.multiply(truth.shape, spacing)), np.float32)


def centre(scan: Scan) -> list[float]:
    """The middle of the truth in the mm of a NIfTI file; of the image where the truth is empty."""
    inside = scan.truth if scan.truth.any() else np.ones_like(scan.truth)
    index = np.argwhere(inside).mean(axis=0)[::-1]
    x, y, z = scan.image.TransformContinuousIndexToPhysicalPoint(index.tolist())
    # SimpleITK's x and y run to the left and to the back, those of NIfTI to the right and to the front.
    return [-x, -y, z]


def _nifti(array: np.ndarray, scan: Scan) -> str:
    volume = sitk.GetImageFromArray(array)
    volume.CopyInformation(scan.image)
    # Without a time stamp: the same study makes the same page.
    return base64.b64encode(gzip.compress(nifti.to_bytes(volume), 6, mtime=0)).decode()
