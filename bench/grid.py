"""``grid.toml``: methods x variants x weights x data sets x protocols x options x seeds, as cells.

    seeds = [0, 1, 2]
    protocols = ["matching", { name = "fewshot", preset = "paper", options = [{ draws = 5 }, { draws = 10 }] }]

    [[methods]]
    name = "lead"
    weights = [{ shipped = "shipped-faces" }, "checkpoints/lead/weights.safetensors"]

    [[datasets]]
    name = "coco:faces"
    options = { landmarks = 68 }

    [[exclude]]
    method = "lead"
    protocol = "fewshot"
    seed = [1, 2]

Paths of weights are relative to the folder of the grid's file. An array of ``options`` is one more axis.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from bench import registry
from bench.allocator import no_garbage_collection
from bench.errors import BenchError, did_you_mean
from bench.loading import Preprocessing, named_preprocessing
from bench.opening import DatasetRequest, load_method
from bench.options import build_options, parse_dataset
from bench.record import FeatureType
from bench.run_request import RunRequest

Table = dict[str, Any]
Names = Annotated[list[str], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodEntry(_Part):
    """A method; each variant is combined with each of the weights."""

    name: str
    variants: Names | None = None
    weights: Annotated[list[str | Table], Field(min_length=1)] | None = None
    options: Table | Annotated[list[Table], Field(min_length=1)] = {}


class WeightsEntry(_Part):
    """Weights that are no file of their own: shipped ones, or the network of a file, untrained."""

    shipped: str | None = None
    like: str | None = None
    file: str | None = None


class DatasetEntry(_Part):
    """A data set, ``NAME`` or ``NAME:LOCATION``, and which of its splits are read."""

    name: str
    options: Table | Annotated[list[Table], Field(min_length=1)] = {}
    train_split: str | None = None
    test_split: str | None = None
    validation_split: str | None = None


class ProtocolEntry(_Part):
    """A protocol; ``preset`` is quick unless said otherwise."""

    name: str
    preset: str = "quick"
    options: Table | Annotated[list[Table], Field(min_length=1)] = {}


class Exclusion(_Part):
    """Cells that are left out: those of which everything holds that is said here; a list means any of its values."""

    method: str | list[str] | None = None
    variant: str | list[str] | None = None
    weights: str | list[str] | None = None
    dataset: str | list[str] | None = None
    protocol: str | list[str] | None = None
    preset: str | list[str] | None = None
    preprocessing: str | list[str] | None = None
    seed: int | list[int] | None = None


class GridFile(_Part):
    """The keys of the file."""

    methods: Annotated[list[str | Table], Field(min_length=1)]
    datasets: Annotated[list[str | Table], Field(min_length=1)] = ["synthetic-faces"]
    protocols: Annotated[list[str | Table], Field(min_length=1)]
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    preprocessings: Annotated[list[str | Table], Field(min_length=1)] = ["square-96"]
    exclude: list[Table] = []
    batch_size: Annotated[int, Field(ge=1)] = 64
    feature_dtype: FeatureType = "float32"


@dataclass(frozen=True)
class GridCell:
    """One cell, and what the grid calls its parts; an exclusion compares these names."""

    request: RunRequest
    names: Mapping[str, str | int]


def read_grid(file: Path, *, runs: Path, device: str = "auto") -> list[GridCell]:
    """All cells of a grid, in the order of the file, without those that are excluded.

    Raises:
        BenchError: no such file, no TOML, an unknown key or name, an exclusion of nothing, nothing left.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchError(f"there is no {file}", hint="A grid is a TOML file: bench sweep --help.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BenchError(f"{file} cannot be read as TOML: {error}") from error
    grid = build_options(GridFile, content, str(file))
    base: dict[str, Any] = {
        "runs": runs,
        "device": device,
        "batch_size": grid.batch_size,
        "feature_dtype": grid.feature_dtype,
    }
    axes = (
        list(_methods(grid.methods, file)),
        list(_datasets(grid.datasets, file)),
        list(_protocols(grid.protocols, file)),
        list(_preprocessings(grid.preprocessings, file)),
        [({"seed": seed}, {"seed": seed}) for seed in _seeds(grid.seeds, file)],
    )
    exclusions = [
        build_options(Exclusion, table, f"exclude {number} of {file}")
        for number, table in enumerate(grid.exclude, 1)
    ]
    with no_garbage_collection():
        return _left([_cell(base, parts) for parts in itertools.product(*axes)], exclusions, file)


_Choice = tuple[dict[str, Any], dict[str, Any]]
"""Fields of the request, and the names of what was chosen."""


def _cell(base: dict[str, Any], parts: Sequence[_Choice]) -> GridCell:
    fields = dict(base)
    names: dict[str, Any] = {}
    for chosen, called in parts:
        fields |= chosen
        names |= called
    return GridCell(RunRequest(**fields), names)


def _methods(entries: Sequence[str | Table], file: Path) -> Iterator[_Choice]:
    for number, entry in enumerate(entries, 1):
        method = build_options(MethodEntry, _table(entry), f"method {number} of {file}")
        _require("methods", method.name)
        variants: list[str | None] = [*(method.variants or ())] or [None]
        every: list[str | Table | None] = [*(method.weights or ())] or [None]
        for variant, weights, options in itertools.product(variants, every, _axis(method.options)):
            typed = _typed((_variant(method.name, variant) if variant else {}) | options)
            given, label = _weights(weights, method.name, file)
            names = {"method": method.name, "variant": variant or "", "weights": label}
            yield {"method": method.name, "method_options": typed, **given}, names


def _variant(method: str, name: str) -> Table:
    known = load_method(method).variants
    if name not in known:
        raise BenchError(f"method {method!r} has no variant {name!r}", hint=did_you_mean(name, known))
    return dict(known[name].options)


def _weights(entry: str | Table | None, method: str, file: Path) -> tuple[dict[str, Any], str]:
    if entry is None or entry == "default":
        return {}, "default"
    given = {"file": entry} if isinstance(entry, str) else entry
    found = build_options(WeightsEntry, given, f"weights of method {method!r} of {file}")
    said = found.model_dump(exclude_none=True)
    if len(said) != 1:
        raise BenchError(
            f"weights of method {method!r} of {file} say {' and '.join(said) or 'nothing'}",
            hint="Give one of file, shipped and like.",
        )
    if found.shipped is not None:
        return {"weights": found.shipped}, found.shipped
    path = found.file or found.like or ""
    key = "checkpoint" if found.file is not None else "like"
    return {key: file.parent / Path(path).expanduser()}, path


def _datasets(entries: Sequence[str | Table], file: Path) -> Iterator[_Choice]:
    for number, entry in enumerate(entries, 1):
        found = build_options(DatasetEntry, _table(entry), f"data set {number} of {file}")
        _require("datasets", parse_dataset(found.name)[0])
        splits = found.model_dump(include={"train_split", "test_split", "validation_split"})
        for options in _axis(found.options):
            request = DatasetRequest(found.name, _typed(options))
            yield {"dataset": request, **splits}, {"dataset": found.name}


def _protocols(entries: Sequence[str | Table], file: Path) -> Iterator[_Choice]:
    for number, entry in enumerate(entries, 1):
        found = build_options(ProtocolEntry, _table(entry), f"protocol {number} of {file}")
        _require("protocols", found.name)
        for options in _axis(found.options):
            fields = {"protocol": found.name, "preset": found.preset, "protocol_options": _typed(options)}
            yield fields, {"protocol": found.name, "preset": found.preset}


def _preprocessings(entries: Sequence[str | Table], file: Path) -> Iterator[_Choice]:
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, str):
            yield {"preprocessing": named_preprocessing(entry)}, {"preprocessing": entry}
        else:
            sizes = build_options(Preprocessing, entry, f"preprocessing {number} of {file}")
            yield {"preprocessing": sizes}, {"preprocessing": f"{sizes.image_size}+{sizes.margin}"}


def _seeds(seeds: Sequence[int], file: Path) -> Sequence[int]:
    wrong = [seed for seed in seeds if not 0 <= seed < 2**63]
    if wrong:
        raise BenchError(f"seed {wrong[0]} of {file} is not between 0 and 2^63 - 1")
    return seeds


def _table(entry: str | Table) -> Table:
    return {"name": entry} if isinstance(entry, str) else entry


def _axis(options: Table | list[Table]) -> list[Table]:
    return [options] if isinstance(options, dict) else options


def _typed(options: Mapping[str, Any]) -> tuple[str, ...]:
    """As on the command line: text as it is, everything else as JSON."""
    return tuple(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in options.items()
    )


def _require(group: registry.Group, name: str) -> None:
    if name not in registry.names(group):
        registry.load(group, name)  # whose message knows what is near


def _left(cells: list[GridCell], exclusions: Sequence[Exclusion], file: Path) -> list[GridCell]:
    every = cells
    for number, exclusion in enumerate(exclusions, 1):
        rule = {
            key: tuple(value) if isinstance(value, list) else (value,)
            for key, value in exclusion.model_dump(exclude_none=True).items()
        }
        if not rule:
            raise BenchError(f"exclude {number} of {file} says nothing, and would leave nothing")
        for key, values in rule.items():
            known = {cell.names[key] for cell in every}
            for value in values:
                if value not in known:
                    hint = did_you_mean(str(value), {str(name) for name in known})
                    raise BenchError(f"exclude {number} of {file}: no cell has {key} {value!r}", hint=hint)
        cells = [cell for cell in cells if not all(cell.names[key] in rule[key] for key in rule)]
    if not cells:
        raise BenchError(f"{file} excludes all of its cells")
    return cells
