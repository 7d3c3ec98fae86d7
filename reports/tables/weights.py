"""The weights that the tables need: released file, or the pre-training that gives them.

Names say method, network, what is special, and the channels of compact features: ``cl-resnet50``,
``cl-wild-resnet50-128``, ``lead-64``. First stages are trainings of their own, because several second stages start
from one of them.
"""

from __future__ import annotations

from bench.tables import Training

PRETRAINED_ON = {
    "CelebA": ("celeba", ""),
    "CelebA in-the-wild": ("celeba-wild", "wild-"),
    "iNat17-Aves-100K": ("inat-aves", "inat-"),
}
"""As a paper prints it -> data set, and what names of weights get for it."""

_STAGE2_ONLY = ("stage1_epochs=0",)

_CONTRAST = "cvl-umass/contrast-landmark"
_CONTRAST_FILES = {
    "cl-resnet50": "ckpt_epoch_800_resnet50_celeba.pth",
    "cl-resnet18": "ckpt_epoch_800_resnet18_celeba.pth",
    "cl-wild-resnet50": "ckpt_epoch_800_resnet50_celeba_wild.pth",
    "cl-inat-resnet50": "ckpt_epoch_800_resnet50_inat.pth",
    "cl-inat-resnet18": "ckpt_epoch_800_resnet18_inat.pth",
}
CONTRAST_NETWORKS = {"ResNet18": "resnet18", "ResNet50-half": "resnet50half", "ResNet50": "resnet50"}
"""As the paper prints them -> as the method calls them."""


def contrast(
    network: str, trained_on: str = "CelebA", *, dim: int | None = None, size: int = 96, share: float = 1.0
) -> Training:
    """ContrastLandmarks: the encoder, or with ``dim`` its projector too."""
    dataset, mark = PRETRAINED_ON[trained_on]
    backbone = CONTRAST_NETWORKS[network]
    name = f"cl-{mark}" + (f"{size}px-" if size != 96 else "") + backbone
    name += f"-share{round(100 * share)}" if share < 1 else ""
    encoder = Training(
        name,
        "contrast",
        dataset,
        # A variant has one name: what resnet50, the paper preset's own, leaves free is the size or the birds' colours.
        variant="birds" if dataset == "inat-aves" else "128px" if size == 128 else _variant(backbone),
        method_options=("features=hypercolumn", *_backbone_beside_variant(backbone, dataset)),
        recipe_options=_size_of_birds(dataset, size),
        share=share,
        official=f"{_CONTRAST_FILES[name]} ({_CONTRAST})" if name in _CONTRAST_FILES else "",
    )
    if dim is None:
        return encoder
    released = dataset == "celeba" and name == "cl-resnet50" and dim in (64, 128, 256)
    return Training(
        f"{name}-{dim}",
        "contrast",
        dataset,
        variant=encoder.variant if encoder.variant in ("birds", "128px") else None,
        method_options=("features=projected", f"dim={dim}"),
        recipe_options=_STAGE2_ONLY,
        initial=encoder,
        share=share,
        official=f"feat_distiller/{dim}d.pth ({_CONTRAST}), joined with the encoder's: bench weights convert"
        if released
        else "",
    )


def _variant(backbone: str) -> str | None:
    return None if backbone == "resnet50" else backbone


def _backbone_beside_variant(backbone: str, dataset: str) -> tuple[str, ...]:
    return (f"backbone={backbone}",) if dataset == "inat-aves" and backbone != "resnet50" else ()


def _size_of_birds(dataset: str, size: int) -> tuple[str, ...]:
    return (f"image_size={size}",) if dataset == "inat-aves" and size != 96 else ()


def projected_random(dim: int) -> Training:
    """A projector on a random encoder."""
    return Training(f"random-resnet50-{dim}", "contrast", "celeba", variant=f"untrained-{dim}")


def lead(
    trained_on: str = "CelebA",
    *,
    dim: int | None = None,
    stage1: str = "LEAD",
    stage2: str = "LEAD",
    head: str | None = None,
) -> Training:
    """LEAD: stage 1, or with ``dim`` stage 2 on top.

    Args:
        head: Output of the projection head of stage 2, ``none`` for none; None: the paper's 256.
    """
    dataset, mark = PRETRAINED_ON[trained_on]
    colours = ("colours=imagenet",) if dataset == "inat-aves" else ()
    first = Training(
        f"lead-{mark}stage1" if stage1 == "LEAD" else f"lead-{mark}moco",
        "lead",
        dataset,
        method_options=("features=hypercolumn", *colours),
        recipe_options=() if stage1 == "LEAD" else ("stage1_objective=moco",),
    )
    if dim is None:
        return first
    changes: tuple[str, ...] = _STAGE2_ONLY
    name = f"lead-{mark}" if stage1 == stage2 == "LEAD" else f"lead-{stage1}-{stage2}-".lower()
    if stage2 == "CL":
        changes += ("stage2_objective=equivariance",)
    if head not in (None, "256"):
        changes += ("projection_dim=0" if head == "none" else f"projection_dim={head}",)
        name += f"head-{head}-"
    return Training(
        f"{name}{dim}",
        "lead",
        dataset,
        method_options=("features=compact", f"dim={dim}"),
        recipe_options=changes,
        initial=first,
    )


def byol_nmf(dim: int) -> Training:
    """LEAD's baseline: the hypercolumn, factorised."""
    return Training(
        f"byol-nmf-{dim}",
        "lead",
        "celeba",
        method_options=("features=nmf", f"dim={dim}"),
        recipe_options=_STAGE2_ONLY,
        initial=lead(),
    )


_DVE = "jamt9000/DVE"


def dve(
    network: str,
    dim: str = "64",
    trained_on: str = "CelebA",
    *,
    exchange: bool = True,
    finetuned_on: str | None = None,
) -> Training:
    """DVE; ``finetuned_on`` names the data set whose images it saw, without labels, afterwards."""
    dataset, mark = PRETRAINED_ON[trained_on]
    hourglass = network.lower() == "hourglass"
    short = "hourglass" if hourglass else f"smallnet-{dim}"
    name = f"dve-{mark}{short}" + ("" if exchange else "-no-exchange")
    file = f"celeba-{network.lower()}-{dim}d" + ("-dve" if exchange else "")
    official = f"checkpoint-epoch100.pth of {file} ({_DVE})" if dataset == "celeba" else ""
    if dataset == "inat-aves":
        official = f"ckpt_epoch100_DVE_inat.pth ({_CONTRAST})"
    variant = "hourglass-64" if hourglass else f"smallnet-{dim}" + ("" if exchange else "-no-exchange")
    base = Training(name, "dve", dataset, variant=variant, official=official)
    if finetuned_on is None:
        return base
    tuning = "finetune" if hourglass else "finetune-smallnet" + ("" if exchange else "-no-exchange")
    return Training(f"{name}-{finetuned_on}", "dve", finetuned_on, variant=tuning, initial=base)


def thewlis(landmarks: int, *, finetuned_on: str | None = None) -> Training:
    """The detector of Thewlis et al. 2017."""
    base = Training(f"thewlis-{landmarks}", "thewlis", "celeba", variant=f"k{landmarks}")
    if finetuned_on is None:
        return base
    return Training(f"{base.name}-{finetuned_on}", "thewlis", finetuned_on, variant="finetune", initial=base)


def rahaman(dataset: str, landmarks: int, *, end_to_end: bool = False) -> Training:
    """The two-step method, or the ablation without its first step."""
    return Training(
        f"rahaman-{dataset}-{landmarks}" + ("-end-to-end" if end_to_end else ""),
        "rahaman",
        dataset,
        variant="end-to-end" if end_to_end else None,
        method_options=(f"landmarks={landmarks}",),
        recipe_options=_cats(dataset),
    )


def _cats(dataset: str) -> tuple[str, ...]:
    # The paper's 100 pixels do not halve four times; patches of 10 are its own for cats.
    return ("image_size=96", "diversity_patch=10") if dataset == "cat-head" else ()


def supervised(network: str, dataset: str, landmarks: int, annotations: int | None) -> Training:
    """Trained from scratch on ``annotations`` images of the data set (None: all)."""
    return Training(
        f"supervised-{network}-{dataset}-" + ("all" if annotations is None else str(annotations)),
        "supervised",
        dataset,
        variant=network,
        method_options=(f"landmarks={landmarks}",),
        recipe_options=() if annotations is None else (f"annotations={annotations}",),
    )
