"""Which record a request leads to: by the parts that a record's id is the hash of, each found once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from bench.errors import BenchError
from bench.features import Capability, FeatureExtractor
from bench.files import cache_folder, only_process, require_writable
from bench.ingredients import Ingredients, Procedure
from bench.landmarks import LandmarkDataset
from bench.loading import Preprocessing
from bench.method import Method
from bench.network import Network, NetworkRequest, open_network, planned_network
from bench.opening import choose_device
from bench.progress import Progress
from bench.protocol import Protocol, Role
from bench.record import (
    IDENTITY_VERSION,
    DatasetPart,
    MethodPart,
    ProtocolPart,
    RunRecord,
    canonical_json,
    text_hash,
)
from bench.run_request import RunRequest

T = TypeVar("T")

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Identity:
    """What is known of a cell before it is run.

    Attributes:
        record: Id of its record; None: its weights have to be fetched or trained first.
        group: Equal for cells of the same weights on the same images, which share extracted features.
        reads_images: Whether the data set plays a part.
    """

    record: str | None
    group: str
    reads_images: bool = True


@dataclass(frozen=True)
class _KnownNetwork:
    """What is kept of a network.

    Attributes:
        text: Its part of the identity, as JSON; None: its weights are not at hand.
    """

    text: str | None
    capabilities: frozenset[Capability]


class Identities:
    """Finds what many requests lead to.

    Args:
        elsewhere: Cells run on other machines, so that their device need not be here.
    """

    def __init__(self, progress: Progress, *, elsewhere: bool = False) -> None:
        self._progress = progress
        self._elsewhere = elsewhere
        self._ingredients = Ingredients()
        self._known: dict[Hashable, object] = {}

    def find(self, request: RunRequest) -> Identity:
        """Which record, and of which group; fetches and trains nothing.

        Raises:
            BenchError: why the cell cannot be run.
        """
        procedure = self._procedure(request)
        key = _network_key(procedure, request)
        network = self._once(key, lambda: self._known_network(procedure, request))
        require_capabilities(procedure.protocol, network.capabilities, request.method)
        dataset, images = self._images(procedure, request)
        if network.text is None:
            return Identity(None, f"{key}|{images}", procedure.protocol.uses_data)
        protocol = self._once(
            ("protocol", procedure), lambda: canonical_json(protocol_part(procedure, request).identity())
        )
        # The canonical JSON of RunRecord.identity, put together from that of its parts.
        text = (
            f'{{"dataset":{dataset},"method":{network.text},"protocol":{protocol},'
            f'"schema_version":{IDENTITY_VERSION},"seed":{request.seed}}}'
        )
        return Identity(text_hash(text), f"{network.text}|{images}", procedure.protocol.uses_data)

    def unmeasured(self, request: RunRequest, reason: str) -> RunRecord:
        """The failed record of a cell that could not write one itself.

        Raises:
            BenchError: where not even that is known.
        """
        procedure = self._procedure(request)
        network = open_network(self._wanted(procedure, request), _CPU, self._progress)
        splits = self._ingredients.splits(procedure, request)
        return RunRecord(
            status="failed",
            reason=reason,
            method=method_part(network, request, feature_dim(network.extractor, request.preprocessing, _CPU)),
            protocol=protocol_part(procedure, request),
            dataset=dataset_part(splits, self._ingredients, request),
            seed=request.seed,
        )

    def settle(self, request: RunRequest, say: Callable[[str], None]) -> None:
        """Fetch or train the weights of a request whose record is not known before; other processes wait meanwhile.

        Raises:
            BenchError: where they cannot be had; from then on that is why its cells cannot be run.
        """
        procedure = self._procedure(request)
        key = _network_key(procedure, request)
        known = self._known.get(key)
        if isinstance(known, _KnownNetwork) and known.text is None:
            del self._known[key]
        folder = cache_folder("pretrained")
        require_writable(folder)
        waiting = partial(
            say, f"waiting for another process that fetches or trains weights of {request.method}"
        )
        with only_process(folder / f"{request.method}.lock", waiting):
            self._once(key, lambda: self._fetched_network(procedure, request, say))

    def _procedure(self, request: RunRequest) -> Procedure:
        device = self._once(("device", request.device), lambda: self._device(request.device))
        return self._ingredients.procedure(request, device)

    def _device(self, name: str) -> torch.device:
        try:
            return choose_device(name)
        except BenchError:
            if not self._elsewhere:
                raise
            return torch.device(name)

    def _images(self, procedure: Procedure, request: RunRequest) -> tuple[str, str]:
        """The data set's part of the identity, and what is equal for all protocols that read these images."""
        if not procedure.protocol.uses_data:
            return "null", ""

        def described() -> tuple[str, str]:
            part = dataset_part(self._ingredients.splits(procedure, request), self._ingredients, request)
            content = None if part is None else part.identity()
            return canonical_json(content), f"{part and part.fingerprints['test']}|{request.preprocessing}"

        splits = self._ingredients.splits_key(procedure, request)
        return self._once(("images", splits, request.preprocessing), described)

    def _known_network(self, procedure: Procedure, request: RunRequest) -> _KnownNetwork:
        wanted = self._wanted(procedure, request)
        if not wanted.is_at_hand:
            return _KnownNetwork(None, planned_network(wanted).capabilities)
        return self._opened_network(wanted, request)

    def _fetched_network(
        self, procedure: Procedure, request: RunRequest, say: Callable[[str], None]
    ) -> _KnownNetwork:
        say(f"weights of {request.method} are fetched or trained first")
        return self._opened_network(self._wanted(procedure, request), request)

    def _opened_network(self, wanted: NetworkRequest, request: RunRequest) -> _KnownNetwork:
        network = open_network(wanted, _CPU, self._progress)
        part = method_part(network, request, feature_dim=0)  # which plays no part in the identity
        return _KnownNetwork(canonical_json(part.identity()), network.extractor.capabilities)

    def _wanted(self, procedure: Procedure, request: RunRequest) -> NetworkRequest:
        return network_request(request, self._ingredients.method(request.method), procedure.protocol)

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._known:
            try:
                self._known[key] = make()
            except BenchError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, BenchError):
            raise BenchError(found.message, hint=found.hint)
        return found  # type: ignore[return-value]


def network_request(request: RunRequest, method: Method, protocol: Protocol) -> NetworkRequest:
    """What a request says of its network."""
    return NetworkRequest(
        method,
        request.checkpoint,
        request.like,
        request.weights,
        request.method_options,
        request.device,
        request.workers,
        weights_matter=protocol.uses_weights,
    )


def require_capabilities(protocol: Protocol, given: frozenset[Capability], method: str) -> None:
    """Whether a method gives what a protocol measures.

    Raises:
        BenchError: where it does not.
    """
    missing = sorted(protocol.requires - given)
    if missing:
        raise BenchError(
            f"protocol {protocol.name!r} needs {' and '.join(missing)} features, "
            f"and method {method!r} gives {' and '.join(sorted(given))}"
        )


def method_part(network: Network, request: RunRequest, feature_dim: int) -> MethodPart:
    """What a record says of the network."""
    whole = request.feature_dtype == "float32"
    return MethodPart(
        name=request.method,
        options=network.options,
        weights_sha256=network.sha256,
        weights_label=network.label if whole else f"{network.label}; features in float16",
        feature_dim=feature_dim,
        feature_dtype=request.feature_dtype,
    )


def feature_dim(extractor: FeatureExtractor, preprocessing: Preprocessing, device: torch.device) -> int:
    """How many numbers a feature has, for images of this size."""
    side = preprocessing.image_size
    return extractor.extract(torch.zeros(1, 3, side, side, device=device)).channels


def protocol_part(procedure: Procedure, request: RunRequest) -> ProtocolPart:
    """What a record says of the protocol."""
    protocol = procedure.protocol
    return ProtocolPart(
        name=protocol.name,
        version=protocol.version,
        preset=request.preset,
        options=procedure.options.model_dump(mode="json"),
        baselines=list(protocol.baselines),
    )


def dataset_part(
    splits: Mapping[Role, LandmarkDataset], ingredients: Ingredients, request: RunRequest
) -> DatasetPart | None:
    """What a record says of the images; None where none are read."""
    if not splits:
        return None
    test = splits["test"]
    return DatasetPart(
        name=test.name,
        tier=test.info.tier,
        options=ingredients.dataset(request.dataset).options.model_dump(mode="json"),
        preprocessing=request.preprocessing.model_dump(mode="json"),
        splits={str(role): split.split for role, split in splits.items()},
        fingerprints={str(role): split.fingerprint for role, split in splits.items()},
        counts={str(role): len(split) for role, split in splits.items()},
        landmarks=len(test.schema.names),
    )


def _network_key(procedure: Procedure, request: RunRequest) -> tuple[Hashable, ...]:
    return (
        "network",
        request.method,
        request.checkpoint,
        request.like,
        request.weights,
        tuple(request.method_options),
        request.feature_dtype,
        procedure.protocol.uses_weights,
    )
