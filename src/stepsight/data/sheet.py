"""A dataset's data sheet as one self-contained page: what it holds, what was rejected, what it cost, how it looks.

Made from the rows; from `manifest.json` where there is one; and from `rejects.jsonl` or `set_aside.jsonl` beside it, of
whose rows `reason` or `kind` is counted.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from stepsight.data.lengths import Spread, spread_of, words_in
from stepsight.data.manifest import Manifest, check_manifest, read_manifest
from stepsight.data.page_parts import STYLE, example, spreads, table
from stepsight.data.staged_rows import StagedRow
from stepsight.errors import RecordError
from stepsight.jsonl import scan_lines
from stepsight.pages import whole_page
from stepsight.stages import STAGES, parse

EXAMPLES = 8
_REJECTS = ("rejects.jsonl", "set_aside.jsonl")


@dataclass
class _Source:
    """What is counted of one source. `examples` is a sample of its rows, each as likely as any other."""

    rows: int = 0
    turns: int = 0
    pictures: set[str] = field(default_factory=set)
    examples: list[StagedRow] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    """All that the page says."""

    file: str
    sources: dict[str, _Source]
    malformed: int
    unstaged: int
    spreads: dict[str, Spread]
    rejects: dict[str, int]
    manifest: Manifest | None
    changed: tuple[str, ...]


def read_sheet(
    rows: Path, *, seed: int = 0, examples: int = EXAMPLES, progress: Callable[[int], None] = lambda done: None
) -> Sheet:
    """Read a dataset row by row.

    Args:
        rows: a file in the public format; a manifest and rejects are looked for beside it.
        seed: decides which rows are shown.
        examples: so many rows of each source are kept to choose from.
        progress: called with the number of rows read.

    Raises:
        RecordError: the file cannot be read, or its manifest is none.
    """
    rng = random.Random(f"sheet:{seed}")
    sources: dict[str, _Source] = {}
    lengths: dict[str, list[int]] = {stage.value: [] for stage in STAGES}
    malformed = unstaged = 0
    for number, (_, row) in enumerate(scan_lines(rows, StagedRow), start=1):
        progress(number)
        if isinstance(row, RecordError):
            malformed += 1
            continue
        source = sources.setdefault(row.source, _Source())
        source.rows += 1
        if row.image is not None:
            source.pictures.add(row.image)
        # Reservoir: the new row takes a place with the chance that keeps all rows alike.
        if len(source.examples) < examples:
            source.examples.append(row)
        elif (place := rng.randrange(source.rows)) < examples:
            source.examples[place] = row
        for _, reply in row.exchanges:
            source.turns += 1
            parsed = parse(reply)
            unstaged += not parsed.valid
            for stage, text in parsed.stages.items():
                lengths[stage.value].append(words_in(text))
    manifest = read_manifest(rows.parent)
    found = {name: spread_of(values) for name, values in lengths.items()}
    return Sheet(
        file=rows.name,
        sources=dict(sorted(sources.items(), key=lambda one: -one[1].rows)),
        malformed=malformed,
        unstaged=unstaged,
        spreads={name: spread for name, spread in found.items() if spread is not None},
        rejects=_rejects(rows.parent) or dict(manifest.set_aside if manifest else {}),
        manifest=manifest,
        changed=() if manifest is None else check_manifest(rows.parent, manifest),
    )


def sheet_page(sheet: Sheet, images: Path, *, examples: int = EXAMPLES) -> str:
    """The page; of each source in turn one row is shown, until there are `examples`."""
    return whole_page(f"Data sheet of {sheet.file}", "".join(_body(sheet, images, examples)), style=STYLE)


def _body(sheet: Sheet, images: Path, examples: int) -> Iterator[str]:
    rows = sum(source.rows for source in sheet.sources.values())
    turns = sum(source.turns for source in sheet.sources.values())
    pictures = sum(len(source.pictures) for source in sheet.sources.values())
    yield f"<h1>Data sheet of {escape(sheet.file)}</h1>"
    yield f"<p>{rows:,} rows, {turns:,} turns, {pictures:,} pictures.</p>"
    for count, what in ((sheet.malformed, "rows cannot be read"), (sheet.unstaged, "replies are not whole answers")):
        if count:
            yield f"<p class=bad>{count:,} {what}; see <code>stepsight data audit</code>.</p>"
    for fault in sheet.changed:
        yield f"<p class=bad>Changed since it was made: {escape(fault)}.</p>"
    yield "<h2>Sources</h2>"
    counted = ((name, one.rows, one.turns, len(one.pictures)) for name, one in sheet.sources.items())
    yield table(("first folder of the picture", "rows", "turns", "pictures"), counted)
    yield "<h2>Lengths of stages</h2>" + spreads(sheet.spreads.items())
    if sheet.rejects:
        lost = sum(sheet.rejects.values())
        yield f"<h2>Rejected<span class=soft> {lost:,}, of {lost + rows:,}</span></h2>"
        yield table(("reason", "times"), Counter(sheet.rejects).most_common())
    if sheet.manifest is not None:
        yield from _made(sheet.manifest)
    yield "<h2>Examples</h2>"
    for row in _shown(sheet, examples):
        yield example(row, images)


def _made(manifest: Manifest) -> Iterator[str]:
    if manifest.cost is not None:
        cost = manifest.cost
        dollars = "no prices known" if cost.dollars is None else f"${cost.dollars:,.2f}"
        yield "<h2>Cost</h2>"
        yield table(
            ("requests", "prompt tokens", "completion tokens", "dollars"),
            [(cost.requests, cost.prompt_tokens, cost.completion_tokens, dollars)],
        )
    if manifest.outcomes:
        names = sorted({name for of_source in manifest.outcomes.values() for name in of_source} - {"kept"})
        yield "<h2>What became of the questions</h2>"
        yield table(
            ("source", "kept", *names),
            ((source, *(told.get(name, 0) for name in ("kept", *names))) for source, told in manifest.outcomes.items()),
        )
    facts = [("made by", manifest.made_by), ("teacher", manifest.teacher), ("recipe", manifest.recipe)]
    facts = [fact for fact in facts if fact[1]]
    facts += [(f"prompt {name}", digest) for name, digest in manifest.prompts.items()]
    facts += [(f"version of {name}", version) for name, version in manifest.versions.items()]
    facts += [(f"SHA-256 of {name}", state.sha256) for name, state in manifest.files.items()]
    yield "<h2>How it was made</h2>" + table(("", ""), facts)


def _shown(sheet: Sheet, examples: int) -> list[StagedRow]:
    shown: list[StagedRow] = []
    for place in range(examples):
        shown += [source.examples[place] for source in sheet.sources.values() if place < len(source.examples)]
    return shown[:examples]


def _rejects(folder: Path) -> dict[str, int]:
    """Reasons of the rejects beside a dataset; lines that say none are counted as such."""
    counts: Counter[str] = Counter()
    for path in (folder / name for name in _REJECTS if (folder / name).is_file()):
        with path.open("rb") as stream:
            for line in stream:
                if line.strip():
                    counts[_reason(line)] += 1
    return dict(counts)


def _reason(line: bytes) -> str:
    try:
        row = json.loads(line)
    except ValueError:
        return "unreadable line"
    known = row if isinstance(row, dict) else {}
    return str(known.get("kind") or known.get("reason") or "no reason given")
