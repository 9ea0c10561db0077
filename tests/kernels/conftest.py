"""The C library at each width of its vectors."""

import pytest

from spineloss.kernels import native
from spineloss.kernels.native import libraries


@pytest.fixture(params=[4, 8, 16], ids="{} lanes".format)
def lanes(request, monkeypatch):
    """The library for vectors of so many floats."""
    functions = libraries().get(request.param)
    if functions is None:
        pytest.skip(f"this processor, or this installation, has no vectors of {request.param} floats")
    monkeypatch.setattr(native, "library", lambda: functions)
