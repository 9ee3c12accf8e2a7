"""The self-check passes where the engine is exact, and finds each fault that it is there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import Tiny, make_tiny

from stepsight.engines.placement import Placement
from stepsight.engines.transformers import selfcheck
from stepsight.engines.transformers.filling import Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.pictures import Picture, PictureShelf
from stepsight.engines.transformers.selfcheck import check_model, self_check
from stepsight.errors import EngineError
from stepsight.findings import SelfCheck


async def check(tiny: Tiny, pictures: list[Path], **options: Any) -> SelfCheck:
    with tiny.engine(**options) as engine:
        return await self_check(engine, tiny.model, tiny.processor, (pictures[0], pictures[1]))


async def test_every_proven_family_passes(tiny: Tiny, pictures: list[Path]) -> None:
    found = await check(tiny, pictures)
    assert found.exact
    assert found.tokens_equal
    assert found.differs_at is None
    assert found.pictures_differ
    assert found.error < 1e-3
    assert found.tokens > 0
    assert found.engine_seconds > 0 < found.library_seconds


async def test_the_second_request_goes_on_from_the_first(llava: Tiny, pictures: list[Path]) -> None:
    assert (await check(llava, pictures)).reused > 8
    assert (await check(llava, pictures, cache_gb=0.0)).reused == 0


async def test_a_picture_taken_for_another_is_found(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PictureShelf._read

    def read(shelf: PictureShelf, path: Path, *, alone: bool) -> Picture:
        picture = real(shelf, path, alone=alone)
        picture.digest = 7
        return picture

    monkeypatch.setattr(PictureShelf, "_read", read)
    found = await check(llava, pictures)
    assert not found.pictures_differ
    assert not found.exact
    assert found.tokens_equal


async def test_a_wrong_decoding_step_is_found(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Runner.step

    def step(runner: Runner, slots: Any, prompts: Any, tokens: Any, lengths: Any) -> torch.Tensor:
        return -real(runner, slots, prompts, tokens, lengths)

    monkeypatch.setattr(Runner, "step", step)
    found = await check(llava, pictures)
    assert not found.tokens_equal
    assert found.differs_at is not None
    assert found.gap is not None
    assert found.gap > found.rounding
    assert not found.exact


async def test_scores_that_are_off_are_found(
    llava: Tiny, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Filler.scores

    def scores(filler: Filler, filled: Any, options: Any) -> list[list[float]]:
        return [[score + 0.1 for score in row] for row in real(filler, filled, options)]

    monkeypatch.setattr(Filler, "scores", scores)
    found = await check(llava, pictures)
    assert found.error == pytest.approx(0.1, abs=0.01)
    assert found.pictures_differ
    assert not found.exact


async def test_the_checkpoints_own_sampling_settings_do_not_matter(pictures: list[Path]) -> None:
    tiny = make_tiny("llava-siglip-llama")
    tiny.model.generation_config.do_sample = True
    tiny.model.generation_config.repetition_penalty = 5.0
    tiny.model.generation_config.no_repeat_ngram_size = 1
    assert (await check(tiny, pictures)).tokens_equal


def test_a_saved_model_is_loaded_and_checked(llava: Tiny, pictures: list[Path], tmp_path: Path) -> None:
    llava.model.save_pretrained(tmp_path)
    llava.processor.save_pretrained(tmp_path)
    options: dict[str, Any] = {
        "revision": None,
        "trust_remote_code": False,
        "cache_gb": 0.1,
        "max_rows": 4,
        "threads": None,
    }
    pair = (pictures[0], pictures[1])
    seconds, found = check_model(tmp_path, Placement(device="cpu"), pair, **options)
    assert seconds > 0
    assert found.exact
    _, half = check_model(tmp_path, Placement(device="cpu", dtype="bfloat16"), pair, **options)
    assert half.rounding > 10 * found.rounding
    assert half.exact


def test_whatever_the_library_raises_is_an_engine_error(
    llava: Tiny, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*_: Any) -> list[int]:
        raise KeyError("rope_deltas")

    monkeypatch.setattr(selfcheck, "_generate", generate)
    llava.model.save_pretrained(tmp_path)
    llava.processor.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=r"self-check did not run through: KeyError: 'rope_deltas'"):
        check_model(
            tmp_path,
            Placement(device="cpu"),
            (pictures[0], pictures[1]),
            revision=None,
            trust_remote_code=False,
            cache_gb=0.1,
            max_rows=4,
            threads=1,
        )
