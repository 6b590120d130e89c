"""The page and the model card as text, from the templates beside this module.

In the page every value is escaped as HTML, in the card as Markdown, unless it is Markup of ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from darkroom.core.errors import visible
from darkroom.report.formatting import FILTERS, shorten

LONGEST_VALUE = 200  # characters of a value on the card


def escape_markdown(value: Any) -> Markup:
    r"""Return a value as text that Markdown shows as it is, on one line; Markup stays as it is.

    >>> print(escape_markdown("a|b\n# <i> [c](d)"), escape_markdown("www.a.b"))
    a\|b \# \<i\> \[c\](d) www\.a.b
    """
    if isinstance(value, Markup):
        return value
    text = shorten(visible(" ".join(str(value).split())), LONGEST_VALUE)
    text = re.sub(r"[\\`*_\[\]<>#|!~&$]", r"\\\g<0>", text)
    text = re.sub(r"(?i)(?<=www)\.|:(?=//)", r"\\\g<0>", text)  # else GitHub makes links of them
    return Markup(text)


# A template is compiled once per process, which takes a tenth of the time of a page.
_HTML = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip
_HTML.filters.update(FILTERS)
_MARKDOWN = _HTML.overlay(finalize=escape_markdown)


def render_page(contents: Mapping[str, Any]) -> str:
    """Return report.html."""
    return _HTML.get_template("page.html.j2").render(contents)


def render_card(contents: Mapping[str, Any]) -> str:
    """Return model_card.md."""
    return re.sub(r"\n{3,}", "\n\n", _MARKDOWN.get_template("model_card.md.j2").render(contents))
