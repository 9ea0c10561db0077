"""Small volumes that a small network learns in seconds."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk


def ellipsoids(case: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map of two ellipsoids in noise, placed by the case's number."""
    random = np.random.default_rng(case)
    z, y, x = np.ogrid[:12, :40, :36]
    label_map = np.zeros((12, 40, 36), np.uint8)
    for label, row in ((1, 12), (2, 28)):
        centre = np.array([6, row, 18]) + random.uniform(-1.5, 1.5, 3)
        inside = ((z - centre[0]) / 4) ** 2 + ((y - centre[1]) / 6) ** 2 + ((x - centre[2]) / 8) ** 2 < 1
        label_map[inside] = label
    image = random.normal(100 + 200 * (label_map > 0), 20).astype(np.float32)
    return image, label_map


def write_small_data(folder: Path, cases: int = 6) -> Path:
    """Write cases of 12 x 40 x 36 voxels of 3 x 1 x 1 mm, in paired folders."""
    for case in range(cases):
        image, label_map = ellipsoids(case)
        for kind, array in (("images", image), ("masks", label_map)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 3.0))
            volume.SetOrigin((5.0, -3.0, 10.0 * case))
            sitk.WriteImage(volume, folder / kind / f"case-{case}.mha")
    return folder
