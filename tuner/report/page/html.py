"""Everything on its way into the page: texts and numbers stay what they are, in one file.

Whatever a trial, a configuration or an error message holds, nothing of it becomes an element, a
script or a request. The page carries its scripts and styles, and only those very scripts may run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from tuner.report import format

if TYPE_CHECKING:
    import jinja2

_SCRIPTS = ("theme.js", "table.js", "figures.js", "parallel.js", "main.js")
_DIGITS = 5
_LONGEST_TICK = 22
# What could end a script element, or a line of JavaScript, inside a JSON text.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_MARKUP = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_KEY = re.compile(r"(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)")
_OPEN_KEYS = ("choice", "min", "max", "scale", "count", "step")


# ---------------------------------------------------------------------- numbers and texts


def embedded(value: Any) -> str:
    """A value as JSON for `<script type="application/json">`.

    Raises ValueError for NaN and infinities, which JSON lacks: see `number`.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()


def clean(text: str) -> str:
    """Text whose lines hold no control characters and nothing that turns the direction round."""
    return "\n".join(format.printable(line.replace("\t", "    ")) for line in text.splitlines())


def label(text: str) -> str:
    """Text for plotly, which reads some tags (links, too) and entities in titles and labels."""
    return format.printable(text).translate(_MARKUP)


def tick(text: str) -> str:
    """The same for the place beside an axis: no longer than it can be read there."""
    return label(shortened(text, _LONGEST_TICK))


def shortened(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: float | None, digits: int = _DIGITS) -> float | int | None:
    """A number in so many digits, which is what an eye can tell apart; None for NaN and ±inf."""
    if value is None or isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def numbers(values: Iterable[float | None]) -> list[float | int | None]:
    """Several of them."""
    return [number(value) for value in values]


# ---------------------------------------------------------------------- markup


def commands(text: str) -> Markup:
    """What stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    marked = (code.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    return Markup("").join(marked)


def yaml(text: str) -> Markup:
    """An experiment with its keys, its comments and its open values told apart."""
    return Markup("\n").join(_yaml_line(line) for line in text.splitlines())


def _yaml_line(line: str) -> Markup:
    marked = Markup('<span class="{}">{}</span>')
    if line.lstrip().startswith("#"):
        return marked.format("y-comment", line)
    match = _KEY.fullmatch(line)
    if not match:
        return escape(line)
    indent, key, colon, rest = match.groups()
    head = marked.format("y-open" if key in _OPEN_KEYS else "y-key", key)
    opens = re.match(r"\s*\{\s*(choice|min|max)\s*:", rest)
    value = marked.format("y-open", rest) if opens else escape(rest)
    return Markup("{}{}{}{}").format(indent, head, colon, value)


# ---------------------------------------------------------------------- the file


def render_file(template: str, context: Mapping[str, Any]) -> str:
    """A template that extends `base.html.j2`, with everything that it needs to open anywhere."""
    # Ours first: the table works while the browser still reads plotly's five megabytes.
    scripts = ["\n".join(_asset(name) for name in _SCRIPTS), _plotly()]
    own = {"style": _asset("style.css"), "scripts": scripts, "policy": _policy(scripts)}
    return _templates().get_template(template).render({**context, **own})


def _policy(scripts: Sequence[str]) -> str:
    """Only these very scripts may run, none that is made from a text, and nothing is fetched."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"commands": commands, "yaml": yaml}
    return environment
