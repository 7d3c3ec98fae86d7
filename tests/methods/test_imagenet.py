"""ImageNet's features against torchvision's own network; nothing here needs a network connection."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from bench.conversion import convert
from bench.errors import BenchError
from bench.network import NetworkRequest, open_network
from bench.progress import Progress
from methods import imagenet
from methods.imagenet import ImageNet, ImageNetOptions, fetch

CPU = torch.device("cpu")
QUIET = Progress.silent()


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: nn.Module = resnet18()
        network.train()(torch.rand(4, 3, 64, 64))  # moves the running statistics
        return network.eval()


@pytest.fixture
def released(classifier: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "resnet18-f37072fd.pth"
    torch.save(classifier.state_dict(), path)
    return path


def _stages(classifier: Any, images: Tensor) -> list[Tensor]:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean[:, None, None]) / std[:, None, None]
    x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(x))))
    stages = []
    for layer in (classifier.layer1, classifier.layer2, classifier.layer3, classifier.layer4):
        x = layer(x)
        stages.append(x)
    return stages


@pytest.mark.parametrize("features", ["hypercolumn", "conv4"])
def test_features_are_torchvisions(
    features: Literal["hypercolumn", "conv4"], classifier: nn.Module, released: Path
) -> None:
    conversion = convert([released], ImageNet(), [f"features={features}"])
    assert conversion.options == ImageNetOptions(backbone="resnet18", features=features)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    found = conversion.network.extract(images)
    with torch.no_grad():
        stages = _stages(classifier, images)
    expected = stages[::-1] if features == "hypercolumn" else [stages[2]]
    for level, stage in zip(found.levels, expected, strict=True):
        torch.testing.assert_close(level, stage, rtol=1e-4, atol=1e-5)
    assert found.size == ((48, 48) if features == "hypercolumn" else (6, 6))
    assert found.channels == (960 if features == "hypercolumn" else 256)
    assert found.normalisation == ("per_level" if features == "hypercolumn" else "joint")


def test_resnet50_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "resnet50-0676ba61.pth"
    torch.save(resnet50().state_dict(), path)
    conversion = convert([path], ImageNet())
    assert conversion.options == ImageNetOptions(backbone="resnet50")
    assert conversion.parts[0].translation.unused.keys() == {"fc.weight", "fc.bias"}
    # torchvision states 25,557,032 for the whole, of which 2048 x 1000 + 1000 are the classifier
    assert sum(p.numel() for p in conversion.network.parameters()) == 25_557_032 - 2_049_000


def test_files_of_old_torch_lack_counters(classifier: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in classifier.state_dict().items() if not k.endswith("num_batches_tracked")}
    path = tmp_path / "resnet18-5c106cde.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert len(convert([path], ImageNet()).counters) == 20


def test_another_network_of_torchvisions_is_refused(tmp_path: Path, classifier: nn.Module) -> None:
    path = tmp_path / "resnet34.pth"
    deeper = {**classifier.state_dict(), "layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}
    torch.save(deeper, path)
    with pytest.raises(BenchError, match=r"1 tensor without a place:\s+encoder\.layer1\.2\.conv1\.weight"):
        convert([path], ImageNet())


def _published(folder: Path, classifier: nn.Module) -> tuple[str, str]:
    """A file on a 'server', named by its hash; its URL and its name."""
    folder.mkdir()
    draft = folder / "draft.pth"
    torch.save(classifier.state_dict(), draft)
    name = f"resnet18-{hashlib.sha256(draft.read_bytes()).hexdigest()[:8]}.pth"
    draft.rename(folder / name)
    return (folder / name).as_uri(), name


def test_the_file_is_fetched_once(
    classifier: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, name = _published(tmp_path / "server", classifier)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(imagenet._URLS, "resnet18", url)
    request = NetworkRequest(ImageNet(), options=["backbone=resnet18"])
    assert not request.is_at_hand
    network = open_network(request, CPU, QUIET)
    assert network.label == f"released checkpoint {name} (torchvision)"
    (tmp_path / "server" / name).unlink()
    assert open_network(request, CPU, QUIET).sha256 == network.sha256
    given = NetworkRequest(ImageNet(), checkpoint=tmp_path / "cache" / "released" / name)
    assert given.is_at_hand
    assert open_network(given, CPU, QUIET).sha256 == network.sha256


def test_without_a_network_the_way_by_hand_is_told(tmp_path: Path) -> None:
    url = (tmp_path / "nowhere" / "resnet50-0676ba61.pth").as_uri()
    with pytest.raises(BenchError) as caught:
        fetch(url, tmp_path / "cache", QUIET)
    assert url in str(caught.value)
    assert "--checkpoint resnet50-0676ba61.pth" in str(caught.value)
    assert not list((tmp_path / "cache").glob("resnet*"))


def test_another_file_than_the_published_is_not_kept(classifier: nn.Module, tmp_path: Path) -> None:
    url, name = _published(tmp_path / "server", classifier)
    with (tmp_path / "server" / name).open("ab") as stream:
        stream.write(b"!")
    with pytest.raises(BenchError, match="another file than torchvision published"):
        fetch(url, tmp_path / "cache", QUIET)
    assert not list((tmp_path / "cache").glob("resnet*"))


def test_the_published_addresses_name_their_hashes() -> None:
    assert [url.rpartition("/")[2] for url in imagenet._URLS.values()] == [
        "resnet18-f37072fd.pth",
        "resnet50-0676ba61.pth",
    ]
