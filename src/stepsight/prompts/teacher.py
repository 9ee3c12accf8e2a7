"""What is asked of a teacher, who writes the staged answer to a question whose answer is known.

The requirements are those of LLaVA-CoT (arXiv 2411.10440, appendix B, and its released generator) in our own words;
what a teacher is told about a malformed reply is ours. A published version never changes; a new wording gets a new
version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType

from stepsight.prompts.answer import question_text
from stepsight.prompts.versions import chosen
from stepsight.protocols import Turn
from stepsight.records import Question
from stepsight.stages import SEPARATOR, STAGES, Fault, FaultKind, Stage


@dataclass(frozen=True)
class Exchange:
    """An earlier question about the same picture, and its known answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class TeacherPrompts:
    """One versioned set of texts for a teacher, and for who holds its conclusion against the known answer.

    `ask` is a template over {stages}, {skeleton}, {last}, {earlier}, {question}, {answer}, {hints}; `stages` says what
    belongs into each; `choice` is added to the last where there are choices. `earlier` is over {exchanges}, `exchange`
    over {question}, {answer}; `hint` over {text}. `repair` is over {faults}, {skeleton}; `faults` over {stage} or, for
    text outside, {detail}. `truncated` stands for the faults of a reply that was cut. `agree` is over {question},
    {answer}, {conclusion}, and wants one of `same`, `different`, `unknown`.
    """

    version: str
    ask: str
    stages: Mapping[Stage, str]
    choice: str
    earlier: str
    exchange: str
    hint: str
    repair: str
    faults: Mapping[FaultKind, str]
    truncated: str
    agree: str
    same: str = "same"
    different: str = "different"
    unknown: str = "unknown"

    @property
    def digest(self) -> str:
        """A hash of every text in the set, to be kept beside results."""
        texts = [self.version, self.ask, *(self.stages[stage] for stage in STAGES), self.choice]
        texts += [self.earlier, self.exchange, self.hint, self.repair, *(self.faults[kind] for kind in FaultKind)]
        texts += [self.truncated, self.agree, self.same, self.different, self.unknown, skeleton()]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each text that is sent, by name, to be kept where it matters which of them changed."""
        texts = {"ask": self.ask, "choice": self.choice, "earlier": self.earlier, "exchange": self.exchange}
        texts |= {f"stage {stage.key}": text for stage, text in self.stages.items()}
        texts |= {"hint": self.hint, "repair": self.repair, "truncated": self.truncated, "agree": self.agree}
        texts |= {f"fault {kind}": text for kind, text in self.faults.items()}
        return {f"{self.version} {name}": hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def skeleton() -> str:
    """The four tag pairs with a placeholder each."""
    return SEPARATOR.join(f"{stage.open} your {stage.key} here {stage.close}" for stage in STAGES)


def teacher_prompts(version: str) -> TeacherPrompts:
    """The set of that version.

    Raises:
        InputError: there is none; the hint has the nearest.
    """
    return chosen(_SETS, version, "teacher")


def teacher_turns(
    prompts: TeacherPrompts,
    question: Question,
    answer: str,
    *,
    earlier: Sequence[Exchange] = (),
    hints: Sequence[str] = (),
) -> tuple[Turn, ...]:
    """The conversation whose next assistant turn is the staged answer.

    One user turn: pictures, requirements, earlier questions, the question, its known answer, hints.
    """
    told = dict(prompts.stages)
    if question.choices:
        told[Stage.CONCLUSION] = f"{told[Stage.CONCLUSION]} {prompts.choice}"
    exchanges = "\n".join(prompts.exchange.format(question=one.question, answer=one.answer) for one in earlier)
    text = prompts.ask.format(
        stages="\n".join(f"{stage.value}: {told[stage]}" for stage in STAGES),
        skeleton=skeleton(),
        last=STAGES[-1].close,
        earlier=prompts.earlier.format(exchanges=exchanges) if earlier else "",
        question=question_text(question),
        answer=answer,
        hints="".join(prompts.hint.format(text=hint) for hint in hints),
    )
    return (Turn(role="user", text=text, images=question.images),)


def repair_turns(
    prompts: TeacherPrompts, reply: str, faults: Sequence[Fault], *, truncated: bool = False
) -> tuple[Turn, ...]:
    """What to add to a conversation after a malformed `reply`: the reply, and what exactly is wrong with it."""
    lines = [prompts.truncated] if truncated else [describe_fault(prompts, fault) for fault in faults]
    text = prompts.repair.format(faults="\n".join(f"- {line}" for line in lines), skeleton=skeleton())
    # Some servers refuse an assistant's turn without text.
    return (Turn(role="assistant", text=reply.strip() or "..."), Turn(role="user", text=text))


def describe_fault(prompts: TeacherPrompts, fault: Fault) -> str:
    """One fault of the form, in words that say what to do about it."""
    stage = fault.stage
    return prompts.faults[fault.kind].format(
        stage="" if stage is None else stage.value,
        open="" if stage is None else stage.open,
        close="" if stage is None else stage.close,
        detail=fault.detail,
    )


def compared_answers(text: str) -> tuple[str, str, str] | None:
    """Question, known answer and other answer in what `agreement_turns` says, in any version; None of any other text.

    It is for those who stand in for a model.
    """
    for prompts in _SETS.values():
        parts = Formatter().parse(prompts.agree)
        form = "".join(re.escape(said) + (f"(?P<{name}>.*?)" if name else "") for said, name, _, _ in parts)
        if found := re.fullmatch(form, text, re.DOTALL):
            return found["question"], found["answer"], found["conclusion"]
    return None


def agreement_turns(prompts: TeacherPrompts, question: Question, answer: str, conclusion: str) -> tuple[Turn, ...]:
    """The conversation whose next assistant turn says whether a conclusion means what the known answer means."""
    text = prompts.agree.format(question=question_text(question), answer=answer, conclusion=conclusion)
    return (Turn(role="user", text=text),)


_PAPER = TeacherPrompts(
    version="teacher-1",
    ask=(
        "Write a model answer to the question below, from which others will learn to reason about pictures. Write "
        "exactly the following sections, in this order, each between its own opening and closing tag, and nothing "
        "before, between or after them.\n\n"
        "{stages}\n\n"
        "The form is:\n\n{skeleton}\n\n"
        "Do not forget the last tag, {last}.\n\n"
        "{earlier}Question:\n{question}\n\n"
        "The correct answer is known:\n{answer}\n\n"
        "{hints}"
        "Nobody who reads your answer may notice that you knew the correct answer: arrive at it from the picture. The "
        "last section must say the same as the correct answer."
    ),
    stages=MappingProxyType(
        {
            Stage.SUMMARY: "say briefly how the question will be approached: the steps to take, without taking them.",
            Stage.CAPTION: (
                "describe in detail what the picture shows, above all what matters for the question; do not answer it "
                "here."
            ),
            Stage.REASONING: (
                "think step by step, each step based on what the picture shows, until the answer is found."
            ),
            Stage.CONCLUSION: "give the answer alone, in direct form, identical to the correct answer.",
        }
    ),
    choice="Name the letter of the option only, and do not repeat its text.",
    earlier="The same picture was talked about before; take this as known:\n{exchanges}\n\n",
    exchange="Question: {question}\nAnswer: {answer}",
    hint="A hint: {text}\n\n",
    repair=(
        "The form of your answer is not right:\n{faults}\n\n"
        "Write the whole answer again with the same content in the right form, and nothing else:\n\n{skeleton}"
    ),
    faults=MappingProxyType(
        {
            FaultKind.MISSING: "the section {stage} is missing; write it between {open} and {close}",
            FaultKind.UNCLOSED: "the section {stage} is not closed; end it with {close}",
            FaultKind.UNOPENED: "{close} closes a section that was not open; write {open} before its text",
            FaultKind.OUT_OF_ORDER: "the section {stage} stands too late; keep the order of the form",
            FaultKind.REPEATED: "the section {stage} is written more than once; write it once",
            FaultKind.EMPTY: "the section {stage} is empty; write its text",
            FaultKind.OUTSIDE_TEXT: "{detail}; all text belongs into the sections",
        }
    ),
    truncated="it is too long and was cut off before its end; write a shorter one that reaches its last tag",
    agree=(
        "Two answers to the same question are to be compared. You do not see the picture; the first is correct.\n\n"
        "Question:\n{question}\n\n"
        "Correct answer:\n{answer}\n\n"
        "Other answer:\n{conclusion}\n\n"
        "Does the other answer mean the same as the correct one, as far as it answers the question? A refusal to "
        "answer is different; a no, or another negative, is not by itself a refusal. Reply with one word: same, "
        "different, or, if it cannot be told, unknown."
    ),
)
"""The requirements of the paper, and repairs."""

_SETS: Mapping[str, TeacherPrompts] = MappingProxyType({_PAPER.version: _PAPER})
