"""Signing: hands that move smoothly from sign to sign, while head, trunk and face follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.draws import between
from datasets.synthetic_bodies.hands import SHAPES, HandPose
from datasets.synthetic_bodies.skeleton import SIDES

# Where a wrist may be: outwards from the body's middle, down, towards the viewer; low and high bounds.
_SPACES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "front": ((-0.2, 0.2, 2.1), (2.0, 2.4, 3.3)),
    "chest": ((-0.3, 0.4, 1.75), (1.2, 2.0, 2.2)),
    "face": ((0.5, -1.2, 1.9), (1.7, 0.2, 2.5)),
    "side": ((2.0, -0.6, 1.0), (3.6, 2.4, 2.6)),
    "high": ((1.0, -2.6, 1.4), (2.8, -0.8, 2.4)),
}
_SHARES = (0.42, 0.18, 0.18, 0.14, 0.08)
_CLASPED, _HANGING = (0.55, 3.0, 1.85), (2.35, 4.6, 0.35)
_LEAD = 1.0  # seconds of signs before a clip begins


@dataclass(frozen=True, eq=False)
class Moment:
    """A pose of the upper body.

    Shapes:
        wrists: (2, 3). swivels, turns: (2,). Right first, see ``skeleton.bent_arm``.
        head, trunk: (3,), yaw, pitch, roll in degrees; the head's is relative to the trunk.
    """

    wrists: FloatArray
    swivels: FloatArray
    turns: FloatArray
    hands: tuple[HandPose, HandPose]
    head: FloatArray
    trunk: FloatArray
    expression: dict[str, float]
    gaze: tuple[float, float]


@dataclass(frozen=True)
class _Target:
    """What one hand does in one sign: a state (14,), and a small movement (3,) repeated at a pace."""

    state: FloatArray
    movement: FloatArray
    pace: float


def _state(wrist: FloatArray, swivel: float, turn: float, bend: FloatArray, shape: FloatArray) -> FloatArray:
    return np.concatenate([wrist, [swivel, turn], bend, shape])


def _resting(rng: np.random.Generator, place: tuple[float, float, float]) -> _Target:
    wrist = np.asarray(place) + rng.normal(0, 0.12, 3)
    state = _state(
        wrist, between(rng, 0.1, 0.4), between(rng, -0.1, 0.5), np.zeros(2), np.array(SHAPES["relaxed"])
    )
    return _Target(state, np.zeros(3), 1.0)


def _signing(rng: np.random.Generator) -> _Target:
    low, high = _SPACES[str(rng.choice(list(_SPACES), p=_SHARES))]
    shape = np.array(SHAPES[str(rng.choice(list(SHAPES)))]) + rng.normal(0, 0.04, 6)
    bend = np.clip(rng.normal((0.05, 0.0), (0.3, 0.12)), -0.6, 0.6)
    state = _state(
        rng.uniform(low, high), between(rng, 0.0, 0.8), between(rng, -1.2, 1.2), bend, np.clip(shape, 0, 1)
    )
    return _Target(state, rng.normal(0, 0.22, 3), between(rng, 1.0, 2.5))


def _sign(rng: np.random.Generator, leading: int, rest: tuple[float, float, float]) -> list[_Target]:
    """What the right and the left hand do."""
    kind = rng.random()
    if kind < 0.12:
        return [_resting(rng, rest), _resting(rng, rest)]
    lead = _signing(rng)
    if kind < 0.45:
        other = _resting(rng, rest) if rng.random() < 0.6 else _signing(rng)
    elif kind < 0.85:
        other = lead  # symmetric: outwards is measured on each side
    else:
        other = _signing(rng)
    return [lead, other] if leading == 0 else [other, lead]


def _eased(t: FloatArray) -> FloatArray:
    """From 0 to 1 with least jerk."""
    t = np.clip(t, 0, 1)
    return np.asarray(t**3 * (10 - 15 * t + 6 * t**2))


class _Wander:
    """Slow smooth noise: a few sines with random phases; about one standard deviation is 1."""

    def __init__(self, rng: np.random.Generator, fast: float) -> None:
        self._pace = rng.uniform(0.15, 1.0, 4) * fast * 2 * np.pi
        self._phase = rng.uniform(0, 2 * np.pi, 4)

    def at(self, time: float) -> float:
        return float(np.sin(self._pace * time + self._phase).sum() / np.sqrt(2.0))


class Signing:
    """A clip: continuous in time; ``at`` gives the pose at any moment.

    Args:
        leading: The hand that signs alone: 0 right, 1 left.
        lively: How much head and trunk move, about 1.
    """

    def __init__(self, rng: np.random.Generator, leading: int, lively: float, seconds: float) -> None:
        rest = _CLASPED if rng.random() < 0.75 else _HANGING
        self._starts, self._signs = [-_LEAD], [_sign(rng, leading, rest)]
        while self._starts[-1] < seconds:
            self._starts.append(self._starts[-1] + between(rng, 0.45, 1.0))
            self._signs.append(_sign(rng, leading, rest))
        self._travel = between(rng, 0.3, 0.42)
        self._facing = float(rng.normal(0, 9))
        self._head = [_Wander(rng, 0.8) for _ in range(3)]
        self._trunk = [_Wander(rng, 0.4) for _ in range(3)]
        self._face = [_Wander(rng, 2.0) for _ in range(5)]
        self._blinks = rng.uniform(0, seconds + 2, 2)
        self._lively = lively

    def at(self, time: float) -> Moment:
        """The pose ``time`` seconds after the clip's start."""
        now = int(np.searchsorted(self._starts, time, side="right")) - 1
        share = float(_eased(np.asarray((time - self._starts[now]) / self._travel)))
        before = self._signs[max(now - 1, 0)]
        states = []
        for old, new in zip(before, self._signs[now], strict=True):
            state = old.state + (new.state - old.state) * share
            swing = share * np.sin(2 * np.pi * new.pace * (time - self._starts[now]))
            fading = (1 - share) * np.sin(2 * np.pi * old.pace * (time - self._starts[max(now - 1, 0)]))
            state[:3] += new.movement * swing + old.movement * fading
            states.append(state)
        both = np.stack(states)
        wrists = both[:, :3] * np.stack([SIDES, (1.0, 1.0), (1.0, 1.0)], -1)
        trunk = np.array([w.at(time) for w in self._trunk]) * (3.5, 1.5, 1.5) * self._lively
        head = np.array([w.at(time) for w in self._head]) * (9.0, 5.0, 4.0) * self._lively
        # Eyes and head follow the hands a little.
        head += (2.0 * wrists[:, 0].mean(), 1.5 * (wrists[:, 1].mean() - 1.0), 0.0)
        hands = tuple(HandPose(state[7:], float(state[5]), float(state[6])) for state in both)
        return Moment(
            wrists,
            both[:, 3],
            both[:, 4],
            (hands[0], hands[1]),
            np.clip(head, (-38, -18, -16), (38, 22, 16)),
            np.add(trunk, (self._facing, 1.0, 0.0)),
            self._expression(time),
            (float(np.clip(head[0] / 40, -1, 1)), float(np.clip(head[1] / 30, -1, 1))),
        )

    def _expression(self, time: float) -> dict[str, float]:
        """Signers mouth words and raise or knit their brows; coefficients of the faces' movements."""
        jaw, part, smile, brows, frown = (wander.at(time) for wander in self._face)
        blink = max(float(np.exp(-(((time - at) / 0.09) ** 2))) for at in self._blinks)
        return {
            "jaw_open": float(np.clip(0.2 + 0.25 * jaw, 0, 0.8)),
            "lips_part": float(np.clip(0.3 * part, 0, 0.8)),
            "smile_right": float(np.clip(0.3 * smile, 0, 0.9)),
            "smile_left": float(np.clip(0.3 * smile, 0, 0.9)),
            "brows_up": float(np.clip(0.6 * brows, -0.4, 1.2)),
            "brows_frown": float(np.clip(0.5 * frown, 0, 1)),
            "blink": float(np.clip(blink, 0, 1)),
        }
