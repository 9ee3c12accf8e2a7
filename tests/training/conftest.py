"""A tiny pico, built once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stepsight.training.model.pico import build_model, build_processor, build_tokenizer
from stepsight.training.recipe.train import PicoSizes

SIZES = PicoSizes(
    vision_hidden=32, vision_layers=1, vision_heads=2, text_hidden=32, text_layers=2, text_heads=2, text_mlp=64
)


@pytest.fixture(scope="session")
def processor() -> Any:
    """pico's own processor; nothing may change it."""
    return build_processor(SIZES, build_tokenizer())


@pytest.fixture(scope="session")
def start(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The `start` of a recipe: a folder with a tiny pico."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    build_model(SIZES, processor.tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)
    return {"folder": str(folder)}


@pytest.fixture
def model(processor: Any) -> Any:
    """A new tiny pico, the same in every test."""
    torch.manual_seed(0)
    return build_model(SIZES, processor.tokenizer)
