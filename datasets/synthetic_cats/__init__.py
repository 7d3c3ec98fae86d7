"""Cats rendered by our own code: exact points of the CAT set, visibility, masks and identities.

``template`` is the head that all cats share, ``deformation`` how they and their faces differ, ``cat`` who is shown,
``coat`` and ``face`` what is painted, ``body`` what the head sits on; ``model`` puts a cat together and ``category``
into a scene. Names are loaded on first use: rendering processes need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.synthetic_cats.provider import SyntheticCatsProvider as SyntheticCatsProvider

__all__ = ["SyntheticCatsProvider"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from datasets.synthetic_cats import provider  # noqa: PLC0415 - imports torch

        return getattr(provider, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
