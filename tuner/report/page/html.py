"""A page as one file: its scripts and styles are in it, and only those very scripts may run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

_SCRIPTS = ("theme.js", "table.js", "figures.js", "parallel.js", "main.js")


def render_file(template: str, context: Mapping[str, Any]) -> str:
    """A template that extends `base.html.j2`, with everything that it needs to open anywhere."""
    # Ours first: the table works while the browser still reads plotly's five megabytes.
    scripts = ["\n".join(_asset(name) for name in _SCRIPTS), _plotly()]
    own = {"style": _asset("style.css"), "scripts": scripts, "policy": _policy(scripts)}
    return _templates().get_template(template).render({**context, **own})


def _policy(scripts: Sequence[str]) -> str:
    """Only these very scripts may run, none that is made from a text, and nothing is fetched."""
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _templates() -> jinja2.Environment:
    import jinja2

    from tuner.report.page.markup import commands, yaml

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commands"] = commands
    environment.filters["yaml"] = yaml
    return environment
