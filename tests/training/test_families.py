"""Every family can be sharded: two steps over two processes give the losses and the weights of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.transformers.tiny_models import FAMILIES

from .families import two_steps
from .launching import TORCHRUN, launch
from .runs import check_weights, losses


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    launch(TORCHRUN, str(Path(__file__).with_name("families.py")), str(folder))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_sharded_families_learn_the_same(family: str, sharded: Path, tmp_path: Path) -> None:
    one = two_steps(family, tmp_path, way="none", accumulate=2)
    two = sharded / f"{family}-fsdp"
    assert len(losses(one)) == 2
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    check_weights(one / "model", two / "model")
