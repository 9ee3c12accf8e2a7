"""What watching a run leaves: one line of `watch.jsonl` for each look at the model in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from stepsight.conclusions import is_correct
from stepsight.jsonl import sift_jsonl, write_jsonl
from stepsight.records import Finish, Record, Trace
from stepsight.shares import Share, share_of
from stepsight.stages import FaultKind, Parsed, Stage, parse
from stepsight.world.checker import check

WATCH = "watch.jsonl"


class Part(StrEnum):
    """What a token is part of: the text of a stage, the form, or neither.

    `tags` are the tags of the stages, white space next to them, and the end of the turn; `outside` is text outside
    every stage, as all text is of an answer that is not staged.
    """

    SUMMARY = Stage.SUMMARY.key
    CAPTION = Stage.CAPTION.key
    REASONING = Stage.REASONING.key
    CONCLUSION = Stage.CONCLUSION.key
    TAGS = "tags"
    OUTSIDE = "outside"


PARTS: tuple[Part, ...] = tuple(Part)
ALL = "all"
"""The key of figures over all parts."""


class StageLosses(Record):
    """Figures by part of the answer (`Part`) and over `all`; parts without a token are left out.

    `tokens` counts labelled tokens, `loss` is the mean cross entropy of each in nats whatever its weight in training,
    `token_accuracy` the share whose likeliest prediction is right, given all before it.
    """

    rows: int
    tokens: Mapping[str, int]
    loss: Mapping[str, float]
    token_accuracy: Mapping[str, float]


class Answers(Record):
    """What became of the questions that were asked, greedily; every share with its 95 % interval.

    As in a report of `stepsight eval`, `format_valid` is the share of answers with the four stages in their form,
    `accuracy` of those that are valid and say the known answer in their CONCLUSION. `accuracy_any_format` takes any
    CONCLUSION that can be read, and (other than there) all of an answer without stages. `caption_true` and
    `reasoning_true` are told of drawn questions. `cut` counts answers that ran into `max_tokens`, `faults` answers by
    kind of fault, `failed` says of questions without an answer why.
    """

    asked: int
    format_valid: Share
    accuracy: Share
    accuracy_any_format: Share
    caption_true: Share
    reasoning_true: Share
    cut: int
    faults: Mapping[str, int]
    tokens: int
    failed: Mapping[str, str] = Field(default_factory=dict)


class Watched(Record):
    """One look at a model, after so many steps; `seconds` is how long it kept training waiting."""

    step: int
    losses: StageLosses | None
    answers: Answers | None
    seconds: float


def sum_up(traces: Sequence[Trace], failed: Mapping[str, str]) -> Answers:
    """Sum up answers; their order does not matter."""
    parsed = [parse(trace.text) for trace in traces]
    rights = [_right(trace, one) for trace, one in zip(traces, parsed, strict=True)]
    truths = [check(trace.question, one.stages) for trace, one in zip(traces, parsed, strict=True)]
    written = [candidate for trace in traces for candidate in trace.candidates]
    return Answers(
        asked=len(traces) + len(failed),
        format_valid=share_of([one.valid for one in parsed]),
        accuracy=share_of(
            [None if right is None else right and one.valid for right, one in zip(rights, parsed, strict=True)]
        ),
        accuracy_any_format=share_of(rights),
        caption_true=share_of([truth.caption for truth in truths]),
        reasoning_true=share_of([truth.reasoning for truth in truths]),
        cut=sum(candidate.finish is Finish.LENGTH for candidate in written),
        faults=dict(
            sorted(Counter(kind for one in parsed for kind in {fault.kind.value for fault in one.faults}).items())
        ),
        tokens=sum(candidate.tokens for candidate in written),
        failed=dict(sorted(failed.items())),
    )


def _right(trace: Trace, parsed: Parsed) -> bool | None:
    said = said_by(trace.text, parsed)
    return is_correct(trace.question, said or "")


def said_by(text: str, parsed: Parsed) -> str | None:
    """What an answer says: its CONCLUSION, all of an answer that has no tag of a stage, and else nothing."""
    unstaged = {FaultKind.MISSING, FaultKind.OUTSIDE_TEXT}
    if parsed.stages or any(fault.kind not in unstaged for fault in parsed.faults):
        return parsed.stages.get(Stage.CONCLUSION)
    return text.strip() or None


def read_watched(run: Path) -> list[Watched]:
    """The looks at a run, in order of steps; a line that was cut short is left out.

    Raises:
        RecordError: the run was not watched.
    """
    by_step = {one.step: one for one in sift_jsonl(run / WATCH, Watched).rows}
    return [by_step[step] for step in sorted(by_step)]


def forget_after(run: Path, step: int) -> None:
    """Drop what was seen after a step, because training goes on from there."""
    if (run / WATCH).exists():
        write_jsonl(run / WATCH, [one for one in read_watched(run) if one.step <= step])


def logged_values(watched: Watched) -> dict[str, float]:
    """The same as flat names and numbers, as trackers take them; what could not be told is left out."""
    values: dict[str, float] = {}
    losses, answers = watched.losses, watched.answers
    if losses is not None:
        for part, loss in losses.loss.items():
            values["eval_loss" if part == ALL else f"eval_loss_{part}"] = round(loss, 5)
        for part, share in losses.token_accuracy.items():
            values["eval_token_accuracy" if part == ALL else f"eval_token_accuracy_{part}"] = round(share, 5)
    if answers is not None:
        for name in ("format_valid", "accuracy", "accuracy_any_format", "caption_true", "reasoning_true"):
            share = getattr(answers, name)
            if share.value is not None:
                values[f"eval_{name}"] = round(share.value, 5)
        values["eval_cut"] = answers.cut
        values |= {f"eval_fault_{name}": count for name, count in answers.faults.items()}
    return values


def told_in_a_line(watched: Watched) -> str:
    """The same for the terminal."""
    said = [f"step {watched.step}"]
    if watched.losses is not None:
        parts = " ".join(f"{part} {loss:.3g}" for part, loss in watched.losses.loss.items() if part != ALL)
        said.append(f"loss {watched.losses.loss[ALL]:.3g} ({parts})")
    answers = watched.answers
    if answers is not None:
        said += [
            f"{name} {_percent(share)}"
            for name, share in (("valid", answers.format_valid), ("right", answers.accuracy))
        ]
        said += [f"{answers.cut} cut"] * bool(answers.cut) + [f"{len(answers.failed)} failed"] * bool(answers.failed)
    return ", ".join([*said, f"{watched.seconds:.1f} s"])


def _percent(share: Share) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "unknown"
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
