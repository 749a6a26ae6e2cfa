"""The documentation: sphinx-build -W -b html docs build/docs."""

import sys
from pathlib import Path

import recbole_ssr

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "recbole_ssr"
author = "The recbole_ssr authors"
copyright = author
release = recbole_ssr.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "generated_pages",
    "mathml",
]
exclude_patterns = ["_generated", "_ext", "README.md"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
# Notebooks run at every build: what they print is what this version prints.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_execution_excludepatterns = []
nb_merge_streams = True
nb_output_stderr = "remove"

html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = "recbole_ssr"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
