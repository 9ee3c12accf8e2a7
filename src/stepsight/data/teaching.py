"""One question and its known answer in, one staged answer out, or the reason why there is none.

    ask -> parse -> (malformed: say what is wrong, ask again) -> filters -> where the rules cannot tell: the judge
    rejected for one of the reasons of `retry_on`: a fresh try, as if nothing had been asked

What it needs is an engine; so a run that records, pays or replays puts its own around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from stepsight.data.agreement import Agreement, agreement, judged
from stepsight.data.filters import FILTERS, FilterSettings, sift
from stepsight.data.lessons import Lesson
from stepsight.data.reasons import Reason, Rejection
from stepsight.data.refusals import refuses
from stepsight.errors import CapabilityError
from stepsight.prompts.teacher import TeacherPrompts, repair_turns, teacher_prompts, teacher_turns
from stepsight.protocols import Completion, Engine, SampleRequest, Turn
from stepsight.recipes import Recipe
from stepsight.records import Finish
from stepsight.seeds import derive_seed
from stepsight.stages import STAGES, Parsed, Stage, parse, render

_FILTERED = ("content_filter", "refusal", "safety", "moderation")


RETRIABLE = frozenset(FILTERS) - {Reason.FORMAT} | {Reason.UNDECIDED}
"""Reasons of the content, for which a recipe may have a fresh try; those of the form always have one."""


class TeachingSettings(Recipe):
    """How a teacher is asked. The defaults of sampling are those of most hosted models.

    tries: all replies to one question: the first, repairs, new ones after a refusal or for `retry_on`. retry_on:
    reasons of the content for which the teacher is asked anew; none unless given, as in the paper. grammar: the server
    holds replies to the form of the four stages; it must be able to.
    """

    prompts: str = "teacher-1"
    tries: int = Field(default=3, ge=1)
    retry_on: tuple[Reason, ...] = ()
    grammar: bool = False
    max_tokens: int = Field(default=2048, ge=1)
    temperature: float = Field(default=1.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> TeachingSettings:
        if other := [reason.value for reason in self.retry_on if reason not in RETRIABLE]:
            known = ", ".join(sorted(reason.value for reason in RETRIABLE))
            raise ValueError(f"retry_on cannot have {', '.join(other)}; known: {known}")
        if self.retry_on and not self.temperature:
            raise ValueError("retry_on needs a temperature above 0: at 0 a fresh try brings the same reply")
        return self


@dataclass(frozen=True)
class Taught:
    """What became of a lesson.

    `text` is the staged answer in the public dataset's form, or, with a `rejection`, the last reply as it came.
    `replies` counts those of the teacher; `opinion` is what the judge said, if it was asked. `before` has the reasons
    for which the replies before the last were not taken.
    """

    text: str
    rejection: Rejection | None
    replies: int
    opinion: str = ""
    before: tuple[Reason, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether the answer can be used."""
        return self.rejection is None


async def teach(
    lesson: Lesson,
    engine: Engine,
    settings: TeachingSettings,
    filters: FilterSettings,
    *,
    judge: Engine | None = None,
) -> Taught:
    """Get a staged answer and sift it. All of it depends on the replies alone, so recorded ones give the same again.

    Args:
        lesson: what to teach.
        engine: the teacher.
        settings: how it is asked.
        filters: what is let pass.
        judge: reads conclusions of which the rules cannot tell whether they say the known answer; may be the teacher.

    Raises:
        CapabilityError: the question has pictures, and the engine takes none; or it has no grammar, and is to use one.
        StepsightError: the engine failed; see `stepsight.errors`.
    """
    check_grammar(engine, settings)
    if lesson.question.images and not engine.capabilities.images:
        raise CapabilityError(
            f"question {lesson.question.id} has a picture, and {engine.name} takes none",
            hint="choose a teacher that sees pictures; `stepsight doctor --server` shows whether it does",
        )
    prompts = teacher_prompts(settings.prompts)
    first = teacher_turns(prompts, lesson.question, lesson.answer, earlier=lesson.earlier, hints=lesson.hints)
    turns, number = first, 0
    before: tuple[Reason, ...] = ()
    while True:
        completion = await _asked(engine, lesson, settings, turns, number)
        reply = completion.piece.text
        parsed = parse(reply)
        rejection = _malformed(completion, parsed)
        number += 1
        if rejection is None:
            taught = await _sifted(lesson, parsed, filters, judge, prompts, settings.seed, number)
            rejection = taught.rejection
            if rejection is None or rejection.reason not in settings.retry_on:
                return replace(taught, before=before)
        else:
            taught = Taught(reply, rejection, number)
        if number == settings.tries:
            after = replace(rejection, detail=_after(rejection.detail, number))
            return replace(taught, rejection=after, before=before)
        before = (*before, rejection.reason)
        turns = first
        if rejection.reason in (Reason.FORMAT, Reason.TRUNCATED):
            # Only the last reply is shown: what was wrong before it is of no use, and costs.
            cut = rejection.reason is Reason.TRUNCATED
            turns = (*first, *repair_turns(prompts, reply, parsed.faults, truncated=cut))


def check_grammar(engine: Engine, settings: TeachingSettings) -> None:
    """See whether the engine can do what the settings ask for.

    Raises:
        CapabilityError: it cannot hold replies to a grammar, and is to.
    """
    if settings.grammar and not engine.capabilities.grammar:
        raise CapabilityError(
            f"{engine.name} cannot hold its replies to a grammar",
            hint="set teaching.grammar to false; `stepsight doctor --server` shows what was tried",
        )


async def _asked(
    engine: Engine, lesson: Lesson, settings: TeachingSettings, turns: tuple[Turn, ...], number: int
) -> Completion:
    request = SampleRequest(
        turns=turns,
        seeds=(derive_seed(settings.seed, lesson.question.id, "teacher", number),),
        stop=(STAGES[-1].close,),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        staged=settings.grammar,
    )
    return (await engine.sample(request)).completions[0]


def _malformed(completion: Completion, parsed: Parsed) -> Rejection | None:
    """Why a reply is no staged answer; None if it is one."""
    if completion.finish is Finish.ERROR:
        filtered = any(word in completion.reason.casefold() for word in _FILTERED)
        return Rejection(Reason.REFUSAL if filtered else Reason.ENGINE_ERROR, completion.reason or "no reason given")
    if parsed.valid:
        return None
    if completion.finish is Finish.LENGTH:
        return Rejection(Reason.TRUNCATED, f"cut after {completion.tokens} tokens")
    if not parsed.stages and refuses(completion.piece.text):
        return Rejection(Reason.REFUSAL, "the reply declines to answer")
    return Rejection(Reason.FORMAT, "; ".join(fault.detail for fault in parsed.faults))


async def _sifted(
    lesson: Lesson,
    parsed: Parsed,
    filters: FilterSettings,
    judge: Engine | None,
    prompts: TeacherPrompts,
    seed: int,
    replies: int,
) -> Taught:
    text = render(parsed.stages)
    if rejection := sift(lesson, parsed.stages, filters):
        return Taught(text, rejection, replies)
    question, concluded = lesson.question, parsed.stages[Stage.CONCLUSION]
    found, opinion = agreement(question, lesson.answer, concluded), ""
    if found is Agreement.UNKNOWN and judge is not None:
        said = await judged(judge, prompts, question, lesson.answer, concluded, seed=seed)
        found, opinion = said.agreement, said.evidence
    if found is Agreement.DIFFERENT:
        return Taught(text, Rejection(Reason.DISAGREES, f"the judge said {opinion!r}"), replies, opinion)
    if found is Agreement.UNKNOWN and not filters.keep_undecided:
        who = "the judge does not know" if judge is not None else "the rules cannot tell, and there is no judge"
        return Taught(text, Rejection(Reason.UNDECIDED, who), replies, opinion)
    return Taught(text, None, replies, opinion)


def _after(detail: str, tries: int) -> str:
    return detail if tries == 1 else f"{detail} (after {tries} tries)"
