"""An audit of a dataset in the public format: what a training run, or a score on a benchmark, would suffer from.

Rows are read once, one at a time; kept of each are its place, its picture's name, the lengths of its stages and a hash
of its questions. Pictures are decoded once each. What each kind of finding means is said in `audit_report.MEANINGS`;
how leaks, likeness and outliers are told, in `leaks`, `likeness` and `lengths`.

It does not cover: whether what a stage says is true, and rows with several pictures.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepsight.data.audit_pictures import against, look_at, twins_of
from stepsight.data.audit_report import ALLOWED, AuditReport, Benchmark, Finding, Kind
from stepsight.data.leaks import leaks_in
from stepsight.data.lengths import robust_z, spread_of, words_in
from stepsight.data.row_pictures import check_folder_of_pictures
from stepsight.data.staged_rows import StagedRow
from stepsight.errors import RecordError
from stepsight.jsonl import scan_lines
from stepsight.stages import STAGES, Stage, parse

FAR = 6.0
"""A stage whose length has a robust z beyond this is an outlier."""
KEPT = 200
"""So many findings of each kind are kept with their places; all are counted."""


@dataclass
class _Gathered:
    """What is kept of the rows while they are read."""

    rows: int = 0
    turns: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ids: dict[str, int] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)  # line -> id
    by_picture: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    questions: list[tuple[int, str | None, bytes]] = field(default_factory=list)
    lengths: dict[Stage, list[tuple[int, int]]] = field(default_factory=lambda: {stage: [] for stage in STAGES})


class _Findings:
    """Findings by kind: rows counted once each, the first of them kept."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lines: dict[Kind, set[int]] = {kind: set() for kind in Kind}
        self._first: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}

    def note(self, kind: Kind, line: int, name: str, detail: str) -> None:
        self._lines[kind].add(line)
        if len(self._first[kind]) < self._kept:
            self._first[kind].append(Finding(kind=kind, line=line, id=name, detail=detail))

    def counts(self) -> dict[Kind, int]:
        return {kind: len(lines) for kind, lines in self._lines.items()}

    def first(self) -> tuple[Finding, ...]:
        return tuple(one for kind in Kind for one in sorted(self._first[kind], key=lambda finding: finding.line))


def audit(
    rows: Path,
    images: Path,
    *,
    benchmarks: Sequence[Path] = (),
    allowed: Mapping[Kind, float] = ALLOWED,
    far: float = FAR,
    kept: int = KEPT,
    workers: int = 1,
    progress: Callable[[str, int], None] = lambda what, done: None,
) -> AuditReport:
    """Look at every row and every picture of a dataset.

    Args:
        rows: a file in the public format.
        images: the folder that `image` paths start from.
        benchmarks: TSV files whose pictures should not be among those of the dataset.
        allowed: the share of rows that each kind of finding may concern.
        far: robust z of a stage's length from which on it is an outlier.
        kept: so many findings of each kind keep their places.
        workers: threads that decode pictures.
        progress: called with what is looked at and how many are done.

    Raises:
        RecordError: `rows` cannot be read.
        InputError: there is no folder of pictures, or a benchmark file is none.
    """
    check_folder_of_pictures(images)
    findings = _Findings(kept)
    # 1. Rows, one by one.
    seen = _read(rows, findings, progress)
    # 2. Pictures: each by itself, among one another, and against those of benchmarks.
    names = list(seen.by_picture)
    looked = look_at(images, names, workers=workers, progress=lambda done: progress("pictures", done))
    for name, bad in looked.bad.items():
        _note_rows(findings, seen, Kind(bad.kind), name, bad.detail)
    groups: dict[str, str] = {}
    for group in twins_of(looked.prints):
        groups |= dict.fromkeys(group, group[0])
        for name in group:
            other = group[1] if name == group[0] else group[0]
            more = f", and {len(group) - 2} more" if len(group) > 2 else ""
            _note_rows(findings, seen, Kind.TWIN_PICTURE, name, f"{name} looks like {other}{more}")
    compared: list[Benchmark] = []
    for path in benchmarks:
        benchmark, found = against(looked.prints, path)
        compared.append(benchmark)
        for name, index in found.items():
            _note_rows(findings, seen, Kind.BENCHMARK_PICTURE, name, f"{name} looks like {path.name}, row {index}")
    # 3. What shows only when all rows are known.
    _note_questions(findings, seen, groups)
    _note_outliers(findings, seen, far)
    spreads = {stage: spread_of([length for _, length in seen.lengths[stage]]) for stage in STAGES}
    return AuditReport(
        file=rows.name,
        rows=seen.rows,
        turns=seen.turns,
        pictures=len(names),
        sources=dict(seen.sources.most_common()),
        counts=findings.counts(),
        format_faults=dict(seen.faults.most_common()),
        spreads={stage.value: spread for stage, spread in spreads.items() if spread is not None},
        benchmarks=tuple(compared),
        allowed=dict(allowed),
        findings=findings.first(),
        kept=kept,
    )


def _read(path: Path, findings: _Findings, progress: Callable[[str, int], None]) -> _Gathered:
    seen = _Gathered()
    for line, row in scan_lines(path, StagedRow):
        seen.rows += 1
        progress("rows", seen.rows)
        if isinstance(row, RecordError):
            findings.note(Kind.MALFORMED_ROW, line, "", str(row))
            continue
        seen.named[line] = row.id
        seen.sources[row.source] += 1
        if (before := seen.ids.setdefault(row.id, line)) != line:
            findings.note(Kind.ID_TWICE, line, row.id, f"line {before} has the same id")
        if row.image is not None:
            seen.by_picture[row.image].append(line)
        for number, (question, reply) in enumerate(row.exchanges, start=1):
            seen.turns += 1
            seen.questions.append((line, row.image, _question_hash(question)))
            _look_at_reply(findings, seen, line, number, question, reply)
    return seen


def _look_at_reply(findings: _Findings, seen: _Gathered, line: int, number: int, question: str, reply: str) -> None:
    name = seen.named[line]
    parsed = parse(reply)
    if not parsed.valid:
        seen.faults.update(f"{fault.kind} {fault.stage or ''}".strip() for fault in parsed.faults)
        details = "; ".join(fault.detail for fault in parsed.faults)
        findings.note(Kind.FORMAT, line, name, f"reply {number}: {details}")
    for leak in leaks_in(question, parsed.stages):
        kind = Kind.LEAK if leak.grade == "states" else Kind.LEAK_SUSPECTED
        findings.note(kind, line, name, f"reply {number}: {leak.stage} {leak.grade} it: {leak.evidence}")
    for stage, text in parsed.stages.items():
        seen.lengths[stage].append((line, words_in(text)))


def _note_rows(findings: _Findings, seen: _Gathered, kind: Kind, picture: str, detail: str) -> None:
    for line in seen.by_picture[picture]:
        findings.note(kind, line, seen.named[line], detail)


def _note_questions(findings: _Findings, seen: _Gathered, groups: Mapping[str, str]) -> None:
    first: dict[tuple[str | None, bytes], int] = {}
    for line, image, question in seen.questions:
        key = (None if image is None else groups.get(image, image), question)
        if key in first:
            findings.note(
                Kind.QUESTION_TWICE, line, seen.named[line], f"line {first[key]} asks the same of its picture"
            )
        else:
            first[key] = line


def _note_outliers(findings: _Findings, seen: _Gathered, far: float) -> None:
    for stage, placed in seen.lengths.items():
        for (line, length), z in zip(placed, robust_z([length for _, length in placed]), strict=True):
            if abs(z) > far:
                detail = f"{stage} has {length:,} words, a robust z of {z:+.1f}"
                findings.note(Kind.OUTLIER, line, seen.named[line], detail)


def _question_hash(text: str) -> bytes:
    """Of the words alone: case, white space and end punctuation do not matter."""
    plain = " ".join(text.casefold().split()).rstrip(" .?!")
    return hashlib.blake2b(plain.encode(), digest_size=12).digest()


def headline(report: AuditReport) -> Iterable[str]:
    """The report in a few lines of plain text."""
    yield f"{report.file}: {report.rows:,} rows, {report.turns:,} turns, {report.pictures:,} pictures"
    for kind in Kind:
        if count := report.counts.get(kind, 0):
            mark = "!" if kind in report.above else " "
            yield f"{mark} {kind.value:18} {count:>9,} rows {count / max(1, report.rows):8.2%}"
    for benchmark in report.benchmarks:
        lost = f", {len(benchmark.unread):,} could not be read" if benchmark.unread else ""
        yield f"  against {benchmark.name}: {benchmark.pictures:,} pictures{lost}"
    yield "clean" if report.clean else "not clean; ! marks what is above what is allowed (see --allow)"
