"""Is everything there that a published data set consists of, and is it what was published?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.errors import BenchError
from bench.file_kinds import misfit
from bench.landmarks import Requirement
from bench.progress import Progress

State = Literal["sound", "absent", "missing", "damaged"]

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".bz2", ".xz", ".rar", ".001")


@dataclass
class RequirementCheck:
    """What was found in the place of one requirement.

    Attributes:
        place: Where it lies, or should lie; relative where no location was given.
        state: ``absent`` is something optional that is not there.
        problems: What is wrong, one line each, with what to do.
        notes: What is odd and does no harm.
    """

    requirement: Requirement
    place: Path
    state: State = "sound"
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_requirements(
    location: Path | None, requirements: Sequence[Requirement], progress: Progress | None = None
) -> list[RequirementCheck]:
    """Look for each requirement below ``location`` and compare it with what was published.

    Without a location everything is missing: the list then says what is needed, where it is had and where to
    put it.
    """
    published = {digest: item.path for item in requirements for digest in (*item.sha256, *item.md5)}
    track = (progress or Progress.silent()).track(requirements, "checking files", len(requirements))
    return [_check(location, requirement, published) for requirement in track]


def is_complete(checks: Sequence[RequirementCheck]) -> bool:
    """Whether nothing that is needed is missing, so that the splits can be opened."""
    return not any(check.state == "missing" for check in checks)


def _check(location: Path | None, requirement: Requirement, published: dict[str, str]) -> RequirementCheck:
    if location is None:
        return _not_there(RequirementCheck(requirement, Path(requirement.path)), [])
    matches: list[Path] = []
    for path in (requirement.path, *requirement.alternatives):
        matches = _matches(location, path)
        if matches:
            break
    check = RequirementCheck(
        requirement,
        matches[0] if len(matches) == 1 and "*" not in requirement.path else location / requirement.path,
    )
    if not matches:
        return _not_there(check, _clues(location, requirement))
    try:
        if requirement.kind == "folder":
            _check_count(check, sum(_count_files(folder) for folder in matches), "files")
        else:
            _check_files(check, matches, published)
    except BenchError as error:
        check.problems.append(str(error))
    if check.problems:
        check.state = "damaged"
    return check


def _matches(location: Path, path: str) -> list[Path]:
    if "*" in path:
        return sorted(location.glob(path))
    return [location / path] if (location / path).exists() else []


def _not_there(check: RequirementCheck, clues: list[str]) -> RequirementCheck:
    requirement = check.requirement
    if requirement.optional:
        check.state = "absent"
        return check
    check.state = "missing"
    line = f"{check.place} is missing: {requirement.what}. It is had from {requirement.source}"
    check.problems.append(". ".join([line, *clues]))
    return check


def _clues(location: Path, requirement: Requirement) -> list[str]:
    """What lies there instead: one folder too deep, one too high, or an archive not yet unpacked."""
    if not location.is_dir():
        return [
            f"The location {location} is not a folder" if location.exists() else f"There is no {location}"
        ]
    path = Path(requirement.path)
    clues = []
    deeper = next(iter(_matches(location, f"*/{path.as_posix()}")), None) if not path.is_absolute() else None
    if deeper is not None:
        inner = location / deeper.relative_to(location).parts[0]
        clues.append(f"It lies in {inner}: give that folder as the location")
    elif not path.is_absolute() and len(path.parts) > 1 and path.parts[0] == location.name:
        clues.append(f"Is {location.parent} the location?")
    places = {location, (location / path).parent}
    archives = sorted(
        file.name
        for place in places
        if place.is_dir()
        for file in place.iterdir()
        if file.suffix.lower() in _ARCHIVES
    )
    if requirement.kind == "folder" and archives:
        clues.append(f"Archives that lie there and may want unpacking: {', '.join(archives[:5])}")
    return clues


def _check_files(check: RequirementCheck, files: list[Path], published: dict[str, str]) -> None:
    requirement = check.requirement
    if len(files) > 1 or ("*" in requirement.path and requirement.count is not None):
        _check_count(check, len(files), "files")
        return
    file = files[0]
    if not file.is_file():
        check.problems.append(f"{file} is a folder, expected a file: {requirement.what}")
        return
    again = f"Get it again from {requirement.source}"
    wrong = misfit(file)
    if wrong is not None:
        check.problems.append(f"{file} is {wrong}. {again}")
        return
    if requirement.sha256 or requirement.md5:
        _check_digest(check, file, published, again)
    elif requirement.bytes is not None and file.stat().st_size != requirement.bytes:
        check.problems.append(
            f"{file} has {file.stat().st_size:,} bytes, published are {requirement.bytes:,}. {again}"
        )
    if requirement.count is not None:
        with file.open("rb") as stream:
            _check_count(check, sum(1 for line in stream if line.strip()), "lines")


def _check_digest(check: RequirementCheck, file: Path, published: dict[str, str], again: str) -> None:
    requirement = check.requirement
    expected = {*requirement.sha256, *requirement.md5}
    algorithms = ["sha256"] * bool(requirement.sha256) + ["md5"] * bool(requirement.md5)
    found = [_digest(file, algorithm) for algorithm in algorithms]
    if expected.intersection(found):
        return
    other = next((published[digest] for digest in found if digest in published), None)
    if other is not None:
        check.problems.append(f"{file} holds the content of {other}. {again}")
        return
    if file.suffix == ".txt" and expected & _digests_with_other_ends(file, algorithms):
        check.notes.append(f"{file} is the published file with other line ends")
        return
    size = ""
    if requirement.bytes is not None and file.stat().st_size != requirement.bytes:
        size = f": {file.stat().st_size:,} bytes instead of {requirement.bytes:,}"
    check.problems.append(
        f"{file} is not the published file{size} ({algorithms[0]} {found[0][:16]}..., published "
        f"{sorted((*requirement.sha256, *requirement.md5))[0][:16]}...). {again}"
    )


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _digests_with_other_ends(file: Path, algorithms: Sequence[str]) -> set[str]:
    content = file.read_bytes().replace(b"\r\n", b"\n")
    texts = (content, content.replace(b"\n", b"\r\n"))
    return {
        hashlib.new(name, text, usedforsecurity=False).hexdigest() for name in algorithms for text in texts
    }


def _check_count(check: RequirementCheck, found: int, unit: str) -> None:
    expected, place = check.requirement.count, check.place
    if unit == "files" and found == 0:
        check.problems.append(f"{place} is empty: {check.requirement.what}")
    if expected is None or found in (expected, 0):
        return
    if unit == "files" and found > expected:
        check.notes.append(f"{place} holds {found:,} files, {found - expected:,} more than published")
    elif unit == "files":
        check.problems.append(
            f"{place} holds {found:,} of {expected:,} files: half unpacked? Unpack it again; it is had from "
            f"{check.requirement.source}"
        )
    else:
        check.problems.append(
            f"{place} has {found:,} lines, the published file has {expected:,}. Get it again from "
            f"{check.requirement.source}"
        )


def _count_files(folder: Path) -> int:
    """Files below a folder; hidden ones, which file managers leave behind, do not count."""
    if not folder.is_dir():
        raise BenchError(f"{folder} is a file, expected a folder")
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(not name.startswith(".") for name in files)
    return count
