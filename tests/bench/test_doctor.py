"""``bench doctor`` finds what is wrong, says what to do, and passes what is sound."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import bench.doctor.environment
from bench import registry
from bench.cli import app
from bench.doctor import Finding
from bench.doctor.environment import environment
from bench.doctor.holdings import caches, data, records, weights
from bench.doctor.methods import methods
from bench.errors import BenchError
from bench.method import Preset
from bench.progress import Progress
from bench.store import RunStore
from tests.bench.conforming import TRAINING, Honest
from tests.bench.nonconforming import UnderstatesItsRadius
from tests.records import metric, record


class Rehearsing(Honest):
    """Declares how it is made small."""

    name = "rehearsing"
    rehearsal: ClassVar[Preset | None] = Preset("For the conformance suite.", recipe=TRAINING)


class Dishonest(Rehearsing):
    name = "dishonest"
    rehearsal = Preset("Nothing is trained: what it fails has been seen by then.")
    network = UnderstatesItsRadius


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_CACHE_LIMIT", "1GB")
    monkeypatch.setenv("BENCH_FEATURE_CACHE_LIMIT", "0")
    return tmp_path / "cache"


def register(monkeypatch: pytest.MonkeyPatch, group: str, **classes: Any) -> None:
    """Only these are registered in the group; an error stands for an entry point that cannot be loaded."""
    names, load = registry.names, registry.load

    def loaded(wanted: registry.Group, name: str) -> type[Any]:
        found = classes[name] if wanted == group else load(wanted, name)
        if isinstance(found, BenchError):
            raise found
        return found

    monkeypatch.setattr(
        registry, "names", lambda wanted: tuple(classes) if wanted == group else names(wanted)
    )
    monkeypatch.setattr(registry, "load", loaded)


def by_name(findings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


# --- methods --------------------------------------------------------------------------------------


def test_every_method_is_put_through_the_whole_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BenchError("cannot be imported", hint="Mend or uninstall that distribution.")
    register(monkeypatch, "methods", honest=Honest, rehearsing=Rehearsing, dishonest=Dishonest, broken=broken)
    found = by_name(methods(Progress.silent()))
    assert list(found) == ["honest", "rehearsing", "dishonest", "broken"]
    assert (found["rehearsing"].status, found["rehearsing"].remedy) == ("ok", "")
    assert found["honest"].status == "warning"
    assert "its training was not checked" in found["honest"].found
    assert found["dishonest"].status == "problem"
    assert "fails shift-equivariance, receptive-radius; " in found["dishonest"].found
    assert "enlarge receptive_radius" in found["dishonest"].remedy
    assert (found["broken"].status, found["broken"].remedy) == (
        "problem",
        "Mend or uninstall that distribution.",
    )


# --- environment ----------------------------------------------------------------------------------


def test_this_environment_is_sound() -> None:
    found = list(environment())
    assert {finding.status for finding in found} <= {"ok", "warning"}
    assert {"bench", "libraries", "torchvision", "processor", "disk", "registered"} <= set(by_name(found))


def test_libraries_that_are_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["numpy>=1000", "no-such-library-as-this>=1", "pydantic>=2", 'colour>=1; extra == "logging"']
    monkeypatch.setattr(bench.doctor.environment, "requires", lambda name: needs)
    found = by_name(environment())
    assert "bench needs numpy>=1000" in found["numpy"].found
    assert found["numpy"].remedy == "pip install 'numpy>=1000'"
    assert "not installed" in found["no-such-library-as-this"].found
    assert "colour" not in found
    assert "pydantic 2" in found["libraries"].found


def test_an_entry_point_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "reports", mine=BenchError("no report", hint="Mend it."))
    found = by_name(environment())["reports: mine"]
    assert (found.status, found.found, found.remedy) == ("problem", "no report", "Mend it.")


# --- what lies on disk ----------------------------------------------------------------------------


def test_caches_that_are_off_sound_or_misnamed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_name(caches())
    assert "0 entries, 0 B of 1.0 GB" in found["images"].found
    assert "none are kept" in found["features"].found
    monkeypatch.setenv("BENCH_CACHE_LIMIT", "plenty")
    broken = by_name(caches())["images"]
    assert broken.status == "problem"
    assert "'plenty'" in broken.found
    assert "500MB" in broken.remedy


def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    assert by_name(caches())["images"].status == "problem"
    assert {finding.status for finding in data() if "others" not in finding.name} == {"problem"}


def test_data_sets_open_and_rendered_splits_are_counted(cache: Path) -> None:
    folder = cache / "synthetic-faces"
    for name in ("whole", "half", ".building"):
        (folder / name).mkdir(parents=True)
        (folder / name / "images.npy").write_bytes(b"x" * 1000)
    (folder / "whole" / "manifest.json").write_text("{}")
    found = by_name(data())
    assert "fingerprint" in found["synthetic-faces"].found
    assert "1 rendered splits kept (1.0 KB)" in found["synthetic-faces"].found
    assert "rendered when first used" in found["synthetic-cats"].found
    assert {finding.status for finding in found.values()} == {"ok"}


def test_shipped_weights_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shipping(Rehearsing):
        shipped_presets = ("paper",)

        def weights_folder(self) -> Path:
            return tmp_path / "weights"

    register(monkeypatch, "methods", honest=Honest, shipping=Shipping)
    (none,) = weights()
    assert (none.name, none.status) == ("rehearsing", "warning")
    assert "none are shipped; bench run trains preset 'paper'" in none.found
    (tmp_path / "weights").mkdir()
    (missing,) = weights()
    assert (missing.status, missing.name) == ("problem", "shipping")
    assert "manifest.json is missing" in missing.found
    assert "Reinstall" in missing.remedy


def test_records_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    (none,) = records(tmp_path / "runs")
    assert none.status == "ok"
    store = RunStore(tmp_path / "runs")
    store.save(record(metric(1.0)))
    (sound,) = records(store.folder)
    assert (sound.status, sound.found) == ("ok", "1 records")
    store.save(record(seed=1, reason="x"))
    (store.folder / "x.json").write_text("{")
    failed, broken = records(store.folder)
    assert (failed.status, failed.found) == ("warning", "2 records, 1 of runs that failed")
    assert (broken.status, broken.name) == ("problem", "x.json")
    (tmp_path / "file").touch()
    (no_folder,) = records(tmp_path / "file")
    assert no_folder.status == "problem"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_records_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    (found,) = records(tmp_path)
    assert found.status == "problem"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_and_exits(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "methods", rehearsing=Rehearsing)
    invoke = CliRunner().invoke
    words = ["doctor", "--runs", str(tmp_path / "runs")]
    result = invoke(app, [*words, "--quiet"])
    assert result.exit_code == 0, result.output
    assert "nothing is wrong" in result.stdout
    assert "checks passed" in result.stdout
    content = json.loads(invoke(app, [*words, "--json", "--quick"]).stdout)
    assert content["healthy"] is True
    assert {finding["area"] for finding in content["findings"]} == {
        "environment",
        "caches",
        "data",
        "records",
    }
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "[bold]x.json").write_text("{")
    result = invoke(app, [*words, "--quick"])
    assert result.exit_code == 1
    assert "problem records, [bold]x.json: not JSON" in result.stdout
    assert "problems: 1, warnings: 0" in result.stdout
    content = json.loads(invoke(app, [*words, "--json", "--quick"]).stdout)
    assert content["healthy"] is False
