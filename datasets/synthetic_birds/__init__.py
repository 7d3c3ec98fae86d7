"""Birds rendered by our own code: the 15 parts of CUB-200-2011 with true visibility, masks and identities.

``species`` and ``dresses`` list the kinds; ``body`` and ``limbs`` give the tubes (``rings``) that ``bird`` puts
together; ``individual`` draws who is shown and ``plumage`` paints it; ``staging`` gives it something to do, ``props``
and ``scenery`` something to be in; ``category`` makes a picture of it. Names are loaded on first use: rendering
processes need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.synthetic_birds.provider import SyntheticBirdsProvider as SyntheticBirdsProvider

__all__ = ["SyntheticBirdsProvider"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from datasets.synthetic_birds import provider  # noqa: PLC0415 - imports torch

        return getattr(provider, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
