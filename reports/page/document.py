"""One HTML file from its parts: templates, style sheet, script and data, with a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("data.js", "dom.js", "filters.js", "pivot.js", "values.js", "record.js", "page.js")
STYLES = ("page.css", "parts.css")


def document(content: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: Variables of the template ``page.html.j2``.
        data: What its script reads; JSON.
    """
    style, script = _joined(STYLES), f'(() => {{\n"use strict";\n{_joined(SCRIPTS)}}})();\n'
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            **content,
            policy=policy(style, script),
            style=Markup(style),  # a file of this package
            script=Markup(script),  # a file of this package
            data=embedded(data),
        )
    )


def policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: its own style sheet and script by their hashes, pictures within the page.

    Whatever a record smuggled into the page, no script of its own, no style, no request would come of it.
    """
    rules = (
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


def embedded(data: Mapping[str, Any]) -> Markup:
    """JSON that no HTML parser takes for the end of its element, or for anything else."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # holds no character that HTML gives a meaning


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _joined(names: tuple[str, ...]) -> str:
    folder = files("reports.page") / "static"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
