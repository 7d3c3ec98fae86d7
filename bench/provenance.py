"""What produced a number: versions, git commit, device, precision, command; no names of persons or hosts."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import bench

_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")
_SOURCES = ("bench", "datasets", "methods", "protocols", "reports", "pyproject.toml")
_TRAINING_SOURCES = ("bench", "datasets", "methods")
_GIT_TIMEOUT_S = 10

# An absolute path (POSIX, Windows, ~) where one can begin: first in a word, or after = : , [ or a quote.
_ABSOLUTE_PATH = re.compile(r"""(?:(?<=^)|(?<=[\s=:,\["']))(?:~[^\\/\s,"'\]]*|[A-Za-z]:)?[\\/][^,"'\]]*""")


def collect(
    *,
    device: torch.device,
    batch_size: int,
    command: Sequence[str],
    precision: str = "float32",
    threads: int | None = None,
) -> dict[str, Any]:
    """The provenance of a run that starts now, as JSON-able values.

    Args:
        command: The command as typed (``sys.argv``); absolute paths in it are cut down to their last part.
        precision: The arithmetic that the run asked for, e.g. ``float32`` or ``bfloat16``.
        threads: CPU threads of the run; None: what torch uses.
    """
    return {
        "command": sanitised(command),
        "versions": _versions(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "git": _running_code(),
        "device": {"type": device.type, "name": device_name(device)},
        "precision": {"requested": precision} | _precision_flags(),
        "threads": torch.get_num_threads() if threads is None else threads,
        "batch_size": batch_size,
    }


def sanitised(command: Sequence[str]) -> list[str]:
    """The command without its program's folder and without absolute paths, which hold user names."""
    if not command:
        return []
    program = re.split(r"[\\/]", command[0])[-1]
    return [program, *(_ABSOLUTE_PATH.sub(_last_part, word) for word in command[1:])]


@cache
def _running_code() -> dict[str, Any] | None:
    """Asked once a process: what is committed or changed later is not what runs here."""
    return git_state()


def git_state(checkout: Path | None = None) -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout that bench runs from; None where it runs from an installation.

    Dirty: a tracked source is changed, or an untracked one lies among the sources.
    """
    root = Path(bench.__file__).resolve().parent.parent if checkout is None else checkout.resolve()
    top = _git(root, "rev-parse", "--show-toplevel")
    # An environment inside somebody's repository is not a checkout of bench.
    if top is None or Path(top).resolve() != root:
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(root, "status", "--porcelain", "--", *(s for s in _SOURCES if (root / s).exists()))
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def sources_sha256() -> str:
    """Hash of the sources that a training runs: the hall, the data sets and the methods."""
    root = Path(bench.__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(file for package in _TRAINING_SOURCES for file in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}|".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def device_name(device: torch.device) -> str:
    """What the device calls itself, e.g. "NVIDIA H200" or "AMD EPYC 7763"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"bench": bench.__version__, "python": platform.python_version()}
    versions |= {library: _installed(library) for library in _LIBRARIES}
    # The wheel's local part (+cpu, +cu128) is only in the module.
    versions["torch"] = str(torch.__version__)
    if torch.cuda.is_available():
        versions["cuda"] = torch.version.cuda
        versions["cudnn"] = str(torch.backends.cudnn.version())
    return versions


@cache
def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _precision_flags() -> dict[str, Any]:
    return {
        "float32_matmul": _flag(torch.get_float32_matmul_precision),
        "tf32_matmul": _flag(lambda: torch.backends.cuda.matmul.allow_tf32),
        "tf32_cudnn": _flag(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _flag(read: Callable[[], bool | str]) -> bool | str:
    """A flag; torch refuses to read one that was set through its older and its newer interface by turns."""
    try:
        return read()
    except RuntimeError:
        return "set per operator"


def _last_part(match: re.Match[str]) -> str:
    parts = [part for part in re.split(r"[\\/]", match.group()) if part]
    names_a_person = len(parts) == 0 or parts[-1] == Path.home().name
    return "..." if names_a_person else f".../{parts[-1]}"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None: no git, no repository, not ours to read, or too slow."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
