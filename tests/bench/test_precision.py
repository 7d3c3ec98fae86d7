"""Float32 means float32, whatever a program before had allowed; all of it is known without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.precision import forbid_tf32
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress
from bench.runner import RunRequest, run


def _allow() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True


def _is_forbidden() -> bool:
    highest = torch.get_float32_matmul_precision() == "highest"
    return highest and not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def _torchs_defaults_afterwards() -> Iterator[None]:
    yield
    forbid_tf32()
    torch.backends.cudnn.allow_tf32 = True


def test_it_is_allowed_by_default_or_by_others_and_then_forbidden() -> None:
    _allow()
    assert not _is_forbidden()
    forbid_tf32()
    assert _is_forbidden()


def test_what_was_set_through_torchs_newer_interface_is_overridden() -> None:
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has only the older interface")
    cudnn: Any = torch.backends.cudnn
    torch.backends.cuda.matmul.fp32_precision = cudnn.conv.fp32_precision = "tf32"
    forbid_tf32()
    assert _is_forbidden()
    assert "tf32" not in (torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision)


def test_measuring_and_training_forbid_it() -> None:
    _allow()
    with pytest.raises(BenchError, match="no-such-method"):
        run(RunRequest(method="no-such-method", protocol="matching"), Progress.silent())
    assert _is_forbidden()
    _allow()
    with pytest.raises(BenchError, match="no-such-method"):
        pretrain(PretrainRequest(method="no-such-method"), Progress.silent())
    assert _is_forbidden()
