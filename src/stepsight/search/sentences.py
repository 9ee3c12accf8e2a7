"""Where a sentence ends: not in 3.14, not behind e.g., and not behind the letter of an option."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum

from stepsight.protocols import Completion
from stepsight.records import Finish, Piece
from stepsight.stages import STAGES, STOP_STRINGS, Stage, StageStream

STOPS: tuple[str, ...] = (".", "!", "?", *STOP_STRINGS)
"""Where a sentence may end; after a full stop, `whole_sentence` looks twice."""

ABBREVIATIONS = frozenset(
    {"e.g", "i.e", "etc", "vs", "cf", "ca", "approx", "fig", "figs", "eq", "no", "nos", "vol", "p", "pp"}
    | {"dr", "mr", "mrs", "ms", "prof", "st", "jr", "sr", "al", "min", "max", "deg", "sec"}
)
"""Words, without their last full stop and in small letters, that a sentence does not end behind."""

More = Callable[[Piece, int], Awaitable[Completion]]
"""Continues a piece by at most so many tokens."""

_LOOKED_AT = 3
"""Tokens; some tokenizers have white space in a token of its own."""
_LAST_WORD = re.compile(r"([\w.]+)\.$")


class Boundary(Enum):
    """Whether a text that ends in a full stop ends a sentence: what follows may decide."""

    YES = "yes"
    NO = "no"
    LOOK = "look"


def boundary(text: str) -> Boundary:
    """Whether a sentence ends at the end of `text`, as far as the text itself tells."""
    if not text.endswith("."):
        return Boundary.YES
    found = _LAST_WORD.search(text)
    if found is None:
        return Boundary.YES
    word = found[1]
    if word.casefold() in ABBREVIATIONS:
        return Boundary.NO
    return Boundary.LOOK if word[-1].isdigit() or len(word) == 1 else Boundary.YES


def ends_before(text: str, following: str) -> bool:
    """Whether a sentence ends between `text`, of which that was open, and what follows it.

    A number goes on in digits. A single letter (an initial, an option) ends a sentence only where a stage ends.
    """
    if text[-2:-1].isdigit():
        return not following[:1].isdigit()
    return not following.strip() or following.lstrip().startswith("<")


async def whole_sentence(begun: Completion, more: More, most: int) -> Completion:
    """Lengthen a continuation that stopped at one of `STOPS` to the end of its sentence.

    Tokens looked at to decide that it ended are counted, and written anew by what comes next.

    Args:
        begun: stopped by `STOPS`, or ended otherwise; then it stays as it is.
        more: continues it.
        most: tokens that it may have in all.
    """
    done = begun
    while done.finish is Finish.STOP and (kind := boundary(done.piece.text)) is not Boundary.YES:
        if done.tokens >= most:
            return done if kind is Boundary.LOOK else replace(done, finish=Finish.LENGTH)
        if kind is Boundary.LOOK:
            following = await more(done.piece, min(_LOOKED_AT, most - done.tokens))
            if ends_before(done.piece.text, following.piece.text):
                return replace(done, tokens=done.tokens + following.tokens)
        else:
            following = await more(done.piece, most - done.tokens)
        done = joined(done, following)
        if following.finish is Finish.LENGTH and done.tokens < most:
            done = joined(done, await more(done.piece, most - done.tokens))
        if not following.piece.text:
            break
    return done


def joined(first: Completion, second: Completion) -> Completion:
    """Two continuations, one behind the other, as one."""
    ids = None if first.piece.ids is None or second.piece.ids is None else (*first.piece.ids, *second.piece.ids)
    logprob = None if first.logprob is None or second.logprob is None else first.logprob + second.logprob
    piece = Piece(text=first.piece.text + second.piece.text, ids=ids)
    return Completion(piece, second.finish, first.tokens + second.tokens, logprob, second.reason)


def standing(text: str) -> Stage | None:
    """The stage that an unfinished answer stands in, or comes to next; None where all are written."""
    stream = StageStream()
    opened: list[Stage] = []
    inside: Stage | None = None
    for event in stream.feed(text):
        if event.kind == "opened" and event.stage is not None:
            opened.append(event.stage)
            inside = event.stage
        elif event.kind == "closed":
            inside = None
    if inside is not None:
        return inside
    return next((stage for stage in STAGES if stage not in opened), None)
