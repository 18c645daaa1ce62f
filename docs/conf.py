"""The site: ``python docs/website.py``. It needs ``pip install ".[docs]"`` and no network.

The source folder is the root of the project, so that pages, tutorials and programs link to each other as they do on GitHub.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE), str(HERE.parent), str(HERE.parent / "kernels")]

from minisegnet.version import __version__  # noqa: E402

project = "minisegnet"
author = "The minisegnet developers"
copyright = "The minisegnet developers, MIT licence"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "prerendered", "house"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/mapping/*.md", "docs/derivations/*.md", "docs/rungs/*.md", "tutorials/*.ipynb", "CONTRIBUTING.md"]
nb_execution_mode = "off"  # the notebooks are committed with their outputs, and tests run them

myst_enable_extensions = ["dollarmath", "attrs_inline", "colon_fence"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
highlight_language = "none"

html_theme = "furo"
html_title = "minisegnet"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["katex/katex.min.css", "site.css"]
html_js_files = ["site.js"]
html_math_renderer = "prerendered"
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # a summary fetches the pages that are found, which a browser refuses for files
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"},
    "top_of_page_buttons": [],
}

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
