"""Continuations of many requests, decoded as rows of one ragged batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from stepsight.engines.transformers.detokenising import Detokenizer, TextStream
from stepsight.engines.transformers.filling import Filled, Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.jobs import SampleJob
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.sampling import choose, uniforms
from stepsight.engines.transformers.slots import Slots
from stepsight.engines.transformers.stopping import StopScanner
from stepsight.protocols import Completion
from stepsight.records import Finish, Piece

_IDLE_BYTES = 256 * 2**20
_AHEAD = 32
"""Columns that a row should have before it, when it joins."""


@dataclass(eq=False)
class Row:
    """One continuation being written.

    `length` counts the tokens whose key-values are in the row's slot: the prompt and all sampled tokens but the last.
    `exact` says whether the text is that of the tokens, with nothing cut off.
    """

    job: SampleJob
    slot: int
    filled: Filled
    length: int
    draws: Iterator[float]
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


class Batch:
    """The rows in work. Row i is slot i of the key-value buffer; the last row moves into a gap.

    Where the rows grow beyond `max_bytes`, the last of them are parked: they leave, and come back when there is room.
    """

    def __init__(
        self,
        runner: Runner,
        filler: Filler,
        detokenizer: Detokenizer,
        ends: frozenset[int],
        *,
        max_rows: int,
        max_bytes: int | None = None,
    ) -> None:
        self.rows: list[Row] = []
        self.parked: deque[Row] = deque()
        self.max_rows = max_rows
        self._max_bytes = max_bytes
        self._runner = runner
        self._filler = filler
        self._detokenizer = detokenizer
        self._ends = ends
        self._slots = Slots(runner.shape)
        self._logits: torch.Tensor | None = None

    def room(self, prompt: Prompt, wanted: int) -> int:
        """How many rows of a prompt may join now, of `wanted`; the first of all may whatever it needs."""
        free = min(wanted, self.max_rows - len(self.rows))
        own, trunk = (0, len(prompt)) if self._runner.share else (len(prompt), 0)
        reach = max([own + 1, *self._reaches()])
        while free > 0 and not self._fits(len(self.rows) + free, reach + _AHEAD, trunk=trunk):
            free -= 1
        return max(free, 0 if self.rows or not wanted else 1)

    def join(self, job: SampleJob, filled: Filled, seeds: range) -> None:
        """Start the continuations of `job` whose places in its list of seeds are `seeds`."""
        rows = [
            Row(
                job=job,
                slot=place,
                filled=filled,
                length=len(filled.prompt),
                draws=uniforms(job.request.seeds[place]),
                stream=self._detokenizer.stream(),
                scanner=StopScanner(job.request.stop),
            )
            for place in seeds
        ]
        self._seat(rows, filled)

    def rejoin(self, row: Row, filled: Filled) -> None:
        """Go on with a row that was parked; `filled` is its prompt with what it has written."""
        row.length = len(filled.prompt)
        self._seat([row], filled)

    def step(self, finished: Callable[[Row, Completion], None]) -> None:
        """Sample one token in every row, let finished rows leave, and run the model over the others."""
        self._drop(row for row in self.rows if row.job.over)
        if not self.rows:
            return
        assert self._logits is not None
        tokens, logprobs = self._choose(self._logits)
        leaving: list[Row] = []
        for row, token, logprob in zip(self.rows, tokens, logprobs, strict=True):
            row.logprob += logprob
            try:
                end = self._read(row, token)
            except Exception as error:
                # The one who watches raised; that is the affair of its own request.
                row.job.reply.fail(error)
                continue
            if end is not None:
                leaving.append(row)
                finished(row, end)
        self._drop([*leaving, *(row for row in self.rows if row.job.over)])
        self._park()
        if self.rows:
            prompts = [row.filled.prompt for row in self.rows]
            lengths = [row.length for row in self.rows]
            self._logits = self._runner.step(self._slots, prompts, [row.ids[-1] for row in self.rows], lengths)
            for row in self.rows:
                row.length += 1

    def abandon(self) -> None:
        """Forget all rows, after a failure."""
        self.rows.clear()
        self.parked.clear()
        self._logits = None
        self._slots.release()

    def rest(self) -> None:
        """Give back large working memory while there is nothing to do."""
        if not self.rows and self._slots.nbytes > _IDLE_BYTES:
            self._slots.release()

    def _seat(self, rows: list[Row], filled: Filled) -> None:
        self._filler.stand(self._slots, [filled] * len(rows))
        self.rows += rows
        fresh = filled.logits.expand(len(rows), -1)
        self._logits = fresh if self._logits is None else torch.cat([self._logits, fresh])

    def _park(self) -> None:
        """Let the youngest rows leave until the others have room for their next token."""
        staying = len(self.rows)
        reaches = self._reaches()
        while staying > 1 and not self._fits(staying, max(reaches[:staying]) + 1):
            staying -= 1
        leaving = self.rows[staying:]
        if leaving:
            self._drop(leaving)
            self.parked.extend(leaving)

    def _reaches(self) -> list[int]:
        """How many columns of its slot each row fills."""
        return [row.length - self._slots.offset(place) for place, row in enumerate(self.rows)]

    def _fits(self, rows: int, columns: int, *, trunk: int = 0) -> bool:
        return self._max_bytes is None or self._slots.need(rows, columns, trunk=trunk) <= self._max_bytes

    def _choose(self, logits: torch.Tensor) -> tuple[list[int], list[float]]:
        device = logits.device
        requests = [row.job.request for row in self.rows]
        draws = [next(row.draws) if row.job.request.temperature > 0 else 0.0 for row in self.rows]
        tokens, logprobs = choose(
            logits,
            temperature=torch.tensor([request.temperature for request in requests], device=device),
            top_p=torch.tensor([request.top_p for request in requests], device=device),
            draws=torch.tensor(draws, dtype=torch.float64, device=device),
        )
        return tokens.tolist(), logprobs.tolist()

    def _read(self, row: Row, token: int) -> Completion | None:
        if token in self._ends:
            return row.completion(Finish.STOP, tokens=len(row.ids) + 1)
        finish = row.read(token)
        if finish is None and row.length + 1 >= self._runner.context:
            finish = Finish.LENGTH
        return None if finish is None else row.completion(finish, tokens=len(row.ids))

    def _drop(self, leaving: Iterator[Row] | list[Row]) -> None:
        gone = {id(row): row for row in leaving}
        if not gone:
            return
        kept = []
        for place, row in enumerate(self.rows):
            if id(row) in gone:
                self._keep_values(row, place)
            else:
                kept.append(place)
        # Rows above the new size move into the gaps below it, so that few rows are copied.
        size = len(kept)
        source = {place: place for place in kept if place < size}
        gaps = [place for place in range(size) if place not in source]
        for gap, above in zip(gaps, [place for place in kept if place >= size], strict=True):
            self._slots.move(above, gap, self.rows[above].length)
            source[gap] = above
        chosen = [source[place] for place in range(size)]
        self.rows = [self.rows[place] for place in chosen]
        self._slots.keep(size)
        assert self._logits is not None
        self._logits = self._logits[torch.tensor(chosen, device=self._logits.device)] if chosen else None

    def _keep_values(self, row: Row, place: int) -> None:
        prompt = row.filled.prompt
        keys = prompt.keys_with(row.ids[: row.length - len(prompt)])
        self._filler.store.insert(keys, lambda start, end: self._slots.read(place, start, end))
