"""The trials of a probe: each asks a server for one thing and looks at what comes back.

What a model says to a question cannot be known beforehand, so the trials compare a server with itself: first it writes
a text greedily; then a half of that text must be continued by the other half, and a word of it as a stop string must
end it there. This works with any model, also with one that knows nothing but its own small world.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepsight.engines.openai.engine import COMPLETIONS, CONTINUE, STREAM
from stepsight.engines.openai.findings import Ability, Finding
from stepsight.engines.openai.grammars import FORMS, form_in
from stepsight.engines.openai.labels import listed_tokens
from stepsight.engines.openai.link import Json, Link
from stepsight.engines.openai.messages import Message, user_message
from stepsight.engines.openai.replies import billed, choices_of, text_of
from stepsight.errors import EngineError, StepsightError
from stepsight.stages import STAGES

QUESTION = "Name the seven days of the week in order, separated by commas."
COLOUR = "What is the main color of this picture?"
LABELS = "Which number is larger? 1: three. 2: seven. Reply with 1 or 2 and with nothing else."
WRITTEN = 32
"""Tokens of the text that the trials work with."""

_SPLITS = 3


@dataclass(frozen=True)
class Trials:
    """What all trials need: the connection, and what the most tokens of a reply are called."""

    link: Link
    model: str
    length_key: str = "max_tokens"

    async def ask(self, messages: list[Message], tokens: int, **more: object) -> Json:
        """One greedy request, unless `more` says otherwise."""
        payload: dict[str, Any] = {"model": self.model, "messages": messages, self.length_key: tokens}
        return await self.link.post(COMPLETIONS, {**payload, "temperature": 0.0, **more})

    async def write(self, messages: list[Message], tokens: int, **more: object) -> Mapping[str, Any]:
        """The first choice of a reply."""
        return choices_of(await self.ask(messages, tokens, **more), self.link.server.url)[0]

    async def continues(self, written: str) -> Finding:
        """A half of what was written must be continued with the other half."""
        seen = "the model wrote too little to tell"
        for place in _splits(written):
            half, rest = written[:place].rstrip(), written[place:].strip()
            messages = [user_message(QUESTION), {"role": "assistant", "content": half}]
            try:
                text = text_of(await self.write(messages, WRITTEN, **CONTINUE)).strip()
            except StepsightError as error:
                return _refused(error)
            if _agree(text, rest) and not _agree(text, written):
                return _yes(f"{_shown(half)} was continued with {_shown(text)}")
            if _agree(text, written) or text.startswith(half):
                return _no(f"{_shown(half)} was not continued but written anew: {_shown(text)}")
            seen = f"{_shown(half)} was answered with {_shown(text)}, expected {_shown(rest)}"
        return _unknown(seen)

    async def stops(self, written: str) -> tuple[Finding, Finding, Finding]:
        """A word of what was written must end it there: honoured, left in the text when asked to, and named."""
        place = next(_splits(written), None)
        if place is None:
            few = _unknown("the model wrote too little to tell")
            return few, few, few
        word = written[place:].split()[0]
        before = written[: written.index(word)].strip()
        try:
            choice = await self.write([user_message(QUESTION)], WRITTEN, stop=[word])
        except StepsightError as error:
            refused = _refused(error)
            return refused, refused, refused
        text = text_of(choice).strip()
        if text not in (before, f"{before} {word}", before + word):
            ignored = _no(f"with the stop string {word!r} it wrote {_shown(text)}")
            return ignored, ignored, ignored
        named = choice.get("stop_reason") or choice.get("matched_stop")
        says = _yes(f"it named {word!r}") if named == word else _no("the reply does not say what ended it")
        return _yes(f"it ended at {word!r}"), await self._includes(word, before), says

    async def _includes(self, word: str, before: str) -> Finding:
        try:
            choice = await self.write([user_message(QUESTION)], WRITTEN, stop=[word], include_stop_str_in_output=True)
        except StepsightError as error:
            return _refused(error)
        text = text_of(choice).strip()
        if text.startswith(before) and text.endswith(word):
            return _yes(f"include_stop_str_in_output left {word!r} in the text")
        return _no(f"include_stop_str_in_output changed nothing: {_shown(text)}")

    async def logprobs(self) -> tuple[Finding, Finding, int]:
        """Whether likely next tokens are listed, whether "1" and "2" are among them, and how many there can be."""
        finding = _no("the reply holds no log-probabilities")
        for count in (20, 5):
            try:
                top = await self._top([user_message(LABELS)], count)
            except StepsightError as error:
                finding = _refused(error)
                continue
            if not top:
                break
            labels = [label for label in ("1", "2") if any(token.strip() == label for token in top)]
            found = _yes('"1" and "2" are listed') if len(labels) == 2 else _no(f"listed of the labels: {labels}")
            return _yes(f"{len(top)} of {count} likely next tokens are listed"), found, count
        return finding, _no("no log-probabilities"), 0

    async def untempered(self, count: int) -> Finding:
        """Log-probabilities must be the same at any temperature to be the model's own."""
        try:
            cool = await self._top([user_message(LABELS)], count, temperature=0.5)
            warm = await self._top([user_message(LABELS)], count, temperature=1.0)
        except StepsightError as error:
            return _refused(error)
        apart = distance(cool, warm)
        says = f"at temperatures 0.5 and 1 they are {apart:.4f} apart (total variation)"
        return _yes(says) if apart < 0.02 else _no(says)

    async def pictures(self, urls: tuple[str, str], count: int) -> tuple[Finding, Finding, Finding]:
        """Pictures are taken; two of them give different results; cached tokens rise when the first is repeated.

        A cache that looks at a picture's place in the prompt and not at the picture gives the second what it kept of
        the first. How far repeats of the same picture are apart is the measure of what counts as different.
        """
        first, second = ([user_message(COLOUR, [url])] for url in urls)
        more: dict[str, object] = {"logprobs": True, "top_logprobs": count} if count else {}
        try:
            replies = [await self.ask(messages, WRITTEN, **more) for messages in (first, second, first)]
        except StepsightError as error:
            refused = _refused(error)
            return refused, _unknown("it takes no pictures"), _unknown("it takes no pictures")
        one, other, again = replies
        cached, repeated = billed(one).cached, billed(again).cached
        says = f"{cached} of {billed(one).prompt} prompt tokens cached at first, {repeated} on a repeat"
        rises = _yes(says) if repeated > cached else _no(f"{says} (vLLM tells with --enable-prompt-tokens-details)")
        return _yes("a picture was taken"), self._apart(one, other, again, count), rises

    async def choices(self, urls: tuple[str, ...]) -> Finding:
        """Two choices asked for must be two choices."""
        try:
            reply = await self.ask([user_message(COLOUR, urls)], 4, n=2, temperature=1.0)
        except StepsightError as error:
            return _refused(error)
        count = len(choices_of(reply, self.link.server.url))
        says = f"{count} of 2 choices came back, {'with' if urls else 'without'} a picture"
        return _yes(says) if count == 2 else _no(says)

    async def streams(self, written: str) -> Finding:
        """The text must come in pieces that make up what was written, and the usage at their end."""
        heard: list[str] = []
        payload = {"model": self.model, "messages": [user_message(QUESTION)], self.length_key: WRITTEN}
        try:
            reply = await self.link.stream(
                COMPLETIONS, {**payload, "temperature": 0.0, **STREAM}, lambda index, text: heard.append(text)
            )
        except StepsightError as error:
            return _refused(error)
        text = text_of(choices_of(reply, self.link.server.url)[0])
        if not heard:
            return _no("asked for a stream, it replied in one go" if text else "nothing was written")
        if not billed(reply).generated:
            return _no("its stream does not say what is billed")
        if text.strip() != written.strip():
            return _unknown(f"streamed it wrote {_shown(text)}, in one go {_shown(written)}")
        return _yes(f"a text came in {len(heard)} pieces")

    async def grammar(self, written: str) -> tuple[Finding, str]:
        """Told to keep to the four stages, it must begin with the first, which it does not by itself; and in which
        field it has to be told."""
        begun = STAGES[0].open
        if written.lstrip().startswith(begun):
            return _unknown(f"it begins with {begun} without being told"), ""
        found = _no("told to keep to the four stages, it did not")
        for key in FORMS:
            try:
                choice = await self.write([user_message(QUESTION)], WRITTEN, **form_in(key))
            except StepsightError as error:
                found = _refused(error)
                continue
            if text_of(choice).startswith(begun):
                return _yes(f"told so by {key!r}, it wrote {_shown(text_of(choice))}"), key
        return found, ""

    async def seeds(self) -> Finding:
        """The same seed must repeat a text, another must not. The server must live afterwards.

        Raises:
            EngineError: it does not.
        """
        told: Finding | None = None
        texts: list[str] = []
        try:
            for seed in (11, 11, 12):
                hot = await self.write([user_message(QUESTION)], WRITTEN, seed=seed, temperature=1.5)
                texts.append(text_of(hot))
        except StepsightError as error:
            told = _refused(error)
        try:
            await self.ask([user_message(QUESTION)], 1)
        except StepsightError as error:
            raise EngineError(
                f"the server {self.link.server.url} no longer answers after a request with a seed: {error}",
                hint="restart it, and do not ask it for seeds",
            ) from error
        if told is not None:
            return told
        if texts[0] != texts[1]:
            return _no("the same seed gave two different texts")
        if texts[0] == texts[2]:
            return _unknown("two seeds gave the same text, so seeds may be ignored")
        return _yes("the same seed repeated a text, another did not")

    async def _top(self, messages: list[Message], count: int, **more: object) -> dict[str, float]:
        choice = await self.write(messages, 1, logprobs=True, top_logprobs=count, **more)
        return listed_tokens(choice)

    def _apart(self, one: Json, other: Json, again: Json, count: int) -> Finding:
        url = self.link.server.url
        first, second, third = (choices_of(reply, url)[0] for reply in (one, other, again))
        tops = [listed_tokens(choice) for choice in (first, second, third)]
        if count and all(tops):
            noise, signal = distance(tops[0], tops[2]), distance(tops[0], tops[1])
            says = f"two pictures are {signal:.4f} apart in the first token, repeats {noise:.4f} (total variation)"
            return _yes(says) if signal > max(4 * noise, 0.005) else _no(says)
        if text_of(first) != text_of(second):
            return _yes(f"two pictures gave {_shown(text_of(first))} and {_shown(text_of(second))}")
        return _unknown(f"two pictures gave the same text: {_shown(text_of(first))}")


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Total variation between two lists of log-probabilities, from 0 to 1; what a list does not hold counts as 0."""
    tokens = one.keys() | other.keys()
    return sum(abs(math.exp(one.get(t, -math.inf)) - math.exp(other.get(t, -math.inf))) for t in tokens) / 2


def _splits(text: str) -> Iterator[int]:
    """Places in the middle of a text where a word begins that stands nowhere before, the most central first."""
    places = [index + 1 for index, sign in enumerate(text[:-1]) if sign == " " and text[index + 1] != " "]
    words = {place: text[place:].split()[0] for place in places if text[place:].strip()}
    fresh = [place for place, word in words.items() if text.index(word) == place and text[:place].strip()]
    yield from sorted(fresh, key=lambda place: abs(place - len(text) / 2))[:_SPLITS]


def _agree(text: str, expected: str) -> bool:
    length = min(8, len(expected.strip()))
    return length > 0 and text.strip()[:length] == expected.strip()[:length]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _yes(evidence: str) -> Finding:
    return Finding(value=Ability.YES, evidence=evidence)


def _no(evidence: str) -> Finding:
    return Finding(value=Ability.NO, evidence=evidence)


def _unknown(evidence: str) -> Finding:
    return Finding(value=Ability.UNKNOWN, evidence=evidence)


def _refused(error: StepsightError) -> Finding:
    """A refusal is a no; a failure says nothing."""
    return _unknown(f"the server failed: {error}") if error.retryable else _no(str(error.args[0]))
