"""What a detector finds on warped copies of annotated images, and where the annotation is there.

Reference: Thewlis et al., ICCV 2017, section 4.3; the warps: supplement, table 1, faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.context import Arrays, RunContext
from bench.features import FeatureExtractor
from bench.geometry import TPSStrength, TPSWarp
from bench.loading import LoadedSplit
from bench.seeds import torch_generator
from protocols.heads.ridge import Booleans, Floats

WARPS = TPSStrength(sd_all=0.001, sd_subset=0.01, sd_translation=0.1, sd_scale=0.05, sd_rotation=20.0)
"""The paper's g2, between the two images of a training pair; its g1 is the same without the last four."""


@dataclass(frozen=True, eq=False)
class WarpedViews:
    """Discovered and annotated landmarks on V warped views of each of N images.

    Shapes:
        discovered: (V, N, S, 2), annotated: (V, N, T, 2), pixels of the views, corner origin.
        visible: (V, N, T), of the annotated ones.
    """

    discovered: Floats
    annotated: Floats
    visible: Booleans

    def of(self, images: list[int]) -> tuple[Floats, Floats, Booleans]:
        """All views of some images as one list of examples: (E, S, 2), (E, T, 2) and (E, T)."""
        return (
            self.discovered[:, images].reshape(-1, *self.discovered.shape[2:]),
            self.annotated[:, images].reshape(-1, *self.annotated.shape[2:]),
            self.visible[:, images].reshape(-1, self.visible.shape[2]),
        )


def warped_views(extractor: FeatureExtractor, split: LoadedSplit, count: int, run: RunContext) -> WarpedViews:
    """Warp working frames, crop them, and detect anew; points move exactly.

    View v of the image at place i depends on the run's seed, v and i only. Every view is remembered by the run.

    Args:
        split: With its margin, which lends the warped crops what lies around them.
        count: Of views.
    """
    extractor.eval()
    views = [
        run.step(f"discovered/warped view={view}", lambda view=view: _view(extractor, split, view, run))  # type: ignore[misc]
        for view in range(count)
    ]
    return WarpedViews(
        np.stack([view["discovered"] for view in views]).astype(np.float64),
        np.stack([view["annotated"] for view in views]).astype(np.float64),
        np.stack([view["visible"] for view in views]),
    )


def _view(extractor: FeatureExtractor, split: LoadedSplit, view: int, run: RunContext) -> Arrays:
    warps = TPSWarp.draw(
        len(split), WARPS, torch_generator(run.seed, "discovered", "warps", view), subset="add"
    )
    starts = range(0, len(split), run.batch_size)
    parts = []
    with run.phase("landmarks"), torch.no_grad():
        for start in run.progress.track(starts, f"landmarks of {split.name}, warped", len(starts)):
            rows = slice(start, min(start + run.batch_size, len(split)))
            parts.append(_batch(extractor, split, rows, warps[rows].to(run.device)))
    discovered, annotated, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return {"discovered": discovered.numpy(), "annotated": annotated.numpy(), "visible": visible.numpy()}


def _batch(
    extractor: FeatureExtractor, split: LoadedSplit, rows: slice, warps: TPSWarp
) -> tuple[Tensor, Tensor, Tensor]:
    m, side = split.margin, split.images.shape[-1]
    frames = split.images[rows].to(warps.weights.device).float() / 255
    found = extractor.landmarks(warps.warp_images(frames)[..., m : side - m, m : side - m])
    seen = split.visible[rows]
    points = torch.where(seen.unsqueeze(-1), split.points[rows], 0.0).to(warps.weights.device)
    moved, reached = warps.move_points(points, (side, side))
    visible = seen & reached.cpu()
    annotated = torch.where(visible.unsqueeze(-1), moved.cpu() - m, 0.0)
    return found.float().cpu(), annotated, visible
