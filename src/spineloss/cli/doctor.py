"""What runs here, in ten lines; the smallest install is enough."""

import os
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

import spineloss
from spineloss.extras import EXTRAS
from spineloss.files import cache_folder
from spineloss.kernels.native import libraries


def examine() -> Iterator[str]:
    """Versions, kernels, threads, device, extras, cache."""
    found = {
        "spineloss": f"{spineloss.__version__} in {Path(spineloss.__file__).parent}",
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "PyTorch": f"{torch.__version__}, NumPy {np.__version__}",
        "kernels": _kernels(),
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} processors",
        "device": _device(),
        "extras": ", ".join(filter(_is_present, EXTRAS)) or "none",
        "missing": "; ".join(map(_missing, EXTRAS)),
        "cache": str(cache_folder()),
        "cached": _size(cache_folder()),
    }
    for name, line in found.items():
        yield f"{name:<10} {line}"


def _kernels() -> str:
    if not libraries():
        return "plain PyTorch: no C compiler was there when spineloss was installed (the same numbers, slower)"
    return f"compiled C, vectors of {max(libraries())} floats"


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()}"
    return "cpu (studies leave Apple's GPU out)" if torch.backends.mps.is_available() else "cpu"


def _absent(extra: str) -> list[str]:
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def _is_present(extra: str) -> bool:
    return not _absent(extra)


def _missing(extra: str) -> str:
    return f"{extra}: {', '.join(_absent(extra)) or 'nothing'}"


def _size(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 2**20:.1f} MB"
