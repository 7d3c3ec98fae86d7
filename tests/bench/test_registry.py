"""Names are found in every installed distribution; what goes wrong there is told by name."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench import registry
from bench.errors import BenchError

HOME = Path(bench.__file__).resolve().parent.parent


def distribute(
    site: Path, name: str, entries: dict[str, dict[str, str]], modules: dict[str, str] | None = None
) -> None:
    """Install a made-up distribution into a folder of sys.path."""
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = []
    for group, points in entries.items():
        lines += [f"[bench.{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in (modules or {}).items():
        (site / f"{module}.py").write_text(source)


METHOD = """
from bench.method import Method

class Third(Method):
    name = "third"
    summary = "a third party's method"
    reference = "none"
    def build(self, options):
        raise NotImplementedError
"""


def test_the_built_in_names_are_known_without_torch() -> None:
    code = (
        "import sys; from bench import registry; "
        "assert 'coco' in registry.names('datasets'), registry.names('datasets'); "
        "assert set(registry.names('protocols')) >= {'matching', 'regression', 'fewshot'}; "
        "assert 'lead' in registry.names('methods') and 'leaderboard' in registry.names('reports'); "
        "registry.check_not_shadowed(); "
        "sys.exit('torch' in sys.modules or 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_load_gives_the_class() -> None:
    from datasets.coco import CocoProvider  # noqa: PLC0415

    assert registry.load("datasets", "coco") is CocoProvider
    assert registry.summaries("datasets")["coco"] == CocoProvider.summary


def test_unknown_name_has_hints() -> None:
    with pytest.raises(BenchError, match="no data set is called 'cocoo'") as caught:
        registry.load("datasets", "cocoo")
    assert "'coco'" in str(caught.value.hint)
    with pytest.raises(BenchError, match=r"'coco' is a data set"):
        registry.load("methods", "coco")


def test_a_third_party_method_is_found_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribute(
        tmp_path, "third-party", {"methods": {"third": "third_party_a:Third"}}, {"third_party_a": METHOD}
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "third" in registry.names("methods")
    assert "third_party_a" not in sys.modules
    assert registry.load("methods", "third").__name__ == "Third"
    assert registry.summaries("methods")["third"] == "a third party's method"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("third_party_b:Third", "RuntimeError: needs a licence"),
        ("third_party_missing:Third", "No module named 'third_party_missing'"),
        ("third_party_a:Fourth", "no attribute 'Fourth'"),
        ("third_party_a:VALUE", "no bench.method.Method"),
        ("third_party_a:Unrelated", "no bench.method.Method"),
    ],
)
def test_what_cannot_be_loaded_names_its_distribution(
    value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {
        "third_party_a": METHOD + "\nVALUE = 3\nclass Unrelated: ...\n",
        "third_party_b": "raise RuntimeError('needs a licence')",
    }
    distribute(tmp_path, "third-party", {"methods": {"third": value}}, modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "third_party_a", raising=False)
    with pytest.raises(BenchError) as caught:
        registry.load("methods", "third")
    assert words in caught.value.message
    assert "'third-party 1.2'" in caught.value.message
    # One broken distribution does not hide the others.
    listed = registry.summaries("methods")
    assert listed["third"].startswith("(not available)")
    assert "lead" in listed


def test_two_claims_on_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, module in (("one", "third_party_a"), ("two", "third_party_c")):
        distribute(tmp_path, owner, {"methods": {"third": f"{module}:Third"}}, {module: METHOD})
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.names("methods").count("third") == 1
    with pytest.raises(BenchError, match="claimed by 2 distributions") as caught:
        registry.load("methods", "third")
    assert "'one 1.2'" in caught.value.message
    assert "'two 1.2'" in caught.value.message


def run_check(path: Path) -> subprocess.CompletedProcess[str]:
    """Ask for a data set in a fresh process whose search path begins with ``path``."""
    code = "from bench import registry; registry.load('datasets', 'coco')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(path), "PATH": ""},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_foreign_datasets_package_is_noticed(tmp_path: Path) -> None:
    foreign = tmp_path / "datasets"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("raise SystemExit('the foreign package was imported')")
    info = tmp_path / "datasets-2.19.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: datasets\nVersion: 2.19.0\n")
    (info / "RECORD").write_text("datasets/__init__.py,,\n")
    done = run_check(tmp_path)
    assert done.returncode != 0
    assert "BenchError: package 'datasets' of bench is hidden by another one" in done.stderr
    assert f"{foreign.resolve()} (distribution datasets)" in done.stderr
    assert str(HOME / "datasets") in done.stderr
    assert "environment of its own" in done.stderr
    assert "foreign package was imported" not in done.stderr


def test_a_module_file_in_the_place_of_a_package_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "protocols.py").write_text("")
    done = run_check(tmp_path)
    assert "package 'protocols' of bench is hidden" in done.stderr
    assert "protocols.py" in done.stderr


def test_a_folder_without_init_does_not_hide_ours(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    check = "from bench import registry; registry.check_not_shadowed()"
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_package_overwritten_by_another_distribution_is_noticed(tmp_path: Path) -> None:
    """Two wheels that bring ``datasets`` unpack into one folder; the second one wins."""
    shutil.copytree(HOME / "bench", tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    record = []
    for package in registry.PACKAGES:
        (tmp_path / package).mkdir()
        init = tmp_path / package / "__init__.py"
        init.write_text(f"# {package} of bench\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(init.read_bytes()).digest()).decode().rstrip("=")
        record.append(f"{package}/__init__.py,sha256={digest},{init.stat().st_size}")
    info = tmp_path / "landmark_bench-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: landmark-bench\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("\n".join(record) + "\n")
    check = "from bench import registry; registry.check_not_shadowed()"

    def outcome() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", check],
            env={"PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert outcome().returncode == 0
    (tmp_path / "datasets" / "__init__.py").write_text("# datasets of somebody else\n")
    assert "package 'datasets'" in outcome().stderr
    assert "overwritten by another" in outcome().stderr
