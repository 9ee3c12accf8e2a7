"""What is asked of a model that judges: which of two texts is better, and whether a reasoning is correct.

A judging prompt begins exactly like the answering prompt (pictures, question), so that the two share key-values up
to the end of the question. The next token of the assistant is scored on the options; nothing is generated.

The criteria follow the judging rules of LLaVA-CoT (arXiv 2411.10440, its released inference code) in our own words.
A published version never changes; a new wording gets a new version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from stepsight.prompts.answer import question_in_context
from stepsight.prompts.versions import chosen
from stepsight.protocols import Turn
from stepsight.records import Question
from stepsight.stages import Stage, parse

Unit = Stage | None
"""What is compared: one stage, or (None) whole answers."""


@dataclass(frozen=True)
class JudgePrompts:
    """One versioned set of judging texts.

    `pair` is a template over {hints}, {unit}, {criterion}, {first}, {second}; `hint` over {unit}, {text}; `screen`
    over {question}, {caption}, {reasoning}. `hints` says which earlier stages a comparison is shown. `whole` names the
    stages that stand for a whole answer, joined by one space; empty: the answer as it was written. `sentence` is the
    criterion for two next sentences, which are shown behind all before them; without one, what is compared is the stage
    up to them.
    """

    version: str
    pair: str
    hint: str
    screen: str
    criteria: Mapping[Unit, str]
    hints: Mapping[Unit, tuple[Stage, ...]]
    whole: tuple[Stage, ...] = ()
    sentence: str = ""
    options: tuple[str, str] = ("1", "2")
    screen_options: tuple[str, str] = ("yes", "no")

    @property
    def digest(self) -> str:
        """A hash of every text in the set, to be kept beside results."""
        texts = [self.version, self.pair, self.hint, self.screen]
        for unit in (*Stage, None):
            texts += [self.criteria.get(unit, ""), *self.hints.get(unit, ())]
        texts += [*self.whole, *self.options, *self.screen_options]
        # A set without a criterion for sentences keeps the hash it had before there was one.
        texts += [self.sentence] if self.sentence else []
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def judge_prompts(version: str) -> JudgePrompts:
    """The set named `version`; a model card (`stepsight.json`) may name it under `judge_prompts`.

    Raises:
        InputError: there is no such set.
    """
    return chosen(_SETS, version, "judge")


def pair_turns(
    prompts: JudgePrompts, question: Question, stage: Stage | None, hints: Mapping[Stage, str], text1: str, text2: str
) -> tuple[Turn, ...]:
    """Ask which of two texts is better; score the next text on `prompts.options`.

    Args:
        prompts: the set of texts to use.
        question: its pictures and text come first, exactly as in `answer_turns`.
        stage: what is compared; None for whole answers.
        hints: texts of stages chosen before. Those that the set does not show for this stage are left out, and so is
            a hint that is missing (an earlier stage without readable text).
        text1: the text shown as number 1, without tags.
        text2: the text shown as number 2, without tags.
    """
    shown = (earlier for earlier in prompts.hints.get(stage, ()) if earlier in hints)
    part = prompts.pair.format(
        hints="".join(prompts.hint.format(unit=earlier.value, text=hints[earlier]) for earlier in shown),
        unit="ANSWER" if stage is None else stage.value,
        criterion=prompts.criteria.get(stage, ""),
        first=text1,
        second=text2,
    )
    return (Turn(role="user", text=f"{question_in_context(question)}\n\n{part}", images=question.images),)


def sentence_turns(prompts: JudgePrompts, question: Question, before: str, text1: str, text2: str) -> tuple[Turn, ...]:
    """Ask which of two sentences goes on better from `before`, all that is written so far; needs `prompts.sentence`."""
    part = prompts.pair.format(
        hints=prompts.hint.format(unit="ANSWER so far", text=before) if before else "",
        unit="SENTENCE",
        criterion=prompts.sentence,
        first=text1,
        second=text2,
    )
    return (Turn(role="user", text=f"{question_in_context(question)}\n\n{part}", images=question.images),)


def screen_turns(prompts: JudgePrompts, question: Question, caption: str, reasoning: str) -> tuple[Turn, ...]:
    """Ask, without the picture, whether a reasoning is correct given the caption; score on `prompts.screen_options`."""
    text = prompts.screen.format(question=question_in_context(question), caption=caption, reasoning=reasoning)
    return (Turn(role="user", text=text),)


def whole_text(prompts: JudgePrompts, answer: str) -> str:
    """What a comparison shows of a whole answer: the stages in `prompts.whole`, or the text itself if malformed."""
    parsed = parse(answer)
    if not prompts.whole or not parsed.valid:
        return answer.strip()
    return " ".join(parsed.stages[stage].strip() for stage in prompts.whole)


_SHORT = JudgePrompts(
    version="short-2",
    pair="{hints}{unit} 1. {first}\nCompare 2. {second}",
    hint="{unit}: {text}\n",
    screen="{question}\n\nCAPTION: {caption}\nREASONING: {reasoning}\nIs the REASONING correct?",
    criteria=MappingProxyType({}),
    hints=MappingProxyType({Stage.REASONING: (Stage.CAPTION,), Stage.CONCLUSION: (Stage.REASONING,)}),
    whole=(Stage.CAPTION, Stage.REASONING, Stage.CONCLUSION),
)
"""For small models that were trained on these very words. `Compare`, which stands nowhere else, parts the two texts:
running numbers within a REASONING look like "2." too."""

_PAPER = JudgePrompts(
    version="paper-1",
    pair=(
        "Two writers were given the question above. Below is what each of them wrote as {unit}, numbered 1 and 2.\n"
        "{criterion}\n\n"
        "{hints}"
        "1:\n{first}\n\n"
        "2:\n{second}\n\n"
        "{criterion}\n"
        "Reply with the number of the better text, 1 or 2, and with nothing else."
    ),
    hint="For reference, take this {unit} as given:\n{text}\n\n",
    screen=(
        "{question}\n\n"
        "The picture is not shown here. Take the following description of it as true:\n{caption}\n\n"
        "This reasoning was written about it:\n{reasoning}\n\n"
        "Look at the reasoning alone. Does each step follow from the description and the question, and does every "
        "calculation come out right when you do it again? Reply with yes if the reasoning is correct or no if it is "
        "not, and with nothing else."
    ),
    criteria=MappingProxyType(
        {
            Stage.SUMMARY: (
                "Which one says better what has to be done? Prefer the text that gives the main approach in outline; "
                "concrete analysis and formulas do not belong here."
            ),
            Stage.CAPTION: (
                "Which one covers better, and with fewer errors, what the picture shows about the question? Prefer the "
                "text that is as complete as it can be while staying accurate, and details over general remarks."
            ),
            Stage.REASONING: (
                "Which one explains the way to the solution better and with fewer errors? Read the question once more, "
                "go through each text, find where they differ, weigh those differences, and only then decide."
            ),
            Stage.CONCLUSION: (
                "Which one fits the reasoning given for reference better? A refusal to answer is never better."
            ),
            None: "Which one answers the question better?",
        }
    ),
    hints=MappingProxyType({Stage.REASONING: (Stage.CAPTION,), Stage.CONCLUSION: (Stage.CAPTION, Stage.REASONING)}),
)
"""The criteria and hints of the paper, for models that follow instructions."""

_PAPER_2 = replace(_PAPER, version="paper-2", sentence="Which one is the better next sentence of the answer?")
"""The same, and the paper's criterion for sentences, each by itself behind all that is written."""

_SETS: Mapping[str, JudgePrompts] = MappingProxyType(
    {prompts.version: prompts for prompts in (_PAPER, _PAPER_2, _SHORT)}
)
