"""A person in a capture as meshes, before and after the pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.procedural.arrays import FloatArray
from datasets.procedural.mesh import grid_normals, ramp
from datasets.synthetic_faces import hair as hairdresser
from datasets.synthetic_faces.deformation import displace, movements, traits
from datasets.synthetic_faces.head import head_mesh
from datasets.synthetic_faces.identity import Identity
from datasets.synthetic_faces.layout import EYES
from datasets.synthetic_faces.parts import Material, Part, ears, glasses, shoulders
from datasets.synthetic_faces.scene import Capture
from datasets.synthetic_faces.skin import FaceState


@dataclass(frozen=True, eq=False)
class Model:
    """The parts in the frame of the head, and what the painters need to know."""

    parts: list[Part]
    lenses: list[FloatArray]
    dark_lenses: bool
    landmarks: FloatArray
    face: FaceState


def build_model(identity: Identity, capture: Capture) -> Model:
    mesh = head_mesh()
    still = displace(mesh.vertices, traits(), identity.shape)
    moved = displace(still, movements(), capture.expression)
    normals = grid_normals(moved, mesh.rows, mesh.columns)
    surface = np.stack([mesh.vertices[:, 0], mesh.height, mesh.longitude], -1)
    parts = [Part(Material.SKIN, moved, normals, mesh.triangles, surface, moved[:, :2], mesh.cavity)]
    rest, landmarks = mesh.landmarks(still), mesh.landmarks(moved)
    tips = tuple(
        rest[i] * np.array([1.0, 0.0, 0.0], dtype=np.float32) + np.array([0.0, 0.2, -0.22], dtype=np.float32)
        for i in (1, 15)
    )
    parts += ears((tips[0], tips[1]), identity.ear_size)
    still_normals = grid_normals(still, mesh.rows, mesh.columns)
    shells = hairdresser.hair(identity, still, still_normals, flat=capture.hat)
    rng = np.random.Generator(np.random.PCG64(capture.parts_seed))
    parts += shells
    if capture.hat:
        tilt, depth = float(rng.normal(0, 0.08)), float(rng.uniform(-0.6, -0.4))
        parts.append(hairdresser.hat(still, still_normals, tilt, depth))
    eyes = np.stack([rest[eye].mean(0) for eye in EYES])
    lenses: list[FloatArray] = []
    dark = False
    if identity.glasses is not None and capture.glasses:
        design = np.random.Generator(np.random.PCG64(identity.glasses))
        temples = np.stack([tip + np.array([0, -0.25, 0], dtype=np.float32) for tip in tips])
        frame, lenses, dark = glasses(eyes, temples, design)
        parts.append(frame)
    neck = 0.57 * (1 + 0.1 * identity.shape["neck_width"])
    parts.append(shoulders(neck, capture.breadth, capture.collar))
    reach = np.array([0.045, 0.03], dtype=np.float32)
    face = FaceState(
        eyes=eyes[:, :2],
        pupils=np.repeat(np.asarray(capture.gaze, dtype=np.float32)[None] * reach, 2, 0),
        upper_lip=float(landmarks[62, 1]),
        lower_lip=float(landmarks[66, 1]),
        openness=float((landmarks[41, 1] - landmarks[37, 1]) / max(float(rest[41, 1] - rest[37, 1]), 1e-3)),
    )
    return Model(parts, lenses, dark, landmarks, face)


def posed(part: Part, capture: Capture) -> tuple[FloatArray, FloatArray]:
    """Vertices and normals in the view; the neck bends between the head's rotation and the shoulders'."""
    head = capture.pose.matrix()
    if part.material not in (Material.SKIN, Material.HAIR, Material.CLOTH):
        return part.vertices @ head.T, part.normals @ head.T
    body = capture.pose.matrix(capture.pose.turn)
    pivot = np.array([0.0, 1.3, -0.3], dtype=np.float32)
    below = ramp(part.vertices[:, 1], 1.3, 1.95)[:, None]
    if part.material is Material.CLOTH:
        below = np.ones_like(below)
    elif part.material is Material.HAIR:
        below = 0.6 * below
    shift = pivot @ head.T - pivot @ body.T
    vertices = (part.vertices @ head.T) * (1 - below) + (part.vertices @ body.T + shift) * below
    normals = (part.normals @ head.T) * (1 - below) + (part.normals @ body.T) * below
    return vertices.astype(np.float32), normals.astype(np.float32)
