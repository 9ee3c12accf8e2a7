"""The table of rules in the docs: every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/benchmarks.md"
ROW = re.compile(r"^\| (.+?) \| `(\S+?)::(\w+)` \|$", re.MULTILINE)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def table() -> list[tuple[str, str, str]]:
    page = PAGE.read_text(encoding="utf-8")
    return ROW.findall(page[page.index("## Every rule and its test") : page.index("## Two things")])


def test_every_rule_names_a_test_that_is_there() -> None:
    rows = table()
    assert len(rows) > 60
    for rule, file, name in rows:
        assert name in functions(ROOT / "tests/evaluation" / file), f"{rule}: there is no {file}::{name}"


def test_no_row_of_the_table_is_passed_over() -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page[page.index("## Every rule and its test") : page.index("## Two things")]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.startswith(("| **", "| rule "))]
    assert len(lines) == len(heads) + len(table())


def test_every_example_of_the_rules_is_in_the_table() -> None:
    named = {(file, name) for _, file, name in table()}
    for file in ("scoring/test_options.py", "scoring/test_yes_no.py"):
        rules = {name for name in functions(ROOT / "tests/evaluation" / file) if name.startswith("test_")}
        unnamed = rules - {name for other, name in named if other == file}
        # What is no rule of VLMEvalKit's but a property of ours, or a consequence of the others.
        assert len(unnamed) <= 4, unnamed
