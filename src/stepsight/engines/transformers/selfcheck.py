"""Does this model run exactly here? The engine against the library, with the real weights on the real device.

What tests show of tiny models of a family is shown again of the very model at hand: greedy decoding on shared
key-values gives the tokens of the library's `generate`, and a picture never sees the key-values of another one. Not
covered: many rows at once, and texts longer than a few tokens.
"""

from __future__ import annotations

import asyncio
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stepsight.engines.placement import Placement
from stepsight.engines.transformers.engine import TransformersEngine, end_tokens
from stepsight.engines.transformers.loading import load_in_thread
from stepsight.engines.transformers.placing import running_device
from stepsight.errors import EngineError, StepsightError
from stepsight.findings import SelfCheck
from stepsight.protocols import SampleRequest, ScoreRequest, Turn
from stepsight.records import Finish

TEXT = "How many objects are there?"
_FIRST, _MORE = 8, 16
_OPTIONS = 8
_ROUNDING = 1e-3


def check_model(
    source: str | Path,
    placement: Placement,
    pictures: tuple[Path, Path],
    *,
    revision: str | None,
    trust_remote_code: bool,
    cache_gb: float,
    max_rows: int,
    threads: int | None,
    rows_gb: float | None = None,
    shared_prefix: str = "auto",
    draft_tokens: int | None = None,
) -> tuple[float, SelfCheck]:
    """Load a model and compare; returns the seconds of loading and what came of it.

    Raises:
        ModelError: The model cannot be loaded.
        MissingExtraError: A package that the placement needs is not installed.
        StepsightError: The engine cannot answer at all.
    """
    started = time.perf_counter()
    thread, model, processor = load_in_thread(source, placement, revision=revision, trust_remote_code=trust_remote_code)
    seconds = time.perf_counter() - started
    with TransformersEngine(
        model,
        processor,
        cache_gb=cache_gb,
        rows_gb=rows_gb,
        max_rows=max_rows,
        threads=threads,
        shared_prefix=shared_prefix,
        draft_tokens=draft_tokens,
        thread=thread,
    ) as engine:
        try:
            return seconds, asyncio.run(self_check(engine, model, processor, pictures))
        except StepsightError:
            raise
        except Exception as error:
            # The library's own generate, or the code of a model: whatever it raises, the check has failed.
            raise EngineError(f"the self-check did not run through: {type(error).__name__}: {error}") from error


async def self_check(engine: TransformersEngine, model: Any, processor: Any, pictures: tuple[Path, Path]) -> SelfCheck:
    """Compare an idle engine with the library on two pictures that differ; `model` and `processor` are the engine's."""
    first, second = ((Turn("user", TEXT, (picture,)),) for picture in pictures)

    # 1. The library's own greedy answer.
    started = time.perf_counter()
    expected = _generate(model, processor, first)
    library_seconds = time.perf_counter() - started

    # 2. Ours, in two requests: the second goes on from the key-values that the first left.
    started = time.perf_counter()
    given = SampleRequest(first, (0,), max_tokens=_FIRST, temperature=0.0)
    result = await engine.sample(given)
    head = result.completions[0]
    found, reused = list(head.piece.ids or ()), 0
    if head.finish is Finish.LENGTH:
        result = await engine.sample(
            SampleRequest(first, (0,), prefix=(head.piece,), max_tokens=_MORE, temperature=0.0)
        )
        found += result.completions[0].piece.ids or ()
        reused = result.cached
    engine_seconds = time.perf_counter() - started

    # 3. Scores of single letters under both pictures, ours and those of a full forward pass.
    letters = _letters(processor.tokenizer)
    scored = await engine.score([ScoreRequest(turns, tuple(letters)) for turns in (first, second)])
    ours = torch.tensor([result.logprobs for result in scored])
    ids = list(letters.values())
    full = [_next(model, processor, turns) for turns in (first, second)]
    theirs = torch.stack([logits.log_softmax(-1)[ids] for logits in full])
    size = max(float(logits.abs().max()) for logits in full)
    rounding = max(_ROUNDING, 4 * torch.finfo(model.dtype).eps * size)
    apart, truly = (float((pair[0] - pair[1]).abs().max()) for pair in (ours, theirs))

    differs = None if found == expected else _first_difference(found, expected)
    gap = None
    if differs is not None and differs < min(len(found), len(expected)):
        ranks = _next(model, processor, first, expected[:differs]).log_softmax(-1)
        gap = float(ranks[expected[differs]] - ranks[found[differs]])
    return SelfCheck(
        tokens=len(expected),
        tokens_equal=differs is None,
        differs_at=differs,
        gap=gap,
        reused=reused,
        # A model that hardly looks at pictures gives nearly the same scores for both; then so must we, and no nearer.
        pictures_differ=apart > min(rounding, truly / 2),
        error=float((ours - theirs).abs().max()),
        rounding=rounding,
        engine_seconds=engine_seconds,
        library_seconds=library_seconds,
    )


def _inputs(model: Any, processor: Any, turns: Sequence[Turn]) -> Any:
    conversation = [
        {"role": turn.role, "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}]}
        for turn in turns
    ]
    text = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    images = []
    for path in (path for turn in turns for path in turn.images):
        with Image.open(path) as opened:
            images.append(opened.convert("RGB"))
    bos = processor.tokenizer.bos_token
    added = not (bos and text.startswith(bos))
    inputs = processor(text=[text], images=[images], add_special_tokens=added, return_tensors="pt").to(
        running_device(model)
    )
    return {
        name: value.to(model.dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


def _generate(model: Any, processor: Any, turns: Sequence[Turn]) -> list[int]:
    """The library's greedy tokens without the end of the turn; nothing of the checkpoint's own sampling settings."""
    inputs = _inputs(model, processor, turns)
    with torch.inference_mode():
        out = model.generate(
            **inputs,
            max_new_tokens=_FIRST + _MORE,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
        )
    tokens = [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]
    ends = end_tokens(model, processor.tokenizer)
    return tokens[: next((place for place, token in enumerate(tokens) if token in ends), len(tokens))]


def _next(model: Any, processor: Any, turns: Sequence[Turn], extra: Sequence[int] = ()) -> torch.Tensor:
    """Logits (vocabulary,) after the prompt and `extra`, of one full forward pass without any cache."""
    inputs = _inputs(model, processor, turns)
    ids = inputs.pop("input_ids")
    inputs.pop("attention_mask", None)
    ids = torch.cat([ids, torch.tensor([list(extra)], dtype=ids.dtype, device=ids.device)], dim=1)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids, use_cache=False, **inputs).logits[0, -1]
    return logits.float().cpu()


def _letters(tokenizer: Any) -> dict[str, int]:
    """Some letters and digits that are one token each, with that token."""
    found: dict[str, int] = {}
    for sign in string.digits + string.ascii_letters:
        ids = tokenizer(sign, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] not in found.values():
            found[sign] = int(ids[0])
        if len(found) == _OPTIONS:
            break
    if not found:
        raise EngineError("the tokenizer has no token for any letter or digit, so scores cannot be compared")
    return found


def _first_difference(found: Sequence[int], expected: Sequence[int]) -> int:
    pairs = enumerate(zip(found, expected, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(found), len(expected)))
