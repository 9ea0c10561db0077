"""The site: `make docs` builds it into build/site, from these pages, docstrings and commands."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import spineloss

sys.path.insert(0, str(Path(__file__).parent))

project = "spineloss"
author = "the authors of spineloss"
copyright = "the authors of spineloss, Apache-2.0"
version = release = spineloss.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx.ext.mathjax",
    "generators",
]
exclude_patterns = ["generators", "example"]
nitpicky = True
# Names in annotations that no page documents: those of other packages, and what only passes through.
OTHERS = r"(torch|numpy|np|nn|SimpleITK|sitk|pathlib|collections|typing|abc|pydantic)\..*"
nitpick_ignore_regex = [
    ("py:.*", OTHERS),
    ("py:class", r"spineloss\.(data|report|results|study|training)\..*"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.strikethrough"]
nb_execution_mode = "force"
nb_execution_timeout = 1800  # seconds a cell, beside other work
nb_execution_raise_on_error = True
nb_output_stderr = "remove"
nb_render_markdown_format = "gfm"  # tables in outputs
# The notebook's networks are fastest on one thread, and its study does not fight with what runs beside the build.
os.environ.setdefault("OMP_NUM_THREADS", "1")

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as written, not the address of a function
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # shapes and units stand before the colon, not types
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

smartquotes_action = "q"  # the dashes of `--option` stay

# Equations are drawn from disk: one file of MathJax, fonts included, is copied into the site.
MATHJAX = Path(find_spec("sphinx-mathjax-offline").submodule_search_locations[0]) / "static/mathjax/tex-svg.js"
mathjax_path = MATHJAX.name

html_theme = "furo"
html_title = f"spineloss {release}"
html_static_path = ["static", str(MATHJAX)]
html_css_files = ["site.css"]
html_extra_path = ["example"]  # the finished report, linked from the front page
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c7a", "color-brand-content": "#0b5c7a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4de", "color-brand-content": "#7cc4de"},
}
