"""Stages that give the answer away before the reasoning: what can be said of them, and how surely.

Two grades, for a text alone seldom proves it:

    states    SUMMARY or CAPTION announces an answer that equals the CONCLUSION, as in "the answer is B", "so option B
              is correct". Both stages come before the solving (arXiv 2411.10440, section 3.1), so this is a leak.
    mentions  SUMMARY contains the text of the CONCLUSION, or of the choice that it names, as a word of its own, though
              the question does not, and names no other choice. It may be chance: "count to 4".

A CAPTION that merely shows the answer is no leak: what colour the fin is may stand in a description of the picture. So
`mentions` is never said of it. Not covered: paraphrases, number words, and, for `mentions`, conclusions of fewer than
three characters and yes and no, which stand in too many sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from stepsight.conclusions import ballot
from stepsight.records import Question
from stepsight.stages import Stage

Grade = Literal["states", "mentions"]

_SAID = re.compile(
    r"\b(?:(?:the |correct |right |final )*(?:answer|solution)(?: to the question)? (?:is|would be|must be|:)"
    r"|correct (?:option|choice) (?:is|:)"
    r"|(?P<before>(?:option|choice) \(?[A-Z]\)?|[^.,;:!?]{1,40}?) (?:is|as) (?:the )?(?:correct|right)"
    r"(?: answer| option| choice)?\b)"
    r"(?P<after>[^.;!?\n]{0,80})",
    re.IGNORECASE,
)
_LINE_CHOICE = re.compile(r"^\s*\(?([A-Z])[.):]\s+(.+?)\s*$", re.MULTILINE)
_INLINE_CHOICE = re.compile(r"\(([A-Z])\)\s+(.+?)(?=\s+\([A-Z]\)\s|\s*$)", re.MULTILINE)
_SHORT = 3


@dataclass(frozen=True)
class Leak:
    """A stage that gives the answer away; `evidence` is the passage."""

    stage: Stage
    grade: Grade
    evidence: str


def choices_in(text: str) -> tuple[str, ...]:
    """The choices that a question's text lists, `A. red` line by line or `(A) red (B) blue`; empty if there are none.

    Letters must run from A without a gap.
    """
    for form in (_LINE_CHOICE, _INLINE_CHOICE):
        found = form.findall(text)
        if len(found) > 1 and [letter for letter, _ in found] == [chr(65 + place) for place in range(len(found))]:
            return tuple(choice for _, choice in found)
    return ()


def leaks_in(question: str, stages: Mapping[Stage, str]) -> Iterator[Leak]:
    """Each stage before the reasoning that gives the conclusion away, at most one leak for each.

    Args:
        question: the text of the question, choices included.
        stages: inner texts, as `stages.parse` gives them.
    """
    conclusion = stages.get(Stage.CONCLUSION)
    if conclusion is None:
        return
    asked = Question(id="", text=question or "?", choices=choices_in(question))
    for stage in (Stage.SUMMARY, Stage.CAPTION):
        text = " ".join(stages.get(stage, "").split())
        stated = _stated(asked, conclusion, text)
        if stated:
            yield Leak(stage, "states", stated)
        elif stage is Stage.SUMMARY and (mentioned := _mentioned(asked, conclusion, text)):
            yield Leak(stage, "mentions", mentioned)


def _stated(asked: Question, conclusion: str, text: str) -> str:
    answer = ballot(asked, conclusion)
    for match in _SAID.finditer(text):
        said = match["before"] if match["before"] is not None else match["after"]
        for words in _beginnings(said or ""):
            if ballot(asked, words) == answer:
                return match.group().strip()
    return ""


def _beginnings(text: str) -> Iterator[str]:
    """`B`, `B because`, ... of `B because it is red`; announcements go on behind the answer."""
    words = re.sub(r"^\W*(?:that |likely |indeed |therefore )*", "", text).split()
    yield from (" ".join(words[:count]) for count in range(min(len(words), 8), 0, -1))
    # What stands before "is correct" may begin too early: "I think that option B".
    yield from (" ".join(words[start:]) for start in range(1, min(len(words), 8)))


def _mentioned(asked: Question, conclusion: str, text: str) -> str:
    answer = ballot(asked, conclusion)
    named = asked.choices[ord(answer) - 65] if asked.choices and re.fullmatch("[A-Z]", answer) else conclusion
    wanted = named.strip(" .")
    if len(wanted) < _SHORT or wanted.casefold() in ("yes", "no"):
        return ""
    if not asked.choices and _holds(asked.text, wanted):
        return ""
    found = _word(wanted).search(text)
    others = [choice for choice in asked.choices if choice != named]
    if found is None or any(_holds(text, other) for other in others):
        return ""
    start, end = max(0, found.start() - 30), found.end() + 30
    return text[start:end]


def _holds(text: str, word: str) -> bool:
    return _word(word).search(text) is not None


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)
