"""Faces rendered by our own code: exact landmarks, visibility, masks and identities, without any download.

A head is a sculpted grid over longitude and height (``head``) with named linear displacements for what
distinguishes people and what a face does (``deformation``). ``renderer`` reads top to bottom: build, pose,
z-buffer, paint, light, camera, annotation. Names are loaded on first use: rendering processes need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.synthetic_faces.provider import SyntheticFaces as SyntheticFaces
    from datasets.synthetic_faces.provider import SyntheticFacesOptions as SyntheticFacesOptions
    from datasets.synthetic_faces.provider import SyntheticFacesProvider as SyntheticFacesProvider

__all__ = ["SyntheticFaces", "SyntheticFacesOptions", "SyntheticFacesProvider"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from datasets.synthetic_faces import provider  # noqa: PLC0415 - imports torch

        return getattr(provider, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
