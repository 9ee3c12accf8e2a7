"""A comparison of ways to train as Markdown: our tables beside the paper's, and in words where the pattern repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stepsight.errors import InputError
from stepsight.evaluation.statistics import Share, Span
from stepsight.reports.study import percent, points, study_markdown
from stepsight.reproduce.figures import ALL, MULTI, SINGLE, ReproduceResult, SearchFigures, SetFigures, Told
from stepsight.reproduce.grounds import GROUNDS, UNTOLD
from stepsight.reproduce.paper import REASONING, WHOLE
from stepsight.reproduce.parts import PartFigures

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Between them a page keeps what the command writes."""


def reproduce_markdown(result: ReproduceResult, *, plot: str = "", command: str = "") -> str:
    """The figures of a result: tables, and what is to be said of them by rule.

    Args:
        result: of a comparison.
        plot: the path of the plot as seen from the page; without it none is shown.
        command: what made the figures, if it is to be named.
    """
    return "\n".join(_lines(result, plot, command)) + "\n"


def in_page(page: str, figures: str) -> str:
    """A page with `figures` between its marks, instead of what stood there.

    Raises:
        InputError: the page has no such marks.
    """
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError("the page has no place for figures", hint=f"put the lines {BEGIN} and {END} where they belong")
    return f"{before}{begin}{figures}{end}{after}"


def _lines(result: ReproduceResult, plot: str, command: str) -> Iterator[str]:
    seeds = ", ".join(map(str, result.seeds))
    made = f"Made by `{command}`. " if command else ""
    yield (
        f"{made}Seeds of training: {seeds}. Intervals are 95 %, by bootstrap over questions, all seeds together; those "
        "of kinds of answers are Wilson's, as if answers of two seeds to a question had nothing to do with each other."
    )
    yield ""
    beside = next(one for one in result.sets if one.name == result.beside)
    yield "### What repeats"
    yield ""
    yield from _words(beside, result.searches)
    if plot:
        yield from (f"![Accuracy of every arm, 95 % intervals]({plot})", "")
    yield "### Ways to train"
    yield ""
    for one in (beside, *(other for other in result.sets if other is not beside)):
        yield from _set(one, result, with_paper=one is beside)
    yield from _training(result)
    if result.searches:
        yield from _searches(result.searches)


def _words(beside: SetFigures, searches: SearchFigures | None) -> Iterator[str]:
    group = beside.group(ALL)
    told = [*(group.told if group else ()), *(searches.told if searches else ())]
    for one in told:
        paper = "" if one.paper is None else f", the paper's {one.paper:+.1f}"
        yield f"- **{one.above} above {one.below}**: {one.repeats}. Ours {points(one.difference)} points{paper}."
    yield ""


def _set(one: SetFigures, result: ReproduceResult, *, with_paper: bool) -> Iterator[str]:
    left = f" {one.left_out:,} more failed in some arm and are left out everywhere." if one.left_out else ""
    yield f"**{one.name}**: {one.described}.{left}"
    yield ""
    kinds = [name for name in (ALL, MULTI, SINGLE) if one.group(name)]
    if len(kinds) == 2:
        kinds = kinds[:1]  # the other kind holds the same questions
    forms = {arm.name: arm.form for arm in result.training}
    heads = ["arm", *kinds, "each seed", "captions true", "reasonings true", "unreadable", "tokens"]
    heads += ["the paper's, whole benchmarks", "the paper's, reasoning subsets"] if with_paper else []
    rows = []
    whole = one.group(ALL)
    for arm in whole.arms if whole else ():
        groups = [one.group(name) for name in kinds]
        found = [next(other for other in group.arms if other.name == arm.name) for group in groups if group]
        row = [arm.name, *(percent(other.accuracy) for other in found)]
        row += [", ".join(f"{100 * value:.1f}" for value in arm.by_seed)]
        row += [_known(arm.captions), _known(arm.reasonings), _share(one.unreadable[arm.name]), f"{arm.tokens:,.0f}"]
        if with_paper:
            scores = [table.get(forms[arm.name]) for table in (WHOLE, REASONING)]
            row += ["" if score is None else f"{score.value:.1f} ({score.where})" for score in scores]
        rows.append(row)
    yield from table(heads, rows)
    if whole and whole.told:
        yield from table(
            ["pair", "ours, in points", "seed against seed", "the paper's", "what the figures say"], _pairs(whole.told)
        )
    for arm_name, parts in one.forms.items():
        yield from table(
            [f"written by {arm_name}", "of all answers", "right of these"],
            [[part.kind, percent(part.share), percent(part.accuracy)] for part in parts],
        )
    yield from _grounds(one.grounds)
    families = [group for group in one.groups if group.name not in (ALL, MULTI, SINGLE)]
    if len(families) > 1 and whole:
        rows = [
            [f"{group.name} ({group.questions:,})", *(percent(arm.accuracy) for arm in group.arms)]
            for group in families
        ]
        yield from table(["family (questions)", *(arm.name for arm in whole.arms)], rows)


def _pairs(told: Sequence[Told]) -> list[list[str]]:
    return [
        [
            f"{one.above} above {one.below}",
            points(one.difference),
            " to ".join(dict.fromkeys(f"{100 * value:+.1f}" for value in (min(one.by_seed), max(one.by_seed)))),
            "" if one.paper is None else f"{one.paper:+.1f} ({one.where})",
            f"{one.verdict}; {one.repeats}" if one.verdict in ("above", "below") else one.repeats,
        ]
        for one in told
    ]


def _training(result: ReproduceResult) -> Iterator[str]:
    rows = [
        [
            arm.name,
            f"{arm.steps:,} x {arm.batch:,}",
            "" if arm.seconds is None else f"{arm.seconds / 60:.1f}",
            "" if arm.loss is None else f"{arm.loss:.3f}",
        ]
        for arm in result.training
    ]
    yield from table(["training", "steps x rows", "minutes", "last loss"], rows)


def _searches(searches: SearchFigures) -> Iterator[str]:
    yield "### Search"
    yield ""
    yield f"With the models of the arm {searches.arm}: {searches.described}."
    yield ""
    yield study_markdown(searches.study.model_copy(update={"claims": ()}))
    yield from table(
        ["pair", "ours, in points", "seed against seed", "the paper's", "what the figures say"], _pairs(searches.told)
    )
    yield from _grounds(searches.grounds)


def _grounds(grounds: Mapping[str, Sequence[PartFigures]]) -> Iterator[str]:
    """By search, how often its answers rest on what, and how often they are then right."""
    kinds = [kind for kind in GROUNDS if any(part.kind == kind for parts in grounds.values() for part in parts)]
    if kinds in ([], [UNTOLD]):
        return
    rows = []
    for search, parts in grounds.items():
        found = {part.kind: part for part in parts}
        rows.append([search, *(_part(found[kind]) if kind in found else "none" for kind in kinds)])
    yield from table(["share of all answers; right of these", *kinds], rows)


def _part(part: PartFigures) -> str:
    return f"{percent(part.share)}; {percent(part.accuracy)}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table, an empty one behind it; none without rows."""
    if rows:
        yield f"| {' | '.join(heads)} |"
        yield f"|{'---|' * len(heads)}"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _known(span: Span | None) -> str:
    return "" if span is None else percent(span)


def _share(share: Share) -> str:
    return percent(share) if share.value else "none"
