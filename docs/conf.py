"""Settings of the documentation site (``make docs``). Its source folder is the repository, so links work in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "crossrec"
author = "The crossrec authors"
copyright = author
version = release = __version__

root_doc = "docs/index"
extensions = ["sphinx.ext.autodoc", "myst_parser"]
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**"]
exclude_patterns = ["**/.*"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 4
myst_links_external_new_tab = False
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"crossrec {version}"
html_copy_source = False


def add_title(app: Sphinx, name: str, source: list[str]) -> None:
    """Give the tables of results, which have no heading, their name as a title; no table of contents lists them."""
    if name.startswith("docs/results/") and not source[0].startswith("# "):
        source[0] = f"---\norphan: true\n---\n\n# {name.rpartition('/')[2]}\n\n{source[0]}"


def setup(app: Sphinx) -> None:
    """Titles for tables of results; blocks of crontab as text, since Pygments has no lexer for them."""
    from pygments.lexers.special import TextLexer

    app.connect("source-read", add_title)
    app.add_lexer("crontab", TextLexer)
