"""Continuations of many requests, decoded as lanes of one ragged batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch

from stepsight.engines.transformers.detokenising import Detokenizer
from stepsight.engines.transformers.filling import Filled, Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.jobs import SampleJob
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.rows import Lane, Row
from stepsight.engines.transformers.sampling import choose, uniforms
from stepsight.engines.transformers.slots import Slots
from stepsight.engines.transformers.stopping import StopScanner
from stepsight.protocols import Completion
from stepsight.records import Finish

_IDLE_BYTES = 256 * 2**20
_AHEAD = 32
"""Columns that a row should have before it, when it joins."""


class Batch:
    """The lanes in work. Lane i is slot i of the key-value buffer; the last lane moves into a gap.

    Where the lanes grow beyond `max_bytes`, the last of them are parked: they leave, and come back when there is room.
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
        self.lanes: list[Lane] = []
        self.parked: deque[Lane] = deque()
        self.max_rows = max_rows
        self._max_bytes = max_bytes
        self._runner = runner
        self._filler = filler
        self._detokenizer = detokenizer
        self._ends = ends
        self._slots = Slots(runner.shape)
        self._logits: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        """How many continuations are being written."""
        return sum(len(lane.rows) for lane in self.lanes)

    def room(self, prompt: Prompt, wanted: int) -> int:
        """How many rows of a prompt may join now, of `wanted`; the first of all may whatever it needs.

        Rows of one prompt begin in one lane, but may all part.
        """
        free = min(wanted, self.max_rows - self.rows)
        own, trunk = (0, len(prompt)) if self._runner.share else (len(prompt), 0)
        reach = max([own + 1, *self._reaches()])
        while free > 0 and not self._fits(len(self.lanes) + free, reach + _AHEAD, trunk=trunk):
            free -= 1
        return max(free, 0 if self.lanes or not wanted else 1)

    def join(self, job: SampleJob, filled: Filled, seeds: range) -> None:
        """Start the continuations of `job` whose places in its list of seeds are `seeds`."""
        rows = [
            Row(
                job=job,
                slot=place,
                filled=filled,
                draws=uniforms(job.request.seeds[place]),
                stream=self._detokenizer.stream(),
                scanner=StopScanner(job.request.stop),
            )
            for place in seeds
        ]
        self._seat(Lane(rows, filled, len(filled.prompt)), filled)

    def rejoin(self, lane: Lane, filled: Filled) -> None:
        """Go on with a lane that was parked; `filled` is its prompt with what it has written."""
        lane.length = len(filled.prompt)
        self._seat(lane, filled)

    def step(self, finished: Callable[[Row, Completion], None]) -> None:
        """Sample one token in every row, let finished rows leave, and run the model over the others."""
        self._drop([place for place, lane in enumerate(self.lanes) if lane.job.over])
        if not self.lanes:
            return
        assert self._logits is not None
        tokens, logprobs = self._choose(self._logits)
        self._logits = None
        ended: set[int] = set()
        written = iter(zip(tokens, logprobs, strict=True))
        for lane in self.lanes:
            for row in lane.rows:
                token, logprob = next(written)
                row.logprob += logprob
                try:
                    end = self._read(row, token, lane.length)
                except Exception as error:
                    # The one who watches raised; that is the affair of its own request.
                    row.job.reply.fail(error)
                    continue
                if end is not None:
                    ended.add(id(row))
                    finished(row, end)
        self._part(ended)
        self._park()
        if self.lanes:
            prompts = [lane.filled.prompt for lane in self.lanes]
            lengths = [lane.length for lane in self.lanes]
            self._logits = self._runner.step(self._slots, prompts, [lane.ids[-1] for lane in self.lanes], lengths)
            for lane in self.lanes:
                lane.length += 1

    def abandon(self) -> None:
        """Forget all lanes, after a failure."""
        self.lanes.clear()
        self.parked.clear()
        self._logits = None
        self._slots.release()

    def rest(self) -> None:
        """Give back large working memory while there is nothing to do."""
        if not self.lanes and self._slots.nbytes > _IDLE_BYTES:
            self._slots.release()

    def _seat(self, lane: Lane, filled: Filled) -> None:
        self._filler.stand(self._slots, [filled])
        self.lanes.append(lane)
        fresh = filled.logits[None]
        self._logits = fresh if self._logits is None else torch.cat([self._logits, fresh])

    def _part(self, ended: set[int]) -> None:
        """Let ended rows leave, and rows that chose different tokens go different ways."""
        left: list[int] = []
        for place, lane in enumerate(list(self.lanes)):
            staying: dict[int, list[Row]] = {}
            for row in lane.rows:
                if id(row) not in ended and not row.job.over:
                    staying.setdefault(row.ids[-1], []).append(row)
            if sum(map(len, staying.values())) < len(lane.rows):
                self._keep_values(lane, place)
            first, *others = staying.values() or [[]]
            for rows in others:
                self._slots.fork(place, lane.length)
                self.lanes.append(Lane(rows, lane.filled, lane.length))
            if first:
                lane.rows = first
            else:
                left.append(place)
        self._drop(left, kept=True)

    def _park(self) -> None:
        """Let the youngest lanes leave until the others have room for their next token."""
        staying = len(self.lanes)
        reaches = self._reaches()
        while staying > 1 and not self._fits(staying, max(reaches[:staying]) + 1):
            staying -= 1
        leaving = self.lanes[staying:]
        self._drop(range(staying, len(self.lanes)))
        self.parked.extend(leaving)

    def _reaches(self) -> list[int]:
        """How many columns of its slot each lane fills."""
        return [lane.length - self._slots.offset(place) for place, lane in enumerate(self.lanes)]

    def _fits(self, lanes: int, columns: int, *, trunk: int = 0) -> bool:
        return self._max_bytes is None or self._slots.need(lanes, columns, trunk=trunk) <= self._max_bytes

    def _choose(self, logits: torch.Tensor) -> tuple[list[int], list[float]]:
        """Tokens and log-probabilities of all rows, lane by lane."""
        device = logits.device
        requests = [lane.job.request for lane in self.lanes]
        rows = [(place, row) for place, lane in enumerate(self.lanes) for row in lane.rows]
        draws = [next(row.draws) if requests[place].temperature > 0 else 0.0 for place, row in rows]
        tokens, logprobs = choose(
            logits,
            temperature=torch.tensor([request.temperature for request in requests], device=device),
            top_p=torch.tensor([request.top_p for request in requests], device=device),
            draws=torch.tensor(draws, dtype=torch.float64, device=device),
            lanes=None if len(rows) == len(requests) else torch.tensor([place for place, _ in rows], device=device),
        )
        return tokens.tolist(), logprobs.tolist()

    def _read(self, row: Row, token: int, length: int) -> Completion | None:
        if token in self._ends:
            return row.completion(Finish.STOP, tokens=len(row.ids) + 1)
        finish = row.read(token)
        if finish is None and length + 1 >= self._runner.context:
            finish = Finish.LENGTH
        return None if finish is None else row.completion(finish, tokens=len(row.ids))

    def _drop(self, leaving: Sequence[int], *, kept: bool = False) -> None:
        """Take lanes out; `kept` says that their key-values are in the store already."""
        if not leaving:
            return
        gone = set(leaving)
        for place in () if kept else leaving:
            self._keep_values(self.lanes[place], place)
        staying = [place for place in range(len(self.lanes)) if place not in gone]
        # Lanes above the new size move into the gaps below it, so that few are copied.
        size = len(staying)
        source = {place: place for place in staying if place < size}
        gaps = [place for place in range(size) if place not in source]
        for gap, above in zip(gaps, [place for place in staying if place >= size], strict=True):
            self._slots.move(above, gap, self.lanes[above].length)
            source[gap] = above
        chosen = [source[place] for place in range(size)]
        self.lanes = [self.lanes[place] for place in chosen]
        self._slots.keep(size)
        if self._logits is not None:
            self._logits = self._logits[torch.tensor(chosen, device=self._logits.device)] if chosen else None

    def _keep_values(self, lane: Lane, place: int) -> None:
        prompt = lane.filled.prompt
        keys = prompt.keys_with(lane.ids[: lane.length - len(prompt)])
        self._filler.store.insert(keys, lambda start, end: self._slots.read(place, start, end))
