"""Presets, variants and fine-tuning: what ``bench pretrain`` makes of what was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.method import Preset
from bench.opening import DatasetRequest
from bench.pretraining import PretrainRequest, pretrain, shared_images
from bench.progress import Progress
from bench.weights import read_weights
from methods.lead import LEAD
from tests.bench.world import TINY_NETWORK, TINY_RECIPE, write_faces

QUIET = Progress.silent()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"))


def _request(faces: Path, output: Path, **changes: Any) -> PretrainRequest:
    content: dict[str, Any] = {
        "method": "lead",
        "dataset": DatasetRequest(f"coco:{faces}"),
        "method_options": TINY_NETWORK,
        "recipe_options": TINY_RECIPE,
        "output": output,
        "precision": "float32",
        **changes,
    }
    return PretrainRequest(**content)


def test_a_variant_lies_between_the_preset_and_what_was_typed(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = Preset("smaller", options={"dim": 4, "fpn_width": 4}, recipe={"temperature": 0.5})
    monkeypatch.setattr(LEAD, "variants", {"smaller": variant})
    # dim=8 is typed and wins over the variant's 4, fpn_width is not typed here
    typed = [option for option in TINY_NETWORK if not option.startswith("fpn_width")]
    weights = read_weights(
        pretrain(_request(faces, tmp_path, variant="smaller", method_options=typed), QUIET)
    )
    assert (weights.options["dim"], weights.options["fpn_width"]) == (8, 4)
    assert weights.provenance["recipe"]["temperature"] == 0.5
    assert weights.provenance["variant"] == "smaller"


def test_an_unknown_variant_is_answered_with_near_names(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LEAD, "variants", {"no-head": Preset("without projection head")})
    with pytest.raises(BenchError, match="no variant 'nohead'") as error:
        pretrain(_request(faces, tmp_path, variant="nohead"), QUIET)
    assert "no-head" in (error.value.hint or "")


def test_fine_tuning_starts_from_the_given_weights(faces: Path, tmp_path: Path) -> None:
    first = pretrain(_request(faces, tmp_path / "first"), QUIET)
    tuned = pretrain(
        _request(faces, tmp_path / "tuned", initial=first, method_options=(), seed=1, snapshot_every=100),
        QUIET,
    )
    start = read_weights(tmp_path / "tuned" / "snapshots" / "stage1-000000.safetensors")
    source = read_weights(first)
    assert all(torch.equal(tensor, source.tensors[name]) for name, tensor in start.tensors.items())
    end = read_weights(tuned)
    assert end.options == source.options
    assert end.provenance["initial"]["sha256"] == source.sha256
    assert any(not torch.equal(end.tensors[name], source.tensors[name]) for name in end.tensors)


def test_fine_tuning_is_another_job_than_training_from_scratch(faces: Path, tmp_path: Path) -> None:
    first = pretrain(_request(faces, tmp_path), QUIET)
    with pytest.raises(BenchError, match="another pre-training job"):
        pretrain(_request(faces, tmp_path, initial=first, method_options=()), QUIET)


def test_fine_tuning_refuses_weights_of_another_method_or_network(faces: Path, tmp_path: Path) -> None:
    first = pretrain(_request(faces, tmp_path / "first"), QUIET)
    with pytest.raises(BenchError, match="another architecture"):
        pretrain(_request(faces, tmp_path / "wide", initial=first, method_options=["dim=16"]), QUIET)
    with pytest.raises(BenchError, match="no weights at"):
        pretrain(_request(faces, tmp_path / "gone", initial=tmp_path / "gone.safetensors"), QUIET)


def test_a_share_takes_some_of_the_images_and_says_so(faces: Path, tmp_path: Path) -> None:
    half = read_weights(pretrain(_request(faces, tmp_path / "half", share=0.5), QUIET))
    assert (half.provenance["share"], half.provenance["images"]) == (0.5, 8)
    job = json.loads((tmp_path / "half" / "job.json").read_text())
    assert job["share"] == 0.5
    # All images are the job that has always been: nothing is said of a share.
    whole = read_weights(pretrain(_request(faces, tmp_path / "whole"), QUIET))
    assert "share" not in whole.provenance
    assert "share" not in json.loads((tmp_path / "whole" / "job.json").read_text())


def test_another_share_is_another_job(faces: Path, tmp_path: Path) -> None:
    pretrain(_request(faces, tmp_path, share=0.5), QUIET)
    with pytest.raises(BenchError, match=r"differs in share"):
        pretrain(_request(faces, tmp_path, share=0.25), QUIET)
    with pytest.raises(BenchError, match=r"differs in share"):
        pretrain(_request(faces, tmp_path), QUIET)


def test_shares_are_nested_seeded_and_in_order() -> None:
    small, large = shared_images(1000, 0.05, 0).tolist(), shared_images(1000, 0.25, 0).tolist()
    assert (len(small), len(large)) == (50, 250)
    assert set(small) < set(large)
    assert small == sorted(set(small))
    assert shared_images(1000, 0.05, 0).tolist() == small
    assert shared_images(1000, 0.05, 1).tolist() != small


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_share_is_refused(faces: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(BenchError, match="share of"):
        pretrain(_request(faces, tmp_path, share=share), QUIET)


def test_a_share_of_less_than_two_images_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="at least 2 images, got 1"):
        pretrain(_request(faces, tmp_path, share=0.05), QUIET)
