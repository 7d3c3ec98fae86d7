"""CelebA: hand-checked coordinates, who is in which split, every kind of damage, the official pipeline's numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data_requirements import check_requirements
from bench.errors import BenchError
from bench.loading import PREPROCESSINGS, load_split
from datasets.celeba import CelebaOptions, CelebaProvider, CelebaWildProvider
from datasets.celeba_family import CelebaCopy
from datasets.celeba_folder import FolderOptions
from datasets.mafl import MaflProvider
from tests.datasets.celeba_tree import (
    ALIGNED,
    BOX,
    HEADER,
    WILD,
    headed,
    name,
    open_split,
    picture,
    write_tree,
)
from tests.goldens import SHARED, golden

MEAN = np.array([0.5084, 0.4224, 0.3769])[:, None, None]
STD = np.array([0.2599, 0.2371, 0.2323])[:, None, None]

pytestmark = pytest.mark.usefixtures("own_cache")


def fixture(*parts: str) -> Path:
    path = SHARED.joinpath("fixtures", *parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} does not lie beside this checkout")
    return path


def ids(provider: CelebaProvider | CelebaWildProvider | MaflProvider, root: Path, split: str) -> list[int]:
    return [int(i[:6]) for i in open_split(provider, root, split).ids]


def test_published_rows_in_torchvisions_flat_layout(tmp_path: Path) -> None:
    root = tmp_path / "celeba"
    shutil.copytree(fixture("celeba_synthetic"), root)
    (root / "img_align_celeba").mkdir()
    picture(1, 178, 218).save(root / "img_align_celeba" / "000001.jpg", "PNG")
    dataset = open_split(CelebaProvider(), root, "train")
    assert dataset.ids == ("000001.jpg", "000002.jpg")
    sample = dataset[0]
    # 69 109 and 108 154 of the list: half a pixel more, 30 rows less
    expected = [[69.5, 79.5], [106.5, 83.5], [77.5, 112.5], [73.5, 122.5], [108.5, 124.5]]
    assert sample.points.tolist() == expected
    assert sample.visible.all()
    assert sample.identity == "2880"
    stored = torch.from_numpy(np.array(picture(1, 178, 218))).permute(2, 0, 1)
    assert torch.equal(sample.image, stored[:, 30:208])
    whole = open_split(CelebaProvider(), root, "train", "crop=whole")[0]
    assert torch.equal(whole.image, stored)
    assert whole.points[0].tolist() == [69.5, 109.5]
    assert dataset.schema.names == ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    assert dataset.schema.normaliser == ((0,), (1,))
    assert dataset.schema.flip_indices == (1, 0, 2, 4, 3)
    assert (dataset.info.tier, dataset.info.category) == ("published", "human face")
    with pytest.raises(BenchError, match=r"000002\.jpg is missing"):
        dataset[1]


def test_in_the_wild_whole_images_with_boxes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0, 1, 2], images=True)
    sample = open_split(CelebaWildProvider(), root, "test")[0]
    assert sample.id == "000003.jpg"
    assert sample.image.shape == (3, 687, 409)
    assert sample.points[[0, 4]].tolist() == [[165.5, 184.5], [266.5, 260.5]]
    assert sample.box is not None
    x, y, width, height = BOX
    assert sample.box.tolist() == [x, y, x + width, y + height]


def test_pretraining_leaves_mafl_out(tmp_path: Path) -> None:
    partition = [0, 0, 0, 0, 1, 1, 2, 2, 2, 0]
    root = write_tree(tmp_path / "celeba", partition, training=[4, 2, 8], testing=[10, 5])
    for provider in (CelebaProvider(), CelebaWildProvider()):
        assert ids(provider, root, "train") == [1, 2, 3, 4, 10]
        assert ids(provider, root, "val") == [5, 6]
        assert ids(provider, root, "test") == [7, 8, 9]
        assert ids(provider, root, "pretrain") == [1, 3]
        assert ids(provider, root, "dve-val") == [7, 9]
        assert provider.pretraining_splits(str(root), provider.Options()) == ("pretrain",)
    # CelebA's order, not the list's
    assert ids(MaflProvider(), root, "train") == [2, 4, 8]
    assert ids(MaflProvider(), root, "test") == [5, 10]
    assert ids(MaflProvider(), root, "pretrain") == [1, 3]


def test_published_sizes_with_the_real_mafl_lists(tmp_path: Path) -> None:
    lists = fixture("mafl")
    numbers = range(1, 202_600)
    (tmp_path / "img_align_celeba").mkdir()
    shutil.copytree(lists, tmp_path / "MAFL")
    parts = "".join(f"{name(i)} {(i > 162_770) + (i > 162_770 + 19_867)}\r\n" for i in numbers)
    (tmp_path / "list_eval_partition.txt").write_bytes(parts.encode())
    # Its published digest says that this is the published list, byte for byte.
    needed = {Path(item.path).name: item for item in CelebaProvider().requirements(CelebaOptions())}
    chosen = [needed[file] for file in ("list_eval_partition.txt", "training.txt", "testing.txt")]
    found = check_requirements(tmp_path, chosen)
    assert [(check.state, check.notes) for check in found] == [("sound", [])] * 3
    (tmp_path / "list_eval_partition.txt").write_text(parts.replace("\r\n", "\n"))
    assert "other line ends" in check_requirements(tmp_path, chosen[:1])[0].notes[0]
    row = "  ".join(map(str, ALIGNED))
    body = "".join(f"{name(i)}  {row}\n" for i in numbers)
    (tmp_path / "list_landmarks_align_celeba.txt").write_text(f"202599\n{HEADER}\n{body}")
    training, testing = ((lists / f"{part}ing.txt").read_text().split() for part in ("train", "test"))
    copy = CelebaCopy(tmp_path, "aligned", FolderOptions())
    assert [len(copy.partition(part)) for part in (0, 1, 2)] == [162_770, 19_867, 19_962]
    names = np.array(copy.index.names)
    assert names[copy.mafl("training.txt")].tolist() == sorted(training)
    assert names[copy.mafl("testing.txt")].tolist() == sorted(testing)
    assert (len(training), len(testing)) == (19_000, 1_000)
    pretraining = set(names[copy.pretraining()].tolist())
    assert len(pretraining) == 162_770 - sum(int(i[:6]) <= 162_770 for i in training + testing) == 146_501
    assert not pretraining.intersection(training + testing)
    testing_part = [name(i) for i in range(182_638, 202_600)]
    known = set(training + testing)
    assert names[copy.dve_validation()].tolist() == [i for i in testing_part if i not in known][:2_000]


def _official(tmp_path: Path) -> tuple[dict[str, np.ndarray], Path]:
    """The tree of the golden vectors, shortened to the two images whose pixels they hold."""
    f = golden("dve/f_pipeline.npz")
    raw = golden("dve/d2_matching_e2e.npz")
    assert raw["image_ids"][0] == 20
    points = {
        20: raw["landmarks_raw"][0].ravel().tolist(),
        5: [73, 112, 110, 114, 93, 129, 73, 153, 108, 154],
    }
    root = write_tree(tmp_path / "celeba", [0] * 20, training=[5], testing=[20], aligned=points)
    for number, split in ((20, "test"), (5, "train")):
        stored = Image.fromarray(f[f"mafl_100_15_{split}__image0_u8"])
        stored.save(root / "Img" / "img_align_celeba" / name(number), "PNG")
    return f, root


@pytest.mark.parametrize(("tag", "preprocessing"), [("100_15", "dve-70"), ("136_20", "contrast-96")])
def test_the_official_pipelines_pixels_and_points(tag: str, preprocessing: str, tmp_path: Path) -> None:
    f, root = _official(tmp_path)
    for split in ("train", "test"):
        dataset = open_split(MaflProvider(), root, split)
        loaded = load_split(dataset, PREPROCESSINGS[preprocessing]).cropped()
        assert loaded.ids == (f[f"mafl_{tag}_{split}__first_files"][0],)
        # theirs have their origin at the centre of the first pixel
        found = loaded.points[0].numpy() - 0.5
        np.testing.assert_allclose(found, f[f"mafl_{tag}_{split}__kp0"], atol=1e-4)
        pixels = (loaded.images[0].numpy() / 255 - MEAN) / STD
        expected = f[f"mafl_{tag}_{split}__data0_s3"]
        np.testing.assert_allclose(pixels[:, ::3, ::3], expected, atol=0.0175)
        assert np.mean(np.abs(pixels[:, ::3, ::3] - expected) < 1e-4) > 0.9


def test_fingerprint_follows_what_can_change_a_result(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0, 0, 2], images=True)
    original = open_split(CelebaProvider(), root, "train").fingerprint
    assert open_split(CelebaProvider(), root, "train").fingerprint == original
    shutil.copytree(root, tmp_path / "copy")
    assert open_split(CelebaProvider(), tmp_path / "copy", "train").fingerprint == original
    prints = [open_split(CelebaProvider(), root, "train", "crop=whole").fingerprint]
    picture(99, 178, 218).save(root / "Img" / "img_align_celeba" / name(2), "PNG")
    prints.append(open_split(CelebaProvider(), root, "train").fingerprint)
    (root / "Anno" / "identity_CelebA.txt").unlink()
    prints.append(open_split(CelebaProvider(), root, "train").fingerprint)
    assert len({original, *prints}) == 4


def test_images_of_another_kind_are_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0, 0], images=True)
    picture(1, 409, 687).save(root / "Img" / "img_align_celeba" / name(1), "PNG")
    (root / "Img" / "img_align_celeba" / name(2)).write_text("<html>quota</html>")
    dataset = open_split(CelebaProvider(), root, "train")
    with pytest.raises(BenchError, match=r"000001\.jpg is 409 x 687, aligned CelebA images are 178 x 218"):
        dataset[0]
    with pytest.raises(BenchError, match=r"000002\.jpg is not an image"):
        dataset[1]


Damage = Callable[[Path], None]


def rewrite(file: str, change: Callable[[str], str]) -> Damage:
    def apply(root: Path) -> None:
        (root / file).write_text(change((root / file).read_text()))

    return apply


def drop_line(number: int) -> Callable[[str], str]:
    return lambda text: "".join(line for i, line in enumerate(text.splitlines(True), 1) if i != number)


def columns(order: Sequence[int]) -> Callable[[str], str]:
    """The landmark list with its numbers in another order."""
    return lambda text: headed({i: [ALIGNED[k] for k in order] for i in range(1, 13)}, HEADER)


POINTS, PARTITION = "Anno/list_landmarks_align_celeba.txt", "Eval/list_eval_partition.txt"
DAMAGE: dict[str, tuple[Damage, list[str]]] = {
    "a web page": (
        rewrite(POINTS, lambda text: "<!DOCTYPE html><html>quota exceeded</html>"),
        ["list_landmarks_align_celeba.txt is a web page", "mmlab.ie.cuhk.edu.hk"],
    ),
    "an empty list": (rewrite(POINTS, lambda text: ""), ["is an empty file"]),
    "a row lost": (rewrite(POINTS, drop_line(5)), ["announces 12 rows and has 11", "incomplete"]),
    "no head": (rewrite(POINTS, lambda text: text.split("\n", 2)[2]), ["expected the number of its rows"]),
    "a csv": (
        rewrite(POINTS, lambda text: text.replace("lefteye_x lefteye_y", "image_id,lefteye_x,lefteye_y")),
        ["line 2", "image_id,lefteye_x"],
    ),
    "a cell lost": (
        rewrite(POINTS, lambda text: text.replace(" 109", "", 1)),
        ["line 3: 10 fields, expected 11"],
    ),
    "a word": (
        rewrite(POINTS, lambda text: text.replace("109", "1O9", 1)),
        ["line 3: '1O9' is not a number"],
    ),
    "not a number": (rewrite(POINTS, lambda text: text.replace("109", "nan", 1)), ["'nan' is not a number"]),
    "axes swapped": (rewrite(POINTS, columns([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])), ["x and y are swapped"]),
    "all x, then all y": (
        rewrite(POINTS, columns([0, 2, 4, 6, 8, 1, 3, 5, 7, 9])),
        ["five points in their order"],
    ),
    "left and right exchanged": (
        rewrite(POINTS, columns([2, 3, 0, 1, 4, 5, 8, 9, 6, 7])),
        ["left and right are exchanged"],
    ),
    "the list in the wild": (
        rewrite(POINTS, lambda text: headed(dict.fromkeys(range(1, 13), WILD), HEADER)),
        ["12 images are outside 178 x 218", "list_landmarks_celeba.txt under this name"],
    ),
    "other images": (
        rewrite(POINTS, lambda text: text.replace("000004", "000044")),
        ["row 4 is '000044.jpg'"],
    ),
    "a partition of 4": (
        rewrite(PARTITION, lambda text: text.replace("4.jpg 0", "4.jpg 4")),
        ["line 4: partition 4, expected 0"],
    ),
    "an image twice": (
        rewrite(PARTITION, lambda text: text.replace("000004", "000003")),
        ["'000003.jpg' twice"],
    ),
    "a partition cut short": (rewrite(PARTITION, drop_line(12)), ["has 12 images", "has 11"]),
    "identities cut short": (rewrite("Anno/identity_CelebA.txt", drop_line(12)), ["has 11 images"]),
    "overlapping MAFL lists": (
        rewrite("MAFL/testing.txt", lambda text: text + "\n000002.jpg"),
        ["1 images are in both training.txt and testing.txt", "'000002.jpg'"],
    ),
    "a stranger in MAFL": (
        rewrite("MAFL/testing.txt", lambda text: text + "\n999999.jpg"),
        ["names 1 images that CelebA does not list", "'999999.jpg'"],
    ),
    "MAFL missing": (lambda root: (root / "MAFL/testing.txt").unlink(), ["testing.txt is missing", "TCDCN"]),
    "images missing": (
        lambda root: shutil.rmtree(root / "Img" / "img_align_celeba"),
        ["has no folder of aligned CelebA images", "Img/img_align_celeba"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_at_opening(damage: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0] * 6 + [1] * 3 + [2] * 3, training=[2, 7], testing=[3])
    assert ids(CelebaProvider(), root, "pretrain") == [1, 4, 5, 6]
    apply, words = DAMAGE[damage]
    apply(root)
    with pytest.raises(BenchError) as caught:
        open_split(CelebaProvider(), root, "pretrain")
    for word in words:
        assert word in str(caught.value)


def test_published_counts_are_insisted_on(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0, 1, 2])
    with pytest.raises(BenchError, match=r"published list has \(162770, 19867, 19962\)") as caught:
        open_split(CelebaProvider(), root, "train", counts=True)
    assert "check_counts=false" in str(caught.value)


def test_line_ends_of_other_systems_are_no_damage(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "celeba", [0, 1, 2], training=[1], testing=[2])
    before = open_split(CelebaProvider(), root, "train")
    for file in (POINTS, PARTITION, "MAFL/training.txt"):
        (root / file).write_bytes(
            b"\xef\xbb\xbf" + (root / file).read_bytes().replace(b"\n", b" \r\n") + b"\r\n"
        )
    after = open_split(CelebaProvider(), root, "train")
    assert after.ids == before.ids
    assert ids(MaflProvider(), root, "train") == [1]
