"""Continuations being written, and lanes: those that have written the same so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepsight.engines.transformers.detokenising import TextStream
from stepsight.engines.transformers.drafting import Memory, Tail
from stepsight.engines.transformers.filling import Filled
from stepsight.engines.transformers.jobs import SampleJob
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.sampling import Uniforms
from stepsight.engines.transformers.stopping import StopScanner
from stepsight.protocols import Completion
from stepsight.records import Finish, Piece


@dataclass(eq=False)
class Row:
    """One continuation being written.

    `exact` says whether the text is that of the tokens, with nothing cut off.
    """

    job: SampleJob
    slot: int
    filled: Filled
    draws: Uniforms
    stream: TextStream
    scanner: StopScanner
    ids: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    logprob: float = 0.0
    exact: bool = True

    def show(self, text: str) -> None:
        """Take new text, and tell whoever watches."""
        if text:
            self.texts.append(text)
            if self.job.on_text is not None:
                self.job.on_text(self.slot, text)

    def read(self, token: int) -> Finish | None:
        """Take one sampled token that does not end the turn; says whether the continuation is over."""
        self.ids.append(token)
        text = self.stream.push(token)
        cut = self.scanner.push(text)
        if cut is not None:
            self.show(text[:cut])
            # Text behind the stop is dropped; then the tokens say more than the text and are not handed on.
            self.exact = cut == len(text) and not self.stream.pending
            return Finish.STOP
        self.show(text)
        return Finish.LENGTH if len(self.ids) >= self.job.request.max_tokens else None

    def completion(self, finish: Finish, *, tokens: int) -> Completion:
        """What the continuation came to."""
        if self.exact:
            self.show(self.stream.flush())
        ids = tuple(self.ids) if self.exact else None
        return Completion(Piece(text="".join(self.texts), ids=ids), finish, tokens, self.logprob)


@dataclass(eq=False)
class Lane:
    """Rows of one job that have written the same so far, so that the model runs once for all of them.

    Each samples for itself; those that choose another token than the first part into lanes of their own. `length`
    counts the tokens whose key-values are known: the prompt and all sampled tokens but the last. `drafts` are guesses
    at what follows the last one, `tail` the end of what is written, `memory` what the request itself has said.
    """

    rows: list[Row]
    filled: Filled
    length: int
    memory: Memory
    tail: Tail = ()
    drafts: tuple[int, ...] = ()

    @property
    def job(self) -> SampleJob:
        """Whose rows these are."""
        return self.rows[0].job

    @property
    def ids(self) -> list[int]:
        """What all of them have written."""
        return self.rows[0].ids

    @property
    def written(self) -> Prompt:
        """The prompt with what they have written."""
        return self.filled.prompt.followed_by(self.ids)
