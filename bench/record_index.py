"""What a folder of records holds, without reading each of them every time.

``.sweep/index.json`` keeps, for each record's file, its size and time of change, and what plans ask for. A file that
has changed since, or is new, is read; the index can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import write_atomically

SWEEP_FOLDER = ".sweep"
_LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """Of one record.

    Attributes:
        seconds: That its measurement took; None where it does not say.
    """

    status: str
    reason: str
    method: str
    protocol: str
    seconds: float | None


def read_index(runs: Path) -> dict[str, Entry]:
    """Id -> entry of every record in a folder. Files that are no JSON of a record are left out.

    Raises:
        BenchError: where ``runs`` is not a folder.
    """
    file = runs / SWEEP_FOLDER / "index.json"
    kept = _kept(file)
    found: dict[str, list[Any]] = {}
    try:
        with os.scandir(runs) as entries:
            for entry in entries:
                name = entry.name
                if not name.endswith(".json") or name.startswith("."):
                    continue
                state = entry.stat()
                known = kept.get(name[:-5])
                if known is None or known[0] != state.st_mtime_ns or known[1] != state.st_size:
                    known = _read(Path(entry.path), state)
                if known is not None:
                    found[name[:-5]] = known
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise BenchError(f"{runs} is not a folder of records", hint="Give a folder with --runs.") from error
    if found != kept:
        with contextlib.suppress(BenchError):  # the next plan takes longer, no more
            write_atomically(file, json.dumps({"layout": _LAYOUT, "records": found}, separators=(",", ":")))
    return {name: Entry(*values[2:]) for name, values in found.items()}


def _kept(file: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(file.read_bytes())
        return dict(content["records"]) if content["layout"] == _LAYOUT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read(file: Path, state: os.stat_result) -> list[Any] | None:
    try:
        content = json.loads(file.read_bytes())
        seconds = content.get("provenance", {}).get("seconds", {}).get("total")
        return [
            state.st_mtime_ns,
            state.st_size,
            content["status"],
            content.get("reason") or "",
            content["method"]["name"],
            content["protocol"]["name"],
            seconds if isinstance(seconds, int | float) else None,
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
