"""Landmark networks trained from scratch with annotations: what the unsupervised methods are compared with.

Three networks, all regressing coordinates with a fully connected layer:

- ``smallnet``: the six convolutions of the unsupervised detector, a final pooling and the layer (Thewlis et al.,
  ICCV 2017, section 4.3, "AFLW results").
- ``pooled``: 64x64 input, pooling after the first three convolutions (the same, supplement section 3, table 2; table
  7 of the ContrastLandmarks supplement repeats its numbers).
- ``resnet18``: for birds (Cheng et al., ICCV 2021, supplement table 8; its head is not described, a global average
  is ours).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.features import FeatureExtractor, FeatureMap
from bench.geometry import SINGLE, TPSStrength, TPSWarp
from bench.method import Annotations, Method, MethodOptions, Preset, PretrainJob, Recipe
from bench.seeds import torch_generator
from bench.sharing import share
from bench.training import Batch, Stage, export_weights, initial_network, run_stage
from methods.colour import FACE_MEAN, FACE_STD, IMAGENET_MEAN, IMAGENET_STD, NormaliseColours
from methods.networks.coordinate_nets import COORDINATE_NETS, CoordinateNet
from methods.networks.resnet import match_memory_format
from methods.objectives.precision import full_precision

_WARPS: dict[str, TPSStrength] = {
    "thewlis": TPSStrength(0.001, 0.01, 0.1, 0.05, 20.0),
    "fewshot": SINGLE,
}


class SupervisedOptions(MethodOptions):
    """The network."""

    network: CoordinateNet = "smallnet"
    landmarks: int = Field(default=5, ge=1, description="That are predicted: as many as the data annotates.")
    maps: int = Field(
        default=50,
        ge=1,
        description="Filters of the sixth convolution; 50 in the unsupervised network of 4.3.",
    )
    width: int = Field(default=64, ge=4, description="Channels of the ResNet's stem.")
    input_size: int = Field(
        default=80, ge=16, description="Images of another size are resized to this side: 80, 64 for `pooled`."
    )
    colours: Literal["faces", "imagenet"] = Field(
        default="faces", description="Channel statistics of the input: CelebA's, or ImageNet's as for birds."
    )


class SupervisedRecipe(Recipe):
    """Training; Thewlis et al. train "from scratch using TPS data augmentation" and give no other detail, so the rest
    is that of their unsupervised network (section 4.1, supplement section 2), else noted."""

    image_size: int = Field(default=100, description="Side of the frames that are warped.")
    margin: int = Field(
        default=10,
        ge=0,
        description="Cropped from every side after warping: 80 of 100 pixels. Evaluate likewise.",
    )
    annotations: int | None = Field(
        default=None,
        ge=1,
        description="Train on so many annotated images, drawn by the seed, nested; None: all.",
    )
    batch_size: int = Field(default=64, ge=2, description="Not given. Fewer annotated images are repeated.")
    steps: int = Field(default=40_000, ge=1, description='"Until convergence" in the paper.')
    learning_rate: float = 1e-4
    drop_after: float = Field(
        default=0.75, description="Part of the steps after which the rate is divided by ten."
    )
    weight_decay: float = 5e-4
    warp: Literal["thewlis", "fewshot", "none"] = Field(
        default="thewlis",
        description="Their second warp; DVE's and CL's weaker one for few annotations; or none, as CL for birds.",
    )
    loss: Literal["l2", "smooth_l1"] = Field(
        default="l2",
        description="Not given. Least squares as TCDCN, whose network this is; or smooth L1 of tenfold coordinates "
        "as DVE's regressor. Coordinates are -1 and 1 at the image's edges.",
    )


class SupervisedNetwork(FeatureExtractor):
    """Predicts the annotated landmarks; its dense features are the last convolutional map."""

    capabilities = frozenset({"dense", "landmarks", "annotated"})
    knows_annotations = True

    def __init__(self, options: SupervisedOptions) -> None:
        super().__init__()
        self.options = options
        faces = options.colours == "faces"
        self.normalise = NormaliseColours(
            *((FACE_MEAN, FACE_STD) if faces else (IMAGENET_MEAN, IMAGENET_STD))
        )
        net = COORDINATE_NETS[options.network](options.maps, options.width, options.input_size)
        self.trunk, self.pool = net.trunk, net.pool
        self.regressor = nn.Linear(net.features, 2 * options.landmarks)
        match_memory_format(self)

    def forward(self, images: Tensor) -> FeatureMap:
        height, width = images.shape[-2:]
        return FeatureMap((self.dense_map(images),), (height // 2, width // 2), (height, width))

    def landmarks(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return (self.coordinates(images) + 1) / 2 * images.new_tensor([width, height])

    def annotated_landmarks(self, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        """The same landmarks: they were learned from annotations, and need none to be read."""
        del visible
        if points.shape[1] != self.options.landmarks:
            raise BenchError(
                f"the images have {points.shape[1]} annotated landmarks, and the network predicts "
                f"{self.options.landmarks}",
                hint="Train it on images with the same landmarks.",
            )
        return self.landmarks(images)

    def coordinates(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, 2), points (x, y), -1 and 1 at the edges of the image."""
        features = self.pool(self.dense_map(images)).flatten(1)
        # A point at half precision would be a third of a pixel off.
        (features,), in_full = full_precision(features)
        with in_full:
            return self.regressor(features).unflatten(1, (-1, 2))  # type: ignore[no-any-return]

    def dense_map(self, images: Tensor) -> Tensor:
        side = (self.options.input_size, self.options.input_size)
        if images.shape[-2:] != side:
            images = F.interpolate(images, side, mode="bilinear", align_corners=False, antialias=True)
        features: Tensor = self.trunk(self.normalise(images))
        return features


class Supervised(Method):
    """The supervised rows of the papers' tables."""

    name = "supervised"
    summary = "Networks trained from scratch with annotated landmarks: the supervised rows of the tables."
    reference = "Thewlis et al., ICCV 2017, supplement table 2; Cheng et al., ICCV 2021, supplement table 8"
    Options = SupervisedOptions
    Recipe = SupervisedRecipe
    learns_from_annotations = True
    default_preset = "tiny"
    shipped_presets = ("shipped-faces",)
    stages = ("supervised: regression of the annotated landmarks under random warps",)
    rehearsal = Preset(
        "For the conformance suite.",
        options={"network": "pooled", "landmarks": 5, "maps": 8, "input_size": 32},
        recipe={"image_size": 32, "margin": 0, "batch_size": 8, "steps": 4},
    )
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("Six convolutions, 80 px, 40,000 steps."),
        "small": Preset(
            "Pooled network, 64 px: about 6 minutes on one core for 68 landmarks.",
            options={"network": "pooled", "input_size": 64},
            recipe={"image_size": 80, "margin": 0, "batch_size": 32, "learning_rate": 1e-3, "steps": 1500},
        ),
        "shipped-faces": Preset(
            "As small, of the 1,000 annotated images of synthetic-faces: the weights that ship.",
            options={"network": "pooled", "input_size": 64},
            recipe={"image_size": 80, "margin": 0, "batch_size": 32, "learning_rate": 1e-3, "steps": 1500},
        ),
        "tiny": Preset(
            "As small, but shorter: about 3 minutes on one core for 5 landmarks.",
            options={"network": "pooled", "input_size": 64},
            recipe={"image_size": 80, "margin": 0, "batch_size": 32, "learning_rate": 1e-3, "steps": 800},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "smallnet": Preset("The main text's network.", {"network": "smallnet", "input_size": 80}),
        "pooled": Preset("The supplement's network.", {"network": "pooled", "input_size": 64}),
        "resnet18": Preset(
            "ContrastLandmarks' network for birds: 96 px, no warps.",
            {"network": "resnet18", "input_size": 96, "colours": "imagenet"},
            {"image_size": 96, "margin": 0, "warp": "none"},
        ),
    }

    def build(self, options: SupervisedOptions) -> SupervisedNetwork:
        return SupervisedNetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        annotated = annotated_part(job)
        network: SupervisedNetwork = initial_network(annotated, self.build)
        stage = _regression(annotated, network)
        run_stage(annotated, stage)
        path = job.output / "weights.safetensors"
        stage.export(path, -1)
        return path


def annotated_part(job: PretrainJob) -> PretrainJob:
    """The job on the images that it may learn from.

    Raises:
        BenchError: where there are no annotations, too few, or of another number of landmarks.
    """
    found = job.annotations
    if found is None:
        raise BenchError("method 'supervised' learns from annotated images, and got none")
    if len(job.images) < 2:
        raise BenchError(f"training needs at least 2 images, got {len(job.images)}")
    wanted, annotated = job.options.landmarks, found.points.shape[1]
    if annotated != wanted:
        raise BenchError(
            f"the images have {annotated} annotated landmarks, and the network predicts {wanted}",
            hint=f"Add -M landmarks={annotated}.",
        )
    usable = found.visible.any(dim=1).nonzero().squeeze(1)
    count = len(usable) if job.recipe.annotations is None else job.recipe.annotations
    if not 1 <= count <= len(usable):
        raise BenchError(f"{max(count, 1)} annotated images are asked for, and there are {len(usable)}")
    order = torch.randperm(len(usable), generator=torch_generator(job.seed, "supervised", "annotations"))
    chosen = usable[order[:count]].repeat(-(-job.recipe.batch_size // count))
    return replace(
        job,
        images=job.images[chosen],
        annotations=Annotations(found.points[chosen], found.visible[chosen]),
        provenance={**job.provenance, "annotated_images": count},
    )


def coordinate_loss(
    prediction: Tensor, target: Tensor, visible: Tensor, kind: Literal["l2", "smooth_l1"]
) -> Tensor:
    """Mean over the visible landmarks' coordinates of the squared error, or of smooth L1 of ten times the error.

    Shapes:
        prediction, target: (B, K, 2).  visible: (B, K), bool.  returns: (), 0 where nothing is visible.
    """
    (prediction, target), in_full = full_precision(prediction, target)
    with in_full:
        # The place of an invisible landmark may be anything, infinity too: it must not reach the gradient.
        target = torch.where(visible[..., None], target, prediction.detach())
        if kind == "l2":
            errors = (prediction - target).square()
        else:
            errors = F.smooth_l1_loss(10 * prediction, 10 * target, reduction="none")
        return errors.sum() / (2 * visible.sum()).clamp_min(1)


def warped(
    batch: Batch, strength: TPSStrength | None, margin: int, generator: torch.Generator
) -> tuple[Tensor, Annotations]:
    """Randomly warped and cropped images and where their landmarks went; those that left the crop are not visible.

    Shapes:
        returns: (B, 3, S - 2 margin, S - 2 margin), and points in pixels of the crops.
    """
    assert batch.annotations is not None
    images, points, visible = batch.images, batch.annotations.points, batch.annotations.visible
    side = images.shape[-1]
    if strength is not None:
        # Thewlis et al. add the stronger perturbation to the weaker (supplement, section 2).
        warp = TPSWarp.draw(len(images), strength, generator, subset="add")
        (points,), in_full = full_precision(points)
        with in_full:
            # Single precision moves a point by a thousandth of a pixel at most, in half the time.
            warp = warp.to(images.device, torch.float32)
            images = warp.warp_images(images)
            points, found = warp.move_points(points, (side, side))
        visible = visible & found
    images, points = images[..., margin : side - margin, margin : side - margin], points - margin
    inside = ((points >= 0) & (points <= side - 2 * margin)).all(dim=2)
    return images, Annotations(points, visible & inside)


def _regression(job: PretrainJob, network: SupervisedNetwork) -> Stage:
    recipe: SupervisedRecipe = job.recipe
    strength = _WARPS.get(recipe.warp)
    drop = recipe.drop_after * recipe.steps

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        images, annotations = warped(batch, strength, recipe.margin, generator)
        target = 2 * annotations.points / images.shape[-1] - 1
        loss = coordinate_loss(share(network.coordinates, images), target, annotations.visible, recipe.loss)
        return {"loss": loss}

    return Stage(
        name="supervised",
        modules={"network": network},
        optimiser=torch.optim.Adam(network.parameters(), weight_decay=recipe.weight_decay),
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=lambda step: recipe.learning_rate * (0.1 if step >= drop else 1),
        losses=losses,
        export=export_weights(job, "supervised", network, "supervised"),
    )
