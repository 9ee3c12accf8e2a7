"""What a probe found out, as a table and as consequences."""

from __future__ import annotations

import pytest
from rich.console import Console

from stepsight.engines.openai import Ability, Finding, ProbeReport
from stepsight.reports.servers import consequences, probe_table


def report(value: Ability = Ability.YES, **findings: Ability) -> ProbeReport:
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
        ({"prefix": Ability.UNKNOWN}, "use best-of-n or greedy"),
        ({"images": Ability.NO}, "the server takes none"),
        ({"pictures_told_apart": Ability.NO}, "mixes them up"),
        ({"pictures_told_apart": Ability.UNKNOWN}, "look at a few answers"),
        ({"logprobs": Ability.NO}, "the judges written and vote work"),
        ({"untempered": Ability.NO}, "likelihood does not"),
        ({"seeds": Ability.NO}, "candidates are asked for in one request"),
        ({"n": Ability.NO}, "one by one"),
        ({"stop_included": Ability.NO}, "put back"),
        ({"stop_included": Ability.NO, "stop_named": Ability.NO}, "are not sent"),
        ({"seeds": Ability.UNKNOWN}, "cannot be repeated"),
        ({"streams": Ability.NO}, "when it is whole"),
    ],
)
def test_consequences_follow_from_findings(findings: dict[str, Ability], says: str) -> None:
    assert any(says in line for line in consequences(report(**findings)))
