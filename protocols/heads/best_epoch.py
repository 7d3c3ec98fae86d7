"""Which epoch of a training is read: where it is not the last, the one that is best on images apart."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn


class BestEpoch:
    """What is learned, as it was after the epoch of the highest score; of equal ones, the first.

    Args:
        score: Of what is learned as it is now, on images that are neither learned from nor tested on.

    Attributes:
        scores: After each finished epoch.
        kept: Copies of all that is learned, by name, as it was after the best of these epochs.
    """

    def __init__(self, score: Callable[[], float]) -> None:
        self._score = score
        self.scores: list[float] = []
        self.kept: dict[str, nn.Module] = {}

    def prepare(self, modules: dict[str, nn.Module]) -> None:
        """Before the first epoch, or before a state is read back."""
        self.kept = {name: copy.deepcopy(module) for name, module in modules.items()}

    def judge(self, modules: dict[str, nn.Module]) -> None:
        """After every epoch."""
        score = self._score()
        if not self.scores or score > max(self.scores):
            _copy(modules, self.kept)
        self.scores.append(score)

    def put_back(self, modules: dict[str, nn.Module]) -> None:
        """After the last epoch: make what is learned what it was after the best one."""
        _copy(self.kept, modules)

    @property
    def epoch(self) -> int:
        """The best epoch, counted from 1: after so many passes the score was highest."""
        return 1 + self.scores.index(max(self.scores))


def _copy(source: dict[str, nn.Module], target: dict[str, nn.Module]) -> None:
    for name, module in source.items():
        target[name].load_state_dict(module.state_dict())
