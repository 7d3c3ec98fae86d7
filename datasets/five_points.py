"""Are five face points in the order and with the axes that their list promises? Told from the median face."""

from __future__ import annotations

import numpy as np

from bench.errors import BenchError

# Fewer faces may all lie on their side.
_ENOUGH = 10


def require_upright(points: np.ndarray, what: str, hint: str) -> None:
    """Nearly all photographed faces are upright, so their medians tell swapped axes and other column orders.

    Shapes:
        points: (N, 5, 2), (x, y): left eye, right eye, nose, left and right mouth corner as seen in the image.
            Fewer than 10 faces are not judged.

    Raises:
        BenchError: where the median face does not stand upright.
    """
    if len(points) < _ENOUGH:
        return
    median = np.median(points, axis=0)
    if _is_upright(median):
        return
    if _is_upright(median[:, ::-1]):
        problem = "x and y are swapped"
    elif _is_upright(median[[1, 0, 2, 4, 3]]):
        problem = "left and right are exchanged"
    else:
        problem = "its columns are not the five points in their order"
    names = ("left eye", "right eye", "nose", "left mouth", "right mouth")
    found = ", ".join(f"{name} ({x:.1f}, {y:.1f})" for name, (x, y) in zip(names, median, strict=True))
    raise BenchError(f"{what}: {problem}. The median face has {found}", hint=hint)


def _is_upright(face: np.ndarray) -> bool:
    left_eye, right_eye, nose, left_mouth, right_mouth = face
    height = (left_mouth[1] + right_mouth[1] - left_eye[1] - right_eye[1]) / 2
    return bool(
        left_eye[0] < right_eye[0]
        and left_mouth[0] < right_mouth[0]
        and max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        and abs(right_eye[1] - left_eye[1]) < height / 2
    )
