from pathlib import Path

import pytest
import SimpleITK as sitk

from ellipsoids import ellipsoids

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def lumbar() -> Path:
    """The 30 real lumbar volumes."""
    return _real("lumbar")


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    """The 160 real hippocampus volumes."""
    return _real("hippocampus")


def _real(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real volumes are not at {folder}")
    return folder


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """No test touches the user's cache."""
    monkeypatch.setenv("SPINELOSS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def small_data(tmp_path) -> Path:
    """Six noisy volumes of two ellipsoids each, in paired folders."""
    folder = tmp_path / "volumes"
    for case in range(6):
        image, label_map = ellipsoids(case)
        for kind, array in (("images", image), ("masks", label_map)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 3.0))
            volume.SetOrigin((5.0, -3.0, 10.0 * case))
            sitk.WriteImage(volume, folder / kind / f"case-{case}.mha")
    return folder
