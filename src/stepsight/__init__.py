"""stepsight: staged visual reasoning, and search over its stages.

These names are the words of the project: what travels (records), what acts (protocols), what can go wrong (errors).
Engines, judges, strategies, the world, training and evaluation live in the subpackages of those names.
"""

from __future__ import annotations

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
)
from stepsight.jsonl import append_jsonl, read_jsonl, sift_jsonl, write_jsonl
from stepsight.protocols import Engine, Event, Judge, SearchSettings, Strategy
from stepsight.recipes import Recipe, load_recipe, save_resolved
from stepsight.records import Candidate, Comparison, Finish, Piece, Question, Trace, Usage, Verdict
from stepsight.seeds import derive_seed
from stepsight.stages import STAGES, Fault, FaultKind, Parsed, Stage, StageStream, conclusion, parse, render

__all__ = [
    "STAGES",
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
    "ModelError",
    "Parsed",
    "PictureError",
    "Piece",
    "Question",
    "Recipe",
    "RecipeError",
    "RecordError",
    "SearchSettings",
    "Stage",
    "StageStream",
    "StepsightError",
    "Strategy",
    "Trace",
    "Usage",
    "Verdict",
    "append_jsonl",
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
