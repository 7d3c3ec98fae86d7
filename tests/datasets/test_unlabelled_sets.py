"""Sets without landmarks: iNaturalist Aves, MNIST, UT Zappos50K, Extended Yale B."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel

from bench.errors import BenchError
from bench.landmarks import DatasetProvider, LandmarkDataset
from bench.options import parse_options
from datasets.inat import InatProvider
from datasets.mnist import MnistProvider
from datasets.yaleb import YaleBDataset, YaleBProvider
from datasets.zappos import ZapposProvider, framed

SMALL = "check_counts=false"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def open_split(provider: DatasetProvider, folder: Path, split: str, *items: str) -> LandmarkDataset:
    options: BaseModel = parse_options(provider.Options, items, f"data set {provider.name!r}")
    return provider.open(split, str(folder), options)


def refused(provider: DatasetProvider, folder: Path, split: str, *items: str) -> str:
    with pytest.raises(BenchError) as caught:
        open_split(provider, folder, split, *items)
    return str(caught.value)


def picture(path: Path, colour: int, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 0)).save(path)


# ---- iNaturalist


def write_birds(folder: Path) -> list[str]:
    birds = [f"Aves/{species}/{i}.jpg" for species in ("Turdus merula", "Pica pica") for i in range(3)]
    for i, bird in enumerate(birds):
        picture(folder / "train_val_images" / bird, i)
    names = [*birds, "Insecta/Apis mellifera/0.jpg", "Aves_like/x/0.jpg"]
    images = [{"id": i, "file_name": f"train_val_images/{name}", "width": 9} for i, name in enumerate(names)]
    (folder / "train2017.json").write_text(json.dumps({"images": images, "annotations": []}))
    (folder / "aves_100k.txt").write_text(f"train_val_images/{birds[4]}\n{birds[0]}\n")
    return birds


def test_birds_by_list_by_draw_and_all(tmp_path: Path) -> None:
    birds = write_birds(tmp_path)
    listed = open_split(InatProvider(), tmp_path, "pretrain", SMALL)
    assert listed.ids == (birds[4], birds[0])
    sample = listed[0]
    assert (sample.points.shape, sample.visible.shape) == ((0, 2), (0,))
    assert int(sample.image[0, 0, 0]) == pytest.approx(4, abs=3)
    everything = open_split(InatProvider(), tmp_path, "pretrain", SMALL, "images=all")
    assert everything.ids == tuple(sorted(birds))
    drawn = open_split(InatProvider(), tmp_path, "pretrain", SMALL, "images=draw", "draw_count=4").ids
    assert len(drawn) == 4
    assert set(drawn) < set(birds)
    assert open_split(InatProvider(), tmp_path, "pretrain", SMALL, "images=draw", "draw_count=4").ids == drawn
    options = InatProvider.Options()
    assert InatProvider().pretraining_splits(None, options) == ("pretrain",)
    with pytest.raises(BenchError, match="has no landmarks"):
        InatProvider().evaluation_splits(None, options)


def test_damaged_birds(tmp_path: Path) -> None:
    write_birds(tmp_path)
    birds = InatProvider()
    assert "found 2, published 100,000" in refused(birds, tmp_path, "pretrain")
    assert "found 6, published 214,295" in refused(birds, tmp_path, "pretrain", "images=all")
    assert "has 6 images of Aves" in refused(birds, tmp_path, "pretrain", SMALL, "images=draw")
    (tmp_path / "aves_100k.txt").write_text("train_val_images/Insecta/Apis mellifera/0.jpg\n")
    assert "line 1: 'train_val_images/Insecta/" in refused(birds, tmp_path, "pretrain", SMALL)
    (tmp_path / "aves_100k.txt").write_text("Aves/../../secret.jpg\n")
    assert "is no image of Aves" in refused(birds, tmp_path, "pretrain", SMALL)
    (tmp_path / "aves_100k.txt").write_text("Aves/a/0.jpg\nAves/a/0.jpg\n")
    assert "lists 'Aves/a/0.jpg' twice" in refused(birds, tmp_path, "pretrain", SMALL)
    (tmp_path / "aves_100k.txt").unlink()
    message = refused(birds, tmp_path, "pretrain")
    assert "cvl-umass/contrast-landmark" in message
    assert "images=draw" in message
    (tmp_path / "train2017.json").write_text('{"images": [{"id": 1}]}')
    assert "images.0.file_name" in refused(birds, tmp_path, "pretrain", "images=all")
    (tmp_path / "train2017.json").write_text('{"images": [')
    assert "no annotation of iNaturalist" in refused(birds, tmp_path, "pretrain", "images=all")
    (tmp_path / "train2017.json").write_text("<html>")
    assert "web page" in refused(birds, tmp_path, "pretrain", "images=all")


# ---- MNIST


def idx(values: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    labels = np.arange(20) % 4
    for part, rows in (("train", slice(0, 16)), ("t10k", slice(16, 20))):
        for name, values in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    return images, labels


@pytest.mark.parametrize("place", [".", "MNIST/raw"])
def test_digits(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    images, _ = write_digits(tmp_path / place)
    items = (SMALL, "validation=1")
    train = open_split(MnistProvider(), tmp_path, "train", *items)
    # Digit 3 is every fourth image; the last of the training file is held out.
    assert train.ids == ("train/00003", "train/00007", "train/00011")
    assert open_split(MnistProvider(), tmp_path, "val", *items).ids == ("train/00015",)
    assert open_split(MnistProvider(), tmp_path, "test", *items, "digit=1").ids == ("t10k/00001",)
    stored = open_split(MnistProvider(), tmp_path, "train", *items, "frame=stored")
    assert stored.fingerprint != train.fingerprint
    np.testing.assert_array_equal(stored[1].image.numpy(), np.repeat(images[7][None], 3, axis=0))
    image = train[1].image
    assert image.shape == (3, 45, 45)
    inner = image[:, 5:40, 5:40]
    assert int(image.sum(dtype=torch.int64)) == int(inner.sum(dtype=torch.int64))
    # Pillow's bilinear filter, another implementation of the same enlargement.
    expected = np.asarray(
        Image.fromarray(images[7]).resize((35, 35), Image.Resampling.BILINEAR), dtype=np.int64
    )
    assert np.abs(inner[0].numpy().astype(np.int64) - expected).max() <= 1


def test_damaged_digits(tmp_path: Path) -> None:
    write_digits(tmp_path)
    digits = MnistProvider()
    items = (SMALL, "validation=1")
    assert "found 16, published 60,000" in refused(digits, tmp_path, "train")
    assert "found 4, published 10,000" in refused(digits, tmp_path, "test")
    assert "validation=9 of 4 images of digit 3" in refused(digits, tmp_path, "train", SMALL, "validation=9")
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    assert "begins with 00 00 08 03, expected 00 00 08 01" in refused(digits, tmp_path, "train", *items)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-3]))
    assert "announces (16,) values and holds 13" in refused(digits, tmp_path, "train", *items)
    path.write_bytes(gzip.compress(idx(np.zeros(15))))
    assert "has 15 labels for 16 images" in refused(digits, tmp_path, "train", *items)
    path.write_bytes(whole[:-9])
    assert "is damaged" in refused(digits, tmp_path, "train", *items)
    path.write_text("<html>moved</html>")
    assert "web page" in refused(digits, tmp_path, "train", *items)
    path.unlink()
    assert "train-labels-idx1-ubyte.gz is missing" in refused(digits, tmp_path, "train", *items)


# ---- UT Zappos50K


def write_shoes(folder: Path) -> list[str]:
    shoes = [
        f"{category}/Any/Brand/{i}.jpg"
        for category in ("Boots", "Sandals", "Shoes", "Slippers")
        for i in (1, 2)
    ]
    for i, shoe in enumerate(shoes):
        picture(folder / "ut-zap50k-images-square" / shoe, 20 * i)
    return sorted(shoes)


def test_shoes(tmp_path: Path) -> None:
    shoes = write_shoes(tmp_path)
    items = (SMALL, "validation=3")
    train, val = (open_split(ZapposProvider(), tmp_path, split, *items) for split in ("train", "val"))
    assert (len(train), len(val)) == (5, 3)
    assert sorted(train.ids + val.ids) == shoes
    image = train[0].image
    assert image.shape == (3, 94, 94)
    assert (
        image[:, :15].min() == image[:, :, :15].min() == image[:, 79:].min() == image[:, :, 79:].min() == 255
    )
    stored = open_split(ZapposProvider(), tmp_path, "train", *items, "frame=stored")
    assert torch.equal(stored[0].image, image[:, 15:79, 15:79])


def test_oblong_shoes_are_padded_with_white() -> None:
    image = torch.zeros(3, 32, 64, dtype=torch.uint8)
    framed_image = framed(image)
    assert framed_image.shape == (3, 94, 94)
    # 64 x 64 with 16 white rows above and below the shoe, then 15 pixels all round.
    assert not framed_image[:, 31:63, 15:79].any()
    assert framed_image[:, :31].min() == framed_image[:, 63:].min() == 255
    assert framed(image.mT.contiguous())[0, 47, 31:63].sum() == 0


def test_damaged_shoes(tmp_path: Path) -> None:
    write_shoes(tmp_path)
    shoes = ZapposProvider()
    assert "found 8, published 50,025" in refused(shoes, tmp_path, "train")
    assert "leaves nothing to train on" in refused(shoes, tmp_path, "train", SMALL)
    inner = tmp_path / "ut-zap50k-images-square"
    assert f"Give the folder above: zappos:{tmp_path}" in refused(shoes, inner, "train")
    (inner / "Boots").rename(tmp_path / "elsewhere")
    assert "lacks Boots" in refused(shoes, tmp_path, "train")
    message = refused(shoes, tmp_path, "train", "images=ut-zap50k-images")
    assert "vision.cs.utexas.edu" in message


# ---- Extended Yale B


def write_people(folder: Path) -> None:
    lights = ("+000E+00", "-005E+10", "+130E-20")
    for person in ("yaleB01", "yaleB02", "yaleB39"):
        for i, light in enumerate(lights):
            picture(folder / "CroppedYale" / person / f"{person}_P00A{light}.pgm", 30 * i, (168, 192))
        picture(folder / "CroppedYale" / person / f"{person}_P00_Ambient.pgm", 9)
        (folder / "CroppedYale" / person / f"{person}_P00A+035E+65.pgm.bad").write_bytes(b"")


def test_people_and_pairs(tmp_path: Path) -> None:
    write_people(tmp_path)
    items = (SMALL, 'held_out=["yaleB39"]')
    train = open_split(YaleBProvider(), tmp_path, "train", *items)
    test = open_split(YaleBProvider(), tmp_path, "test", *items)
    assert isinstance(train, YaleBDataset)
    assert len(train) == 6
    assert test.ids[0] == "yaleB39/yaleB39_P00A+000E+00.pgm"
    assert {sample.identity for sample in train} == {"yaleB01", "yaleB02"}
    assert {sample.identity for sample in test} == {"yaleB39"}
    assert train[0].image.shape == (3, 192, 168)
    assert train.pairs() == ((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5))


def test_damaged_people(tmp_path: Path) -> None:
    write_people(tmp_path)
    people = YaleBProvider()
    assert "people in" in refused(people, tmp_path, "train")
    assert "found 3, published 38" in refused(people, tmp_path, "train")
    assert "yaleB38" in refused(people, tmp_path, "train", SMALL)
    assert "Give the folder above" in refused(people, tmp_path / "CroppedYale", "train")
    folder = tmp_path / "CroppedYale"
    stray = folder / "yaleB01" / "yaleB02_P00A+050E+00.pgm"
    picture(stray, 1)
    assert "lies in the folder of another person" in refused(people, tmp_path, "train", SMALL)
    stray.unlink()
    broken = folder / "yaleB01" / "yaleB01_P00A+000E+00.pgm"
    broken.write_bytes(broken.read_bytes()[:100])
    dataset = open_split(people, tmp_path, "train", SMALL, 'held_out=["yaleB39"]')
    with pytest.raises(BenchError, match=r"yaleB01_P00A\+000E\+00\.pgm"):
        dataset[0]
