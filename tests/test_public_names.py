"""The public face: exactly these names, and every public thing says what it is."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepsight

SOURCE = Path(stepsight.__file__).parent

PUBLIC = [
    "Answer",
    "aask",
    "ask",
    "ModelChoice",
    "SearchChoice",
    "Stage",
    "STAGES",
    "StageStream",
    "Parsed",
    "Fault",
    "FaultKind",
    "parse",
    "render",
    "conclusion",
    "Question",
    "Piece",
    "Candidate",
    "Finish",
    "Comparison",
    "Verdict",
    "Usage",
    "Spending",
    "Trace",
    "Engine",
    "Judge",
    "Strategy",
    "SearchSettings",
    "Budget",
    "Swires",
    "Event",
    "Recipe",
    "load_recipe",
    "save_resolved",
    "read_jsonl",
    "sift_jsonl",
    "write_jsonl",
    "append_jsonl",
    "derive_seed",
    "StepsightError",
    "InputError",
    "PictureError",
    "TooLongError",
    "RecipeError",
    "RecordError",
    "MissingExtraError",
    "ModelError",
    "CapabilityError",
    "EngineError",
]


def test_the_public_names_are_these() -> None:
    assert sorted(stepsight.__all__) == sorted(PUBLIC)
    assert len(set(stepsight.__all__)) == len(stepsight.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(stepsight, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert (thing.__doc__ or "").strip()
        assert thing.__module__.startswith("stepsight.")


def public_definitions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(SOURCE).as_posix()
        if module.body:  # a folder's __init__.py may be empty
            yield where, module
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith(
                "_"
            ):
                yield f"{where}: {node.name}", node


@pytest.mark.parametrize(("where", "node"), [pytest.param(*item, id=item[0]) for item in public_definitions()])
def test_every_module_and_public_definition_has_a_docstring(
    where: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module
) -> None:
    assert (ast.get_docstring(node) or "").strip(), f"{where} has no docstring"
