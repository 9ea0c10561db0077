"""Makes a data set of two channels: forty hippocampi, and beside each image its edges.

.venv/bin/python studies/two_channels.py ../shared/data/hippocampus build/two-channels-data
"""

import json
import shutil
import sys
from pathlib import Path

import SimpleITK as sitk

CASES = 40
SCALE = 1.0  # mm, of the Gaussian whose gradient finds the edges


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    images, labels = folder / "imagesTr", folder / "labelsTr"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    for mask in sorted((source / "labelsTr").iterdir())[:CASES]:
        case = mask.name.removesuffix(".nii.gz")
        image = source / "imagesTr" / f"{case}_0000.nii.gz"
        shutil.copy(image, images)
        shutil.copy(mask, labels)
        edges = sitk.GradientMagnitudeRecursiveGaussian(sitk.ReadImage(str(image)), SCALE)
        sitk.WriteImage(edges, str(images / f"{case}_0001.nii.gz"))
    described = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    described |= {"channel_names": {"0": "MRI", "1": "edges"}, "numTraining": CASES}
    (folder / "dataset.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
