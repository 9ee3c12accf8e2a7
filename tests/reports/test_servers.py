"""What a probe found out, as a table and as consequences."""

from __future__ import annotations

import pytest
from rich.console import Console

from stepsight.engines.openai import Answer, Finding, ProbeReport
from stepsight.reports.servers import consequences, probe_table


def report(value: Answer = Answer.YES, **findings: Answer) -> ProbeReport:
    names = [name for name, _ in ProbeReport(url="", model="", at="").findings()]
    given = {name: Finding(value=findings.get(name, value), evidence=f"[b]seen[/b] of {name}") for name in names}
    return ProbeReport.model_validate({"url": "http://host/v1", "model": "m-7b", "at": "2026-11-24", **given})


def printed(of: ProbeReport) -> str:
    console = Console(width=150, record=True, quiet=False, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(probe_table(of))
    console.file.close()
    return console.export_text()


def test_every_finding_has_a_line_with_its_evidence() -> None:
    text = printed(report())
    assert "m-7b on http://host/v1" in text
    for name, finding in report().findings():
        (line,) = [line for line in text.splitlines() if line.rstrip().endswith(f"[b]seen[/b] of {name}")]
        assert f" {finding.value} " in line
    assert "- all strategies work" in text


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ({}, "all judges work"),
        ({"prefix": Answer.UNKNOWN}, "use best-of-n or greedy"),
        ({"images": Answer.NO}, "the server takes none"),
        ({"pictures_told_apart": Answer.NO}, "mixes them up"),
        ({"pictures_told_apart": Answer.UNKNOWN}, "look at a few answers"),
        ({"logprobs": Answer.NO}, "the judges written and vote work"),
        ({"untempered": Answer.NO}, "likelihood does not"),
        ({"seeds": Answer.NO}, "candidates are asked for in one request"),
        ({"n": Answer.NO}, "one by one"),
        ({"stop_included": Answer.NO}, "put back"),
        ({"stop_included": Answer.NO, "stop_named": Answer.NO}, "are not sent"),
        ({"seeds": Answer.UNKNOWN}, "cannot be repeated"),
    ],
)
def test_consequences_follow_from_findings(findings: dict[str, Answer], says: str) -> None:
    assert any(says in line for line in consequences(report(**findings)))
