"""The site of these pages: `sphinx-build -W docs docs/_build/html`, without a network. Its parts lie in `site/`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "site")]

import brought
import elsewhere
import reference
from sphinx.application import Sphinx

from circuitgrok.version import __version__

project = "circuitgrok"
copyright = "2026, MIT licence"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build", "site", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"circuitgrok {__version__}"
html_copy_source = html_show_sourcelink = False
templates_path: list[str] = []
pygments_style = "friendly"
html_theme_options = {"navigation_with_keys": True}

nitpicky = True
highlight_language = "text"
default_role = "py:obj"  # what stands in backticks is a link where it is a name
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

myst_enable_extensions = ["strikethrough"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are committed with what they show, and run by the tests
nb_render_markdown_format = "myst"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """What is made for the site, and how names and links in it are found."""
    app.connect("builder-inited", lambda app: brought.write(Path(app.srcdir)))
    app.connect("builder-inited", lambda app: reference.write(Path(app.srcdir)))
    app.connect("env-get-outdated", lambda *changed: ["index"])  # which may have to name a new page
    app.connect("source-read", brought.links_of_the_site)
    app.connect("autodoc-process-docstring", reference.as_rst)
    app.connect("autodoc-before-process-signature", reference.without_extras)
    app.connect("autodoc-process-signature", reference.without_types)
    app.connect("autodoc-skip-member", reference.no_alias)
    app.connect("missing-reference", elsewhere.found)
