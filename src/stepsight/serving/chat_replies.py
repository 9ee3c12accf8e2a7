"""What goes back to a client: completions, chunks of streams, usage, what a search did; in OpenAI's form.

What that form has no place for stands under `stepsight` in a completion or a chunk, which other clients leave alone.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stepsight.judges.reading import FAILED
from stepsight.protocols import Event
from stepsight.records import Candidate, Finish, Trace, Verdict
from stepsight.serving.speaking import Delta, Speaker
from stepsight.stages import STAGES, Stage, parse

FIELDS: Mapping[str, tuple[str, ...]] = {
    "reasoning_content": ("reasoning_content",),
    "reasoning": ("reasoning",),
    "both": ("reasoning_content", "reasoning"),
    "none": (),
}
"""What a server may call the reasoning: no two agree. Most clients read `reasoning_content`, or else `reasoning`."""


@dataclass(frozen=True)
class Spent:
    """Tokens of the prompt, counted once, and how many of them were not computed anew."""

    prompt: int = 0
    cached: int = 0


def usage_of(trace: Trace, spent: Spent) -> dict[str, Any]:
    """The usage: of the answer as clients know it, and under `search` what the search really cost.

    `completion_tokens` are those of the answer, reasoning included; what was written and dropped, and what the judge
    computed, is in `search` alone.
    """
    usage: dict[str, Any] = {
        "prompt_tokens": spent.prompt,
        "completion_tokens": trace.usage.kept,
        "total_tokens": spent.prompt + trace.usage.kept,
        "prompt_tokens_details": {"cached_tokens": spent.cached},
    }
    kept = [trace.candidates[index] for index in trace.chosen]
    if all(candidate.stage is not None for candidate in kept):
        thought = sum(candidate.tokens for candidate in kept if candidate.stage is not STAGES[-1])
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    usage["search"] = trace.usage.model_dump()
    return usage


def was_cut(trace: Trace) -> bool:
    """Whether a limit, not the model, ended the answer."""
    if not trace.chosen:
        return True
    last = trace.candidates[trace.chosen[-1]]
    if last.finish is Finish.LENGTH:
        return True
    closed = trace.text.rstrip().endswith(STAGES[-1].close)
    most = trace.settings.get("answer_tokens")
    out_of_tokens = isinstance(most, int) and trace.usage.kept >= most
    ended_by = trace.spending.ended_by if trace.spending is not None else "done"
    return not closed and (out_of_tokens or ended_by not in ("done", "agreed"))


def finish_reason(trace: Trace) -> Literal["stop", "length"]:
    """Why the answer ended."""
    return "length" if was_cut(trace) else "stop"


@dataclass(frozen=True)
class Report:
    """What is to be said of an answer beside it: how it was searched for, its faults, what to know about it.

    `trace` is one that may be shown, for whoever asked for it.
    """

    method: str
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    trace_id: str = ""
    trace: Trace | None = None

    def of(self, trace: Trace) -> dict[str, Any]:
        """As it stands under `stepsight`; what is empty is left out."""
        said: dict[str, Any] = {"method": self.method, "seconds": round(trace.seconds, 3)}
        faults = [fault.detail for fault in parse(trace.text).faults if fault.stage is not None]
        more = {
            "faults": faults,
            "notes": list(self.notes),
            "ignored": list(self.ignored),
            "spending": None if trace.spending is None else trace.spending.model_dump(),
            "trace_id": self.trace_id,
            "trace": None if self.trace is None else self.trace.model_dump(mode="json"),
        }
        return said | {key: value for key, value in more.items() if value}


@dataclass(frozen=True)
class Replies:
    """Makes the replies to one request; `fields` is what the reasoning is called."""

    model: str
    fields: tuple[str, ...] = FIELDS["reasoning_content"]
    whole: bool = False
    usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def speaker(self) -> Speaker:
        """Says the answer as this request wants to hear it."""
        return Speaker(whole=self.whole)

    def completion(self, trace: Trace, spent: Spent, report: Report) -> dict[str, Any]:
        """The whole reply in one go."""
        speaker = self.speaker()
        deltas = [*speaker.feed(trace.text), *speaker.finish(cut=was_cut(trace))]
        said = {
            name: "".join(delta.text for delta in deltas if delta.field == name) for name in ("reasoning", "content")
        }
        message: dict[str, Any] = {"role": "assistant", "content": said["content"], "refusal": None}
        if said["reasoning"]:
            message |= dict.fromkeys(self.fields, said["reasoning"])
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(trace)}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage_of(trace, spent),
            "stepsight": report.of(trace),
        }

    def begun(self) -> bytes:
        """The first chunk of a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, deltas: Iterable[Delta]) -> bytes:
        """Chunks with the next text."""
        chunks = []
        for delta in deltas:
            names = ("content",) if delta.field == "content" else self.fields
            if names:
                chunks.append(self._chunk(dict.fromkeys(names, delta.text)))
        return b"".join(chunks)

    def event(self, event: Event) -> bytes:
        """A chunk without text that says what the search did."""
        return self._chunk({}, stepsight=event_of(event))

    def ended(self, trace: Trace, spent: Spent, report: Report) -> bytes:
        """The last chunks."""
        last = self._chunk({}, finish_reason(trace), stepsight=report.of(trace))
        if not self.usage:
            return last + DONE
        head = self._head("chat.completion.chunk")
        return last + sse({**head, "choices": [], "usage": usage_of(trace, spent)}) + DONE

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        told = {"usage": None} if self.usage else {}
        return sse({**self._head("chat.completion.chunk"), "choices": [choice], **told, **more})


def sse(data: Mapping[str, Any]) -> bytes:
    """One server-sent event. JSON escapes line ends, so that one line holds it."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
WAITING = b": waiting\n\n"
"""A comment, which clients skip; it keeps proxies from taking a long search for a dead connection."""


def event_of(event: Event) -> dict[str, Any]:
    """An event of a search as JSON."""
    said: dict[str, Any] = {"type": event.kind, "stage": _name(event.stage)}
    if event.kind == "text":
        said |= {"slot": event.slot, "text": event.text}
    elif event.kind == "candidate" and event.candidate is not None:
        said |= {"slot": event.slot, "candidate": candidate_of(event.candidate)}
    elif event.kind == "verdict" and event.verdict is not None:
        said["verdict"] = public_verdict(event.verdict).model_dump(mode="json")
    elif event.kind == "stage_chosen" and event.candidate is not None:
        said |= {"slot": event.slot, "candidate": event.candidate.id, "answer": event.answer}
    return said


def candidate_of(candidate: Candidate) -> dict[str, Any]:
    """A candidate as clients see one: its text, not its tokens; and nothing of what a server said of a failure."""
    kept = candidate.model_dump(
        mode="json", include={"id", "parent", "slot", "finish", "tokens", "logprob", "sentence"}
    )
    return {**kept, "stage": _name(candidate.stage), "text": candidate.piece.text}


def public_verdict(verdict: Verdict) -> Verdict:
    """A verdict without what a server said of a failure."""
    malformed = verdict.evidence.get("malformed")
    if not malformed:
        return verdict
    short = {one: FAILED if str(why).startswith(FAILED) else why for one, why in malformed.items()}
    return verdict.model_copy(update={"evidence": {**verdict.evidence, "malformed": short}})


def public_trace(trace: Trace, model: str) -> Trace:
    """A trace without what is this server's own affair: paths, the engine's name, a server's words."""
    return trace.model_copy(
        update={
            "question": trace.question.model_copy(update={"images": ()}),
            "settings": {**trace.settings, "engine": model},
            "candidates": tuple(candidate.model_copy(update={"reason": ""}) for candidate in trace.candidates),
            "verdicts": tuple(public_verdict(verdict) for verdict in trace.verdicts),
        }
    )


def _name(stage: Stage | None) -> str | None:
    return None if stage is None else stage.value
