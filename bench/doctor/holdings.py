"""What lies on disk: shipped weights, caches, rendered data, records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench import registry
from bench.cache_folder import KINDS, CacheFolder, Kind, human
from bench.doctor.finding import Finding, of_error
from bench.errors import BenchError
from bench.files import cache_folder, require_writable
from bench.method import Method
from bench.opening import DatasetRequest, load_method, open_dataset
from bench.shipped import read_manifest, verified
from bench.store import RunStore

_NOT_WRITABLE = "Check permissions and free space, or point BENCH_CACHE at another folder."


def weights() -> Iterator[Finding]:
    """Every file that ships is the one that its manifest describes."""
    for name in registry.names("methods"):
        try:
            method = load_method(name)
            if method.shipped_presets:
                yield _shipped(method)
        except BenchError as error:
            yield of_error("weights", name, error, "Reinstall the package that brings the method.")


def _shipped(method: Method) -> Finding:
    folder = method.weights_folder()
    entries = [entry for entry in read_manifest(folder).weights if entry.method == method.name]
    if not entries:
        trained = method.default_preset
        found = "none are shipped" + (f"; bench run trains preset {trained!r}, once" if trained else "")
        remedy = "Install a package that brings them, give weights with --checkpoint, or let it train."
        return Finding("weights", method.name, "warning", found, remedy)
    for entry in entries:
        verified(folder, entry)
    size = sum(entry.bytes for entry in entries)
    presets = ", ".join(entry.preset for entry in entries)
    return Finding("weights", method.name, "ok", f"{presets}: as its manifest says ({human(size)})")


def caches() -> Iterator[Finding]:
    """Folders that can be written, limits that can be read."""
    for kind in KINDS:
        try:
            yield _cache(kind)
        except BenchError as error:
            yield of_error("caches", kind.name, error, _NOT_WRITABLE)


def _cache(kind: Kind) -> Finding:
    cache = CacheFolder.of(kind)
    if not cache.limit:
        return Finding("caches", kind.name, "ok", f"none are kept ({kind.variable} is 0)")
    require_writable(cache.folder)
    entries = cache.entries()
    size = sum(entry.size for entry in entries)
    found = f"{len(entries)} entries, {human(size)} of {human(cache.limit)}, in {cache.folder}"
    free = shutil.disk_usage(cache.folder).free
    if size + free < cache.limit:
        found += f"; the disk has room for {human(free)} more"
    return Finding("caches", kind.name, "ok", found)


def data() -> Iterator[Finding]:
    """Data sets that need no files of the user's open, and their rendered splits are whole folders."""
    elsewhere = []
    for name in registry.names("datasets"):
        try:
            if registry.load("datasets", name).needs_location:
                elsewhere.append(name)
            else:
                yield _rendered(name)
        except BenchError as error:
            yield of_error("data", name, error, "Reinstall the package that brings the data set.")
    if elsewhere:
        found = f"{', '.join(elsewhere)} lie where you say; bench data verify NAME:FOLDER checks one"
        yield Finding("data", f"{len(elsewhere)} others", "ok", found)


def _rendered(name: str) -> Finding:
    opened = open_dataset(DatasetRequest(name))
    folder = cache_folder(name)
    require_writable(folder)
    _, test = opened.provider.evaluation_splits(opened.location, opened.options)
    split = opened.open(test)
    whole = [found for found in folder.glob("[!.]*/") if (found / "manifest.json").is_file()]
    size = sum(file.stat().st_size for found in whole for file in found.iterdir())
    kept = f"{len(whole)} rendered splits kept ({human(size)})" if whole else "rendered when first used"
    found = f"{test}: {len(split)} images, fingerprint {split.fingerprint[:12]}; {kept}"
    return Finding("data", name, "ok", found)


def records(runs: Path) -> Iterator[Finding]:
    """The records can be read, and new ones written."""
    if not runs.exists():
        yield Finding("records", str(runs), "ok", "there is no such folder yet; bench run makes it")
        return
    try:
        found, broken = RunStore(runs).load_all()
    except BenchError as error:
        yield of_error("records", str(runs), error, "Name a folder of records with --runs.")
        return
    failed = sum(record.status == "failed" for record in found)
    told = f"{len(found)} records" + (f", {failed} of runs that failed" if failed else "")
    if os.access(runs, os.W_OK | os.X_OK):
        remedy = "bench runs list --status failed says why." if failed else ""
        yield Finding("records", str(runs), "warning" if failed else "ok", told, remedy)
    else:
        remedy = "Check permissions, or name another folder with --runs."
        yield Finding("records", str(runs), "problem", f"{told}; new ones cannot be written", remedy)
    for problem in broken:
        remedy = "Copy it again from where it came, or delete it and run it again."
        yield Finding("records", problem.file.name, "problem", problem.reason, remedy)
