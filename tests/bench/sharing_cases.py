"""Small losses on a batch, computed by one process and again by several, in double precision.

A launcher starts this module; every process computes each case alone and then together with the others, and prints
the largest relative difference as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.distributed import process_count, team_of
from bench.features import FeatureMap
from bench.sharing import add_gradients, share, share_groups, share_mean

ROWS = 7  # three processes have 3, 2 and 2 of them


class World:
    """A network with batch norm, a head that every process computes alike, and a batch."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.network = nn.Sequential(
                nn.Conv2d(3, 4, 3),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Conv2d(4, 5, 3),
                nn.BatchNorm2d(5, affine=False),
            ).double()
            self.head = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).double()
        self.images = torch.rand(ROWS, 3, 8, 8, generator=draw, dtype=torch.float64)

    def modules(self) -> nn.ModuleList:
        return nn.ModuleList([self.network, self.head])

    def embed(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.network(images).mean((2, 3))
        return embedding

    def project(self, embedding: Tensor) -> Tensor:
        projection: Tensor = self.head(embedding)
        return projection


def _contrast(embedding: Tensor) -> Tensor:
    """Every row against every other: no mean over rows."""
    unit = F.normalize(embedding, dim=1)
    return (unit @ unit.T / 0.1).logsumexp(dim=1).mean()


def head_on_shared_rows(world: World) -> Tensor:
    return _contrast(world.project(share(world.embed, world.images)))


def network_called_twice(world: World) -> Tensor:
    first, second = share(world.embed, world.images), share(world.embed, world.images.flip(3))
    return (world.project(first) * world.project(second).detach()).sum().tanh() + _contrast(first - second)


def rows_and_their_neighbours(world: World) -> Tensor:
    """What was gathered is cut again, into parts that need rows of other processes."""

    def maps(images: Tensor) -> tuple[Tensor, FeatureMap]:
        features = world.network(images)
        return features.mean((2, 3)), FeatureMap((features, features[:, :2]), (4, 4), (8, 8))

    def apart(one: Tensor, other: Tensor, there: FeatureMap) -> tuple[Tensor, Tensor]:
        return (one - other).square().mean(), (one[:, :2] * there.levels[1].mean((2, 3))).mean()

    embedding, feature_map = share(maps, world.images)
    distance, product = share_mean(apart, embedding, embedding.roll(1, 0), feature_map)
    return distance + product**3


def parameters_used_in_both_ways(world: World) -> Tensor:
    """The same layer inside what is shared and outside."""
    inside = share(lambda images: world.project(world.embed(images)), world.images)
    return _contrast(inside) + world.project(torch.ones(3, 5).double() * torch.arange(3)[:, None]).sum().sin()


def nested(world: World) -> Tensor:
    """Inside a part nothing is divided further."""
    return share_mean(lambda images: share(world.embed, images).square().mean(), world.images)


def groups_apart(world: World) -> Tensor:
    groups = world.images.tensor_split(3)
    twice = [torch.cat(share_groups(world.embed, groups, world.network)) for _ in range(2)]
    return _contrast(twice[0] + 2 * twice[1])


def a_single_group(world: World) -> Tensor:
    return _contrast(torch.cat(share_groups(world.embed, [world.images], world.network)))


def in_evaluation_mode(world: World) -> Tensor:
    world.network.eval()
    return _contrast(share(world.embed, world.images))


CASES: tuple[Callable[[World], Tensor], ...] = (
    head_on_shared_rows,
    network_called_twice,
    rows_and_their_neighbours,
    parameters_used_in_both_ways,
    nested,
    groups_apart,
    a_single_group,
    in_evaluation_mode,
)


def outcome(case: Callable[[World], Tensor]) -> dict[str, Tensor]:
    """The loss, the gradients of all parameters and the buffers after one step."""
    world = World()
    loss = case(world)
    (loss / process_count()).backward()
    modules = world.modules()
    if process_count() > 1:
        add_gradients(modules.parameters())
    gradients = {f"gradient of {n}": p.grad for n, p in modules.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients, **dict(modules.named_buffers())}


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(
        float((one[k].double() - other[k].double()).abs().max() / one[k].abs().max().clamp_min(1e-3))
        for k in one
    )


def main() -> None:
    alone = [outcome(case) for case in CASES]
    with team_of("cpu"):
        together = [outcome(case) for case in CASES]
    print(json.dumps({c.__name__: difference(a, t) for c, a, t in zip(CASES, alone, together, strict=True)}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
