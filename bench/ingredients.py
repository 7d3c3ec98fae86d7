"""What a cell is made of, each opened once: for plans of many cells, and for processes that run many of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from bench import registry
from bench.context import EvaluationData
from bench.errors import BenchError
from bench.image_cache import ImageCache
from bench.landmarks import LandmarkDataset
from bench.loading import LoadedSplit, load_split
from bench.method import Method
from bench.opening import (
    DatasetRequest,
    OpenedDataset,
    load_method,
    open_dataset,
    preset_of,
    resolve_options,
)
from bench.progress import Progress
from bench.protocol import Protocol, Role
from bench.run_request import RunRequest

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Procedure:
    """A protocol with its options, as a record states them."""

    protocol: Protocol
    options: Any


class Ingredients:
    """Methods, protocols and data sets by what requests call them.

    What cannot be opened is remembered too, with its reason. Of decoded images only those of the last data set stay
    in memory.
    """

    def __init__(self) -> None:
        self._opened: dict[Hashable, object] = {}
        self._loaded: dict[Hashable, dict[Role, LoadedSplit]] = {}

    def method(self, name: str) -> Method:
        return self._once(("method", name), lambda: load_method(name))

    def procedure(self, request: RunRequest, device: torch.device) -> Procedure:
        """The protocol and its options.

        Raises:
            BenchError: for a name, preset or option that is not known.
        """
        key = ("procedure", request.protocol, request.preset, tuple(request.protocol_options), str(device))
        return self._once(key, lambda: _procedure(request, device))

    def dataset(self, request: DatasetRequest) -> OpenedDataset:
        key = ("data set", request.spec, tuple(request.options))
        return self._once(key, lambda: open_dataset(request))

    def splits(self, procedure: Procedure, request: RunRequest) -> dict[Role, LandmarkDataset]:
        """Role -> what is read of the split; empty where the protocol reads no images.

        Raises:
            BenchError: for a data set or split that is missing or malformed.
        """
        if not procedure.protocol.uses_data:
            return {}
        return self._once(
            ("splits", *self.splits_key(procedure, request)), lambda: self._splits(procedure, request)
        )

    def splits_key(self, procedure: Procedure, request: RunRequest) -> tuple[Hashable, ...]:
        """Equal for requests that read the same images."""
        protocol = procedure.protocol
        roles = protocol.roles(procedure.options)
        named = (request.train_split, request.test_split, request.validation_split)
        asked = (request.dataset.spec, tuple(request.dataset.options), *named, roles)
        if type(protocol).view is Protocol.view:
            return asked
        return (*asked, protocol.name, procedure.options.model_dump_json(), request.seed)

    def load(self, procedure: Procedure, request: RunRequest, progress: Progress) -> EvaluationData:
        """The images that the protocol reads, decoded."""
        opened = self.splits(procedure, request)
        if not opened:
            return EvaluationData(train=None, test=LoadedSplit.empty())
        key = (self.splits_key(procedure, request), request.preprocessing)
        if key not in self._loaded:
            self._loaded.clear()
            cache = ImageCache.from_environment()
            self._loaded[key] = {
                role: load_split(
                    split, request.preprocessing, workers=request.workers, progress=progress, cache=cache
                )
                for role, split in opened.items()
            }
        loaded = self._loaded[key]
        return EvaluationData(
            train=loaded.get("train"),
            test=loaded["test"],
            validation=loaded.get("validation"),
        )

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._opened:
            try:
                self._opened[key] = make()
            except BenchError as error:
                self._opened[key] = error
        found = self._opened[key]
        if isinstance(found, BenchError):
            raise BenchError(found.message, hint=found.hint)
        return found  # type: ignore[return-value]

    def _splits(self, procedure: Procedure, request: RunRequest) -> dict[Role, LandmarkDataset]:
        dataset = self.dataset(request.dataset)
        names = _split_names(procedure, dataset, request)
        return {
            role: procedure.protocol.view(self._split(dataset, name), role, procedure.options, request.seed)
            for role, name in sorted(names.items())
        }

    def _split(self, dataset: OpenedDataset, name: str) -> LandmarkDataset:
        asked = dataset.request
        return self._once(("split", asked.spec, tuple(asked.options), name), lambda: dataset.open(name))


def _procedure(request: RunRequest, device: torch.device) -> Procedure:
    protocol: Protocol = registry.load("protocols", request.protocol)()
    what = f"protocol {protocol.name!r}"
    preset = preset_of(protocol.presets, request.preset, what)
    options = resolve_options(protocol.Options, request.protocol_options, what, base=preset)
    return Procedure(protocol, protocol.resolve(options, device))


def _split_names(procedure: Procedure, dataset: OpenedDataset, request: RunRequest) -> dict[Role, str]:
    train, test = dataset.provider.evaluation_splits(dataset.location, dataset.options)
    roles = procedure.protocol.roles(procedure.options)
    names: dict[Role, str] = {"test": request.test_split or test}
    if "train" in roles:
        names["train"] = request.train_split or train
    if names.get("train") == names["test"]:
        raise BenchError(
            f"training and test split are the same: {names['test']!r}", hint="Give --test-split."
        )
    if "validation" in roles:
        names["validation"] = _validation_split(procedure.protocol, dataset, request, names)
    return names


def _validation_split(
    protocol: Protocol, dataset: OpenedDataset, request: RunRequest, others: dict[Role, str]
) -> str:
    chosen = request.validation_split or dataset.provider.validation_split(dataset.location, dataset.options)
    if chosen is None:
        there = ", ".join(dataset.provider.splits(dataset.location, dataset.options))
        raise BenchError(
            f"protocol {protocol.name!r} with these options needs a validation split, and data set "
            f"{dataset.request.spec!r} has none of its own; its splits are {there}",
            hint="Name one with --validation-split, or choose other options of the protocol.",
        )
    if chosen in others.values():
        (role,) = (role for role, name in others.items() if name == chosen)
        raise BenchError(
            f"the validation split is that of role {role}: {chosen!r}",
            hint="Give another --validation-split.",
        )
    return chosen
