"""Continuations of many requests, decoded as lanes of one ragged batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, islice

import torch

from stepsight.engines.transformers.detokenising import Detokenizer
from stepsight.engines.transformers.drafting import ORDERS, Memory, Tail, guess, longer
from stepsight.engines.transformers.filling import Filled, Filler
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.jobs import SampleJob
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.rows import Lane, Row
from stepsight.engines.transformers.sampling import Uniforms, choose
from stepsight.engines.transformers.slots import Slots
from stepsight.engines.transformers.stopping import StopScanner
from stepsight.protocols import Completion
from stepsight.records import Finish

_IDLE_BYTES = 256 * 2**20
_AHEAD = 32
"""Columns that a row should have before it, when it joins."""
_MOST_DRAFTS = 7

Sampled = tuple[int, float]
"""A token and its log-probability."""


class Batch:
    """The lanes in work. Lane i is slot i of the key-value buffer; the last lane moves into a gap.

    Where the lanes grow beyond `max_bytes`, the last of them are parked: they leave, and come back when there is room.
    While they are few, tokens are guessed ahead, so that the model runs over at most `breadth` tokens a step.

    Attributes:
        steps, drafted, held: How often the model ran, how many tokens were guessed, and how many of those held.
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
        breadth: int = 0,
    ) -> None:
        self.steps = self.drafted = self.held = 0
        self.lanes: list[Lane] = []
        self.parked: deque[Lane] = deque()
        self.max_rows = max_rows
        self._max_bytes = max_bytes
        self._breadth = breadth
        self._memory = Memory()
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
                draws=Uniforms(job.request.seeds[place]),
                stream=self._detokenizer.stream(),
                scanner=StopScanner(job.request.stop),
            )
            for place in seeds
        ]
        tail = tuple(filled.prompt.ids[-ORDERS[0] :].tolist())
        self._seat(Lane(rows, filled, len(filled.prompt), Memory(), tail), filled)

    def rejoin(self, lane: Lane, filled: Filled) -> None:
        """Go on with a lane that was parked; `filled` is its prompt with what it has written."""
        lane.length = len(filled.prompt)
        lane.drafts = ()
        self._seat(lane, filled)

    def step(self, finished: Callable[[Row, Completion], None]) -> None:
        """Sample in every row until its next token is none that was guessed, let finished rows leave, run the model."""
        self._drop([place for place, lane in enumerate(self.lanes) if lane.job.over])
        if not self.lanes:
            return
        assert self._logits is not None
        chosen = self._choose(self._logits)
        self._logits = None
        gone = [place for place, lane in enumerate(list(self.lanes)) if not self._follow(place, lane, chosen, finished)]
        self._drop(gone, kept=True)
        self._draft()
        self._park()
        if self.lanes:
            prompts = [lane.filled.prompt for lane in self.lanes]
            lengths = [lane.length for lane in self.lanes]
            fed = [(lane.ids[-1], *lane.drafts) for lane in self.lanes]
            self._logits = self._runner.step(self._slots, prompts, fed, lengths)
            self.steps += 1
            for lane in self.lanes:
                lane.length += 1
                self.drafted += len(lane.drafts)

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

    def _follow(
        self, place: int, lane: Lane, chosen: dict[Row, list[Sampled]], finished: Callable[[Row, Completion], None]
    ) -> bool:
        """Let the rows of a lane take their next tokens, as far as those were guessed; whether any row stays in it.

        Rows that end leave, and rows that choose different tokens go different ways.
        """
        for number in range(len(lane.drafts) + 1):
            staying: dict[int, list[Row]] = {}
            for row in lane.rows:
                token, logprob = chosen[row][number]
                row.logprob += logprob
                try:
                    end = self._read(row, token, lane.length)
                except Exception as error:
                    # The one who watches raised; that is the affair of its own request.
                    row.job.reply.fail(error)
                    continue
                if end is not None:
                    finished(row, end)
                elif not row.job.over:
                    staying.setdefault(token, []).append(row)
            if sum(map(len, staying.values())) < len(lane.rows):
                self._keep_values(lane, place)
            guessed = lane.drafts[number] if number < len(lane.drafts) else None
            kept = guessed if guessed in staying else next(iter(staying), None)
            tail = lane.tail
            for token, rows in staying.items():
                if token == kept:
                    self._learn(lane, tail, token)
                    lane.rows = rows
                else:
                    self._slots.fork(place, lane.length)
                    other = Lane(rows, lane.filled, lane.length, lane.memory)
                    self._learn(other, tail, token)
                    self.lanes.append(other)
            if kept is None:
                return False
            if kept != guessed:
                break
            lane.length += 1
            self.held += 1
        return True

    def _learn(self, lane: Lane, tail: Tail, token: int) -> None:
        lane.tail = longer(tail, token)
        if self._few:
            lane.memory.learn(tail, token)
            self._memory.learn(tail, token)

    @property
    def _few(self) -> bool:
        """Whether the lanes are so few that tokens are guessed; else nothing is learned either, which takes time."""
        return 2 * len(self.lanes) <= self._breadth

    def _draft(self) -> None:
        """Guess how each lane goes on, as far as the model runs over few tokens in all."""
        if not self._few:
            for lane in self.lanes:
                lane.drafts = ()
            return
        each = min(_MOST_DRAFTS, self._breadth // max(1, len(self.lanes)) - 1)
        for lane in self.lanes:
            if not lane.memory.young:
                prompt = lane.filled.prompt
                text = prompt.ids[prompt.places[-1] + 1 if len(prompt.places) else 0 :].tolist()
                lane.memory.read([*text, *lane.ids])
            request = lane.job.request
            room = min(request.max_tokens - len(lane.ids), self._runner.context - lane.length) - 1
            lane.drafts = tuple(guess((lane.memory, self._memory), lane.tail, min(each, room)))

    def _park(self) -> None:
        """Let the youngest lanes leave until the others have room for their next token."""
        staying = len(self.lanes)
        reaches = self._reaches()
        ahead = max((len(lane.drafts) for lane in self.lanes), default=0)
        if ahead and not self._fits(staying, max(reaches) + 1 + ahead):
            for lane in self.lanes:
                lane.drafts = ()
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

    def _choose(self, logits: torch.Tensor) -> dict[Row, list[Sampled]]:
        """For each row its next token, and those that would follow if the guesses before them held."""
        device = logits.device
        requests = [lane.job.request for lane in self.lanes for _ in range(len(lane.drafts) + 1)]
        places: list[int] = []
        draws: list[float] = []
        start = 0
        for lane in self.lanes:
            count = len(lane.drafts) + 1
            written, warm = len(lane.ids), lane.job.request.temperature > 0
            for row in lane.rows:
                places += range(start, start + count)
                draws += [row.draws[written + ahead] if warm else 0.0 for ahead in range(count)]
            start += count
        alone = len(places) == start
        tokens, logprobs = choose(
            logits,
            temperature=torch.tensor([request.temperature for request in requests], device=device),
            top_p=torch.tensor([request.top_p for request in requests], device=device),
            draws=torch.tensor(draws, dtype=torch.float64, device=device),
            lanes=None if alone else torch.tensor(places, device=device),
        )
        sampled = zip(tokens.tolist(), logprobs.tolist(), strict=True)
        return {row: list(islice(sampled, len(lane.drafts) + 1)) for lane in self.lanes for row in lane.rows}

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
        counts = [len(lane.drafts) + 1 for lane in self.lanes]
        starts = [0, *accumulate(counts)]
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
            rows = [starts[place] + ahead for place in chosen for ahead in range(counts[place])]
            self._logits = self._logits[torch.tensor(rows, device=self._logits.device)] if rows else None

    def _keep_values(self, lane: Lane, place: int) -> None:
        prompt = lane.filled.prompt
        keys = prompt.keys_with(lane.ids[: lane.length - len(prompt)])
        self._filler.store.insert(keys, lambda start, end: self._slots.read(place, start, end))
