"""Published sizes to the printed digit, and a measured peak that says what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench import network as bench_network
from bench.context import EvaluationData, RunContext
from bench.errors import BenchError
from bench.loading import LoadedSplit
from bench.progress import Progress
from bench.protocol import Measurement
from bench.record import RunRecord
from bench.runner import RunRequest, run
from bench.weights import save_weights
from methods.lead import LEAD
from protocols.costs.peak_memory import peak_on_gpu, peaks_in_fresh_process, resident_peak_is_known
from protocols.memory import Memory, MemoryOptions
from tests.protocols.memory_networks import Exits, Wide

NO_DATA = EvaluationData(train=None, test=LoadedSplit.empty())
MEBI = 2**20
TINY_LEAD = {"backbone": "resnet18", "width": 8, "features": "hypercolumn"}

needs_linux = pytest.mark.skipif(not resident_peak_is_known(), reason="only Linux tells a process's peak")


def record_of(runs: Path, method: str, *options: str, **changes: Any) -> RunRecord:
    content: dict[str, Any] = {
        "method": method,
        "protocol": "memory",
        "method_options": options,
        "protocol_options": ("peak_device=none",),
        "runs": runs,
        "device": "cpu",
        **changes,
    }
    return run(RunRequest(**content), Progress.silent()).record


# --- published numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "params", "size", "at_96", "at_128"),
    [
        ("contrast", ("backbone=resnet18",), 11.24, 42.89, 11.54, None),
        ("contrast", ("backbone=resnet50half",), 6.03, 23.02, 28.15, None),
        ("contrast", ("backbone=resnet50",), 23.77, 90.68, 52.65, 93.58),
        ("dve", ("network=hourglass",), 12.61, 48.10, 491.85, 874.41),
    ],
)
def test_table_2_of_contrast_landmarks(
    method: str,
    options: tuple[str, ...],
    params: float,
    size: float,
    at_96: float,
    at_128: float | None,
    tmp_path: Path,
) -> None:
    full = ("width=64", "features=hypercolumn") if method == "contrast" else ()
    sizes = "[96]" if at_128 is None else "[96,128]"
    record = record_of(
        tmp_path,
        method,
        *options,
        *full,
        protocol_options=("peak_device=none", f"image_sizes={sizes}"),
    )
    assert round(record.value("params_m").value, 2) == params
    assert round(record.value("network_size_mb").value, 2) == size
    assert round(record.value("activation_proxy_mb", image_size=96).value, 2) == at_96
    if at_128 is not None:
        assert round(record.value("activation_proxy_mb", image_size=128).value, 2) == at_128


# --- a network to count by hand -------------------------------------------------------------------------------


def measure(context: RunContext | None = None, **options: Any) -> Measurement:
    return Memory().measure(Wide(), NO_DATA, MemoryOptions(**options), context or RunContext())


def test_every_counted_metric_by_hand() -> None:
    measurement = measure(peak_device="none", image_sizes=(8, 16))
    parameters = 3 * 128 + 128
    found = {(v.metric, v.condition.get("image_size")): v.value for v in measurement.values}
    assert found == {
        ("params_m", None): parameters / 1e6,
        ("network_size_mb", None): 4 * parameters / MEBI,
        ("activation_proxy_mb", 8): 8 * 2 * 128 * 64 / MEBI,
        ("activation_proxy_mb", 16): 8 * 2 * 128 * 256 / MEBI,
    }
    assert measurement.per_sample["modules_8"].tolist() == ["conv", "act"]
    assert measurement.per_sample["values_8"].tolist() == [128 * 64] * 2
    assert measurement.notes[1] == "peak_train_mb was not measured"


def test_the_batch_size_of_the_run_does_not_matter() -> None:
    one, many = (measure(RunContext(batch_size=b), peak_device="none") for b in (1, 64))
    assert one.values == many.values


# --- the measured peak ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> Measurement:
    if not resident_peak_is_known():
        pytest.skip("only Linux tells a process's peak")
    return measure(image_sizes=(128, 256))


def test_the_measured_peak_is_what_a_step_has_to_hold(measured: Measurement) -> None:
    """128 channels at 256 px are 32 MiB. Three such maps are there at once: convolved, activated, and the gradient of
    the first; that of the second is a view of one number, and the images need none."""
    peaks = {v.condition["image_size"]: v.value for v in measured.values if v.metric == "peak_train_mb"}
    assert peaks[128] == pytest.approx(3 * 8, rel=0.1)
    assert peaks[256] == pytest.approx(3 * 32, rel=0.05)
    assert measured.per_sample["peak_bytes_256"] / MEBI == peaks[256]
    assert "on the CPU, one thread" in measured.notes[1]


def test_the_measured_peak_repeats_whatever_was_measured_before_and_is_frozen(measured: Measurement) -> None:
    frozen = Wide().requires_grad_(False).eval()
    (again,) = peaks_in_fresh_process(frozen, (256,), 1)
    assert again == pytest.approx(int(measured.per_sample["peak_bytes_256"]), rel=0.03)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not frozen.training


@needs_linux
def test_a_step_that_fails_is_told() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    with pytest.raises(BenchError, match="Expected more than 1 value per channel") as caught:
        peaks_in_fresh_process(network, (16,), 1)
    assert "peak_device=none" in str(caught.value)


@needs_linux
def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(BenchError, match="ended with status 9"):
        peaks_in_fresh_process(Exits(), (16,), 1)


def test_a_network_of_unnamed_functions_cannot_be_handed_over() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    network.extra = lambda x: x  # type: ignore[assignment]
    with pytest.raises(BenchError, match="cannot be handed to a fresh process"):
        peaks_in_fresh_process(network, (16,), 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_the_peak_on_a_gpu() -> None:
    images = torch.zeros(1, 3, 256, 256, device="cuda")
    network = Wide()
    peak = peak_on_gpu(network, images)
    assert peak == peak_on_gpu(network, images)
    assert peak / MEBI == pytest.approx(3 * 32, rel=0.1)


# --- where it is measured -------------------------------------------------------------------------------------


def test_the_record_states_where_the_peak_was_measured() -> None:
    automatic = MemoryOptions()
    assert Memory().resolve(automatic, torch.device("cuda")).peak_device == "cuda"
    on_cpu = Memory().resolve(automatic, torch.device("cpu")).peak_device
    assert on_cpu == ("cpu" if resident_peak_is_known() else "none")
    chosen = MemoryOptions(peak_device="none")
    assert Memory().resolve(chosen, torch.device("cuda")) == chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(BenchError, match="sees no NVIDIA GPU"):
        Memory().check(MemoryOptions(peak_device="cuda"), NO_DATA)


# --- weights do not matter ------------------------------------------------------------------------------------


def test_nothing_is_fetched_or_trained_for_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(bench_network, "pretrain", refuse)
    monkeypatch.setattr("methods.imagenet.fetch", refuse)
    trained, fetched = (
        record_of(tmp_path, "contrast"),
        record_of(tmp_path, "imagenet", "backbone=resnet18"),
    )
    for record in (trained, fetched):
        assert record.method.weights_sha256 == "none"
        assert record.method.weights_label == "the architecture alone, whatever its weights"
        assert record.dataset is None
    # Without weights and options it is the network that every other protocol measures by default.
    assert trained.method.options["width"] == 32


def test_weights_that_are_given_say_how_the_network_is_built_and_no_more(tmp_path: Path) -> None:
    method = LEAD()
    options = LEAD.Options(**TINY_LEAD)
    ids = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        described = options.model_dump(mode="json")
        save_weights(path, method.build(options), method="lead", options=described, provenance={})
        record = record_of(tmp_path / "runs", "lead", checkpoint=path)
        assert record.method.options["width"] == 8
        ids.add(record.id)
    assert len(ids) == 1
    with pytest.raises(BenchError, match="another architecture"):
        record_of(tmp_path / "runs", "lead", "width=16", checkpoint=path)


def test_presets_are_options() -> None:
    assert MemoryOptions(**Memory.presets["paper"]) == MemoryOptions()
    assert MemoryOptions(**Memory.presets["quick"]).image_sizes == (96, 128)
    assert {spec.name for spec in Memory.metrics} == {
        "params_m",
        "network_size_mb",
        "activation_proxy_mb",
        "peak_train_mb",
    }
