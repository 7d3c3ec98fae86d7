"""Figures as files and as parts of a page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.report import Runs
from bench.store import RunStore
from reports.figures import FIGURES, Drawing, to_file, to_svg
from reports.figures.style import COLUMN, INK
from reports.frame import Selection
from tests.reports.figure_records import few_shot, regression, scale

SVG = "{http://www.w3.org/2000/svg}"


def drawing(method: str = "lead") -> Drawing:
    (found,) = FIGURES["fewshot"].draw(Runs([few_shot(method), few_shot("random", 9.0)]), Selection())
    return found


def svg(made: Drawing) -> str:
    assert made.figure is not None
    return to_svg(made.figure)


def test_equal_records_give_equal_bytes_in_any_order() -> None:
    records = [few_shot("lead"), few_shot("dve", 1.0)]
    for suffix in (".svg", ".png", ".pdf"):
        contents = set()
        for order in (records, records[::-1]):
            (made,) = FIGURES["fewshot"].draw(Runs(order), Selection())
            contents |= {to_file(made, Path(f"x{suffix}")) for _ in range(2)}
        assert len(contents) == 1, suffix
    assert svg(drawing()) == svg(drawing())


def test_formats_are_what_they_say() -> None:
    made = drawing()
    with Image.open(io.BytesIO(to_file(made, Path("x.png")))) as picture:
        assert picture.width == round(COLUMN * 300)
    pdf = to_file(made, Path("x.PDF"))
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    alone = to_file(made, Path("x.svg")).decode()
    assert "<dc:date>" not in alone
    assert INK in alone  # alone it has no page whose colour it could take
    with pytest.raises(BenchError, match=r"\.jpg"):
        to_file(made, Path("x.jpg"))


def test_in_a_page_text_has_the_colour_of_the_page_and_the_background_is_seen_through() -> None:
    text = svg(drawing())
    assert INK not in text
    assert text.count("currentColor") > 20
    root = ET.fromstring(text)
    assert {"annotated images", "lead", "random"} <= {
        "".join(node.itertext()) for node in root.iter(f"{SVG}text")
    }
    assert "#ffffff" not in text
    assert not list(root.iter(f"{SVG}style"))  # it would reach the page
    assert not list(root.iter(f"{SVG}metadata"))


def test_several_figures_in_one_page_share_no_id_and_every_reference_is_kept() -> None:
    (other,) = FIGURES["scale"].draw(Runs([scale()]), Selection())
    texts = [svg(drawing("lead")), svg(drawing("dve")), svg(other)]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert sum(map(len, ids)) == len(set.union(*ids))
    for text, own in zip(texts, ids, strict=True):
        referred = set(re.findall(r"(?:url\(|href=\")#([^\")]+)", text))
        assert referred
        assert referred <= own


def test_names_stay_text() -> None:
    name = '<script>alert("id=x")</script>&#1b1b1b;'
    (made,) = FIGURES["fewshot"].draw(Runs([few_shot(name)]), Selection())
    text = svg(made)
    assert "<script" not in text
    root = ET.fromstring(text)
    assert any('<script>alert("id=x")' in "".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    for suffix in (".svg", ".pdf", ".png"):
        assert to_file(made, Path(f"x{suffix}"))


def test_a_stored_picture_is_written_as_it_is_or_put_on_paper(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    store.save(regression(), {}, {"cases": pixels})
    (made,) = FIGURES["cases"].draw(Runs.of(store), Selection())
    assert made.picture is not None
    assert to_file(made, Path("x.png")) == made.picture.read_bytes()
    root = ET.fromstring(to_file(made, Path("x.svg")))
    assert float(root.attrib["width"].removesuffix("pt")) / float(
        root.attrib["height"].removesuffix("pt")
    ) == (pytest.approx(1.5, rel=1e-3))
    assert to_file(made, Path("x.pdf")).startswith(b"%PDF")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes) -> None:
    store = RunStore(tmp_path)
    store.save(regression(), {}, {"cases": np.zeros((4, 4, 3), dtype=np.uint8)})
    (made,) = FIGURES["cases"].draw(Runs.of(store), Selection())
    assert made.picture is not None
    made.picture.write_bytes(content)
    for suffix in (".png", ".svg"):
        with pytest.raises(BenchError, match=re.escape(made.picture.name)):
            to_file(made, Path(f"x{suffix}"))
