"""stepsight: staged visual reasoning, and search over its stages.

    from stepsight import ask

    answer = ask("picture.png", "How many red cubes are there?")
    print(answer.conclusion)

These names are the words of the project: what one asks (the api), what travels (records), what acts (protocols), what
can go wrong (errors). Engines, judges, strategies, the world, training and evaluation live in the subpackages of those
names. Each name is imported when it is first used, so that `import stepsight` and `stepsight --help` are instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepsight.api import Answer, aask, ask
    from stepsight.assembly import ModelChoice, SearchChoice
    from stepsight.errors import (
        CapabilityError,
        EngineError,
        InputError,
        MissingExtraError,
        ModelError,
        PictureError,
        RecipeError,
        RecordError,
        StepsightError,
        TooLongError,
    )
    from stepsight.jsonl import append_jsonl, read_jsonl, sift_jsonl, write_jsonl
    from stepsight.protocols import Budget, Engine, Event, Judge, SearchSettings, Strategy, Swires
    from stepsight.recipes import Recipe, load_recipe, save_resolved
    from stepsight.records import Candidate, Comparison, Finish, Piece, Question, Spending, Trace, Usage, Verdict
    from stepsight.seeds import derive_seed
    from stepsight.stages import STAGES, Fault, FaultKind, Parsed, Stage, StageStream, conclusion, parse, render

_HOME = {
    "api": "Answer aask ask",
    "assembly": "ModelChoice SearchChoice",
    "errors": (
        "CapabilityError EngineError InputError MissingExtraError ModelError PictureError RecipeError "
        "RecordError StepsightError TooLongError"
    ),
    "jsonl": "append_jsonl read_jsonl sift_jsonl write_jsonl",
    "protocols": "Budget Engine Event Judge SearchSettings Strategy Swires",
    "recipes": "Recipe load_recipe save_resolved",
    "records": "Candidate Comparison Finish Piece Question Spending Trace Usage Verdict",
    "seeds": "derive_seed",
    "stages": "Fault FaultKind Parsed STAGES Stage StageStream conclusion parse render",
}
"""Which module each public name lives in; a test holds it against `__all__`."""

__all__ = [
    "STAGES",
    "Answer",
    "Budget",
    "Candidate",
    "CapabilityError",
    "Comparison",
    "Engine",
    "EngineError",
    "Event",
    "Fault",
    "FaultKind",
    "Finish",
    "InputError",
    "Judge",
    "MissingExtraError",
    "ModelChoice",
    "ModelError",
    "Parsed",
    "PictureError",
    "Piece",
    "Question",
    "Recipe",
    "RecipeError",
    "RecordError",
    "SearchChoice",
    "SearchSettings",
    "Spending",
    "Stage",
    "StageStream",
    "StepsightError",
    "Strategy",
    "Swires",
    "TooLongError",
    "Trace",
    "Usage",
    "Verdict",
    "aask",
    "append_jsonl",
    "ask",
    "conclusion",
    "derive_seed",
    "load_recipe",
    "parse",
    "read_jsonl",
    "render",
    "save_resolved",
    "sift_jsonl",
    "write_jsonl",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names.split():
            return getattr(import_module(f"stepsight.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
