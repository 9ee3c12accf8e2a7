"""Dense alignment: before it reads or writes, pico learns to name what each patch of a picture shows.

Every projected patch must point, in the space of word embeddings, to its grid cell, to `object` or `table`, and where
an object stands to its size, color, material and shape. Without this first step captions stay blind for a long time:
the text model learns the wording and ignores the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import Dataset

from stepsight.world.drawing import draw_picture
from stepsight.world.scene import CELLS, GRID, VALUES
from stepsight.world.split import pose

PRESENCE = ("table", "object")
NAMES: dict[str, tuple[str, ...]] = {"cell": CELLS, "presence": PRESENCE} | {
    str(name): values for name, values in VALUES.items()
}
ABSENT = -100
SHARPNESS = 3.0
"""What inner products with word embeddings are multiplied by, so that embeddings can stay small."""


class Patches(Dataset[dict[str, torch.Tensor]]):
    """Pictures of the training split with the name of every patch."""

    def __init__(self, processor: Any, *, seed: int, length: int) -> None:
        self.processor, self.seed, self.length = processor, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        posed = pose("train", seed=self.seed, index=index)
        pixels = self.processor.image_processor(draw_picture(posed.scene), return_tensors="pt")["pixel_values"][0]
        names = {name: torch.full((GRID * GRID,), ABSENT) for name in NAMES}
        names["cell"] = torch.arange(GRID * GRID)
        names["presence"] = torch.zeros(GRID * GRID, dtype=torch.long)
        for thing in posed.scene.things:
            place = CELLS.index(thing.cell)
            names["presence"][place] = 1
            for attribute, values in VALUES.items():
                names[attribute][place] = values.index(thing.get(attribute))
        return {"pixel_values": pixels, **names}


class AlignLoss:
    """The loss of dense alignment for a Llava model whose patches coincide with the grid's cells.

    Args:
        tokenizer: makes one token of each name.
        names: kinds of names that are learned; all of `NAMES` unless given.
        keep: what a change of the patches counts, as their mean squared change over their variance, against what the
            model makes of them at the start. So a model that reads them already goes on reading them.
        model: that model, if `keep` is not 0.
    """

    def __init__(self, tokenizer: Any, names: Sequence[str] = (), *, keep: float = 0.0, model: Any = None) -> None:
        self.keep = keep
        self.before = deepcopy(model).eval().requires_grad_(False) if keep else None
        self.words = {
            name: torch.tensor([_single_token(tokenizer, " " + word) for word in words])
            for name, words in NAMES.items()
            if not names or name in names
        }

    def __call__(self, model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The summed cross entropies of all names, and the share of right names for each.

        Args:
            model: gives projected patches, [pictures, patches, hidden].
            batch: `pixel_values`, and for each name the right word's index per patch ([pictures, patches]).
        """
        patches = _patches(model, batch["pixel_values"])
        embeddings = model.get_input_embeddings().weight
        losses, right = [], {}
        for name, words in self.words.items():
            truth = batch[name]
            logits = SHARPNESS * (patches @ embeddings[words.to(embeddings.device)].T).float()
            losses.append(functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=ABSENT))
            known = truth != ABSENT
            right[name] = (logits.argmax(-1) == truth)[known].float().mean()
        if self.before is not None:
            with torch.no_grad():
                known_patches = _patches(self.before, batch["pixel_values"])
            right["changed"] = (patches - known_patches).pow(2).mean() / known_patches.var()
            losses.append(self.keep * right["changed"])
        return torch.stack(losses).sum(), right


def _patches(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Projected patches, [pictures, patches, hidden]."""
    features = model.model.get_image_features(pixel_values=pixels).pooler_output
    return features if isinstance(features, torch.Tensor) else torch.stack(list(features))


def _single_token(tokenizer: Any, word: str) -> int:
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens, not one")
    return int(ids[0])
