"""MAFL in the wild and unaligned: cuts by hand, factors that depend on nothing but seed and image, damage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from datasets.mafl import BoxCuts, MaflProvider, MaflUnalignedProvider, MaflWildProvider
from tests.datasets.celeba_tree import BOX, WILD, headed, name, open_split, picture, write_tree

BOXES = "Anno/list_bbox_celeba.txt"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "celeba", [0] * 10 + [2] * 4, training=range(1, 11), testing=[11, 12])


def write_boxes(root: Path, rows: dict[int, list[int]]) -> None:
    complete = {i: rows.get(i, BOX) for i in range(1, 15)}
    (root / BOXES).write_text(headed(complete, "image_id x_1 y_1 width height"))


def factors(dataset: object) -> Mapping[str, float]:
    assert isinstance(dataset, BoxCuts)
    return dataset.zoom_factors


def test_validation_is_the_last_tenth_in_celebas_order(root: Path) -> None:
    (root / "MAFL" / "training.txt").write_text("\n".join(name(i) for i in (9, 3, 10, 1, 2, 8, 4, 7, 6, 5)))
    provider = MaflProvider()
    assert open_split(provider, root, "val").ids == ("000010.jpg",)
    assert open_split(provider, root, "imm-train").ids == tuple(name(i) for i in range(1, 10))
    assert open_split(provider, root, "train").ids == tuple(name(i) for i in range(1, 11))
    assert provider.evaluation_splits(str(root), provider.Options()) == ("train", "test")


def test_a_cut_by_hand(root: Path) -> None:
    # centre (160, 200), 100 x 200 pixels; with factor 1.5 the edges are 85, 50, 235, 350
    write_boxes(root, {11: [110, 100, 100, 200]})
    stored = picture(11, 409, 687)
    stored.save(root / "Img" / "img_celeba" / name(11), "PNG")
    sample = open_split(MaflWildProvider(), root, "test", "enlarge=[1.5,1.5]")[0]
    pixels = torch.from_numpy(np.array(stored)).permute(2, 0, 1)
    assert torch.equal(sample.image, pixels[:, 50:350, 85:235])
    # left eye 165 184, right eye 244 176 of the list: the right eye is right of the cut
    assert sample.points[0].tolist() == [165.5 - 85, 184.5 - 50]
    assert sample.visible.tolist() == [True, False, True, True, False]
    assert sample.box is not None
    assert sample.box.tolist() == [25, 50, 125, 250]


def test_a_cut_beyond_the_photograph_is_black_there(root: Path) -> None:
    write_boxes(root, {11: [-10, 500, 61, 300]})  # edges -10, 500, 51, 800 of a photograph of 409 x 687
    stored = picture(11, 409, 687)
    stored.save(root / "Img" / "img_celeba" / name(11), "PNG")
    sample = open_split(MaflWildProvider(), root, "test", "enlarge=[1,1]")[0]
    pixels = torch.from_numpy(np.array(stored)).permute(2, 0, 1)
    expected = torch.zeros(3, 300, 61, dtype=torch.uint8)
    expected[:, :187, 10:] = pixels[:, 500:, :51]
    assert torch.equal(sample.image, expected)


def test_factors_are_those_of_the_papers_and_the_images_own(root: Path) -> None:
    wild = factors(open_split(MaflWildProvider(), root, "train"))
    assert all(1.1 <= factor <= 1.2 for factor in wild.values())
    assert len(set(wild.values())) == 10
    assert factors(open_split(MaflWildProvider(), root, "val")) == {name(10): wild[name(10)]}
    assert factors(open_split(MaflWildProvider(), root, "train", "seed=1")) != wild
    zooms = factors(open_split(MaflUnalignedProvider(), root, "train"))
    assert all(1 <= factor <= 1.5 for factor in zooms.values())
    (root / "MAFL" / "testing.txt").write_text("\n".join(name(i) for i in range(1, 11)))
    (root / "MAFL" / "training.txt").write_text(name(12))
    tested = factors(open_split(MaflUnalignedProvider(), root, "test"))
    assert max(tested.values()) > 1.5
    # one draw per image, stretched to the range of its split
    np.testing.assert_allclose(
        [tested[i] - 1 for i in tested], [2 * (zooms[i] - 1) for i in tested], rtol=1e-12
    )


def test_pretraining_sees_whole_photographs_outside_mafl(root: Path) -> None:
    (root / "MAFL" / "training.txt").write_text(name(2))
    for provider in (MaflWildProvider(), MaflUnalignedProvider()):
        dataset = open_split(provider, root, "pretrain")
        assert dataset.ids == tuple(name(i) for i in range(1, 11) if i != 2)
        picture(1, 409, 687).save(root / "Img" / "img_celeba" / name(1), "PNG")
        sample = dataset[0]
        assert sample.image.shape == (3, 687, 409)
        assert sample.points[0].tolist() == [WILD[0] + 0.5, WILD[1] + 0.5]


def test_fingerprint_follows_the_cut(root: Path) -> None:
    for i in (11, 12):
        picture(i, 409, 687).save(root / "Img" / "img_celeba" / name(i), "PNG")
    prints = {
        open_split(MaflWildProvider(), root, "test", *items).fingerprint
        for items in ([], ["seed=1"], ["enlarge=[1.1,1.3]"])
    }
    prints.add(open_split(MaflUnalignedProvider(), root, "test", "zoom_test=[1.1,1.2]").fingerprint)
    assert len(prints) == 4


def test_damage_is_told(root: Path) -> None:
    write_boxes(root, {11: [95, 71, 0, 313]})
    with pytest.raises(BenchError, match=r"1 images of mafl-wild 'test' have an empty face box.*000011"):
        open_split(MaflWildProvider(), root, "test")
    write_boxes(root, {11: [400, 100, 100, 200]})
    picture(11, 178, 218).save(root / "Img" / "img_celeba" / name(11), "PNG")
    dataset = open_split(MaflWildProvider(), root, "test")
    with pytest.raises(BenchError, match=r"outside the image of 178 x 218") as caught:
        dataset[0]
    assert "not to the aligned ones" in str(caught.value)
    (root / BOXES).write_text((root / BOXES).read_text().replace("width height", "x_2 y_2"))
    with pytest.raises(BenchError, match=r"columns image_id x_1 y_1 x_2 y_2, expected x_1 y_1 width height"):
        open_split(MaflWildProvider(), root, "test")
    (root / BOXES).unlink()
    with pytest.raises(BenchError, match=r"list_bbox_celeba\.txt is missing"):
        open_split(MaflUnalignedProvider(), root, "test")
    # the aligned set needs none
    assert len(open_split(MaflProvider(), root, "test")) == 2


@pytest.mark.parametrize("item", ["enlarge=[1.2,1.1]", "enlarge=[0,1]", "enlarge=[1]", "seed=-1"])
def test_options_that_cannot_work(item: str, root: Path) -> None:
    with pytest.raises(BenchError, match=item.partition("=")[0]):
        open_split(MaflWildProvider(), root, "test", item)


def test_sizes_are_insisted_on(root: Path) -> None:
    with pytest.raises(BenchError, match="published list"):
        open_split(MaflProvider(), root, "test", counts=True)
