"""Asking a model in training: the transformers engine over its live weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.families import family_of
from stepsight.errors import EngineError, InputError, ModelError
from stepsight.protocols import SearchSettings
from stepsight.records import Question, Trace
from stepsight.search.greedy import greedy
from stepsight.tasks import finished, together

_CACHE_GB = 0.25
"""Questions have nothing in common but the template, and training wants the memory."""


def check_askable(model: Any) -> None:
    """Make sure that the engine can run a model.

    Raises:
        ModelError: it cannot.
    """
    try:
        family_of(model.config)
    except ModelError as error:
        raise ModelError(f"no questions can be asked while training: {error}", hint="set watching.samples=0") from error


def ask(
    model: Any, processor: Any, questions: Sequence[Question], *, max_tokens: int
) -> tuple[list[Trace], dict[str, str]]:
    """Answer questions greedily, all at once; call it inside `aside`.

    The engine is a new one each time: it may lay weights out for itself, and must see those of now.

    Args:
        model: in training, whole on this device; with adapters or without.
        processor: of the model.
        questions: what to ask.
        max_tokens: of an answer.

    Returns:
        The answers, and, by question id, why there is none.
    """
    if not questions:
        return [], {}
    base = getattr(model, "get_base_model", lambda: model)()
    settings = SearchSettings(width=1, temperature=0.0, max_tokens=max_tokens)
    failed: dict[str, str] = {}

    async def one(engine: TransformersEngine, question: Question) -> Trace | None:
        try:
            return await greedy(question, engine, None, settings)
        except (InputError, EngineError) as error:
            # A run of days must not end on a picture, nor for want of memory to look at it.
            failed[question.id] = str(error)
            return None

    async def every() -> list[Trace | None]:
        # Rows that share a beginning would have the model changed to attend otherwise.
        with TransformersEngine(base, processor, name="in training", cache_gb=_CACHE_GB, shared_prefix="off") as engine:
            return await together([one(engine, question) for question in questions])

    return [trace for trace in finished(every()) if trace is not None], failed
