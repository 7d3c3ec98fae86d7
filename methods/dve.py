"""DVE: dense descriptors that are the same on every individual, learned by exchanging them between images.

Thewlis et al., Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019, with the settings of the
released code. A photo is warped twice; every descriptor of one view must find its place in the other, and it must do
so after having been replaced by its likeness in the photo of someone else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.errors import BenchError
from bench.geometry import TRAINING, TPSWarp, warp_pair
from bench.method import Method, Preset, PretrainJob, Recipe
from bench.sharing import share
from bench.training import Batch, Stage, export_weights, initial_network, run_stage, steps_for
from methods.dve_network import RELEASED, DVENetwork, DVEOptions, NetworkName
from methods.objectives.descriptor_exchange import descriptor_exchange_loss
from methods.photometric import colour_jitter, jpeg_noise, pca_lighting
from methods.schedule import late_steps


class DVERecipe(Recipe):
    """Pre-training; the defaults are the released configuration of the Hourglass on CelebA.

    What is None follows the network, as that network's released configuration on CelebA does.
    """

    image_size: int = Field(
        default=136, description="Side of the frame that is warped: 136 Hourglass, 100 SmallNet."
    )
    margin: int | None = Field(
        default=None,
        ge=0,
        description="Removed on every side after warping; None: 20 of 136 and 15 of 100, in proportion.",
    )
    exchange: bool = Field(
        default=True, description="Through the next image of the batch; off: dense correlation."
    )
    normalise: bool | None = Field(
        default=None,
        description="Descriptors get the length 20 in the loss; None: Hourglass yes, SmallNet raw dot products.",
    )
    power: float = Field(default=0.5, gt=0, description="Of the distance in the loss.")
    pairs: int | None = Field(
        default=None, ge=1, description="Photos of a batch, each seen twice; None: 16 Hourglass, 32 SmallNet."
    )
    dense_epochs: int = Field(
        default=0,
        ge=0,
        description="Of dense correlation, before descriptors are exchanged. Published: none.",
    )
    dense_learning_rate: float = Field(default=1e-3, gt=0, description="In those; it does not drop.")
    epochs: int = Field(default=100, ge=1)
    learning_rate: float = 1e-3
    milestones: tuple[int, ...] | None = Field(
        default=None,
        description="Nominal epochs of the rate's drops to a tenth, in effect one epoch late; None: 50 Hourglass, "
        "70 and 90 SmallNet.",
    )
    convolution_bias_rate: float | None = Field(
        default=None,
        description="Learning rate of the convolutions' biases; None: Hourglass as the rest, SmallNet a hundredth.",
    )
    augmentation: bool = Field(
        default=True, description="JPEG noise, colour jitter and PCA lighting of every view."
    )
    first_warp: float = Field(
        default=0.5, ge=0, description="Strength of the first warp's bending, relative to the second's."
    )

    def cropped_size(self) -> int:
        margin = round(0.15 * self.image_size) if self.margin is None else self.margin
        return self.image_size - 2 * margin


class _Published(NamedTuple):
    """Where the released configurations of the two networks differ."""

    pairs: int
    normalise: bool
    milestones: tuple[int, ...]
    bias_rate: float


_PUBLISHED: dict[NetworkName, _Published] = {
    "hourglass": _Published(16, True, (50,), 1.0),
    "smallnet": _Published(32, False, (70, 90), 0.01),
}


_DENSE: dict[str, Any] = {"exchange": False}
_FINE_TUNING: dict[str, Any] = {
    "epochs": 50,
    "milestones": (30, 40),
    "normalise": True,  # as released: also SmallNet, which was pre-trained without
    "convolution_bias_rate": 1e-3,
}


# What a machine without a GPU can learn in an hour from faces that are not aligned. Exchange from scratch, as
# published, ends there with descriptors that tell the position in the frame: two warps of a photo differ by few pixels,
# and another face is at about the same place. Three things together prevent it: dense correlation of the photo's own
# two views comes first; the exchange then continues at a tenth of the rate (at the full rate all is lost within 150
# steps); and borders do not tell the position. By how much the most similar cell moves where a landmark does, from
# one of 300 rendered faces to another (least squares over x; 1 is right): from scratch, after 5,000 steps, 0.07; after
# 1,250 of dense correlation 0.58, and 5,000 of exchange more 0.63; with zeros beyond the border 0.26, and after 500
# of exchange 0.30.
_FACE_NOT_FRAME: dict[str, Any] = {
    "image_size": 100,
    "pairs": 8,
    "dense_epochs": 2,
    "epochs": 8,
    "learning_rate": 1e-4,
    "milestones": (6,),
}


def _variant(summary: str, network: NetworkName, dim: int, recipe: dict[str, Any] | None = None) -> Preset:
    # A margin that a preset has for SmallNet does not fit the hourglass, which takes multiples of 32.
    frame: dict[str, Any] = {"image_size": 100}
    if network == "hourglass":
        frame = {"image_size": 136, "margin": None}
    return Preset(summary, {"network": network, "dim": dim}, {**frame, **(recipe or {})})


class DVE(Method):
    """The method, with both of its networks."""

    name = "dve"
    summary = "Dense descriptors learned from warps, with exchange of descriptors between individuals."
    reference = "Thewlis et al., Unsupervised Learning of Landmarks by Descriptor Vector Exchange, ICCV 2019"
    Options = DVEOptions
    Recipe = DVERecipe
    default_preset = "tiny"
    shipped_presets = ("shipped-faces",)
    rehearsal = Preset(
        "For the conformance suite.",
        options={"network": "smallnet", "dim": 8},
        recipe={"image_size": 36, "margin": 4, "pairs": 8, "epochs": 1},
    )
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("Hourglass, 96 px, 100 epochs of CelebA: days on one GPU."),
        "small": Preset(
            "SmallNet, 70 px: about half an hour on one core for some 3,300 images.",
            options={"network": "smallnet", "padding": "replicate"},
            recipe=_FACE_NOT_FRAME,
        ),
        "shipped-faces": Preset(
            "As small, of the 5,000 images of synthetic-faces: the weights that ship.",
            options={"network": "smallnet", "padding": "replicate"},
            recipe=_FACE_NOT_FRAME,
        ),
        "tiny": Preset(
            "As small, but shorter and with tighter crops: about 4 minutes on one core for some 5,000 images.",
            options={"network": "smallnet"},
            recipe={"image_size": 100, "margin": 20, "pairs": 8, "epochs": 1},
        ),
    }
    variants: ClassVar[dict[str, Preset]] = {
        "hourglass-64": _variant("Hourglass.", "hourglass", 64),
        **{f"smallnet-{d}": _variant(f"SmallNet, {d}-d.", "smallnet", d) for d in (3, 16, 32, 64)},
        **{
            f"smallnet-{d}-no-exchange": _variant(f"SmallNet, {d}-d, dense.", "smallnet", d, _DENSE)
            for d in (3, 16, 32, 64)
        },
        "no-exchange": Preset("Dense correlation instead of exchange.", recipe=_DENSE),
        "finetune": _variant("Hourglass, started from its weights.", "hourglass", 64, _FINE_TUNING),
        "finetune-smallnet": _variant("SmallNet, started from its weights.", "smallnet", 64, _FINE_TUNING),
        "finetune-smallnet-no-exchange": _variant(
            "SmallNet, from weights that were trained without exchange.",
            "smallnet",
            3,
            {**_FINE_TUNING, **_DENSE},
        ),
    }
    stages = (
        "correlation, in the presets that are smaller than the papers: two warps of every photo",
        "descriptors: the same, and descriptors exchanged with the next photo",
    )
    checkpoint_formats = (RELEASED,)

    def build(self, options: DVEOptions) -> DVENetwork:
        return DVENetwork(options)

    def pretrain(self, job: PretrainJob) -> Path:
        network: DVENetwork = initial_network(job, self.build)
        network.train()
        if job.recipe.dense_epochs:
            run_stage(job, correlation_stage(job, network))
        stage = descriptors_stage(job, network)
        run_stage(job, stage)
        path = job.output / "weights.safetensors"
        stage.export(path, -1)
        return path


def correlation_stage(job: PretrainJob, network: DVENetwork) -> Stage:
    """Dense correlation, from which the exchange starts where it does not start from scratch."""
    dense = {
        "exchange": False,
        "epochs": job.recipe.dense_epochs,
        "learning_rate": job.recipe.dense_learning_rate,
        "milestones": (),
    }
    return _stage(job, network, job.recipe.model_copy(update=dense), "correlation")


def descriptors_stage(job: PretrainJob, network: DVENetwork) -> Stage:
    return _stage(job, network, job.recipe, "descriptors")


def _stage(job: PretrainJob, network: DVENetwork, recipe: DVERecipe, name: str) -> Stage:
    published = _PUBLISHED[network.options.network]
    side = recipe.cropped_size()
    if side <= 0 or side % network.stride:
        raise BenchError(
            f"frames of {recipe.image_size} px without their margin are {side} px wide, and "
            f"{network.options.network} takes multiples of {network.stride}",
            hint="Change image_size or margin: 136 and 20 for hourglass, 100 and 15 for smallnet, as published.",
        )
    pairs = min(recipe.pairs or published.pairs, len(job.images))
    normalise = published.normalise if recipe.normalise is None else recipe.normalise
    milestones = published.milestones if recipe.milestones is None else recipe.milestones
    per_epoch = steps_for(1, len(job.images), pairs)

    def losses(batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        views = warped_views(batch.images, recipe, generator)
        count = len(batch)
        # One batch for both views: batch norm takes its statistics over all of them.
        both = share(network.descriptors, torch.cat([views.more_warped, views.less_warped]))
        stride = side // both.shape[2]
        loss = descriptor_exchange_loss(
            both[:count],
            both[count:],
            views.places[:, ::stride, ::stride],
            stride,
            normalise=normalise,
            exchange=recipe.exchange,
            power=recipe.power,
        )
        return {"loss": loss}

    return Stage(
        name=name,
        modules={"network": network},
        optimiser=_optimiser(network, recipe, published.bias_rate),
        steps=steps_for(recipe.epochs, len(job.images), pairs),
        batch_size=pairs,
        learning_rate=lambda step: late_steps(step, per_epoch, milestones, recipe.learning_rate),
        losses=losses,
        export=export_weights(job, DVE.name, network, name),
    )


class TrainingViews(NamedTuple):
    """Two views of every photo, and how they belong together.

    Shapes:
        more_warped, less_warped: (B, 3, s, s), float.
        places: (B, s, s, 2), for every pixel of ``more_warped`` its place in ``less_warped``, corner origin.
    """

    more_warped: Tensor
    less_warped: Tensor
    places: Tensor


@torch.no_grad()
def warped_views(images: Tensor, recipe: DVERecipe, generator: torch.Generator) -> TrainingViews:
    """Warp frames twice, crop them, cut their values to 8 bits, and change their colours independently.

    Shapes:
        images: (B, 3, S, S), float in [0, 1].
    """
    size = (images.shape[-2], images.shape[-1])
    margin = (size[0] - recipe.cropped_size()) // 2
    with torch.autocast(images.device.type, enabled=False):
        first = TPSWarp.draw(len(images), TRAINING, generator, multiplier=recipe.first_warp)
        second = TPSWarp.draw(len(images), TRAINING, generator)
        first, second = first.to(images.device), second.to(images.device)
        pair = torch.cat(warp_pair(images * 255, first, second))
        inside = slice(margin, size[0] - margin)
        # The released code truncates here; it does not round.
        views = pair[..., inside, inside].clamp(0, 255).floor() / 255
        if recipe.augmentation:
            views = pca_lighting(colour_jitter(jpeg_noise(views, generator), generator), generator)
        more, less = views.split(len(images))
        return TrainingViews(more, less, second.source_map(size, margin))


def _optimiser(network: DVENetwork, recipe: DVERecipe, bias_scale: float) -> torch.optim.Adam:
    if recipe.convolution_bias_rate is not None:
        bias_scale = recipe.convolution_bias_rate / recipe.learning_rate
    biases = {
        id(module.bias)
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.bias is not None
    }
    groups = [
        {"params": [p for p in network.parameters() if id(p) not in biases], "lr_scale": 1.0},
        {"params": [p for p in network.parameters() if id(p) in biases], "lr_scale": bias_scale},
    ]
    return torch.optim.Adam(groups, lr=recipe.learning_rate, amsgrad=True)
