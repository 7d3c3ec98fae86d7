from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.errors import BenchError
from bench.report import Runs
from reports.frame import Selection
from reports.page import gallery as module
from reports.page.gallery import Gallery, collect
from reports.page.svg import inlined

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {}>{}</svg>'


@dataclass(frozen=True)
class Drawing:
    """As of ``reports.figures``."""

    name: str
    figure: str | None = None
    picture: Path | None = None
    kind: str = "curves"
    title: str = "A title"
    caption: str = "A caption"
    records: tuple[str, ...] = ("0" * 16,)


@dataclass(frozen=True)
class Kind:
    drawn: Callable[[], Iterator[Drawing]]
    name: str = "curves"
    summary: str = "curves of accuracy"
    asked: list[Selection] = field(default_factory=list)

    def each(self, runs: Runs, selection: Selection) -> Iterator[Drawing]:
        self.asked.append(selection)
        return self.drawn()


def svg(attributes: str = "", content: str = "") -> str:
    return SVG.format(attributes, content)


def clean(content: str, attributes: str = "") -> ElementTree.Element:
    return ElementTree.fromstring(inlined(svg(attributes, content), "p-", "a label")[0])


def collected(*kinds: Kind, most: int = 12) -> Gallery:
    return collect(kinds, Runs([]), Selection(), most, str)


def test_styles_become_attributes() -> None:
    root = clean('<path style="fill: none; stroke: #ff0000; stroke-width: 1.5; position: fixed"/>')
    assert root[0].attrib == {"fill": "none", "stroke": "#ff0000", "stroke-width": "1.5"}


def test_fonts_are_taken_apart() -> None:
    text = clean(
        "<text style=\"font: italic 700 10px 'DejaVu Sans', sans-serif; text-anchor: middle\">x</text>"
    )[0]
    assert text.attrib == {
        "font-size": "10px",
        "font-family": "'DejaVu Sans', sans-serif",
        "font-style": "italic",
        "font-weight": "700",
        "text-anchor": "middle",
    }
    assert text.text == "x"


def test_ids_are_the_drawings_own() -> None:
    content = '<clipPath id="c"/><path id="m"/><use xlink:href="#m"/><path clip-path="url(#c)"/><path fill="url(http://x/#c)"/>'
    root = clean(content)
    assert [child.attrib for child in root] == [
        {"id": "p-c"},
        {"id": "p-m"},
        {"href": "#p-m"},
        {"clip-path": "url(#p-c)"},
        {"fill": "none"},
    ]


def test_what_could_run_or_fetch_is_left_out() -> None:
    content = (
        "<script>alert(1)</script><style>*{}</style><foreignObject/><a/><metadata/>"
        '<image href="http://x/y.png" onload="alert(1)"/><image href="data:image/svg+xml,x"/>'
        '<image href="data:image/png;base64,iVBO"/>'
    )
    root = clean(content)
    assert [child.attrib for child in root] == [{}, {}, {"href": "data:image/png;base64,iVBO"}]


def test_a_drawing_of_matplotlib_keeps_its_parts() -> None:
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [1, 0], label="<b>lead</b>")
    axes.imshow(np.zeros((2, 2)))
    axes.legend()
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    found, width = inlined(stream.getvalue(), "p-", "<label>")
    assert width == round(144 * 1.8)
    assert " style=" not in found
    assert "<style" not in found
    assert found.count("<path") == stream.getvalue().count("<path")
    references = set(re.findall(r"url\(#([^)]+)\)", found)) | set(re.findall(r'href="#([^"]+)"', found))
    assert references
    assert references <= set(re.findall(r' id="([^"]+)"', found))


@pytest.mark.parametrize("text", ["", "<html/>", "<svg"])
def test_what_is_no_drawing_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="not SVG"):
        inlined(text, "p-", "x")


def test_a_figure_that_fails_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    Image.new("RGB", (800, 2)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"<script>")

    def drawings() -> Iterator[Drawing]:
        yield Drawing("a", svg(content="<path/>"))
        yield Drawing("b", "no drawing", title="Broken <one>")
        yield Drawing("c", picture=tmp_path / "bad.png", title="No picture")
        yield Drawing("d", picture=tmp_path / "missing.png", title="No file")
        yield Drawing("e", picture=tmp_path / "good.png")
        raise ValueError("out of ideas")

    found = collected(Kind(drawings), Kind(lambda: iter([Drawing("f", svg())]), name="maps"))
    assert [figure.name for figure in found.figures] == ["a", "e", "f"]
    assert [name for name, _ in found.failures] == [
        "further figures of the kind curves",
        "Broken <one>",
        "No picture",
        "No file",
    ]
    assert found.failures[0][1] == "ValueError: out of ideas"
    assert str(found.figures[1].image).startswith("data:image/png;base64,")
    assert [(figure.size, figure.is_wide) for figure in found.figures[1:]] == [
        ((800, 2), True),
        ((0, None), False),
    ]
    assert len({figure.anchor for figure in found.figures}) == 3


def test_only_so_many_of_a_kind_are_drawn() -> None:
    drawn: list[int] = []

    def drawings() -> Iterator[Drawing]:
        for number in range(5):
            drawn.append(number)
            yield Drawing(str(number), svg())

    (kind,) = collected(Kind(drawings), most=2).kinds
    assert (len(kind.figures), kind.has_more, drawn) == (2, True, [0, 1])


def test_figures_beyond_the_pages_size_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    large = svg(content=f'<path d="{"M 0 0 " * 200}"/>')
    found = collected(Kind(lambda: iter([Drawing("a", large), Drawing("b", svg())])))
    assert ([figure.name for figure in found.figures], found.left_out) == (["b"], 1)
