"""Who may import whom: the floors of the architecture, read from the source of every module.

Imports inside functions and under TYPE_CHECKING count too: a late import is still an import.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepsight

SOURCE = Path(stepsight.__file__).parent
MAX_LINES = 350

# A part is a file or folder directly below the package. It may import parts on its own floor or below.
FLOORS = {
    "errors": 0,
    "files": 0,
    "locks": 0,
    "stages": 0,
    "records": 0,
    "protocols": 0,
    "jsonl": 0,
    "parquet": 0,
    "tracefiles": 0,
    "recipe_yaml": 0,
    "recipes": 0,
    "seeds": 0,
    "tasks": 0,
    "intervals": 0,
    "shares": 0,
    "pictures": 1,
    "pictures_of_tsv": 1,
    "pages": 1,
    "findings": 1,
    "machine": 1,
    "prompts": 1,
    "conclusions": 1,
    "pieces": 1,
    "engines": 2,
    "rewards": 2,
    "judges": 3,
    "search": 4,
    "data": 4,
    "world": 4,
    "training": 4,
    "pico": 4,
    "examples": 4,
    "evaluation": 5,
    "study": 5,
    "reproduce": 5,
    "rejection": 5,
    "reports": 5,
    "model_folders": 6,
    "assembly": 6,
    "reward_models": 6,
    "diagnosis": 6,
    "api": 6,
    "testing": 6,
    "serving": 6,
    "cli": 6,
    "__main__": 6,
    "": 6,  # the package itself, which may name anything; so no module below imports from it
}

# What the floors alone would allow, but the two rivers do not.
FORBIDDEN = {
    "judges": {"engines", "rewards"},
    "search": {"engines", "rewards", "judges", "data", "world", "training"},
    "data": {"search"},
    "world": {"search"},
}

# Packages that are slow to import or not installed with the core, and the only modules that may mention them.
MODEL_PACKAGES = {
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "huggingface_hub",
    "peft",
}
MODEL_ROOMS = ("engines.transformers", "training", "pico", "rewards.remote.models")

# Parts that get by on the standard library, pydantic, and what is named here.
LEAN = {
    "": set(),
    "errors": set(),
    "files": set(),
    "stages": set(),
    "records": {"pydantic"},
    "protocols": set(),
    "jsonl": {"pydantic"},
    "parquet": {"pydantic", "pyarrow"},
    "tracefiles": set(),
    "recipe_yaml": {"yaml"},
    "recipes": {"pydantic"},
    "seeds": set(),
    "tasks": set(),
    "intervals": set(),
    "shares": {"pydantic"},
    "pictures": {"PIL"},
    "pictures_of_tsv": {"PIL"},
    "pages": {"PIL"},
    "findings": {"pydantic"},
    "machine": set(),
    "prompts": {"pydantic"},
    "conclusions": set(),
    "pieces": {"pydantic"},
    "search": {"pydantic"},
}


def module_name(path: Path) -> str:
    """The dotted name below the package: `engines.openai`; empty for the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(name: str, tree: ast.AST, *, is_package: bool) -> Iterator[str]:
    """Full names of all that a module imports; of `from a import b` both `a.b`, if it is ours, and else `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                own = ["stepsight", *(name.split(".") if name else [])]
                kept = own[: len(own) - node.level + is_package]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix("stepsight.") in MODULES else base


def imported_by(name: str) -> set[str]:
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return set(imports(name, tree, is_package=path.name == "__init__.py"))


def ours(names: set[str]) -> set[str]:
    """The parts of this package among `names`."""
    return {f"{name}.".split(".")[1] for name in names if name.split(".")[0] == "stepsight"}


def foreign(names: set[str]) -> set[str]:
    """The packages among `names` that are neither ours nor the standard library's."""
    return {top for name in names if (top := name.split(".")[0]) != "stepsight" and top not in sys.stdlib_module_names}


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_from_a_floor_above_or_from_the_other_river(name: str) -> None:
    part = name.split(".")[0]
    assert part in FLOORS, f"give {part} a floor"
    for other in ours(imported_by(name)) - {part}:
        assert other in FLOORS, f"give {other} a floor"
        assert FLOORS[other] <= FLOORS[part], f"{name} (floor {FLOORS[part]}) imports {other} (floor {FLOORS[other]})"
        assert other not in FORBIDDEN.get(part, set()), f"{part} never imports {other}, yet {name} does"


@pytest.mark.parametrize("name", MODULES)
def test_model_packages_stay_in_their_rooms(name: str) -> None:
    if not any(name == room or name.startswith(f"{room}.") for room in MODEL_ROOMS):
        assert not foreign(imported_by(name)) & MODEL_PACKAGES


@pytest.mark.parametrize("name", MODULES)
def test_one_engine_alone_speaks_http(name: str) -> None:
    # Scoring endpoints (rewards) are spoken to over that engine's links.
    if not name.startswith("engines.openai") and not name.startswith("serving"):
        assert not foreign(imported_by(name)) & {"httpx", "httpx2", "requests", "openai"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] in LEAN])
def test_the_lower_floors_and_the_search_are_lean(name: str) -> None:
    assert foreign(imported_by(name)) <= LEAN[name.split(".")[0]]


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_works_imports_test_support(name: str) -> None:
    if not name.startswith("testing"):
        assert "testing" not in ours(imported_by(name))


def test_engines_do_not_know_each_other() -> None:
    vendors = {"openai", "scripted", "transformers", "replicas"}
    for name in (name for name in MODULES if name.startswith("engines.")):
        own = name.split(".")[1]
        used = {other.split(".")[2] for other in imported_by(name) if other.startswith("stepsight.engines.")}
        # A replica is the other engine, in a process of its own.
        known = {own, "transformers"} if name == "engines.replicas.child" else {own}
        assert not used & vendors - known, f"{name} imports another engine"


def test_rewards_know_of_the_engines_only_how_one_speaks_http() -> None:
    for name in (name for name in MODULES if name.startswith("rewards")):
        used = {other for other in imported_by(name) if other.startswith("stepsight.engines")}
        assert all(other.startswith("stepsight.engines.openai.") for other in used), f"{name} imports an engine"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("rewards.remote")])
def test_what_runs_in_another_process_stands_alone(name: str) -> None:
    used = {other for other in imported_by(name) if other.split(".")[0] == "stepsight"}
    assert all(other.startswith("stepsight.rewards.remote") for other in used)
    own = MODEL_PACKAGES & {"torch", "transformers", "safetensors"} | {"PIL", "numpy"}
    assert foreign(imported_by(name)) <= own


@pytest.mark.parametrize("name", MODULES)
def test_a_file_holds_one_idea(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_reader_of_imports_sees_every_form() -> None:
    text = """
import os.path, torch.nn as nn
from stepsight import stages, Question
from . import openai
from ..records import Trace
def late():
    from transformers import AutoModel
"""
    found = set(imports("engines.scripted", ast.parse(text), is_package=False))
    relative = "stepsight.engines.openai" if "engines.openai" in MODULES else "stepsight.engines"
    assert found == {
        "os.path",
        "torch.nn",
        "stepsight.stages",
        "stepsight",
        relative,
        "stepsight.records",
        "transformers",
    }
    assert ours(found) == {"stages", "", "engines", "records"}
    assert foreign(found) == {"torch", "transformers"}
    assert set(imports("engines", ast.parse("from .scripted import x"), is_package=True)) == {
        "stepsight.engines.scripted"
    }


@pytest.mark.parametrize("module", ["stepsight", "stepsight.cli"])
def test_importing_loads_nothing_heavy_and_changes_nothing(module: str) -> None:
    code = f"""
import logging, os, sys, warnings
before = dict(os.environ), list(logging.root.handlers), logging.root.level, list(warnings.filters), list(sys.path)
import {module}
after = dict(os.environ), list(logging.root.handlers), logging.root.level, list(warnings.filters), list(sys.path)
assert before == after, "importing changed the process"
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE.parent)},
    )
    assert run.returncode == 0, run.stderr
    assert not set(run.stdout.split()) & (MODEL_PACKAGES | {"PIL", "numpy", "matplotlib", "pyarrow"})
