"""The processes that train together: who they are, how they start and stop, and what one has to say to the others.

``torchrun`` and ``accelerate launch`` start the same command several times and tell each process its number in
``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` and ``MASTER_*``. Tensors travel by torch's collectives (NCCL between GPUs,
gloo between CPUs), words by torch's store. The work itself is shared in ``bench.sharing``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store, _abort_process_group
from torch.distributed.rendezvous import rendezvous

from bench.errors import BenchError, ToldElsewhereError
from bench.opening import choose_device

T = TypeVar("T")

_JOINING = timedelta(minutes=10)
"""How long the first processes wait for the last: hosts of a cluster do not start in the same second."""

_PATIENCE = timedelta(minutes=30)
"""How long a process waits in a collective for the others: longer than any step, and than writing a checkpoint."""

_LONGEST_PAUSE_S = 0.2
_FAILURES = "failures"


@dataclass(frozen=True)
class Place:
    """Which of the processes of a launch this one is.

    Attributes:
        rank: Of all, from 0. Process 0 writes the files and speaks.
        size: How many there are.
        local: Number on this host, which chooses the GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @classmethod
    def from_environment(cls) -> Place:
        """What the launcher says; a process that none has started is alone.

        Raises:
            BenchError: where it does not make sense.
        """
        size = _number("WORLD_SIZE", 1)
        if size <= 1:
            return cls()
        rank = _number("RANK", None)
        if not 0 <= rank < size:
            raise BenchError(
                f"the launcher says RANK={rank} of WORLD_SIZE={size}, expected 0 to {size - 1}",
                hint="Start with torchrun or accelerate launch, which number the processes.",
            )
        return cls(rank, size, _number("LOCAL_RANK", rank))

    def device(self, name: str) -> torch.device:
        """What a user's name of a device means here: GPUs are dealt out by the number of the process on its host.

        Raises:
            BenchError: where there is none for this process.
        """
        device = choose_device(name)
        if device.type != "cuda" or self.size == 1:
            return device
        if ":" in name:
            raise BenchError(
                f"--device {name} is one GPU, and there are {self.size} processes",
                hint="Use --device cuda: every process takes the GPU of its number on the host.",
            )
        there = torch.cuda.device_count()
        if self.local >= there:
            raise BenchError(
                f"process {self.local} of this host needs a GPU of its own, and there are {there}",
                hint=f"Start at most {there} processes here (torchrun --nproc-per-node), or use --device cpu.",
            )
        torch.cuda.set_device(self.local)
        return torch.device("cuda", self.local)


def process_count() -> int:
    """How many processes train together now; 1 outside of a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class Team:
    """The processes of one job, this one among them; alone, every method is trivial.

    Messages go through the store, in an order that is the same in every process.
    """

    def __init__(self, place: Place, device: torch.device, store: Store | None = None) -> None:
        self.place, self.device = place, device
        self._store, self._said = store, 0

    @property
    def is_main(self) -> bool:
        return self.place.is_main

    def from_main(self, ask: Callable[[], T]) -> T:
        """What process 0 answers (JSON), in every process; the others wait, however long it takes."""
        topic = self._next("main")
        if not self.is_main:
            return json.loads(self._wait_for(topic))  # type: ignore[no-any-return]
        answer = ask()
        self._tell(topic, answer)
        return answer

    def require_same(self, what: str, content: dict[str, Any]) -> None:
        """All processes agree on ``content``, or the training stops before it starts.

        Raises:
            BenchError: names the entries that are not process 0's.
        """
        ours = json.loads(json.dumps(content))
        theirs = self.from_main(lambda: ours)
        changed = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
        if changed:
            raise BenchError(
                f"process {self.place.rank} sees another {what} than process 0: they differ in {', '.join(changed)}",
                hint="Every process needs the same command, version of bench and data.",
            )

    def part(self) -> None:
        """Wait until process 0 has finished; it waits for the others, because the store may end with it."""
        self.from_main(lambda: True)
        topic = self._next("left")
        if not self.is_main:
            self._tell(f"{topic}/{self.place.rank}", True)
            return
        for rank in range(1, self.place.size):
            self._wait_for(f"{topic}/{rank}")

    def is_first_to_fail(self) -> bool:
        """Say that this process has failed. Whether it is the first: one of them tells the user."""
        if self._store is None:
            return True
        try:
            return int(self._store.add(_FAILURES, 1)) == 1
        except RuntimeError:  # it was kept by a process that is gone
            return True

    def _next(self, kind: str) -> str:
        self._said += 1
        return f"{kind}/{self._said}"

    def _tell(self, topic: str, message: object) -> None:
        if self._store is not None:
            with connected():
                self._store.set(topic, json.dumps(message))

    def _wait_for(self, topic: str) -> bytes:
        if self._store is None:
            return b"null"
        pause = 0.001
        with connected():
            while not self._store.check([topic]):
                if self._store.check([_FAILURES]):
                    raise ToldElsewhereError
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            return bytes(self._store.get(topic))


@contextmanager
def team_of(device: str) -> Iterator[Team]:
    """The processes that the launcher has started, joined for the time of the context.

    Args:
        device: As a user names it.

    Raises:
        BenchError: in one of the processes that fail; in the others :class:`ToldElsewhereError`.
    """
    place = Place.from_environment()
    if place.size == 1:
        yield Team(place, place.device(device))
        return
    store = _store(place)
    team = Team(place, torch.device("cpu"), store)
    try:
        team.device = place.device(device)
        backend = "nccl" if team.device.type == "cuda" else "gloo"
        with connected():
            dist.init_process_group(
                backend, store=store, rank=place.rank, world_size=place.size, timeout=_PATIENCE
            )
        yield team
        team.part()
        dist.destroy_process_group()
    except KeyboardInterrupt:
        if team.is_first_to_fail():
            raise
        raise SystemExit(130) from None
    except BaseException as error:
        first = team.is_first_to_fail()
        if isinstance(error, BenchError) and not first:
            raise ToldElsewhereError from error
        raise
    finally:
        if dist.is_initialized():  # still: something has failed
            _abandon_the_others()


def _abandon_the_others() -> None:
    """End the group without waiting: to destroy one of NCCL waits for processes that may wait for this one."""
    if dist.get_backend() == "nccl":
        _abort_process_group()
    else:
        dist.destroy_process_group()


@contextmanager
def connected() -> Iterator[None]:
    """Around torch's communication, which fails where another process is gone."""
    try:
        yield
    except BenchError:
        raise
    except RuntimeError as error:  # gloo raises nothing more special
        raise BenchError(
            "the connection to another process of this training is lost",
            hint="See what that process said. The same command continues from the last checkpoint.",
        ) from error


def _store(place: Place) -> Store:
    """Where processes leave messages: the launcher's, or one that process 0 keeps."""
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise BenchError(
            f"this is process {place.rank} of {place.size}, and {' and '.join(missing)} is not set",
            hint="Start with torchrun or accelerate launch, which set it.",
        )
    try:
        store, _, _ = next(rendezvous("env://", timeout=_JOINING))
    except RuntimeError as error:  # DistStoreError and DistNetworkError are
        raise BenchError(
            f"this is process {place.rank} of {place.size}, and within {_JOINING.total_seconds() / 60:g} minutes it "
            f"did not meet the others at {os.environ['MASTER_ADDR']}, port {os.environ['MASTER_PORT']}",
            hint="See that all were started, and that this host reaches that one. The same command starts anew.",
        ) from error
    with connected():
        store.set_timeout(_PATIENCE)
        # A launcher's store outlives a job, so the next one needs other names.
        job = store.add(f"bench/jobs-of-{place.rank}", 1)
        return PrefixStore(f"bench/{job}", store)


def _number(name: str, default: int | None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise BenchError(
            f"{name} is {text!r}, expected a number",
            hint="Start with torchrun or accelerate launch, which set it.",
        ) from error
