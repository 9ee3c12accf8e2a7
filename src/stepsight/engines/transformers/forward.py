"""Running the language model over rows of different length, and filling prompts through the prefix store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from stepsight.engines.transformers.families.causal import Family, Span, Spot
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import PrefixStore, common_length
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.slots import Slots

_WORTH_WAITING = 32
_MAX_PADDED_TOKENS = 8192


@dataclass(frozen=True, eq=False)
class Filled:
    """A prompt whose key-values are known.

    `values` holds them, (layers, 2, heads, tokens, head_dim); `logits`, (vocabulary,), are those after
    the prompt's last token. `computed` tokens ran through the model, `cached` came from the store.
    """

    prompt: Prompt
    values: torch.Tensor
    logits: torch.Tensor
    computed: int
    cached: int


class Runner:
    """The model, its prefix store and its pictures. Not thread-safe: one thread owns it."""

    def __init__(self, family: Family, pictures: PictureShelf, store: PrefixStore, *, max_rows: int) -> None:
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
            self._scratch.reserve(len(rows), max(starts) + max(len(suffix) for suffix in suffixes))
            for row, (place, _) in enumerate(rows):
                self._scratch.fill(row, [filled[place].values])
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
        width = max(len(suffix) for suffix in suffixes)
        self._scratch.reserve(len(prompts), max(starts) + width)
        for row, parts in enumerate(heads):
            self._scratch.fill(row, parts)
        hidden = self._run(suffixes, starts, prompts)
        ends = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=self.shape.device)
        logits = self._head(hidden[torch.arange(len(prompts), device=self.shape.device), ends])
        results = []
        for row, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
            values = self._scratch.read(row, 0, len(prompt))
            self.store.insert(prompt.keys, partial(_cut, values))
            results.append(Filled(prompt, values, logits[row], computed=len(prompt) - start, cached=start))
        return results

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
        begins = torch.tensor(starts, dtype=torch.long, device=device)
        reach = max(starts) + width
        slots.aim(begins, width, reach)
        columns = begins[:, None] + torch.arange(width, device=device)
        span = Span(prompts, starts, width, reach, columns, embedded, slots, spots)
        output = self._family.language(
            inputs_embeds=embedded, past_key_values=slots, use_cache=True, **self._family.arguments(span)
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def _cut(whole: torch.Tensor, start: int, end: int) -> torch.Tensor:
    return whole[:, :, :, start:end].clone()


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
