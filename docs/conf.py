"""Configuration of the documentation."""

import certimetric

project = "certimetric"
author = "The certimetric developers"
copyright = "The certimetric developers"
version = release = certimetric.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
# Attributes are described in the class's own docstring, once.
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"certimetric {release}"

# Methods that are inherited from scikit-learn refer to its own documentation.
suppress_warnings = ["ref.ref", "ref.term"]
