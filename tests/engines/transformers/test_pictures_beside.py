"""Pictures that stand beside the text: their key-values keep to the bound while rows look at them, and stay exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import Tiny, fill, filler_of

from stepsight.engines.transformers.families.mllama import Mllama
from stepsight.engines.transformers.pictures import Picture, PictureShelf
from stepsight.protocols import SampleRequest, Turn

Build = Callable[[str], Tiny]


def seen_bytes(picture: Picture) -> int:
    return 0 if picture.seen is None else sum(tensor.nbytes for tensor in picture.seen.tensors)


@pytest.fixture
def mllama(build: Build) -> Tiny:
    return build("mllama")


@torch.inference_mode()
def test_beyond_the_bound_the_picture_looked_at_least_recently_is_let_go_of(mllama: Tiny, pictures: list[Path]) -> None:
    filler, encoder = filler_of(mllama)
    shelf = filler.runner._pictures
    prompts = [encoder.encode((Turn("user", "What?", (path,)),)) for path in pictures]
    looked = [prompt.pictures[0] for prompt in prompts]
    wanted = [mllama.logits((Turn("user", "What?", (path,)),))[0] for path in pictures]
    [first] = fill(filler, prompts[:1])
    one, inputs = seen_bytes(looked[0]), sum(tensor.nbytes for picture in looked for tensor in picture.inputs.values())
    assert one > 0
    # Room for two, and for what the others are encoded from.
    shelf.max_bytes = inputs + 2 * one
    filler.store.clear()
    there = []
    for order in (0, 1, 2, 1, 3, 0):
        [filled] = fill(filler, [prompts[order]])
        assert torch.allclose(filled.logits, wanted[order], atol=1e-4)
        assert shelf.nbytes <= shelf.max_bytes
        there.append([place for place, picture in enumerate(looked) if picture.seen is not None])
        filler.store.clear()
    # 2 goes for 3, for 1 was looked at later, and 1 for 0.
    assert there == [[0], [0, 1], [1, 2], [1, 2], [1, 3], [0, 3]]
    assert torch.allclose(first.logits, wanted[0], atol=1e-4)


@torch.inference_mode()
def test_rows_about_one_picture_look_at_its_own_key_values(mllama: Tiny, pictures: list[Path]) -> None:
    filler, encoder = filler_of(mllama)
    prompts = [encoder.encode((Turn("user", text, (pictures[0],)),)) for text in ("What?", "Where?")]
    fill(filler, prompts)
    family, seen = filler.runner.family, prompts[0].pictures[0].seen
    assert isinstance(family, Mllama)
    assert seen is not None
    assert seen.cross is not None
    rows, layers, _ = family._laid
    assert len(rows) == 2
    assert layers[family._cross[0]].keys.data_ptr() == seen.cross[0, 0].data_ptr()


@pytest.mark.parametrize("same", [True, False])
async def test_rows_in_work_keep_to_the_bound_and_write_the_same(
    mllama: Tiny, pictures: list[Path], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [(pictures[0],)] * 3 if same else [(pictures[0],), (pictures[1], pictures[2]), (), (pictures[3],)]
    requests = [
        SampleRequest((Turn("user", f"What is {number}?", path),), (0, 1), max_tokens=6, temperature=1.0)
        for number, path in enumerate(paths)
    ]
    steps: list[tuple[int, int, int, int]] = []
    hold = PictureShelf.hold

    def watched(self: PictureShelf, rows: Sequence[tuple[Picture, ...]]) -> None:
        hold(self, rows)
        needed = {picture for pictures in rows for picture in pictures}
        kept = sum(sum(tensor.nbytes for tensor in one.inputs.values()) for one in {*self._seen, *self._shelf.values()})
        own = sum(seen_bytes(picture) for picture in needed)
        steps.append((self.nbytes, self.max_bytes, kept + own, self._family.laid_bytes))

    laid: list[int] = []
    arguments = Mllama.arguments

    def counted(self: Mllama, span: Any) -> dict[str, Any]:
        given = arguments(self, span)
        laid.append(self.laid_bytes)
        return given

    monkeypatch.setattr(PictureShelf, "hold", watched)
    monkeypatch.setattr(Mllama, "arguments", counted)

    async def texts(cache_gb: float) -> list[list[str]]:
        steps.clear()
        laid.clear()
        with mllama.engine(cache_gb=cache_gb) as engine:
            results = await asyncio.gather(*(engine.sample(request) for request in requests))
        return [[one.piece.text for one in result.completions] for result in results]

    roomy = await texts(0.1)
    assert all(held <= bound for held, bound, _, _ in steps)
    assert (max(laid) > 0) is not same  # rows about one picture share its own key-values
    tight = await texts(1e-5)
    assert all(held <= max(bound, needed) for held, bound, needed, _ in steps)
    assert max(laid) == 0
    assert tight == roomy
