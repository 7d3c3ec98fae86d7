"""Signers rendered by our own code: clips of one person each, with the seven upper-body joints of BBC Pose.

A body is swept from rings along a skeleton (``skeleton``, ``torso``, ``arms``, ``hands``) and carries the head of a
procedural face (``head``); ``motion`` moves the hands from sign to sign; ``person`` joins it all, ``category`` stages
the pictures. Names are loaded on first use: rendering processes need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.synthetic_bodies.provider import SyntheticBodiesProvider as SyntheticBodiesProvider

__all__ = ["SyntheticBodiesProvider"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from datasets.synthetic_bodies import provider  # noqa: PLC0415 - imports torch

        return getattr(provider, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
