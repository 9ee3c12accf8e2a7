"""Dense alignment: before it reads or writes, pico learns to name what each patch of a picture shows.

Every projected patch must point, in the space of word embeddings, to its grid cell, to `object` or `table`, and where
an object stands to its size, color, material and shape. Without this first step captions stay blind for a long time:
the text model learns the wording and ignores the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from stepsight.world.drawing import draw_picture
from stepsight.world.scene import CELLS, GRID, VALUES
from stepsight.world.split import pose

PRESENCE = ("table", "object")
NAMES: dict[str, tuple[str, ...]] = {"cell": CELLS, "presence": PRESENCE, **VALUES}
ABSENT = -100


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


class Aligner(nn.Module):
    """A loss over a Llava model whose patches coincide with the grid's cells; wraps, and trains, the model."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model
        self.words = {
            name: torch.tensor([_single_token(tokenizer, " " + word) for word in words]) for name, words in NAMES.items()
        }
        self.sharpness = nn.ParameterDict({name: nn.Parameter(torch.tensor(1.0)) for name in NAMES})

    def forward(self, pixel_values: torch.Tensor, **names: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.model.model.get_image_features(pixel_values=pixel_values).pooler_output
        patches = torch.stack(list(features)) if not isinstance(features, torch.Tensor) else features
        embeddings = self.model.get_input_embeddings().weight
        losses, correct = [], {}
        for name, truth in names.items():
            logits = (patches @ embeddings[self.words[name]].T).float() * self.sharpness[name].exp()
            losses.append(functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=ABSENT))
            known = truth != ABSENT
            correct[name] = (logits.argmax(-1) == truth)[known].float().mean()
        # Features keep the scale of embeddings, which is what the text model expects in their place.
        return {"loss": torch.stack(losses).sum(), **correct}


def _single_token(tokenizer: Any, word: str) -> int:
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens, not one")
    return int(ids[0])
