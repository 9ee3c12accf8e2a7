"""A second model beside the first: in its thread, as what differs from it, and neither disturbs the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import make_tiny

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.deltas import apply_delta, write_delta
from stepsight.errors import EngineError, ModelError
from stepsight.protocols import SampleRequest, ScoreRequest, Turn
from stepsight.records import Piece


def changed(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model" in name and "mlp" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A saved model, and a delta of a changed copy."""
    tiny, other = make_tiny("llava"), make_tiny("llava")
    tiny.model.save_pretrained(tmp_path / "base")
    tiny.processor.save_pretrained(tmp_path / "base")
    torch.manual_seed(1)
    write_delta(changed(other.model), tiny.model, tmp_path / "delta.safetensors")
    return tmp_path / "base", tmp_path / "delta.safetensors"


async def values(engine: TransformersEngine, turns: tuple[Turn, ...]) -> list[float]:
    requests = [ScoreRequest(turns, ("a", "b"), (Piece(text=f"so {n}"),)) for n in range(3)]
    return [result.logprobs[0] for result in await engine.score(requests)]


async def test_two_models_in_one_thread_give_what_each_gives_alone(
    folders: tuple[Path, Path], pictures: list[Path]
) -> None:
    base, delta = folders
    turns = (Turn("user", "What is there?", (pictures[0],)),)
    request = SampleRequest(turns, seeds=(1, 2, 3), max_tokens=20, temperature=1.0)
    with TransformersEngine.load(base, device="cpu", dtype="float32") as alone:
        expected, plain = await alone.sample(request), await values(alone, turns)
    with TransformersEngine.load(base, device="cpu", dtype="float32", delta=delta) as apart:
        valued = await values(apart, turns)
    assert valued != pytest.approx(plain)
    with TransformersEngine.load(base, device="cpu", dtype="float32") as engine:
        second = TransformersEngine.load(base, device="cpu", dtype="float32", delta=delta, beside=engine)
        assert second._thread is engine._thread
        together = await asyncio.gather(engine.sample(request), values(second, turns), values(engine, turns))
        assert [one.piece for one in together[0].completions] == [one.piece for one in expected.completions]
        assert together[1] == pytest.approx(valued, abs=1e-5)
        assert together[2] == pytest.approx(plain, abs=1e-5)
        # Closing one leaves the other at work.
        second.close()
        with pytest.raises(EngineError, match="closed"):
            await values(second, turns)
        assert await values(engine, turns) == pytest.approx(plain, abs=1e-5)


def test_a_delta_holds_what_differs_and_nothing_else(tmp_path: Path) -> None:
    tiny, other, third = (make_tiny("llava").model for _ in range(3))
    changed(other)
    path = tmp_path / "delta.safetensors"
    count = write_delta(other, tiny, path)
    assert count == sum("mlp" in name for name, _ in other.named_parameters() if "language_model" in name)
    apply_delta(third, path)
    for (name, value), wanted in zip(third.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(value, wanted, rtol=2**-7, atol=1e-6), name
    with pytest.raises(ModelError, match="the same"):
        write_delta(tiny, make_tiny("llava").model, path)
    with pytest.raises(ModelError, match="not built alike"):
        write_delta(tiny, make_tiny("idefics3").model, path)
    with pytest.raises(ModelError, match="does not belong to its base"):
        apply_delta(make_tiny("idefics3").model, path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="cannot be read"):
        apply_delta(third, path)
