"""``bench data``, ``bench list`` and ``bench show``, on a small folder of one's own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from bench.cli.data import app as data_app
from bench.cli.listing import list_, show
from bench.errors import BenchError

listing_app = typer.Typer()
listing_app.command("list")(list_)
listing_app.command("show")(show)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits of three 24 x 20 images with two landmarks; identities of their own."""
    for seed, split in enumerate(("train", "val")):
        images = tmp_path / "toys" / split / "images"
        images.mkdir(parents=True)
        content: dict[str, Any] = {
            "images": [{"id": i, "file_name": f"{i}.png", "identity": f"{split}{i}"} for i in range(3)],
            "annotations": [
                {"image_id": i, "category_id": 1, "keypoints": [3, 4, 2, 15, 10, 2]} for i in range(3)
            ],
            "categories": [{"id": 1, "name": "toy", "keypoints": ["nose", "tail"]}],
        }
        (images.parent / "annotations.json").write_text(json.dumps(content))
        for i in range(3):
            pixels = np.random.default_rng([seed, i]).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"{i}.png")
    return tmp_path / "toys"


def call(*arguments: str, app: typer.Typer = data_app) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_show_tells_splits_landmarks_and_fingerprints(folder: Path) -> None:
    done = call("show", f"coco:{folder}", "-D", "normaliser=[0,1]", "--json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["name"] == "coco:toys"
    assert shown["landmarks"] == ["nose", "tail"]
    assert shown["normaliser"] == [[0], [1]]
    assert [(s["name"], s["roles"], s["images"]) for s in shown["splits"]] == [
        ("train", ["training", "pre-training"], 3),
        ("val", ["test"], 3),
    ]
    assert len({s["fingerprint"] for s in shown["splits"]}) == 2
    table = call("show", f"coco:{folder}", "--split", "val")
    assert "nose, tail" in table.stdout
    assert "train" not in table.stdout.split("fingerprint")[1]


def test_verify_accepts_a_sound_folder(folder: Path) -> None:
    done = call("verify", f"coco:{folder}", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["warnings"] == []
    for split in report["splits"]:
        assert (split["images"], split["annotated"], split["visible_landmarks"]) == (3, 3, 6)
        assert (split["individuals"], split["problems"]) == (3, [])


def test_verify_names_every_damaged_image_and_fails(folder: Path) -> None:
    for name in ("0.png", "2.png"):
        path = folder / "train" / "images" / name
        path.write_bytes(path.read_bytes()[:400])
    (folder / "val" / "annotations.json").write_text("{")
    done = call("verify", f"coco:{folder}", "--json", "--quiet")
    assert done.exit_code == 1
    train, val = json.loads(done.stdout)["splits"]
    assert ["0.png" in problem for problem in train["problems"]] == [True, False]
    assert "2.png is damaged" in train["problems"][1]
    assert "not valid JSON" in val["problems"][0]
    table = call("verify", f"coco:{folder}", "--quiet")
    assert table.exit_code == 1
    assert "2 problems" in table.stdout


def test_verify_warns_of_leaks_between_splits(folder: Path) -> None:
    annotations = folder / "val" / "annotations.json"
    annotations.write_text(annotations.read_text().replace("val1", "train1"))
    (folder / "val" / "images" / "2.png").write_bytes((folder / "train" / "images" / "0.png").read_bytes())
    (folder / "train" / "images" / "1.png").write_bytes((folder / "train" / "images" / "0.png").read_bytes())
    done = call("verify", f"coco:{folder}", "--json", "--quiet")
    assert done.exit_code == 0
    warnings = json.loads(done.stdout)["warnings"]
    assert len(warnings) == 3
    assert "1 images are copies" in warnings[0]
    assert "1 of 3 individuals of 'val' are also in 'train', e.g. 'train1'" in warnings[1]
    assert "1 images of 'val' are also in 'train', e.g. '2.png'" in warnings[2]


def test_preview_writes_a_picture(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "sheet.png"
    done = call("preview", f"coco:{folder}", "--rows", "1", "--columns", "2", "-o", str(target), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"output": str(target), "split": "train", "images": 2}
    with Image.open(target) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height
    refused = call("preview", f"coco:{folder}", "-o", str(tmp_path / "sheet.txt"))
    assert isinstance(refused.exception, BenchError)


def test_mistakes_are_told(folder: Path) -> None:
    for arguments, words in (
        (("show", "cocoo:x"), "Did you mean 'coco'"),
        (("show", "coco"), "needs a location"),
        (("show", f"coco:{folder}", "--split", "vall"), "Did you mean 'val'"),
        (("show", f"coco:{folder}", "-D", "landmark=2"), "Did you mean 'landmarks'"),
        (("verify", f"coco:{folder / 'train' / 'images'}"), "has no splits"),
    ):
        error = call(*arguments).exception
        assert isinstance(error, BenchError)
        assert words in str(error)


def test_list_and_show_components() -> None:
    listed = json.loads(call("list", "datasets", "--json", app=listing_app).stdout)
    assert list(listed) == ["datasets"]
    assert "COCO" in listed["datasets"]["coco"]
    assert json.loads(call("list", "--json").stdout) == listed["datasets"]
    shown = json.loads(call("show", "coco", "--json", app=listing_app).stdout)
    assert (shown["kind"], shown["needs_location"]) == ("data set", True)
    options = {option["name"]: option for option in shown["options"]}
    assert (options["occluded"]["type"], options["occluded"]["default"]) == ("keep | drop", "keep")
    assert "occluded" in call("show", "coco", app=listing_app).stdout
    method = json.loads(call("show", "lead", "--json", app=listing_app).stdout)
    assert "paper" in method["presets"]
    assert method["recipe"]
    assert "presets" in call("show", "lead", app=listing_app).stdout
    for arguments, words in ((("show", "leed"), "Did you mean 'lead'"), (("list", "method"), "'methods'")):
        error = call(*arguments, app=listing_app).exception
        assert isinstance(error, BenchError)
        assert words in str(error)
