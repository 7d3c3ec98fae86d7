"""The two-step method: its networks, what they promise, and its training from end to end."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.method import PretrainJob
from bench.options import build_options
from bench.progress import Progress
from bench.training import initial_network
from bench.weights import Weights, load_into, read_weights
from methods.networks.rahaman import FeatureHourglass, LandmarkDetector
from methods.rahaman import Rahaman, RahamanNetwork, RahamanOptions, RahamanRecipe
from tests.killing import KilledError, Killer

OPTIONS = RahamanOptions(widths=(4, 4, 6, 8), dim=8, landmarks=5)
RECIPE = RahamanRecipe(
    image_size=16,
    step1_epochs=2,
    step1_batch_size=8,
    step2_epochs=2,
    step2_batch_size=8,
    locations=12,
    diversity_patch=2,
)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _network(**changes: object) -> RahamanNetwork:
    network = RahamanNetwork(OPTIONS.model_copy(update=changes))
    network.requires_grad_(False).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.3)  # type: ignore[union-attr]
    return network


# --- networks ---------------------------------------------------------------------------------------------------


def test_parameters_of_the_paper_sized_networks() -> None:
    def double(a: int, b: int) -> int:
        return 9 * a * b + 9 * b * b + 4 * b

    encoder = double(3, 64) + double(64, 128) + double(128, 256) + double(256, 512)
    decoder = double(1024, 256) + double(512, 128) + double(256, 64) + double(128, 64) - 2 * 64
    options = RahamanOptions()
    count = sum(p.numel() for p in FeatureHourglass(options.widths, options.dim).parameters())
    assert count == encoder + decoder == 8_670_528
    detector = LandmarkDetector(options.dim, options.landmarks)
    assert sum(p.numel() for p in detector.parameters()) == 3 * double(64, 64) + 64 * 50 + 50


def test_the_encoder_halves_four_times_and_the_features_have_the_size_of_the_image() -> None:
    network = _network()
    seen: list[tuple[int, ...]] = []
    for block in network.hourglass.encoder:
        block.register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape[1:])))
    features = network.extract(_noise(2, 3, 96, 96))
    assert seen == [(4, 96, 96), (4, 48, 48), (6, 24, 24), (8, 12, 12)]  # then pooled once more, to 6
    assert [tuple(level.shape) for level in features.levels] == [(2, 8, 96, 96)]
    assert features.size == features.image_size == (96, 96)
    assert features.normalisation == "joint"
    assert bool((features.levels[0] < 0).any())


def test_layers_are_representations_on_the_way_to_the_heatmaps() -> None:
    whole = _network(layer=1)
    images = _noise(2, 3, 32, 32)
    layers = []
    for layer in (1, 2, 3, 4):
        network = _network(layer=layer)
        network.load_state_dict(whole.state_dict())
        layers.append(network.extract(images).levels[0])
    torch.testing.assert_close(layers[0], whole.features(images))
    for index, block in enumerate(whole.detector.blocks):
        torch.testing.assert_close(layers[index + 1], block(layers[index]))
    torch.testing.assert_close(whole.detector.heatmaps(layers[3]), whole.detector(layers[0]))


def test_landmarks_are_the_expected_pixels_of_the_heatmaps() -> None:
    network = _network()
    images = _noise(2, 3, 16, 32)
    scores = network.detector(network.features(images)).double()
    landmarks = network.landmarks(images)
    assert landmarks.shape == (2, 5, 2)
    for b in range(2):
        for k in range(5):
            mass = scores[b, k].exp() / scores[b, k].exp().sum()
            x = sum(float(mass[:, j].sum()) * (j + 0.5) for j in range(32))
            y = sum(float(mass[i].sum()) * (i + 0.5) for i in range(16))
            assert landmarks[b, k].tolist() == pytest.approx([x, y], abs=1e-4)


@pytest.mark.parametrize("layer", [1, 4])
def test_features_see_as_far_as_promised_and_no_farther(layer: int) -> None:
    network = _network(layer=layer)
    radius = network.receptive_radius
    assert radius == 90 + 2 * (layer - 1)
    # Positive weights, so that nothing cancels; a wide and low image, since the reach is the same along both axes.
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.abs_()
    reached = 0
    for column in range(200, 216):  # every phase of the four poolings
        images = torch.full((1, 3, 32, 416), 0.5, requires_grad=True)
        network(images).levels[0][..., column].sum().backward()
        assert images.grad is not None
        columns = images.grad.abs().sum(dim=(0, 1, 2)).nonzero().squeeze(1)
        reached = max(reached, int((columns - column).abs().max()))
    assert reached == radius


def test_features_move_with_the_image_by_the_promised_period() -> None:
    network = _network().double()
    wide = _noise(1, 3, 16, 400).double()
    features = network(wide).levels[0]
    moved = network(wide.roll(network.shift_period or 0, dims=3)).levels[0]
    margin = (network.receptive_radius or 0) + 16
    inside = slice(margin, 400 - margin)
    torch.testing.assert_close(moved.roll(-16, dims=3)[..., inside], features[..., inside])


def test_other_sizes_are_refused() -> None:
    with pytest.raises(BenchError, match="multiples of 16"):
        _network().extract(_noise(1, 3, 24, 32))


# --- training ---------------------------------------------------------------------------------------------------


def _job(output: Path, **changes: object) -> PretrainJob:
    images = torch.randint(
        0, 256, (20, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    job = PretrainJob(
        images=images,
        options=OPTIONS,
        recipe=RECIPE,
        output=output,
        seed=3,
        device=torch.device("cpu"),
        progress=Progress.silent(),
        provenance={"dataset": "noise", "images": 20},
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def _recipe(**changes: object) -> RahamanRecipe:
    return RECIPE.model_copy(update=changes)


@pytest.mark.parametrize(
    ("stage", "after", "end_to_end"), [("step1", 3, False), ("step2", 1, False), ("step2", 3, True)]
)
def test_resumed_equals_undisturbed(tmp_path: Path, stage: str, after: int, end_to_end: bool) -> None:
    recipe = _recipe(end_to_end=end_to_end)
    undisturbed = Rahaman().pretrain(_job(tmp_path / "one", recipe=recipe))
    job = _job(tmp_path / "two", recipe=recipe, checkpoint_seconds=-1.0)
    with pytest.raises(KilledError):
        Rahaman().pretrain(replace(job, progress=Killer(stage, after)))
    assert read_weights(Rahaman().pretrain(job)).sha256 == read_weights(undisturbed).sha256


def test_each_step_trains_its_own_network(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"layer": 3})
    job = _job(tmp_path, options=options, snapshot_every=4)
    final = read_weights(Rahaman().pretrain(job), method="rahaman")
    start, features = (read_weights(tmp_path / "snapshots" / f"step1-{n:06d}.safetensors") for n in (0, 4))
    for name, tensor in initial_network(job, Rahaman().build).state_dict().items():
        assert torch.equal(start.tensors[name], tensor)
    for name, tensor in final.tensors.items():
        of_features = name.startswith("hourglass.")
        # Step 1 leaves T alone; step 2 leaves F alone, its statistics of batch norm too.
        assert torch.equal(features.tensors[name], tensor) == of_features
        assert torch.equal(features.tensors[name], start.tensors[name]) == (not of_features)
    assert features.options["layer"] == 1
    assert final.options == options.model_dump(mode="json")
    network = Rahaman().build(build_options(RahamanOptions, final.options, "method 'rahaman'"))
    load_into(network, final)
    assert network.extract(_noise(2, 3, 16, 16)).channels == 8


def test_the_end_to_end_ablation_has_no_first_step(tmp_path: Path) -> None:
    job = _job(tmp_path, recipe=_recipe(end_to_end=True))
    final = read_weights(Rahaman().pretrain(job))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert {row["stage"] for row in rows} == {"step2"}
    start = initial_network(job, Rahaman().build).state_dict()
    assert all(not torch.equal(final.tensors[n], t) for n, t in start.items() if n.endswith("0.weight"))


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    one, same, other = (
        read_weights(Rahaman().pretrain(_job(tmp_path / name, seed=seed))).sha256
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == same
    assert one != other


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    given = read_weights(Rahaman().pretrain(_job(tmp_path / "one")))
    job = _job(tmp_path / "two", initial=given, snapshot_every=100)
    Rahaman().pretrain(job)
    start: Weights = read_weights(tmp_path / "two" / "snapshots" / "step1-000000.safetensors")
    assert all(torch.equal(start.tensors[name], tensor) for name, tensor in given.tensors.items())


def test_the_log_adds_up_and_the_rate_decays_by_epoch(tmp_path: Path) -> None:
    recipe = _recipe(diversity_weight=0.5, variance_weight=2.0, equivariance_weight=3.0)
    Rahaman().pretrain(_job(tmp_path, recipe=recipe))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["stage"] for row in rows] == ["step1"] * 4 + ["step2"] * 4
    for row in rows[4:]:
        terms = (float(row[name]) for name in ("equivariance", "diversity", "variance"))
        total = sum(w * t for w, t in zip((3.0, 0.5, 2.0), terms, strict=True))
        assert float(row["loss"]) == pytest.approx(total, rel=1e-6)
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([3e-4, 3e-4, 2.7e-4, 2.7e-4] * 2)


def test_step_one_brings_corresponding_places_together(tmp_path: Path) -> None:
    # A few images, over and over: what is learned is seen at once.
    recipe = _recipe(step1_epochs=40, step2_epochs=1, learning_rate=1e-2)
    Rahaman().pretrain(_job(tmp_path, recipe=recipe))
    losses = [float(row["loss"]) for row in csv.DictReader((tmp_path / "log.csv").open())]
    step1 = losses[:80]
    assert sum(step1[-10:]) < 0.8 * sum(step1[:10])


def test_bfloat16_training_stays_near_single_precision(tmp_path: Path) -> None:
    losses = []
    for name, precision in (("one", "float32"), ("two", "bfloat16")):
        Rahaman().pretrain(_job(tmp_path / name, precision=precision))
        losses.append([float(row["loss"]) for row in csv.DictReader((tmp_path / name / "log.csv").open())])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("preset", Rahaman.presets)
@pytest.mark.parametrize("variant", [None, *Rahaman.variants])
def test_presets_and_variants_are_valid(preset: str, variant: str | None) -> None:
    parts = [Rahaman.presets[preset]] + ([Rahaman.variants[variant]] if variant else [])
    options: dict[str, object] = {}
    recipe: dict[str, object] = {}
    for part in parts:
        options |= part.options
        recipe |= part.recipe
    chosen = build_options(RahamanOptions, options, "method 'rahaman'")
    assert build_options(RahamanRecipe, recipe, "recipe").image_size % RahamanNetwork.stride == 0
    if variant and variant.startswith("k"):
        assert chosen.landmarks == int(variant[1:])
