"""Running the language model over rows of different length, and filling prompts through the prefix store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import PrefixStore, common_length
from stepsight.engines.transformers.prompts import Prompt
from stepsight.engines.transformers.slots import KVShape, Slots

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

    def __init__(self, model: Any, pictures: PictureShelf, store: PrefixStore, *, max_rows: int) -> None:
        family = family_of(model.config)
        self.store = store
        self.max_rows = max_rows
        self.context = int(model.config.text_config.max_position_embeddings)
        self.shape = KVShape.of(model.config.text_config, dtype=model.dtype, device=model.device)
        self._pictures = pictures
        self._language = getattr(model.model, family.language)
        self._embed = model.get_input_embeddings()
        self._head = model.get_output_embeddings()
        self._scratch = Slots(self.shape)

    def step(self, slots: Slots, tokens: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        """Feed one token per row; row i is slot i and holds `lengths[i]` tokens. Returns logits (rows, vocabulary)."""
        device = self.shape.device
        starts = torch.tensor(lengths, dtype=torch.long, device=device)
        embedded = self._embed(torch.tensor(tokens, dtype=torch.long, device=device)[:, None])
        hidden = self._forward(slots, embedded, starts, max(lengths) + 1)
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
            hidden = self._run(suffixes, starts, None)
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
            starts.append(length)
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
        self, suffixes: Sequence[np.typing.NDArray[np.int64]], starts: Sequence[int], prompts: Sequence[Prompt] | None
    ) -> torch.Tensor:
        """Run suffixes of different length as one batch over the scratch slots; hidden states (rows, width, hidden)."""
        device = self.shape.device
        width = max(len(suffix) for suffix in suffixes)
        ids = np.zeros((len(suffixes), width), dtype=np.int64)
        for row, suffix in enumerate(suffixes):
            ids[row, : len(suffix)] = suffix
        embedded = self._embed(torch.from_numpy(ids).to(device))
        for row, prompt in enumerate(prompts or ()):
            fresh = np.flatnonzero(prompt.places >= starts[row])
            if len(fresh):
                features = torch.cat([self._pictures.features(picture) for picture in prompt.pictures])
                columns = torch.from_numpy(prompt.places[fresh] - starts[row]).to(device)
                embedded[row, columns] = features[torch.from_numpy(fresh).to(device)].to(embedded.dtype)
        return self._forward(
            self._scratch, embedded, torch.tensor(starts, dtype=torch.long, device=device), max(starts) + width
        )

    def _forward(self, slots: Slots, embedded: torch.Tensor, starts: torch.Tensor, seen: int) -> torch.Tensor:
        rows, width = embedded.shape[:2]
        device = self.shape.device
        positions = starts[:, None] + torch.arange(width, device=device)
        hidden_columns = torch.arange(seen, device=device) > positions[:, :, None]
        mask = torch.zeros(rows, 1, width, seen, dtype=embedded.dtype, device=device)
        mask.masked_fill_(hidden_columns[:, None], torch.finfo(embedded.dtype).min)
        slots.aim(starts, width, seen)
        # Rows shorter than the widest end in rubbish whose positions may lie beyond the last one that the model knows.
        output = self._language(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions.clamp(max=self.context - 1),
            past_key_values=slots,
            use_cache=True,
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
