"""A conversation as the model's chat template writes it, in stretches: what is given, and what is to be learned.

The template alone says how a turn begins and ends. It is asked for the prompt before each reply, and for the
conversation up to the end of each reply; what it adds between the two is the reply with its end of turn. With Qwen's:

    <|im_start|>user\\nHow many?<|im_end|>\\n<|im_start|>assistant\\n | Two.<|im_end|> | \\n
    the prompt, which the model is given when it answers             | learned        | given with the next turn

A template that writes no end of turn (LLaVA 1.5's) gets the tokenizer's end of text behind the last reply, as its
models were trained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from stepsight.errors import InputError, ModelError
from stepsight.training.encoding.families import placeholder_of
from stepsight.world.lessons import Span

Exchange = tuple[str, Sequence[Span]]
"""What the user says, and what the assistant replies; spans of weight 0 are given and not learned."""


@dataclass(frozen=True)
class Stretch:
    """A part of a conversation's text.

    Attributes:
        text: as the template writes it, a picture as one token of it.
        weight: of each token's loss; 0: given.
        opens: whether the model may be asked from here on, so that no token may lie across its beginning.
        splits: whether its tokens are made apart from those before it even if none lies across.
    """

    text: str
    weight: float = 0.0
    opens: bool = False
    splits: bool = False


def written(
    processor: Any, exchanges: Sequence[Exchange], *, picture: bool = False, system: str | None = None
) -> list[Stretch]:
    """The stretches of a conversation; the picture stands first in the first user turn.

    Args:
        processor: of the model; its chat template writes.
        exchanges: user turns and the replies to them.
        picture: whether there is one.
        system: text of a system turn before all others.

    Raises:
        ValueError: a reply is blank.
        InputError: the template refuses the conversation, or a text holds the model's own mark for pictures.
        ModelError: the template rewrites earlier turns or replies, so that what a model reads later is not what it
            learned from.
    """
    turns = [] if system is None else [_turn("system", system)]
    stretches: list[Stretch] = []
    before = ""
    ended = True
    for number, (user, spans) in enumerate(exchanges):
        if not any(span.text.strip() for span in spans):
            raise ValueError("a reply is blank, so there is nothing to learn")
        turns.append(_turn("user", user, picture=picture and not number))
        prompt = _render(processor, turns, opened=True)
        turns.append(_turn("assistant", "".join(span.text for span in spans)))
        after = _render(processor, turns, opened=False)
        if not prompt.startswith(before) or not after.startswith(prompt):
            raise ModelError("the chat template rewrites earlier turns", hint="train on rows of a single exchange")
        stretches.append(Stretch(prompt[len(before) :]))
        reply, ended = _reply(after[len(prompt) :], spans, _ends(processor.tokenizer))
        stretches += reply
        before = after
    if not ended:
        end = processor.tokenizer.eos_token
        if not end:
            raise ModelError(
                "neither the chat template nor the tokenizer says how a turn ends",
                hint="give the tokenizer an eos_token, or the template an end of turn",
            )
        # What the template writes behind the last reply is left out: it would stand before the end.
        stretches[-1] = Stretch(end, min(1.0, exchanges[-1][1][-1].weight))
    _check_pictures(processor, stretches, expected=int(picture))
    return stretches


def _turn(role: str, text: str, *, picture: bool = False) -> dict[str, Any]:
    content: list[dict[str, str]] = [{"type": "image"}] if picture else []
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def _render(processor: Any, turns: list[dict[str, Any]], *, opened: bool) -> str:
    try:
        return str(processor.apply_chat_template(turns, add_generation_prompt=opened, tokenize=False))
    except Exception as error:
        # Templates raise what they like, mostly jinja2 errors that say which role they refuse.
        raise InputError(
            f"the model's chat template refuses the conversation: {error}", hint="leave out or rewrite such rows"
        ) from error


def _reply(text: str, spans: Sequence[Span], ends: re.Pattern[str]) -> tuple[list[Stretch], bool]:
    """What a template adds for a reply, and whether it writes an end of turn.

    Args:
        text: what it adds behind the prompt.
        spans: the reply.
        ends: matches an end of turn, and white space before it.
    """
    end_weight = min(1.0, spans[-1].weight)
    spans = [span for span in spans if span.text]
    whole = "".join(span.text for span in spans)
    start = text.find(whole)
    if start < 0 or text[:start].strip():
        # Some templates strip what is said.
        spans = _stripped(spans)
        whole = "".join(span.text for span in spans)
        start = text.find(whole)
    if start < 0 or text[:start].strip():
        raise ModelError(
            "the chat template rewrites what the assistant says", hint="give the model a template that keeps it"
        )
    # What the template writes before the first word, a space mostly, the model has to write as well.
    first = replace(spans[0], text=text[:start] + spans[0].text)
    stretches = [
        Stretch(span.text, span.weight, opens=not number, splits=bool(number))
        for number, span in enumerate([first, *spans[1:]])
    ]
    behind = text[start + len(whole) :]
    end = ends.match(behind)
    if end:
        stretches.append(Stretch(end.group(), end_weight))
        behind = behind[end.end() :]
    elif behind.strip():
        raise ModelError(
            f"the chat template writes {behind.strip()[:20]!r} behind a reply, which is no token of its own",
            hint="make the end of turn a special token of the tokenizer",
        )
    return [*stretches, Stretch(behind)], end is not None


def _stripped(spans: Sequence[Span]) -> list[Span]:
    """Spans without the white space at both ends of what they say together, which is not all there is."""
    left = list(spans)
    while not left[0].text.strip():
        left.pop(0)
    while not left[-1].text.strip():
        left.pop()
    left[0] = replace(left[0], text=left[0].text.lstrip())
    left[-1] = replace(left[-1], text=left[-1].text.rstrip())
    return left


@lru_cache(maxsize=8)
def _ends(tokenizer: Any) -> re.Pattern[str]:
    tokens = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    return re.compile(rf"\s*(?:{'|'.join(map(re.escape, tokens))})" if tokens else r"(?!)")


def _check_pictures(processor: Any, stretches: Sequence[Stretch], *, expected: int) -> None:
    placeholder = str(processor.tokenizer.convert_ids_to_tokens(placeholder_of(processor)))
    names = dict.fromkeys((str(processor.image_token), placeholder))
    whole = "".join(one.text for one in stretches)
    found = sum(whole.count(name) for name in names)
    if found != expected:
        raise InputError(
            f"the conversation has {found} marks of pictures for {expected} pictures",
            hint=f"no text may contain {' or '.join(map(repr, names))}",
        )
