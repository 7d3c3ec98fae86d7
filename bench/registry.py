"""Finds methods, data sets, protocols and reports by name, and loads one only when it is asked for.

The built-in ones and those of other distributions are declared alike, as entry points in the groups
``bench.methods``, ``bench.datasets``, ``bench.protocols``, ``bench.reports`` and ``bench.tables``.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import inspect
import sys
from importlib.metadata import (
    EntryPoint,
    PackageNotFoundError,
    distribution,
    entry_points,
    packages_distributions,
)
from pathlib import Path
from typing import Any, Literal

import bench
from bench.errors import BenchError, did_you_mean

Group = Literal["methods", "datasets", "protocols", "reports", "tables"]

GROUPS: tuple[Group, ...] = ("methods", "datasets", "protocols", "reports", "tables")

PACKAGES = ("methods", "datasets", "protocols", "reports")
"""Where the built-in ones lie; the tables are those of the reports."""

_DISTRIBUTION = "landmark-bench"
_SINGULAR: dict[Group, str] = {
    "methods": "method",
    "datasets": "data set",
    "protocols": "protocol",
    "reports": "report",
    "tables": "paper",
}
_BASES: dict[Group, tuple[str, str]] = {
    "methods": ("bench.method", "Method"),
    "datasets": ("bench.landmarks", "DatasetProvider"),
    "protocols": ("bench.protocol", "Protocol"),
    "reports": ("bench.report", "Report"),
    "tables": ("bench.tables", "Paper"),
}


def names(group: Group) -> tuple[str, ...]:
    """Every name in a group, sorted; nothing is loaded."""
    return tuple(sorted({entry.name for entry in _entries(group)}))


def load(group: Group, name: str) -> type[Any]:
    """The class that ``name`` stands for.

    Raises:
        BenchError: for a name that is unknown or claimed by two distributions, for an entry point that cannot
            be imported or is not a class of its group's kind, and for a foreign package in place of ours.
    """
    what = _SINGULAR[group]
    claims = [entry for entry in _entries(group) if entry.name == name]
    if not claims:
        raise BenchError(f"no {what} is called {name!r}", hint=_unknown_hint(group, name))
    if len({entry.value for entry in claims}) > 1:
        owners = " and ".join(sorted(f"{_owner(entry)} ({entry.value})" for entry in claims))
        raise BenchError(
            f"{what} {name!r} is claimed by {len(claims)} distributions: {owners}",
            hint="Uninstall one of them, or ask its author for another name.",
        )
    entry = claims[0]
    if entry.module.partition(".")[0] in PACKAGES:
        check_not_shadowed()
    try:
        found = entry.load()
    except Exception as error:  # whatever a third party's import raises has to be told in words
        raise BenchError(
            f"{what} {name!r} of distribution {_owner(entry)} cannot be imported from {entry.value!r}: "
            f"{type(error).__name__}: {error}",
            hint="Mend or uninstall that distribution.",
        ) from error
    if not inspect.isclass(found) or not issubclass(found, _base(group)):
        expected = ".".join(_BASES[group])
        raise BenchError(
            f"{what} {name!r} of distribution {_owner(entry)} is {entry.value!r}, which is no {expected}",
            hint=f"The entry-point group bench.{group} names classes.",
        )
    return found


def summaries(group: Group) -> dict[str, str]:
    """The one-line summary of everything in a group; for what cannot be loaded, the reason."""
    lines = {}
    for name in names(group):
        try:
            lines[name] = str(getattr(load(group, name), "summary", ""))
        except BenchError as error:
            lines[name] = f"(not available) {error.message}"
    return lines


def check_not_shadowed() -> None:
    """Make sure that ``datasets``, ``methods``, ... are bench's own packages.

    These names are common: Hugging Face's ``datasets``, or a folder beside a user's script, may win over ours
    or may have overwritten ours. Nothing is imported to find out.

    Raises:
        BenchError: says which path won, where ours is expected and what to do.
    """
    home = Path(bench.__file__).resolve().parent.parent
    for package in PACKAGES:
        where = _location(package)
        expected = home / package
        if where is None:
            raise BenchError(
                f"package {package!r} of bench is missing: it should lie at {expected}",
                hint="Reinstall landmark-bench.",
            )
        if where != expected:
            raise BenchError(
                f"package {package!r} of bench is hidden by another one: Python finds "
                f"{where}{_rivals(package)}, bench's own is {expected}",
                hint="Install bench in an environment of its own (python -m venv), or uninstall the other "
                "package; rename it if it is a folder beside your script or on PYTHONPATH.",
            )
        if _overwritten(package):
            raise BenchError(
                f"package {package!r} at {where} has been overwritten by another one{_rivals(package)}",
                hint="Install bench in an environment of its own (python -m venv), or uninstall the other "
                "distribution and reinstall landmark-bench.",
            )


def _entries(group: Group) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"bench.{group}"))


def _unknown_hint(group: Group, name: str) -> str:
    known = names(group)
    if not known:
        return "None is registered: install landmark-bench (pip install -e . in a checkout)."
    elsewhere = [_SINGULAR[other] for other in GROUPS if other != group and name in names(other)]
    hint = did_you_mean(name, known)
    return f"{hint} ({name!r} is a {elsewhere[0]}.)" if elsewhere else hint


def _owner(entry: EntryPoint) -> str:
    return (
        f"'{entry.dist.name} {entry.dist.version}'" if entry.dist is not None else "an unknown distribution"
    )


def _base(group: Group) -> type[Any]:
    module, name = _BASES[group]
    base: type[Any] = getattr(importlib.import_module(module), name)
    return base


def _location(package: str) -> Path | None:
    """The folder that ``import package`` would read, or did read."""
    loaded = sys.modules.get(package)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(package)
    if spec is None:
        return None
    if spec.origin is not None:
        origin = Path(spec.origin).resolve()
        return origin.parent if origin.name == "__init__.py" else origin
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]).resolve() if folders else None


def _rivals(package: str) -> str:
    others = sorted(set(packages_distributions().get(package, ())) - {_DISTRIBUTION})
    return f" (distribution {', '.join(others)})" if others else ""


def _overwritten(package: str) -> bool:
    """Whether ``package/__init__.py`` is not what was installed (editable installations record nothing)."""
    try:
        files = distribution(_DISTRIBUTION).files or []
    except PackageNotFoundError:
        return False
    for file in files:
        if file.as_posix() == f"{package}/__init__.py" and file.hash is not None:
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest())
            return digest.decode().rstrip("=") != file.hash.value
    return False
