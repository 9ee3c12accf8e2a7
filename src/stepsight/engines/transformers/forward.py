"""Running the language model over rows of different length, and filling prompts through the prefix store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from stepsight.engines.transformers.attention import NAME, register
from stepsight.engines.transformers.families.causal import Family, Span, Spot
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import Keys, PrefixStore, common_length
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.slots import Slots

_WORTH_WAITING = 32
_WORTH_SHARING = 32
_MAX_PADDED_TOKENS = 8192


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


class Runner:
    """The model, its prefix store and its pictures. Not thread-safe: one thread owns it."""

    def __init__(
        self, family: Family, pictures: PictureShelf, store: PrefixStore, *, max_rows: int, share: bool = False
    ) -> None:
        """Take the parts; with `share` rows stand on trunks where the family allows it (see `slots.py`)."""
        self.share = share and family.shares and share_attention(family.language)
        self.store = store
        self.max_rows = max_rows
        self.context = family.context
        self.shape = family.shape
        self._family = family
        self._pictures = pictures
        self._embed = family.model.get_input_embeddings()
        self._head = family.model.get_output_embeddings()
        self._scratch = Slots(self.shape)

    def step(
        self, slots: Slots, prompts: Sequence[Prompt], tokens: Sequence[int], lengths: Sequence[int]
    ) -> torch.Tensor:
        """Feed one token per row; row i is slot i, began with `prompts[i]` and holds `lengths[i]` tokens.

        Returns:
            Logits, (rows, vocabulary).
        """
        embedded = self._embed(torch.tensor(tokens, dtype=torch.long, device=self.shape.device)[:, None])
        hidden = self._forward(slots, prompts, embedded, lengths)
        logits: torch.Tensor = self._head(hidden[:, 0])
        return logits

    def fill(self, prompts: Sequence[Prompt]) -> list[Filled]:
        """Fill prompts, in the order given, computing only what the store does not hold.

        Prompts that share an uncached beginning are filled in waves: one goes first, the others find its key-values.
        """
        filled: dict[int, Filled] = {}
        waiting = list(range(len(prompts)))
        while waiting:
            matched = {place: self._matched(prompts[place]) for place in waiting}
            wave: list[int] = []
            for place in waiting:
                keys = prompts[place].keys
                gain = max((common_length(keys, prompts[first].keys) for first in wave), default=0) - matched[place]
                if gain < _WORTH_WAITING:
                    wave.append(place)
            for group in _groups(wave, {place: len(prompts[place]) - matched[place] for place in wave}, self.max_rows):
                for place, result in zip(group, self._fill_group([prompts[place] for place in group]), strict=True):
                    filled[place] = result
            waiting = [place for place in waiting if place not in filled]
        return [filled[place] for place in range(len(prompts))]

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
            starts = [len(filled[place].prompt) for place, _ in rows]
            self._scratch.keep(0)
            self.stand(self._scratch, [filled[place] for place, _ in rows])
            hidden = self._run(suffixes, starts, [filled[place].prompt for place, _ in rows])
            for row, (place, slot) in enumerate(rows):
                targets = torch.tensor(options[place][slot][1:], device=self.shape.device)
                logprobs = self._head(hidden[row, : len(targets)]).float().log_softmax(-1)
                scores[place][slot] += float(logprobs.gather(-1, targets[:, None]).sum())
        return scores

    def release(self) -> None:
        """Give back working memory; the store is kept."""
        self._scratch.release()

    def _matched(self, prompt: Prompt) -> int:
        return min(self.store.match(prompt.keys)[0], len(prompt) - 1)

    def _fill_group(self, prompts: Sequence[Prompt]) -> list[Filled]:
        starts: list[int] = []
        heads: list[list[torch.Tensor]] = []
        for prompt in prompts:
            # The last token always runs: its logits are not stored.
            length, parts = self.store.match(prompt.keys[:-1])
            starts.append(self._family.settle(prompt, length))
            heads.append(parts)
        suffixes = [prompt.ids[start:] for prompt, start in zip(prompts, starts, strict=True)]
        self._scratch.keep(0)
        self._plant(prompts, starts, heads)
        hidden = self._run(suffixes, starts, prompts)
        ends = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=self.shape.device)
        logits = self._head(hidden[torch.arange(len(prompts), device=self.shape.device), ends])
        results = []
        for row, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
            parts = [*_between(heads[row], 0, start), self._scratch.read(row, start, len(prompt))]
            self.store.insert(prompt.keys, partial(_copied, parts))
            results.append(Filled(prompt, parts, logits[row], computed=len(prompt) - start, cached=start))
        return results

    def stand(self, slots: Slots, filled: Sequence[Filled]) -> None:
        """Add a row for each filled prompt; neighbours of one prompt stand on one trunk, or get a copy each."""
        last: Filled | None = None
        trunk: int | None = None
        for one in filled:
            if not self.share:
                slots.join(one.parts)
                continue
            if one is not last:
                trunk, last = slots.plant(one.parts), one
            slots.join([], trunk)

    def _plant(self, prompts: Sequence[Prompt], starts: Sequence[int], heads: Sequence[Sequence[torch.Tensor]]) -> None:
        """Give each prompt a scratch row that holds what is known of it, on a trunk with those that begin alike."""
        if not self.share:
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

    def _run(
        self, suffixes: Sequence[np.typing.NDArray[np.int64]], starts: Sequence[int], prompts: Sequence[Prompt]
    ) -> torch.Tensor:
        """Run suffixes of different length as one batch over the scratch slots; hidden states (rows, width, hidden).

        Row i continues the first `starts[i]` tokens of `prompts[i]`, which its suffix may go beyond.
        """
        device = self.shape.device
        width = max(len(suffix) for suffix in suffixes)
        ids = np.zeros((len(suffixes), width), dtype=np.int64)
        spots: list[Spot] = []
        for row, (prompt, start, suffix) in enumerate(zip(prompts, starts, suffixes, strict=True)):
            ids[row, : len(suffix)] = suffix
            spot = self._spot(row, prompt, start)
            if spot is not None:
                spots.append(spot)
                # The placeholder may be no word of the language model at all.
                ids[row, spot.columns.cpu().numpy()] = 0
        embedded = self._embed(torch.from_numpy(ids).to(device))
        for spot in spots:
            embedded[spot.row, spot.columns] = spot.vectors.to(embedded.dtype)
        return self._forward(self._scratch, prompts, embedded, starts, spots)

    def _spot(self, row: int, prompt: Prompt, start: int) -> Spot | None:
        """The picture tokens of a prompt from `start` on; None where there are none, or they stay what they are."""
        fresh = np.flatnonzero(prompt.places >= start)
        if not prompt.pictures or not (len(fresh) or self._family.beside):
            return None
        seen = [self._pictures.see(picture) for picture in prompt.pictures]
        vectors = [one.vectors for one in seen if one.vectors is not None]
        if not len(fresh) or not vectors:
            return None
        device = self.shape.device
        chosen = torch.from_numpy(fresh).to(device)
        deep = [one.deep for one in seen if one.deep is not None]
        return Spot(
            row=row,
            columns=torch.from_numpy(prompt.places[fresh] - start).to(device),
            vectors=torch.cat(vectors)[chosen],
            deep=torch.cat(deep, dim=1)[:, chosen] if deep else None,
        )

    def _forward(
        self,
        slots: Slots,
        prompts: Sequence[Prompt],
        embedded: torch.Tensor,
        starts: Sequence[int],
        spots: Sequence[Spot] = (),
    ) -> torch.Tensor:
        width, device = embedded.shape[1], self.shape.device
        inside = [start - slots.offset(row) for row, start in enumerate(starts)]
        reach = max(inside) + width
        slots.reserve(len(starts), reach)
        along = torch.arange(width, device=device)
        columns = torch.tensor(inside, dtype=torch.long, device=device)
        slots.aim(columns, width, reach)
        columns = columns[:, None] + along
        places = torch.tensor(starts, dtype=torch.long, device=device)[:, None] + along if self.share else columns
        span = Span(prompts, starts, width, reach, places, columns, embedded, slots, spots)
        output = self._family.language(
            inputs_embeds=embedded, past_key_values=slots, use_cache=True, **self._family.arguments(span)
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def share_attention(language: Any) -> bool:
    """Give a language model the attention that knows trunks; False where it runs another than the library's usual."""
    if language.config._attn_implementation == "sdpa":
        register()
        language.config._attn_implementation = NAME
    return bool(language.config._attn_implementation == NAME)


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


def _groups(places: Sequence[int], lengths: dict[int, int], max_rows: int) -> list[list[int]]:
    """Split a wave into batches in which at most about half of the computed positions are padding."""
    groups: list[list[int]] = []
    for place in sorted(places, key=lambda place: lengths[place]):
        group = groups[-1] if groups else []
        padded = (len(group) + 1) * lengths[place]
        if (
            group
            and len(group) < max_rows
            and padded <= _MAX_PADDED_TOKENS
            and lengths[place] <= 2 * lengths[group[0]] + 32
        ):
            group.append(place)
        else:
            groups.append([place])
    return groups
