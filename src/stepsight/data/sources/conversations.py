"""LLaVA's rows: one picture and a conversation.

    {"id", "image": "coco/train2017/000000000009.jpg", "conversations": [{"from": "human", "value": "...\\n<image>"},
     {"from": "gpt", "value": ...}, ...], "hints": [...]}

`image` may be a list; a row without one is text only. The mark `<image>` is taken out, as the picture comes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from stepsight.data.sources.reading import Row, UnusableError, as_row, inside
from stepsight.data.sources.source import Exchange, Reason, Sourced
from stepsight.records import Question

_PEOPLE = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}
MARK = "<image>"


class _Said(Row):
    speaker: str = Field(alias="from")
    value: str


class _Conversation(Row):
    id: str | int | None = None
    image: str | list[str] | None = None
    conversations: list[_Said]
    hints: str | list[str] | None = None


def conversation(value: Any, *, identity: str, source: str, images: Path) -> Sourced:
    """A LLaVA row as a question; `images` is the folder that its picture's name starts from.

    `identity` is the question's id: the rows' own are not unique in the public files, and go into `meta`.

    Raises:
        UnusableError: it has no picture, or is no alternation of questions and answers.
        ValidationError: it is no such row.
    """
    row = as_row(_Conversation, value)
    names = [row.image] if isinstance(row.image, str) else row.image or []
    turns = rounds([(said.speaker, said.value) for said in row.conversations])
    if not names:
        raise UnusableError("the row has no picture", Reason.TEXT_ONLY)
    hints = [row.hints] if isinstance(row.hints, str) else row.hints or []
    meta = {} if row.id is None else {"id": row.id}
    return Sourced(
        question=Question(
            id=identity,
            text=turns[0].question,
            images=tuple(inside(images, name) for name in names),
            answer=turns[0].answer,
            source=source,
            meta=meta,
        ),
        turns=turns,
        hint="\n".join(hint for hint in hints if hint.strip()),
    )


def rounds(said: list[tuple[str, str]]) -> tuple[Exchange, ...]:
    """Pairs of a question and its answer.

    Raises:
        UnusableError: speakers do not take turns, somebody else speaks, or a text is empty.
    """
    if not said or len(said) % 2:
        raise UnusableError(f"a conversation of {len(said)} texts is no rounds of question and answer")
    turns = []
    for number, ((asker, asked), (answerer, answered)) in enumerate(zip(said[::2], said[1::2], strict=True), start=1):
        if _PEOPLE.get(asker) != "human" or _PEOPLE.get(answerer) != "gpt":
            raise UnusableError(f"round {number} is of {asker!r} and {answerer!r}, not of human and gpt")
        question, answer = asked.replace(MARK, "").strip(), answered.strip()
        if not question or not answer:
            raise UnusableError(f"round {number} has no {'answer' if question else 'question'}")
        turns.append(Exchange(question=question, answer=answer))
    return tuple(turns)
