"""What a probe found out about a server, as a table in the terminal, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepsight.engines.openai.findings import Ability, ProbeReport, StopEnds

_COLOURS = {Ability.YES: "green", Ability.NO: "red", Ability.UNKNOWN: "yellow"}

_WORDS = {
    "prefix": "continues a text",
    "images": "takes pictures",
    "pictures_told_apart": "tells pictures apart",
    "n": "several choices at once",
    "stop_honoured": "stops at a stop string",
    "stop_included": "leaves it in the text",
    "stop_named": "names it",
    "logprobs": "log-probabilities",
    "labels": "those of the labels 1 and 2",
    "untempered": "the same at any temperature",
    "cache": "cached tokens, rising",
    "context": "context limit",
    "seeds": "seeds repeat a text",
    "streams": "streams a text",
    "grammar": "keeps to a grammar",
}


def probe_table(report: ProbeReport) -> RenderableType:
    """Every finding with its evidence, then what a search on this server will do."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(f"{report.model} on {report.url}")
    table.add_column("")
    table.add_column("what was seen", style="dim")
    for name, finding in report.findings():
        # Text, not str: evidence quotes what a model wrote, and rich would take brackets in it for markup.
        value = Text(finding.value.value, style=_COLOURS[finding.value])
        table.add_row(Text(_WORDS[name]), value, Text(finding.evidence))
    return Group(table, Text(), *(Text(f"- {line}") for line in consequences(report)))


def consequences(report: ProbeReport) -> Iterator[str]:
    """What follows from the findings: what works, what is refused, and how requests will be sent."""
    can = report.capabilities
    if can.prefix:
        yield "all strategies work"
    else:
        yield "strategies that go on from a chosen stage are refused: use best-of-n or greedy"
    if not report.images.yes:
        yield "questions with a picture are refused: the server takes none"
    elif not can.images:
        yield "questions with a picture are refused: two pictures gave the same result (a cache that mixes them up?)"
    elif report.pictures_told_apart.value is Ability.UNKNOWN:
        yield "whether pictures are told apart could not be seen: look at a few answers yourself"
    if can.logprobs and report.untempered.yes:
        yield "all judges work"
    elif can.logprobs:
        yield "the judges self, written and vote work; likelihood does not, as log-probabilities depend on temperature"
    else:
        yield "the judges written and vote work; self and likelihood need log-probabilities"
    if report.n.yes and not can.seeds:
        yield "candidates are asked for in one request"
    else:
        yield "candidates are asked for one by one, the first ahead of the others"
    yield {
        StopEnds.INCLUDED: "stop strings end a stage and stay in its text",
        StopEnds.NAMED: "stop strings end a stage and are put back, as the server says which one it was",
        StopEnds.OWN: "stop strings are not sent, as it could not be told what ended a text: stages are cut off here, "
        "and what a model writes beyond them is paid for",
    }[report.stop_ends]
    if not report.streams.yes:
        yield "who watches sees each text when it is whole"
    yield "the same seed gives the same answer" if can.seeds else "a run cannot be repeated: no seeds are sent"
