"""The pages about datasets: they say what is there, load nothing, and let nothing in unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.data.datasets import answer, row, save, write_pictures

from stepsight.data.audit import audit
from stepsight.data.audit_page import audit_page
from stepsight.data.manifest import Cost, Manifest, states_of, write_manifest
from stepsight.data.sheet import read_sheet, sheet_page

NASTY = "<script>alert(1)</script> & how many?"
VOID = {"meta", "img", "br", "rect", "line"}


class Parts(HTMLParser):
    """Tags, whether they nest, and where pictures come from."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        assert "style" not in dict(attrs), "the page's policy does not allow it"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def parts_of(page: str) -> Parts:
    parts = Parts()
    parts.feed(page)
    assert parts.open == []
    assert "script" not in parts.tags
    assert all(source.startswith("data:image/") for source in parts.sources)
    return parts


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "vg")
    rows = [
        row("a<1>", image="vg/sound.png", question=NASTY, reply=answer(caption="A <b>table</b>.")),
        row("b", image="vg/empty.png", reply="4"),
        *(row(str(n), question=f"Why {n}?") for n in range(30)),
        "{",
    ]
    path = save(tmp_path / "train.jsonl", *rows)
    save(tmp_path / "rejects.jsonl", *[{"reason": "refusal"}] * 3, {"reason": "wrong<>"}, {"other": 1}, "{")
    cost = Cost(requests=40, prompt_tokens=1000, completion_tokens=2000, dollars=1.5)
    manifest = Manifest(
        made_by="build", rows=32, turns=32, prompts={"teacher-1": "ab" * 32}, cost=cost, versions={"stepsight": "0.1"}
    )
    write_manifest(tmp_path, manifest.model_copy(update={"files": states_of(tmp_path, ["train.jsonl"])}))
    return path


def test_a_sheet_says_what_is_there(dataset: Path) -> None:
    sheet = read_sheet(dataset)
    assert [(name, one.rows, len(one.pictures)) for name, one in sheet.sources.items()] == [
        ("text only", 30, 0),
        ("vg", 2, 2),
    ]
    assert (sheet.malformed, sheet.unstaged, sheet.changed) == (1, 1, ())
    assert sheet.rejects == {"refusal": 3, "wrong<>": 1, "no reason given": 1, "unreadable line": 1}
    page = sheet_page(sheet, dataset.parent)
    parts = parts_of(page)
    assert parts.tags.count("svg") == 4
    assert len(parts.sources) == 1, "one thumbnail; the empty picture cannot be shown"
    for said in ("32 rows, 32 turns, 2 pictures", "$1.50", "ab" * 32, "refusal", "it cannot be read", "wrong&lt;&gt;"):
        assert said in page
    assert NASTY not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("class=example") == 8


def test_examples_are_drawn_by_seed_from_each_source(dataset: Path) -> None:
    def shown(seed: int) -> list[str]:
        page = sheet_page(read_sheet(dataset, seed=seed, examples=4), dataset.parent, examples=4)
        return re.findall(r"<br>row ([^<]+)<", page)

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)
    assert {"a&lt;1&gt;", "b"} < set(shown(1))


def test_a_sheet_says_that_a_file_was_changed(dataset: Path) -> None:
    with dataset.open("a") as stream:
        stream.write("\n")
    assert "train.jsonl is not the file that was written" in sheet_page(read_sheet(dataset), dataset.parent)


def test_an_audit_as_a_page(dataset: Path) -> None:
    report = audit(dataset, dataset.parent)
    page = audit_page(report)
    parts = parts_of(page)
    assert parts.sources == []
    for said in ("More than is allowed: malformed_row, format, picture_empty", "outside_text", "33 rows"):
        assert said in page
    assert NASTY not in page
    (clean,) = [audit(save(dataset.parent / "x" / "train.jsonl", row("1")), dataset.parent)]
    assert "Clean." in audit_page(clean)
