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
from stepsight.stages import STAGES, Stage, render

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


class Cards(HTMLParser):
    """The cards of a page: attributes, and text with the words that only one of two texts has in brackets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, tuple[dict[str, str | None], str]] = {}
        self.now = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "article":
            self.now = values["id"] or ""
            self.found[self.now] = (values, "")
        self._add({"del": "[-", "ins": "[+", "p": "|"}.get(tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._add("]" if tag in ("del", "ins") else "")
        if tag == "article":
            self.now = ""

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, text: str) -> None:
        if self.now:
            self.found[self.now] = (self.found[self.now][0], self.found[self.now][1] + text)


def drawn(*texts: str, stage: Stage | None = None, chosen: int = 0, **question: object) -> Trace:
    candidates = [
        {"id": place, "stage": stage, "slot": place, "seed": 0, "piece": {"text": text}, "finish": "stop", "tokens": 9}
        for place, text in enumerate(texts)
    ]
    return Trace.model_validate(
        {
            "question": {"id": "q", "text": "How?", "source": "tabletop", **question},
            "strategy": "vote",
            "judge": None,
            "seed": 0,
            "settings": {},
            "candidates": [{**one, "logprob": -0.0001} for one in candidates],
            "verdicts": [],
            "chosen": [chosen],
            "usage": {},
            "seconds": 1.0,
        }
    )


def answer(caption: str, conclusion: str) -> str:
    texts = ("Count.", caption, "One, two.", conclusion)
    return render(dict(zip(STAGES, texts, strict=True)))


def test_whole_answers_are_shown_and_compared_stage_by_stage() -> None:
    trace = drawn(answer("A1 cube.", "2"), answer("A1 ball.", "3"), answer("A1 cube.", "2"), chosen=1, answer="3")
    cards = Cards(page_of(trace)).found
    assert "|SUMMARY Count.|CAPTION A1 ball.|REASONING One, two.|CONCLUSION 3" in cards["c1"][1]
    assert "|CAPTION A1 [-ball.] [+cube.]|" in cards["c0"][1]
    assert "|CONCLUSION [-3] [+2]" in cards["c0"][1]
    assert cards["c2"][1].endswith("|the words of #0")
    assert [name for name, (values, _) in cards.items() if "chosen" in (values["class"] or "")] == ["c1"]
    assert "log-probability 0.00" in cards["c0"][1]


def test_differences_are_to_the_chosen_one_even_where_the_judge_liked_another_better() -> None:
    texts = [f"<CAPTION> {word} </CAPTION>" for word in ("B2 cube.", "C3 cube.")]
    trace = drawn(*texts, stage=Stage.CAPTION, chosen=1)
    verdict = {"judge": "likelihood", "stage": "CAPTION", "order": [0, 1], "scores": [-0.0001, -2.0]}
    trace = Trace.model_validate({**trace.model_dump(), "verdicts": [verdict]})
    page = page_of(trace)
    cards = Cards(page).found
    assert list(cards) == ["c0", "c1"]
    assert "[-C3] [+B2] cube." in cards["c0"][1]
    assert "[" not in cards["c1"][1]
    assert 'differences to <a href="#c1">#1</a>' in page
    # A score that is the log-probability is not said twice.
    assert "score" not in cards["c0"][1]
    assert "score -2.000" in cards["c1"][1]


def test_a_card_without_words_says_what_is_in_it() -> None:
    cards = Cards(page_of(drawn(" </CAPTION>", "", stage=Stage.CAPTION))).found
    assert cards["c0"][1].endswith("|the end of the stage")
    assert cards["c1"][1].endswith("|the words of #0")
    assert Cards(page_of(drawn("", stage=Stage.CAPTION))).found["c0"][1].endswith("|no words")


def test_a_page_says_whether_the_answer_is_right() -> None:
    for known, said in (("2", "right"), ("3", "wrong"), (None, "")):
        page = page_of(drawn(answer("A1 cube.", "2"), answer=known))
        assert [one for one in ("right", "wrong") if f">{one}</span>" in page] == ([said] if said else [])
    assert ">wrong</span>" in page_of(drawn("nothing", answer="2"))


def test_every_cell_that_a_card_names_is_in_the_picture_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (70, 70), "red").save(path)
    page = page_of(drawn(answer("C5 cube, H1 or A8 is none.", "2"), images=[str(path)]))
    parts = Parts()
    parts.feed(page)
    cells = {values["id"]: values for tag, values in parts.tags if tag == "rect"}
    assert len(cells) == 49
    (card,) = (values for tag, values in parts.tags if tag == "article")
    assert card["data-cells"] == "C5"
    assert card["tabindex"] == "0"
    assert (cells["cell-C5"]["x"], cells["cell-C5"]["y"]) == ("2", "4")
    assert {name for name, values in cells.items() if "named" in (values["class"] or "")} == {"cell-C5"}
    # Cards far down the page are read beside the picture, so that it is seen lighting up.
    assert re.search(r"aside \{ position: sticky", page)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_words_can_be_read_in_both_schemes() -> None:
    style = (Path(page_of.__code__.co_filename).parent / "page.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in style.split("@media", 2)[:2])
    for scheme in (light, dark):
        for ground in ("paper", "card"):
            for words in ("ink", "soft", "good", "bad", "mark", "accent"):
                low, high = sorted((luminance(scheme[words]), luminance(scheme[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (words, ground)  # WCAG 2, level AA


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
