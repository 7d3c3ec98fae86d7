"""``bench data verify`` on published sets: what is missing, half there, or not what it says it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel, ConfigDict
from typer.testing import CliRunner, Result

from bench import registry
from bench.cli.data import app
from bench.data_requirements import RequirementCheck, check_requirements, is_complete
from bench.errors import BenchError
from bench.file_kinds import misfit
from bench.landmarks import (
    DatasetInfo,
    DatasetProvider,
    LandmarkDataset,
    LandmarkSchema,
    Requirement,
    Sample,
    no_landmarks,
)

SITE = "the toys' page: https://example.org/toys"
LIST = "0.png 1 2\n1.png 3 4\n"
OTHER = "1.png 3 4\n0.png 1 2\n"
NEEDED = (
    Requirement(
        "lists/train.txt", "training list", SITE, count=2, sha256=(hashlib.sha256(LIST.encode()).hexdigest(),)
    ),
    Requirement("lists/test.txt", "test list", SITE, md5=(hashlib.md5(OTHER.encode()).hexdigest(),)),
    Requirement("images", "the images", SITE, "folder", count=2, alternatives=("Img/images",)),
    Requirement("images.zip", "archive of the images", SITE, bytes=30, optional=True),
    Requirement("parts/*.pts", "points", SITE, count=2),
)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    root = tmp_path / "toys"
    for folder in ("lists", "images", "parts"):
        (root / folder).mkdir(parents=True)
    (root / "lists" / "train.txt").write_text(LIST)
    (root / "lists" / "test.txt").write_text(OTHER)
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        (root / "parts" / f"{i}.pts").write_text("version: 1\n")
    return root


def check(root: Path | None) -> dict[str, RequirementCheck]:
    return {found.requirement.path: found for found in check_requirements(root, NEEDED)}


def test_a_whole_copy_is_sound(toys: Path) -> None:
    found = check(toys)
    assert [check.state for check in found.values()] == ["sound", "sound", "sound", "absent", "sound"]
    assert not any(check.problems or check.notes for check in found.values())
    assert is_complete(list(found.values()))


def test_other_places_other_line_ends_and_more_files_do_no_harm(toys: Path) -> None:
    (toys / "Img").mkdir()
    (toys / "images").rename(toys / "Img" / "images")
    (toys / "Img" / "images" / ".DS_Store").write_text("")
    (toys / "Img" / "images" / "more.png").write_text("")
    (toys / "lists" / "train.txt").write_bytes(LIST.replace("\n", "\r\n").encode())
    found = check(toys)
    assert found["images"].state == found["lists/train.txt"].state == "sound"
    assert "holds 3 files, 1 more" in found["images"].notes[0]
    assert "other line ends" in found["lists/train.txt"].notes[0]


def test_without_a_location_everything_that_is_needed_is_missing() -> None:
    found = check(None)
    assert [check.state for check in found.values()] == ["missing", "missing", "missing", "absent", "missing"]
    assert found["images"].problems == [f"images is missing: the images. It is had from {SITE}"]
    assert not is_complete(list(found.values()))


def write(path: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda root: (root / path).write_bytes(data)


def _deeper(root: Path) -> None:
    moved = root / "toys-1.0"
    moved.mkdir()
    (root / "images").rename(moved / "images")


def _packed(root: Path) -> None:
    for file in (root / "images").iterdir():
        file.unlink()
    (root / "images").rmdir()
    (root / "images.tar.gz").write_bytes(b"\x1f\x8b")


def _emptied(root: Path) -> None:
    for file in (root / "images").iterdir():
        file.unlink()


PAGE = '\n<!DOCTYPE html>\n<html lang="en"><title>Google Drive - Quota exceeded</title></html>'
DAMAGE: dict[str, tuple[Callable[[Path], object], str, str, list[str]]] = {
    "a page as a list": (
        write("lists/train.txt", PAGE),
        "lists/train.txt",
        "damaged",
        ["a web page (HTML)", SITE],
    ),
    "a page as an archive": (write("images.zip", PAGE), "images.zip", "damaged", ["a web page (HTML)", SITE]),
    "an XHTML page": (
        write("images.zip", '<?xml version="1.0"?><html>'),
        "images.zip",
        "damaged",
        ["a web page"],
    ),
    "text as an archive": (write("images.zip", "sorry"), "images.zip", "damaged", ["not a zip archive"]),
    "half an archive": (
        write("images.zip", b"PK\x03\x04" + b"\0" * 16),
        "images.zip",
        "damaged",
        ["20 bytes", "30"],
    ),
    "a pointer": (
        write("lists/train.txt", "version https://git-lfs.github.com/spec/v1\n"),
        "lists/train.txt",
        "damaged",
        ["Git-LFS pointer"],
    ),
    "an empty list": (write("lists/train.txt", ""), "lists/train.txt", "damaged", ["an empty file"]),
    "binary": (write("lists/train.txt", b"\0\1\2"), "lists/train.txt", "damaged", ["binary, not text"]),
    "a changed list": (
        write("lists/train.txt", LIST.replace("3", "5")),
        "lists/train.txt",
        "damaged",
        ["is not the published file", "sha256"],
    ),
    "a list cut short": (
        write("lists/train.txt", LIST[:10]),
        "lists/train.txt",
        "damaged",
        ["has 1 lines, the published file has 2"],
    ),
    "the other list": (
        write("lists/train.txt", OTHER),
        "lists/train.txt",
        "damaged",
        ["is not the published file"],
    ),
    "the training list as test list": (
        write("lists/test.txt", LIST),
        "lists/test.txt",
        "damaged",
        ["is not the published file", "md5"],
    ),
    "a list missing": (
        lambda root: (root / "lists" / "train.txt").unlink(),
        "lists/train.txt",
        "missing",
        ["lists/train.txt is missing: training list", SITE],
    ),
    "half unpacked": (
        lambda root: (root / "images" / "1.png").unlink(),
        "images",
        "damaged",
        ["holds 1 of 2 files: half unpacked?", SITE],
    ),
    "nothing unpacked": (_emptied, "images", "damaged", ["images is empty"]),
    "not unpacked": (_packed, "images", "missing", ["may want unpacking: images.tar.gz"]),
    "a folder too deep": (_deeper, "images", "missing", ["It lies in", "toys-1.0: give that folder"]),
    "points lost": (
        lambda root: (root / "parts" / "1.pts").unlink(),
        "parts/*.pts",
        "damaged",
        ["parts/*.pts holds 1 of 2 files"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, toys: Path) -> None:
    apply, path, state, words = DAMAGE[damage]
    apply(toys)
    found = check(toys)[path]
    assert found.state == state
    for word in words:
        assert word in " ".join(found.problems)


def test_lists_of_the_same_kind_that_changed_places(toys: Path) -> None:
    digests = [(hashlib.sha256(text.encode()).hexdigest(),) for text in (LIST, OTHER)]
    needed = [
        Requirement(f"lists/{part}.txt", part, SITE, sha256=digest)
        for part, digest in zip(("train", "test"), digests, strict=True)
    ]
    (toys / "lists" / "test.txt").write_text(LIST)
    train, test = check_requirements(toys, needed)
    assert train.state == "sound"
    assert "holds the content of lists/train.txt" in test.problems[0]


def test_a_location_one_folder_too_deep_or_not_there(toys: Path) -> None:
    found = check_requirements(toys / "lists", [Requirement("lists/train.txt", "training list", SITE)])
    assert f"Is {toys} the location?" in found[0].problems[0]
    found = check_requirements(toys / "nowhere", [Requirement("lists/train.txt", "training list", SITE)])
    assert "There is no" in found[0].problems[0]
    swapped = [Requirement("lists", "a list", SITE), Requirement("lists/train.txt", "images", SITE, "folder")]
    file, folder = check_requirements(toys, swapped)
    assert "is a folder, expected a file" in file.problems[0]
    assert "is a file, expected a folder" in folder.problems[0]


def test_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    assert misfit(tmp_path / "image.jpg") is None
    (tmp_path / "points.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    assert misfit(tmp_path / "points.mat") is None
    (tmp_path / "points.mat").write_bytes(b"x,y\n1,2\n")
    assert misfit(tmp_path / "points.mat") == "not a MATLAB file"
    with pytest.raises(BenchError, match="cannot be read"):
        misfit(tmp_path / "nothing")


class ToyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    whole: bool = True


class ToyDataset(LandmarkDataset):
    def __init__(self, folder: Path, split: str) -> None:
        from datasets.images import read_rgb  # noqa: PLC0415

        self.name, self.split, self.schema = "toys", split, LandmarkSchema(())
        self.info = ToyProvider.info
        self._read, self._file = read_rgb, folder / "images" / f"{int(split == 'test')}.png"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample(self._file.name, self._read(self._file), *no_landmarks())

    @property
    def ids(self) -> tuple[str, ...]:
        return (self._file.name,)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._file.read_bytes()).hexdigest()


class ToyProvider(DatasetProvider):
    name = "toys"
    summary = "toys"
    Options = ToyOptions
    needs_location = True
    info = DatasetInfo("Toys", "published", "for children only", "Santa 2020", "toy")

    def splits(self, location: str | None, options: BaseModel) -> tuple[str, ...]:
        return ("train", "test")

    def open(self, split: str, location: str | None, options: BaseModel) -> ToyDataset:
        return ToyDataset(Path(location or ""), split)

    def requirements(self, options: BaseModel) -> tuple[Requirement, ...]:
        assert isinstance(options, ToyOptions)
        return NEEDED if options.whole else ()


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: ToyProvider)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.usefixtures("_registered")
def test_verify_checks_files_then_images(toys: Path) -> None:
    done = call("verify", f"toys:{toys}", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [file["state"] for file in report["files"]] == ["sound", "sound", "sound", "absent", "sound"]
    assert [(s["images"], s["individuals"], s["problems"]) for s in report["splits"]] == [(1, 0, [])] * 2
    whole = (toys / "images" / "0.png").read_bytes()
    (toys / "images" / "0.png").write_bytes(whole[:100])
    done = call("verify", f"toys:{toys}", "--json", "--quiet")
    assert done.exit_code == 1
    assert "0.png is damaged" in json.loads(done.stdout)["splits"][0]["problems"][0]
    quick = call("verify", f"toys:{toys}", "--json", "--quick")
    assert quick.exit_code == 0
    assert json.loads(quick.stdout)["splits"][0]["annotated"] is None
    assert "annotation is" in call("verify", f"toys:{toys}", "--quick").stdout


@pytest.mark.usefixtures("_registered")
def test_verify_names_what_is_missing_and_stops_there(toys: Path) -> None:
    (toys / "lists" / "test.txt").unlink()
    done = call("verify", f"toys:{toys}", "--json", "--quiet")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["splits"] == []
    assert report["files"][1]["state"] == "missing"
    assert report["files"][1]["place"] == str(toys / "lists" / "test.txt")
    table = call("verify", f"toys:{toys}", "--quiet")
    assert "missing" in table.stdout
    assert SITE in table.stdout


@pytest.mark.usefixtures("_registered")
def test_a_name_alone_tells_what_is_needed() -> None:
    done = call("verify", "toys", "--json")
    assert done.exit_code == 1
    assert [file["state"] for file in json.loads(done.stdout)["files"]].count("missing") == 4
    shown = json.loads(call("show", "toys", "--json").stdout)
    assert (shown["licence"], shown["citation"]) == ("for children only", "Santa 2020")
    assert [file["path"] for file in shown["files"]] == [item.path for item in NEEDED]
    table = " ".join(call("show", "toys").stdout.split())
    assert "for children only" in table
    assert "toys:FOLDER" in table
    refused = call("verify", "toys", "-D", "whole=false")
    assert isinstance(refused.exception, BenchError)
    assert "needs a location" in str(refused.exception)
