"""The z-buffer against a naive loop."""

from __future__ import annotations

import numpy as np

from datasets.procedural.rasteriser import rasterise


def test_rasteriser_agrees_with_a_naive_loop() -> None:
    rng = np.random.default_rng(3)
    side = 24
    vertices = rng.uniform(-4, 28, (60, 3)).astype(np.float32)
    triangles = rng.integers(0, 60, (40, 3))
    got = rasterise(vertices, triangles, side)
    depth = np.full((side, side), -np.inf)
    owner = np.full((side, side), -1)
    for t, corners in enumerate(triangles):
        p = vertices[corners].astype(np.float64)
        area = np.linalg.det(np.stack([p[1, :2] - p[0, :2], p[2, :2] - p[0, :2]]))
        if area <= 1e-6:
            continue
        for i in range(side):
            for j in range(side):
                system = np.vstack([p[:, :2].T, np.ones(3)])
                w = np.linalg.solve(system, [j + 0.5, i + 0.5, 1.0])
                if w.min() >= 0 and w @ p[:, 2] > depth[i, j]:
                    depth[i, j], owner[i, j] = w @ p[:, 2], t
    mine = np.full(side * side, -1)
    mine[got.sample] = got.triangle
    assert (mine == owner.reshape(-1)).mean() > 0.99  # the rest lies on edges, within rounding
    shown = got.interpolate(vertices[:, 2:], triangles)[:, 0]
    same = got.triangle == owner.reshape(-1)[got.sample]
    np.testing.assert_allclose(shown[same], depth.reshape(-1)[got.sample][same], atol=2e-3)
