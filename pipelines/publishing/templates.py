"""The Markdown templates of cards, filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.reporting.words import number


def render(name: str, values: Mapping[str, Any]) -> str:
    """A template of this folder with its values; one that is missing is a defect."""
    import jinja2

    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # it is Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {"number": number, "cell": _cell}
    return jinja.get_template(name).render(values)


def _cell(value: Any) -> str:
    """A text that stays in its cell of a table."""
    return str(value).replace("|", "\\|").replace("\n", " ")
