"""Filling prompts: computing the key-values that the store does not hold, in pieces.

What many prompts have in common is computed once. A long prompt is filled piece by piece, so that whoever decodes
meanwhile gets its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.prefix_store import Keys, PrefixStore, common_length
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.slots import Slots

_WORTH_WAITING = 32
_WORTH_SHARING = 32
_MAX_PADDED_TOKENS = 8192
_LEAST_PIECE = 64


@dataclass(frozen=True, eq=False)
class Filled:
    """A prompt whose key-values are known.

    `parts` holds them one after the other, each (layers, 2, heads, tokens, head_dim): those found in the store, then
    those computed. `logits`, (vocabulary,), are those after the prompt's last token. `computed` tokens ran through the
    model, `cached` came from the store.
    """

    prompt: Prompt
    parts: Sequence[torch.Tensor]
    logits: torch.Tensor
    computed: int
    cached: int


Found = list[tuple[int, Filled]]
"""Prompts that are filled, each with its place among those asked for."""


class Filler:
    """Fills prompts through the store. Not thread-safe: one thread owns it."""

    def __init__(self, runner: Runner, store: PrefixStore, *, max_rows: int, max_bytes: int | None = None) -> None:
        """Take the parts; batches have at most `max_rows` prompts whose copies take at most `max_bytes`."""
        self.store = store
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.runner = runner
        self._scratch = Slots(runner.shape)

    def filling(self, prompts: Sequence[Prompt], *, piece: int | None = None) -> Iterator[Found]:
        """Fill prompts, computing only what the store does not hold; yields after each piece of work what is ready.

        Prompts that share an uncached beginning are filled in waves: one goes first, the others find its key-values.
        Only one filling may be under way.

        Args:
            prompts: What to fill.
            piece: About how many tokens a piece of work may have; None: as many as a batch holds.
        """
        done: set[int] = set()
        waiting = list(range(len(prompts)))
        while waiting:
            matched = {place: self._matched(prompts[place]) for place in waiting}
            wave: list[int] = []
            for place in waiting:
                keys = prompts[place].keys
                gain = max((common_length(keys, prompts[first].keys) for first in wave), default=0) - matched[place]
                if gain < _WORTH_WAITING:
                    wave.append(place)
            for group in self._groups(prompts, wave, matched):
                for results in self._fill_group([prompts[place] for place in group], piece):
                    yield [(group[row], result) for row, result in results]
                done.update(group)
            waiting = [place for place in waiting if place not in done]

    def scores(self, filled: Sequence[Filled], options: Sequence[Sequence[tuple[int, ...]]]) -> list[list[float]]:
        """Log-probability in nats of each option (its tokens) after its filled prompt.

        Options of one token are read off the prompt's last logits; the rest of longer ones runs as rows of one batch.
        """
        firsts = [one.logits.float().log_softmax(-1) for one in filled]
        scores = [[float(first[ids[0]]) for ids in row] for first, row in zip(firsts, options, strict=True)]
        longer = [(place, slot) for place, row in enumerate(options) for slot, ids in enumerate(row) if len(ids) > 1]
        for begin in range(0, len(longer), self.max_rows):
            rows = longer[begin : begin + self.max_rows]
            suffixes = [np.array(options[place][slot][:-1], dtype=np.int64) for place, slot in rows]
            prompts = [filled[place].prompt for place, _ in rows]
            self._scratch.keep(0)
            self.stand(self._scratch, [filled[place] for place, _ in rows])
            hidden = self.runner.run(self._scratch, suffixes, [len(prompt) for prompt in prompts], prompts)
            for row, (place, slot) in enumerate(rows):
                targets = torch.tensor(options[place][slot][1:], device=hidden.device)
                logprobs = self.runner.logits(hidden[row, : len(targets)]).float().log_softmax(-1)
                scores[place][slot] += float(logprobs.gather(-1, targets[:, None]).sum())
        return scores

    def stand(self, slots: Slots, filled: Sequence[Filled]) -> None:
        """Add a row for each filled prompt; neighbours of one prompt stand on one trunk, or get a copy each."""
        last: Filled | None = None
        trunk: int | None = None
        for one in filled:
            if not self.runner.share:
                slots.join(one.parts)
                continue
            if one is not last:
                trunk, last = slots.plant(one.parts), one
            slots.join([], trunk)

    def release(self) -> None:
        """Give back working memory; the store is kept."""
        self._scratch.release()

    def _matched(self, prompt: Prompt) -> int:
        return min(self.store.match(prompt.keys)[0], len(prompt) - 1)

    def _fill_group(self, prompts: Sequence[Prompt], piece: int | None) -> Iterator[Found]:
        starts: list[int] = []
        heads: list[list[torch.Tensor]] = []
        for prompt in prompts:
            # The last token always runs: its logits are not stored.
            length, parts = self.store.match(prompt.keys[:-1])
            starts.append(self.runner.family.settle(prompt, length))
            heads.append(parts)
        self._scratch.keep(0)
        # At once, for nothing is in it yet that had to be copied.
        share = self.runner.share
        columns = max(
            len(prompt) - start if share else len(prompt) for prompt, start in zip(prompts, starts, strict=True)
        )
        self._scratch.reserve(len(prompts), columns)
        self._plant(prompts, starts, heads)
        width = max(len(prompt) - start for prompt, start in zip(prompts, starts, strict=True))
        if piece is not None and self.runner.family.pieces:
            width = max(_LEAST_PIECE, piece // len(prompts))
        at = list(starts)
        while any(place < len(prompt) for place, prompt in zip(at, prompts, strict=True)):
            # Rows that are ready run their last token again rather than nothing: the row's place is kept.
            begins = [min(place, len(prompt) - 1) for place, prompt in zip(at, prompts, strict=True)]
            suffixes = [prompt.ids[begin : begin + width] for begin, prompt in zip(begins, prompts, strict=True)]
            hidden = self.runner.run(self._scratch, suffixes, begins, prompts, ends=True)
            ready: list[int] = []
            for row, (prompt, begin, suffix) in enumerate(zip(prompts, begins, suffixes, strict=True)):
                before, at[row] = at[row], begin + len(suffix)
                if before < len(prompt) == at[row]:
                    ready.append(row)
            found: Found = []
            for row, logits in zip(ready, self.runner.logits(hidden[ready]) if ready else (), strict=True):
                prompt, start = prompts[row], starts[row]
                parts = [*_between(heads[row], 0, start), self._scratch.read(row, start, len(prompt))]
                self.store.insert(prompt.keys, partial(_copied, parts))
                found.append((row, Filled(prompt, parts, logits, computed=len(prompt) - start, cached=start)))
            yield found

    def _plant(self, prompts: Sequence[Prompt], starts: Sequence[int], heads: Sequence[Sequence[torch.Tensor]]) -> None:
        """Give each prompt a scratch row that holds what is known of it, on a trunk with those that begin alike."""
        if not self.runner.share:
            for parts, start in zip(heads, starts, strict=True):
                self._scratch.join(_between(parts, 0, start))
            return
        trunks: dict[int, tuple[int, int]] = {}
        for rows, length in alike([prompt.keys[:start] for prompt, start in zip(prompts, starts, strict=True)]):
            number = self._scratch.plant(_between(heads[rows[0]], 0, length))
            trunks |= dict.fromkeys(rows, (number, length))
        for row, parts in enumerate(heads):
            number, length = trunks[row]
            self._scratch.join(_between(parts, length, starts[row]), number)

    def _groups(self, prompts: Sequence[Prompt], wave: Sequence[int], matched: dict[int, int]) -> list[list[int]]:
        """Split a wave into batches in which at most about half of the computed positions are padding."""
        groups: list[list[int]] = []
        fresh = {place: len(prompts[place]) - matched[place] for place in wave}
        for place in sorted(wave, key=lambda place: fresh[place]):
            group = groups[-1] if groups else []
            rows = len(group) + 1
            longest = max([len(prompts[place]), *(len(prompts[other]) for other in group)])
            held = rows * (fresh[place] if self.runner.share else longest) * self.runner.shape.token_bytes
            if (
                group
                and rows <= self.max_rows
                and rows * fresh[place] <= _MAX_PADDED_TOKENS
                and (self.max_bytes is None or held <= self.max_bytes)
                and fresh[place] <= 2 * fresh[group[0]] + 32
            ):
                group.append(place)
            else:
                groups.append([place])
        return groups


def alike(beginnings: Sequence[Keys]) -> list[tuple[list[int], int]]:
    """Put together sequences that share most of themselves.

    Returns:
        Groups of places in `beginnings`, each with the length that its members have in common. Sequences too short to
        be worth sharing are one group with nothing in common.
    """
    groups: list[tuple[list[int], int]] = []
    short: list[int] = []
    for place, keys in enumerate(beginnings):
        if len(keys) < _WORTH_SHARING:
            short.append(place)
            continue
        for index, (members, length) in enumerate(groups):
            common = common_length(keys, beginnings[members[0]][:length])
            if common >= max(_WORTH_SHARING, min(length, len(keys)) * 3 // 4):
                groups[index] = ([*members, place], common)
                break
        else:
            groups.append(([place], len(keys)))
    return [*groups, (short, 0)] if short else groups


def _between(parts: Sequence[torch.Tensor], start: int, end: int) -> list[torch.Tensor]:
    """The stretch [start, end) of key-values that lie in several pieces; views."""
    found = []
    for part in parts:
        length = part.shape[3]
        if max(0, start) < min(length, end):
            found.append(part[:, :, :, max(0, start) : min(length, end)])
        start, end = start - length, end - length
    return found


def _copied(parts: Sequence[torch.Tensor], start: int, end: int) -> torch.Tensor:
    found = _between(parts, start, end)
    return found[0].clone() if len(found) == 1 else torch.cat(found, dim=3)
