"""Which answers in traces are worth learning from: those that the truth, the known answer or a judge confirms.

Rejection-sampled fine-tuning: Yuan et al., arXiv 2308.01825; in rounds it is expert iteration, as in STaR (Zelikman et
al., arXiv 2203.14465) and ReST-EM (Singh et al., arXiv 2312.06585).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from stepsight.errors import InputError
from stepsight.evaluation import is_correct
from stepsight.recipes import Recipe
from stepsight.records import Candidate, Question, Trace
from stepsight.stages import STAGES, Stage, parse
from stepsight.world.checker import check
from stepsight.world.grading import grade


class Selection(Recipe):
    """What is kept.

    `by` says who confirms an answer: the `world`, whose checker looks at `every` stage or at the `conclusion` alone;
    the known `answer` of the question; or the `judge` whose scores are in the traces, from a score of `least` on. Of a
    question at most `most` answers are kept, no two alike, and none if more than a share of `easiest` of what was
    written to it is confirmed. With `rows` there are at most so many in all, as evenly from all groups of `balance` as
    they have them; `seed` decides which. A `control` keeps just as many answers to the same questions, but draws them
    from all that are well-formed, confirmed or not: what training on them gives is not the confirming's.
    """

    by: Literal["world", "answer", "judge"] = "world"
    stages: Literal["every", "conclusion"] = "every"
    least: float | None = None
    most: int = Field(default=1, gt=0)
    easiest: float = Field(default=1.0, ge=0, le=1)
    rows: int | None = Field(default=None, gt=0)
    balance: list[Literal["family", "difficulty"]] = Field(default_factory=list)
    control: bool = False
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> Selection:
        if (self.by == "judge") != (self.least is not None):
            raise ValueError(
                "least is the score from which on a judge confirms: give it with by: judge, and only there"
            )
        if self.balance and self.rows is None:
            raise ValueError("balance divides rows among groups: say how many rows")
        return self


class Why(StrEnum):
    """Why an answer is not kept."""

    UNFINISHED = "unfinished"
    """A search dropped it before its CONCLUSION."""
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """Nobody can say: the question has no truth or no known answer, or no judge has scored the answer."""
    WRONG = "wrong"
    REPEATED = "repeated"
    EASY = "easy"
    SURPLUS = "surplus"
    BALANCE = "balance"


@dataclass(frozen=True)
class Confirmed:
    """An answer to be learned from (of a control, confirmed or not). `rate` is the share of all that was written to its
    question that is confirmed.
    """

    question: Question
    answer: str
    rate: float

    @property
    def family(self) -> str:
        """What kind of question it answers."""
        return str(self.question.meta.get("family") or self.question.source or "all")

    @property
    def difficulty(self) -> str:
        """How often its question was answered rightly, in three steps."""
        return "easy" if self.rate >= 0.75 else "medium" if self.rate >= 0.25 else "hard"


@dataclass
class Selected:
    """What is kept, how many answers were looked at, and the others by family and reason."""

    kept: list[Confirmed] = field(default_factory=list)
    traces: int = 0
    answers: int = 0
    left_out: dict[str, Counter[Why]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def reasons(self) -> dict[str, int]:
        """How many answers were left out, by reason, the commonest first."""
        return dict(sum(self.left_out.values(), Counter[Why]()).most_common())


def select(traces: Iterable[Trace], selection: Selection) -> Selected:
    """Look at every answer in traces, chosen by its search or not, and keep those to learn from.

    Traces that answer the same question, in several files or rounds, count together.

    Raises:
        InputError: a question is one to measure with, not to learn from.
    """
    found = Selected()
    written: dict[str, _Written] = {}
    for trace in traces:
        check_learnable(trace.question)
        found.traces += 1
        of_question = written.setdefault(trace.question.id, _Written(trace.question))
        for last, answer in trace.leaves():
            found.answers += 1
            of_question.add(answer, _fault(trace, last, answer, selection))
    for one in written.values():
        _keep(found, one, selection)
    if selection.rows is not None:
        _balance(found, selection, selection.rows)
    return found


def check_learnable(question: Question) -> None:
    """Refuse questions that are there to measure with.

    Raises:
        InputError: it is drawn from another split than `train`, or says that it belongs to one.
    """
    split = str(question.meta.get("split", "" if "scene" in question.meta else "train"))
    if not split.startswith("train"):
        raise InputError(
            f"question {question.id} is of the split {split or 'unknown'}, and is there to measure with",
            hint="make traces on questions of `stepsight draw --split train`, or on others that are for training",
        )


@dataclass
class _Written:
    """What was written to one question: the confirmed answers, no two alike, and why the others are none. `others` are
    those that are well-formed, no two alike either, with the reason.
    """

    question: Question
    whole: int = 0
    confirmed: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    others: dict[str, tuple[str, Why]] = field(default_factory=dict)
    why: Counter[Why] = field(default_factory=Counter)

    def add(self, answer: str, fault: Why | None) -> None:
        self.whole += fault is not Why.UNFINISHED
        said = " ".join(answer.split())
        if fault in (Why.WRONG, Why.UNKNOWN):
            self.others.setdefault(said, (answer.strip(), fault))
        if fault is None:
            self.confirmed += 1
            fault = Why.REPEATED if said in self.answers else None
            self.answers.setdefault(said, answer.strip())
        if fault is not None:
            self.why[fault] += 1


def _keep(found: Selected, one: _Written, selection: Selection) -> None:
    rate = one.confirmed / one.whole if one.whole else 0.0
    made = list(one.answers.values())
    if rate > selection.easiest:
        one.why[Why.EASY] += len(made)
    else:
        taken = made[: selection.most]
        if selection.control:
            taken = _any(one, len(taken), selection.seed)
        found.kept += [Confirmed(one.question, answer, rate) for answer in taken]
        one.why[Why.SURPLUS] += len(set(made).difference(taken))
    family = Confirmed(one.question, "", rate).family
    found.left_out[family] += +one.why  # unary plus: without zeros


def _any(one: _Written, count: int, seed: int) -> list[str]:
    """So many of all well-formed answers to a question; what is drawn of `others` is not counted as left out."""
    pool = [*((answer, None) for answer in one.answers.values()), *one.others.values()]
    drawn = random.Random(f"control:{seed}:{one.question.id}").sample(pool, count)
    one.why.subtract(why for _, why in drawn if why is not None)
    return [answer for answer, _ in drawn]


def _balance(found: Selected, selection: Selection, rows: int) -> None:
    """Leave so many rows, as evenly from all groups as they have them; the order of what is left stays."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, one in enumerate(found.kept):
        groups[tuple(getattr(one, key) for key in selection.balance)].append(place)
    shares = divided(rows, [len(places) for places in groups.values()])
    left: set[int] = set()
    for (key, places), share in zip(groups.items(), shares, strict=True):
        left.update(random.Random(f"balance:{selection.seed}:{key}").sample(places, share))
    for place, one in enumerate(found.kept):
        if place not in left:
            found.left_out[one.family][Why.BALANCE] += 1
    found.kept = [one for place, one in enumerate(found.kept) if place in left]


def divided(wanted: int, there: Sequence[int]) -> list[int]:
    """`wanted` things divided among groups that have so many each: all alike, but none more than it has."""
    shares = [0] * len(there)
    while wanted > 0 and (open_to := [place for place, count in enumerate(there) if shares[place] < count]):
        each = max(1, wanted // len(open_to))
        for place in open_to:
            more = min(each, there[place] - shares[place], wanted)
            shares[place] += more
            wanted -= more
    return shares


def _fault(trace: Trace, last: Candidate, answer: str, selection: Selection) -> Why | None:
    """Why an answer that ends with `last` is not confirmed; None if it is."""
    if last.stage not in (None, Stage.CONCLUSION):
        return Why.UNFINISHED
    if not parse(answer).valid:
        return Why.MALFORMED
    right = _CONFIRM[selection.by](trace, last, answer, selection)
    return None if right else Why.UNKNOWN if right is None else Why.WRONG


def _by_world(trace: Trace, last: Candidate, answer: str, selection: Selection) -> bool | None:
    question = trace.question
    if "scene" not in question.meta or "program" not in question.meta:
        return None
    if selection.stages == "conclusion":
        return check(question, parse(answer).stages).conclusion
    ends = [mark.right for mark in grade(question, answer) if mark.closes]
    return len(ends) == len(STAGES) and all(ends)


def _by_answer(trace: Trace, last: Candidate, answer: str, selection: Selection) -> bool | None:
    return is_correct(trace.question, parse(answer).stages[Stage.CONCLUSION])


def _by_judge(trace: Trace, last: Candidate, answer: str, selection: Selection) -> bool | None:
    assert selection.least is not None
    scores = [
        verdict.scores[verdict.order.index(last.id)]
        for verdict in trace.verdicts
        if verdict.scores is not None and last.id in verdict.order
    ]
    # The last verdict is that between whole answers, where a search ends with one.
    return scores[-1] >= selection.least if scores else None


_CONFIRM = {"world": _by_world, "answer": _by_answer, "judge": _by_judge}
