"""Python, the libraries, the processor, the GPUs, and everything that is registered."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import InvalidRequirement, Requirement

import bench
from bench import registry
from bench.doctor.finding import Finding, of_error
from bench.errors import BenchError
from bench.files import cache_folder
from bench.provenance import device_name, git_state

AREA = "environment"

_DISTRIBUTION = "landmark-bench"
_REINSTALL = "Reinstall landmark-bench in an environment of its own: pip install landmark-bench."
_SCARCE_BYTES = 2 * 10**9


def environment() -> Iterator[Finding]:
    """Look at all of it."""
    yield _bench()
    yield from _libraries()
    yield _torchvision()
    yield _processor()
    yield from _gpus()
    yield _disk()
    yield from _registered()


def _bench() -> Finding:
    state = git_state()
    found = (
        f"{bench.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    if state is None:
        return Finding(AREA, "bench", "ok", found)
    changed = ", with uncommitted changes" if state["dirty"] else ""
    return Finding(AREA, "bench", "ok", f"{found}; commit {state['commit'][:10]}{changed}")


def _libraries() -> Iterator[Finding]:
    """Those that bench requires, in the versions that it requires."""
    try:
        texts = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:
        yield Finding(AREA, "libraries", "problem", "landmark-bench is not installed", _REINSTALL)
        return
    found = []
    for text in texts:
        try:
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            there = version(wanted.name)
        except InvalidRequirement:
            continue
        except PackageNotFoundError:
            yield Finding(AREA, wanted.name, "problem", f"not installed; bench needs {wanted}", _REINSTALL)
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            remedy = f"pip install '{wanted}'"
            yield Finding(AREA, wanted.name, "problem", f"version {there}; bench needs {wanted}", remedy)
        found.append(f"{wanted.name} {there}")
    yield Finding(AREA, "libraries", "ok", ", ".join(found))


def _torchvision() -> Finding:
    """A torchvision that was built for another torch imports badly, or lacks its operators."""
    remedy = "Reinstall both from the same index: pip install --force-reinstall torch torchvision"
    try:
        operators = importlib.import_module("torchvision.ops")
        kept = operators.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        what = f"does not fit torch {torch.__version__}: {error}"
        return Finding(AREA, "torchvision", "problem", what, remedy)
    if kept.tolist() != [0]:
        return Finding(AREA, "torchvision", "problem", "its operators give wrong results", remedy)
    return Finding(AREA, "torchvision", "ok", f"fits torch {torch.__version__}")


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = device_name(torch.device("cpu"))
    return Finding(AREA, "processor", "ok", f"{name}, {cores} cores, {torch.get_num_threads()} threads")


def _gpus() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        wheel = f"torch is built for CUDA {built}" if built else "torch is built for CPUs only"
        yield Finding(AREA, "GPU", "ok", f"none is used; {wheel}")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        name = f"{device_name(device)}, CUDA {torch.version.cuda}"
        try:
            ones = torch.ones(64, 64, device=device)
            wrong = not bool((ones @ ones == 64).all())
        except RuntimeError as error:
            remedy = "Install a torch that supports this GPU and its driver, or use --device cpu."
            what = str(error).splitlines()[0]
            yield Finding(
                AREA, f"GPU {index}", "problem", f"{name}: a product of matrices fails: {what}", remedy
            )
            continue
        if wrong:
            remedy = "Do not measure on this GPU; use --device cpu."
            yield Finding(AREA, f"GPU {index}", "problem", f"{name}: a product of matrices is wrong", remedy)
        else:
            yield Finding(AREA, f"GPU {index}", "ok", name)


def _disk() -> Finding:
    folder = cache_folder()
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path.cwd())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.0f} GB free for caches"
    if free < _SCARCE_BYTES:
        remedy = "Make room (`bench cache clear`), or point BENCH_CACHE at another disk."
        return Finding(AREA, "disk", "warning", found, remedy)
    return Finding(AREA, "disk", "ok", found)


def _registered() -> Iterator[Finding]:
    """Everything that entry points name can be loaded."""
    try:
        registry.check_not_shadowed()
    except BenchError as error:
        yield of_error(AREA, "packages", error, _REINSTALL)
        return
    counts = []
    for group in registry.GROUPS:
        names = registry.names(group)
        counts.append(f"{len(names)} {group}")
        if not names:
            yield Finding(AREA, group, "problem", "none is registered", _REINSTALL)
        for name in names:
            try:
                registry.load(group, name)
            except BenchError as error:
                yield of_error(AREA, f"{group}: {name}", error, _REINSTALL)
    yield Finding(AREA, "registered", "ok", ", ".join(counts))
