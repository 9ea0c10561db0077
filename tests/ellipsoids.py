"""Small volumes that a small network learns in seconds."""

import numpy as np


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
