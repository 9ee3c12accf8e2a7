"""The four stages of a staged answer, as one ordered list.

Everything that depends on the stages (parsing, rendering, stop strings, format checks, prompts, documentation)
derives from `STAGES`; no tag is spelled anywhere else.

Source: LLaVA-CoT, arXiv 2411.10440, section 3.1, and the public file `train.jsonl` of LLaVA-CoT-100k.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from stepsight.errors import InputError


class Stage(StrEnum):
    """One named stage of an answer; members iterate in the order in which they must be written."""

    SUMMARY = "SUMMARY"
    CAPTION = "CAPTION"
    REASONING = "REASONING"
    CONCLUSION = "CONCLUSION"

    @property
    def open(self) -> str:
        """The opening tag, such as `<SUMMARY>`."""
        return f"<{self.value}>"

    @property
    def close(self) -> str:
        """The closing tag, such as `</SUMMARY>`; also the stop string of the stage."""
        return f"</{self.value}>"

    @property
    def key(self) -> str:
        """The lower-case name used as a JSON key."""
        return self.value.lower()


STAGES: tuple[Stage, ...] = tuple(Stage)

SEPARATOR = "\n\n"
"""What stands between two stages in the public dataset: one blank line."""


def stop_string(stage: Stage) -> str:
    """Return the text after which generation of `stage` must stop: its closing tag."""
    return stage.close


# All that `str.strip` takes for white space, and control characters.
_BLANK = r"\x00-\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_TEXT = rf"[^<{_BLANK}]([^<]|<+[^</A-Z])*"


def staged_regex() -> str:
    """A regular expression of whole staged answers as `render` writes them, for servers that hold replies to one.

    It is narrower than `parse`: the stages as they are rendered, and no text of a stage ends with `<`, or holds one
    before a capital or a slash, where a tag could begin.
    """
    return SEPARATOR.join(f"{stage.open} {_TEXT} {stage.close}" for stage in STAGES)


def staged_gbnf() -> str:
    """The same as a grammar in GBNF, which llama.cpp reads."""
    gap = SEPARATOR.replace("\n", r"\n")
    order = f' "{gap}" '.join(f'"{stage.open} " text " {stage.close}"' for stage in STAGES)
    return f'root ::= {order}\ntext ::= [^<{_BLANK}] ([^<] | "<"+ [^</A-Z])*\n'


STOP_STRINGS: tuple[str, ...] = tuple(stop_string(stage) for stage in STAGES)
"""The stop strings of all stages, in order; the last one ends a whole answer."""


def render_stage(stage: Stage, text: str) -> str:
    """Return `<TAG> text </TAG>`, with one space inside each tag as in the public dataset; `text` is stripped.

    Raises:
        InputError: `text` is blank or contains the tag of a stage, so that no parser could read the result back.
    """
    stripped = text.strip()
    if not stripped:
        raise InputError(f"the text of {stage} is empty", hint="give every stage some text")
    if tag := _TAG.search(stripped):
        raise InputError(f"the text of {stage} contains the tag {tag.group()}", hint="take the tag out")
    return f"{stage.open} {stripped} {stage.close}"


def render(stages: Mapping[Stage, str]) -> str:
    """Return the answer made of `stages` in the public dataset's exact format, always in the order of `STAGES`.

    Stages that are not given are left out, so a prefix of an answer renders too.

    Raises:
        InputError: as `render_stage`.
    """
    return SEPARATOR.join(render_stage(stage, stages[stage]) for stage in STAGES if stage in stages)


class FaultKind(StrEnum):
    """What can be wrong with the form of a staged answer."""

    MISSING = "missing"
    UNCLOSED = "unclosed"
    UNOPENED = "unopened"
    OUT_OF_ORDER = "out_of_order"
    REPEATED = "repeated"
    EMPTY = "empty"
    OUTSIDE_TEXT = "outside_text"


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the form of an answer; `detail` says it in a sentence. `stage` is None for outside text."""

    kind: FaultKind
    stage: Stage | None
    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class Parsed:
    """A staged answer taken apart.

    `stages` holds the stripped texts of the stages that are opened, closed and not empty, in the order in which they
    were written; of a repeated stage, the first. `faults` are in the order in which they occur, missing stages last.
    """

    stages: Mapping[Stage, str]
    faults: tuple[Fault, ...]

    @property
    def valid(self) -> bool:
        """Whether the answer has exactly the four stages in their order and nothing else but white space."""
        return not self.faults


@dataclass(frozen=True)
class StageEvent:
    """Something a `StageStream` saw.

    kind: "opened" and "closed" mark a stage's tags; "text" is the next stretch of what stands between them, as written.
    Text outside every stage has `stage` None. `text` of "closed" is the stripped text of the whole stage.
    """

    kind: Literal["opened", "text", "closed"]
    stage: Stage | None
    text: str = ""


class StageStream:
    """Reads a staged answer while it is being written, in pieces split anywhere, even inside a tag.

        stream = StageStream()
        for delta in deltas:
            for event in stream.feed(delta): ...
        for event in stream.finish(): ...
        stream.parsed

    Tags are exact: upper case, no space between the angle brackets; anything else is text. An opening tag inside an
    open stage ends that stage as unclosed, for a forgotten closing tag is far more common than nesting. A closing tag
    that does not fit is dropped and noted.
    """

    def __init__(self) -> None:
        self._held = ""  # a beginning of a tag, perhaps
        self._current: Stage | None = None
        self._text: list[str] = []  # since the last tag that opened or closed something
        self._opened: list[Stage] = []  # each once, in the order in which they were first opened
        self._stages: dict[Stage, str] = {}
        self._faults: list[Fault] = []
        self._parsed: Parsed | None = None

    def feed(self, delta: str) -> tuple[StageEvent, ...]:
        """Take the next piece of the answer and return what can be said so far."""
        if self._parsed is not None:
            raise RuntimeError("a finished StageStream takes no more text")
        text = self._held + delta
        end = _tag_may_begin_at(text)
        self._held = text[end:]
        return tuple(self._read(text[:end]))

    def finish(self) -> tuple[StageEvent, ...]:
        """Take the end of the answer; afterwards `parsed` is there."""
        if self._parsed is not None:
            return ()
        events = tuple(self._read(self._held))
        if self._current is not None:
            self._note(FaultKind.UNCLOSED, self._current, f"{self._current} is not closed before the answer ends")
        else:
            self._leave_outside()
        for stage in STAGES:
            if stage not in self._opened:
                self._note(FaultKind.MISSING, stage, f"{stage} is missing")
        self._parsed = Parsed(stages=self._stages, faults=tuple(self._faults))
        return events

    @property
    def parsed(self) -> Parsed:
        """The whole answer taken apart; only after `finish`."""
        if self._parsed is None:
            raise RuntimeError("call finish() before reading parsed")
        return self._parsed

    def _read(self, text: str) -> Iterator[StageEvent]:
        position = 0
        for match in _TAG.finditer(text):
            yield from self._take_text(text[position : match.start()])
            stage = Stage(match["stage"])
            yield from self._take_close(stage) if match["slash"] else self._take_open(stage)
            position = match.end()
        yield from self._take_text(text[position:])

    def _take_text(self, text: str) -> Iterator[StageEvent]:
        if text:
            self._text.append(text)
            yield StageEvent("text", self._current, text)

    def _take_open(self, stage: Stage) -> Iterator[StageEvent]:
        if self._current is not None:
            self._note(FaultKind.UNCLOSED, self._current, f"{self._current} is not closed before {stage} opens")
            self._text.clear()
        else:
            self._leave_outside()
        later = [other for other in self._opened if STAGES.index(other) > STAGES.index(stage)]
        if stage in self._opened:
            self._note(FaultKind.REPEATED, stage, f"{stage} is written more than once")
        elif later:
            self._note(FaultKind.OUT_OF_ORDER, stage, f"{stage} comes after {later[0]}")
        if stage not in self._opened:
            self._opened.append(stage)
        self._current = stage
        yield StageEvent("opened", stage)

    def _take_close(self, stage: Stage) -> Iterator[StageEvent]:
        if stage is not self._current:
            self._note(FaultKind.UNOPENED, stage, f"{stage.close} closes a stage that is not open")
            return
        text = "".join(self._text).strip()
        self._text.clear()
        self._current = None
        if not text:
            self._note(FaultKind.EMPTY, stage, f"{stage} is empty")
        elif stage not in self._stages:
            self._stages[stage] = text
        yield StageEvent("closed", stage, text)

    def _leave_outside(self) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        if text:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            self._note(FaultKind.OUTSIDE_TEXT, None, f"there is text outside the stages: {shown!r}")

    def _note(self, kind: FaultKind, stage: Stage | None, detail: str) -> None:
        self._faults.append(Fault(kind, stage, detail))


def parse(text: str) -> Parsed:
    """Take a whole answer apart: tolerant of white space around and inside stages, never of their order."""
    stream = StageStream()
    stream.feed(text)
    stream.finish()
    return stream.parsed


def conclusion(text: str) -> str | None:
    """Return the stripped text of the CONCLUSION of `text`; None if it has none that is closed and not empty.

    Whatever else is wrong with the answer does not matter here; ask `parse` for that.
    """
    return parse(text).stages.get(Stage.CONCLUSION)


_TAG = re.compile(f"<(?P<slash>/?)(?P<stage>{'|'.join(STAGES)})>")
_TAGS = tuple(tag for stage in STAGES for tag in (stage.open, stage.close))


def _tag_may_begin_at(text: str) -> int:
    """Return where the unfinished tag at the end of `text` begins; the length of `text` if there is none."""
    start = text.rfind("<")
    if start >= 0 and any(len(text) - start < len(tag) and tag.startswith(text[start:]) for tag in _TAGS):
        return start
    return len(text)
