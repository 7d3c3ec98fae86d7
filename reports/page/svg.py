"""A drawing of matplotlib made fit to stand within the page: no styles that its policy forbids, nothing that runs.

The page's policy allows one style sheet, by its hash, so ``style`` attributes become presentation attributes. What
is not known to be harmless is left out, and the ids of one drawing do not meet those of another.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.errors import BenchError


def _words(text: str) -> list[str]:
    return text.split()


_ELEMENTS = frozenset(
    _words("""
    circle clipPath defs desc ellipse g image line linearGradient marker path pattern polygon polyline
    radialGradient rect stop svg symbol text title tspan use
""")
)
_PROPERTIES = frozenset(
    _words("""
    clip-path clip-rule color display dominant-baseline fill fill-opacity fill-rule font-family
    font-size font-stretch font-style font-variant font-weight image-rendering letter-spacing marker-end
    marker-mid marker-start mask opacity paint-order shape-rendering stop-color stop-opacity stroke
    stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity
    stroke-width text-anchor text-rendering vector-effect visibility
""")
)
_GEOMETRY = frozenset(
    _words("""
    aria-hidden aria-label class clipPathUnits cx cy d dx dy fx fy gradientTransform gradientUnits
    height id markerHeight markerUnits markerWidth offset orient patternContentUnits patternTransform
    patternUnits points preserveAspectRatio r refX refY role rotate rx ry spreadMethod textLength
    transform version viewBox width x x1 x2 y y1 y2
""")
)
_ON_SCREEN = 1.8  # CSS pixels a point
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^'\")]+)['\"]?\s*\)")
_FONT = re.compile(r"^(?P<words>(?:[\w.-]+\s+)*?)(?P<size>[\d.]+(?:px|pt|em|%))(?:/\S+)?\s+(?P<family>\S.*)$")
_PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*")


def inlined(svg: str, prefix: str, label: str) -> tuple[str, int]:
    """The drawing as an element of an HTML page, and its width in CSS pixels (0: not known).

    Args:
        svg: A document, as ``Figure.savefig`` writes it.
        prefix: Of its ids; no other drawing of the page has it.
        label: What a screen reader says of it.

    Raises:
        BenchError: where it is no SVG document.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise BenchError(f"the drawing is not SVG: {error}") from error
    if _local(root.tag) != "svg":
        raise BenchError(f"the drawing is not SVG but {_local(root.tag)!r}")
    clean = _cleaned(root, prefix)
    # matplotlib says these in a style sheet of its own, for all that does not say otherwise
    clean.attrib.setdefault("stroke-linejoin", "round")
    clean.attrib.setdefault("stroke-linecap", "butt")
    width = _enlarge(clean)
    clean.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(clean, encoding="unicode"), width


def _enlarge(root: ElementTree.Element) -> int:
    """Letters of a figure for paper become about as large as a caption's on the page."""
    points = re.fullmatch(r"([\d.]+)pt", root.attrib.get("width", ""))
    if points is None or "viewBox" not in root.attrib:
        return 0
    width = round(float(points[1]) * _ON_SCREEN)
    root.attrib["width"] = str(width)
    root.attrib.pop("height", None)
    return width


def _cleaned(element: ElementTree.Element, prefix: str) -> ElementTree.Element:
    clean = ElementTree.Element(_local(element.tag), _attributes(element, prefix))
    clean.text, clean.tail = element.text, element.tail
    clean.extend(_cleaned(child, prefix) for child in element if _local(child.tag) in _ELEMENTS)
    return clean


def _attributes(element: ElementTree.Element, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = _local(key)
        if name == "id":
            found["id"] = prefix + value
        elif name == "href":
            found |= _href(value, prefix)
        elif name == "style":
            found |= {name: _referring(text, prefix) for name, text in _properties(value).items()}
        elif name in _GEOMETRY or name in _PROPERTIES:
            found.setdefault(name, _referring(value, prefix))
    return found


def _href(value: str, prefix: str) -> dict[str, str]:
    if value.startswith("#"):
        return {"href": f"#{prefix}{value[1:]}"}
    return {"href": value} if _PICTURE.fullmatch(value) else {}


def _properties(style: str) -> dict[str, str]:
    """The declarations of a ``style`` attribute that are presentation attributes; ``font`` is taken apart."""
    found: dict[str, str] = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            found |= _font(value)
        elif name in _PROPERTIES and value:
            found[name] = value
    return found


def _font(value: str) -> dict[str, str]:
    match = _FONT.match(value)
    if match is None:
        return {}
    found = {"font-size": match["size"], "font-family": match["family"]}
    for word in match["words"].split():
        if word in ("italic", "oblique"):
            found["font-style"] = word
        elif word in ("bold", "bolder", "lighter") or word.isdigit():
            found["font-weight"] = word
    return found


def _referring(value: str, prefix: str) -> str:
    """References within the drawing follow its ids; any other is left out."""
    value = _REFERENCE.sub(lambda match: f"url(#{prefix}{match[1]})", value)
    return "none" if "url(" in value and f"url(#{prefix}" not in value else value


def _local(name: object) -> str:
    """Without its namespace; comments and processing instructions have no name."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""
