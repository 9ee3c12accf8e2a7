"""The tiny models and pictures that the tests of this folder share; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.engines.transformers.tiny import FAMILIES, Tiny, make_tiny

from stepsight.engines.transformers import TransformersEngine


@pytest.fixture(scope="session")
def build() -> Callable[[str], Tiny]:
    """Makes the tiny model of a family; the same one for the whole session."""
    made: dict[str, Tiny] = {}

    def make(family: str) -> Tiny:
        if family not in made:
            made[family] = make_tiny(family)
        return made[family]

    return make


@pytest.fixture(scope="session", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, build: Callable[[str], Tiny]) -> Tiny:
    """Each proven family in turn."""
    return build(request.param)


@pytest.fixture(scope="session")
def llava(build: Callable[[str], Tiny]) -> Tiny:
    """One family, for what does not depend on the family."""
    return build(FAMILIES[0])


@pytest.fixture(params=["off", "on"])
def shared_prefix(request: pytest.FixtureRequest) -> str:
    """Rows with copies of what they have in common, and rows that share it."""
    return str(request.param)


@pytest.fixture
def engine(tiny: Tiny, shared_prefix: str) -> Iterator[TransformersEngine]:
    with tiny.engine(shared_prefix=shared_prefix) as made:
        yield made


@pytest.fixture
def llava_engine(llava: Tiny) -> Iterator[TransformersEngine]:
    with llava.engine() as made:
        yield made


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four pictures of noise, of different shape."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(3)
    paths = []
    for index, (height, width) in enumerate([(40, 40), (40, 40), (24, 40), (50, 30)]):
        path = folder / f"{index}.png"
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    return paths
