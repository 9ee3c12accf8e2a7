"""A trace as a tree and as a page: everything is there once, nothing is loaded, nothing gets in unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from tests.doubles import DreamEngine

from stepsight.cli.app import run
from stepsight.evaluation.steps import last_verdict, steps_of
from stepsight.judges import LikelihoodJudge
from stepsight.protocols import SearchSettings, Swires
from stepsight.records import Question, Trace
from stepsight.reports.page import page_of
from stepsight.reports.tree import tree_of
from stepsight.search import best_of_n, stage_beam, swires
from stepsight.stages import STAGES, Stage

NASTY = "<script>alert(1)</script> & how many?"


@pytest.fixture
async def retraced(tmp_path: Path) -> Trace:
    path = tmp_path / "a.png"
    Image.new("RGB", (32, 32), "red").save(path)
    question = Question(id="q<1>", text=NASTY, images=(path,), choices=("<b>3</b>", "4"), source="tabletop")
    settings = SearchSettings(seed=1, swires=Swires(cutoff=0.0))
    return await swires(question, DreamEngine(), LikelihoodJudge(), settings)


class Parts(HTMLParser):
    """The tags of a page, and whether they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_steps_are_what_was_drawn_together_in_order(retraced: Trace) -> None:
    steps = steps_of(retraced)
    assert sorted(one.id for step in steps for one in step.candidates) == [one.id for one in retraced.candidates]
    stages = [step.stage for step in steps]
    # One summary, three rounds of captions and reasonings for two of them, two conclusions.
    assert stages[:4] == [Stage.SUMMARY, Stage.CAPTION, Stage.REASONING, Stage.REASONING]
    assert [step.stage for step in steps if step.back] == [Stage.CAPTION, Stage.CAPTION]
    for step in steps:
        if step.verdict is not None:
            assert tuple(one.id for one in step.candidates) == step.verdict.order
    assert last_verdict(retraced) is retraced.verdicts[-1]


def test_a_page_is_whole_and_safe(retraced: Trace) -> None:
    page = page_of(retraced)
    parts = Parts()
    parts.feed(page)
    assert parts.open == []
    names = [tag for tag, _ in parts.tags]
    assert names.count("article") == len(retraced.candidates)
    assert names.count("script") == 1
    assert "alert(1)</script>" not in page
    assert "<b>3</b>" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    policy = next(values["content"] for tag, values in parts.tags if values.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert page.count("↩ back to CAPTION") == 2
    assert 'src="data:image/png;base64,' in page


def test_a_page_without_its_picture_says_so(retraced: Trace) -> None:
    retraced.question.images[0].unlink()
    assert "is not there any more" in page_of(retraced)


async def test_whole_answers_have_one_step() -> None:
    trace = await best_of_n(Question(id="q", text="?"), DreamEngine(), LikelihoodJudge(), SearchSettings(width=3))
    (step,) = steps_of(trace)
    assert step.stage is None
    assert step.verdict is trace.verdicts[0]
    assert last_verdict(trace) is None
    assert "without a picture" in page_of(trace)


async def test_every_candidate_stands_in_the_tree_under_its_parent() -> None:
    trace = await stage_beam(Question(id="q", text="How?"), DreamEngine(), LikelihoodJudge(), SearchSettings(width=3))
    out = StringIO()
    Console(file=out, width=400).print(tree_of(trace))
    lines = out.getvalue().splitlines()
    assert sorted(int(one) for line in lines for one in re.findall(r"#(\d+)", line)) == list(range(12))
    chosen = [line for line in lines if "✓" in line]
    assert [next(stage for stage in STAGES if stage in line) for line in chosen] == list(STAGES)
    depths = [line.index("✓") for line in chosen]
    assert depths == sorted(set(depths))


def test_show_finds_a_trace_and_writes_a_page(
    retraced: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "traces.jsonl"
    other = retraced.model_copy(update={"question": retraced.question.model_copy(update={"id": "two"})})
    path.write_text(f"{retraced.model_dump_json()}\n{other.model_dump_json()}\n")
    assert run(["show", str(path)]) == 0
    assert "REASONING" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert run(["show", str(path), "--question", "two", "--html", str(page)]) == 0
    assert "question two" in page.read_text()
    assert run(["show", str(path), "--question", "three"]) == 2
    assert "q<1>" in capsys.readouterr().err
    assert run(["show", str(tmp_path / "nothing.jsonl")]) == 2
    path.write_text("no trace")
    assert run(["show", str(path)]) != 0
    assert "holds no trace" in capsys.readouterr().err
