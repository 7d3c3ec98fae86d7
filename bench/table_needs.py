"""What a published table needs that only the user can give: its data sets, and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import registry
from bench.data_requirements import check_requirements, is_complete
from bench.errors import BenchError
from bench.landmarks import DatasetProvider
from bench.opening import DatasetRequest, OpenedDataset, open_dataset
from bench.options import parse_dataset
from bench.progress import Progress
from bench.tables import CellRun, Training


@dataclass(frozen=True)
class Need:
    """Something that cells wait for.

    Attributes:
        kind: What sort of thing it is: data, weights or a protocol.
        name: What the command line calls it.
        advice: How to get it and how to give it, one line each.
    """

    kind: str
    name: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableData:
    """The data sets that were given.

    Attributes:
        own: The table's own, by name.
        substitute: What stands in for all others.
        problems: Of the table's own that lack files, by name.
    """

    own: Mapping[str, DatasetRequest]
    substitute: OpenedDataset | None
    problems: Mapping[str, tuple[str, ...]]

    @classmethod
    def given(
        cls, requests: Sequence[DatasetRequest], runs: Sequence[CellRun], progress: Progress
    ) -> TableData:
        """Sort what was given by what the runs, and the trainings of their weights, ask for."""
        names = {run.dataset for run in runs if run.dataset}
        names |= {training.dataset for run in runs if run.weights for training in run.weights.chain}
        own: dict[str, DatasetRequest] = {}
        problems: dict[str, tuple[str, ...]] = {}
        substitute: OpenedDataset | None = None
        for request in requests:
            name, location = parse_dataset(request.spec)
            opened = open_dataset(request)
            if name in names:
                own[name] = request
                folder = None if location is None else Path(location).expanduser()
                files = check_requirements(folder, opened.provider.requirements(opened.options), progress)
                if not is_complete(files):
                    problems[name] = tuple(problem for file in files for problem in file.problems)
            elif substitute is None:
                substitute = opened
            else:
                raise BenchError(
                    f"{substitute.request.spec!r} and {request.spec!r} are both none of the table's data sets",
                    hint=f"One can stand in for them. The table's own: {', '.join(sorted(names)) or 'none'}.",
                )
        return cls(own, substitute, problems)

    @property
    def is_procedural(self) -> bool:
        """Whether there is a substitute that is rendered, not read."""
        return self.substitute is not None and not self.substitute.provider.needs_location

    def find(self, *names: str) -> DatasetRequest | Need:
        """The first of the data sets that is there, else what stands in for them, else what is missing."""
        for name in names:
            if name in self.problems:
                return Need("data", name, self.problems[name])
            if name in self.own:
                return self.own[name]
        return self.substitute.request if self.substitute else missing_data(names[0])


def same_images(name: str) -> tuple[str, ...]:
    """Data sets whose pre-training images are the same: MAFL is a choice of CelebA's annotations."""
    return (name, "mafl") if name == "celeba" else (name,)


def missing_data(name: str) -> Need:
    """Where a data set is had, and how to give it."""
    provider: DatasetProvider = registry.load("datasets", name)()
    sources = dict.fromkeys(item.source for item in provider.requirements(provider.Options()))
    advice = (
        f"give it: --dataset {name}:FOLDER",
        *(f"had from: {source}" for source in sources),
        f"its files: bench data verify {name}",
    )
    return Need("data", name, advice)


def missing_weights(weights: Training) -> Need:
    """Which file holds weights, or which commands train them, and how to give them."""
    advice = [f"give them: --checkpoint {weights.name}=PATH"]
    if weights.official:
        advice.append(f"released: {weights.official}")
    first, *others = weights.chain
    advice.append(f"or train them: {first.command()}")
    advice += [f"then: {training.command()}" for training in others]
    return Need("weights", weights.name, tuple(advice))
