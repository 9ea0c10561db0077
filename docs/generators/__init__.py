"""Pages made from the package itself, as a Sphinx extension: commands, study file, losses, measurements."""

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from generators import command_line, docstrings, loss_gallery, measurements, study_file


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", _write)
    app.connect("source-read", measurements.point_into_the_site)
    app.connect("autodoc-process-docstring", docstrings.as_text, priority=100)  # before napoleon reads sections
    app.connect("autodoc-process-signature", docstrings.as_called)
    app.connect("missing-reference", docstrings.link_by_last_name)
    app.connect("html-page-context", _load_what_is_seen)
    return {"parallel_read_safe": True}


def _load_what_is_seen(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Pictures load as they come into view: those of the other shade, which are hidden, never do."""
    if "body" in context:
        context["body"] = context["body"].replace("<img ", '<img loading="lazy" ')


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    for make in (command_line.write, study_file.write, loss_gallery.write, measurements.write):
        make(folder)
