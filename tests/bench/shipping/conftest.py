"""A finished training of the method, and the package that it ships from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.shipping import ship
from tests.bench.shipping.world import Shipping, train
from tests.bench.test_registry import distribute
from tests.bench.world import write_faces


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The method as another distribution would bring it."""
    site = tmp_path_factory.mktemp("site")
    distribute(site, "shipping-methods", {"methods": {"honest": f"{Shipping.__module__}:Shipping"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the method lies, with nothing shipped yet."""
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(Shipping, "package", package, raising=False)
    return package


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("world") / "faces")


@pytest.fixture(scope="module")
def trained_once(faces: Path, registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(faces, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A finished training, to be changed at will."""
    return shutil.copytree(trained_once, tmp_path / "trained")


@pytest.fixture
def weights_folder(trained: Path, package: Path) -> Path:
    ship([trained])
    return package / "weights"
