"""A staged answer as chat clients show one: what comes before the CONCLUSION as reasoning, the CONCLUSION as content.

    <SUMMARY> Count. </SUMMARY> <CAPTION> Two cubes. </CAPTION> ... <CONCLUSION> 2 </CONCLUSION>

    reasoning   "SUMMARY: Count.\\n\\nCAPTION: Two cubes.\\n\\n..."     content   "2"

The same class takes a text in pieces, while it is being written, and whole: so an answer is the same, streamed or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from stepsight.errors import InputError
from stepsight.stages import SEPARATOR, STAGES, Stage, StageEvent, StageStream, render

LAST = STAGES[-1]


@dataclass(frozen=True)
class Delta:
    """The next stretch of what a client shows."""

    field: Literal["reasoning", "content"]
    text: str


class Speaker:
    """Takes the text of an answer as it becomes final, and says it. With `whole` all of it is content, tags included.

    Of a stage that is opened more than once the first counts; text outside the stages is left out. Where no CONCLUSION
    is written, because the model broke the form, the content is the whole text as it was written: nothing is hidden.
    An answer that was cut before its CONCLUSION has no content, and what was written is its reasoning.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._stream = StageStream()
        self._written = ""
        self._begun: list[Stage] = []
        self._inside: Stage | None = None
        self._space = ""
        self._spoken: set[str] = set()

    def feed(self, text: str) -> list[Delta]:
        """Take the next piece."""
        self._written += text
        if self._whole:
            return self._say("content", text)
        return [delta for event in self._stream.feed(text) for delta in self._take(event)]

    def finish(self, *, cut: bool) -> list[Delta]:
        """Take the end; `cut`: a limit ended the answer, not the model."""
        if self._whole:
            return []
        deltas = [delta for event in self._stream.finish() for delta in self._take(event)]
        if "content" not in self._spoken and self._written.strip() and not (cut and self._begun):
            deltas.append(Delta("content", self._written.strip()))
        return deltas

    def _take(self, event: StageEvent) -> list[Delta]:
        if event.stage is None:
            return []
        if event.kind == "opened":
            new = event.stage not in self._begun and LAST not in self._begun
            self._inside = event.stage if new else None
            self._space = ""
            if new:
                self._begun.append(event.stage)
        elif event.kind == "closed":
            self._inside, self._space = None, ""
        elif self._inside is not None:
            return self._say("content" if self._inside is LAST else "reasoning", event.text)
        return []

    def _say(self, field: Literal["reasoning", "content"], text: str) -> list[Delta]:
        """White space is held back until something follows it, so that none is said at the end of a stage."""
        text = self._space + text
        said = text.rstrip()
        self._space = text[len(said) :]
        begins = f"{field} {self._inside}" not in self._spoken
        if begins:
            said, self._space = said.lstrip(), self._space if said.strip() else ""
        if not said:
            return []
        if begins and field == "reasoning" and self._inside is not None:
            said = f"{SEPARATOR if field in self._spoken else ''}{self._inside.value}: {said}"
        self._spoken |= {field, f"{field} {self._inside}"}
        return [Delta(field, said)]


_HEADING = re.compile(rf"(?:^|{SEPARATOR})({'|'.join(STAGES[:-1])}): ")


def heard(reasoning: str, content: str) -> str:
    """The staged answer that was said so, for clients that send the reasoning of earlier turns back.

    Text that was not said in this form is left as it is: the content alone.
    """
    parts = _HEADING.split(reasoning.strip())
    names, texts = parts[1::2], parts[2::2]
    if parts[0] or not names or names != [stage.value for stage in STAGES[: len(names)]]:
        return content
    try:
        return render({**{Stage(name): text for name, text in zip(names, texts, strict=True)}, LAST: content})
    except InputError:
        return content
