"""Pictures on their way into the model: read once, encoded once, known by their content.

A picture is keyed by a digest of its pixel values, never by its placeholder tokens: two pictures under the same text
must not share key-values.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from PIL import Image

from stepsight.engines.transformers.families.causal import Family, Seen
from stepsight.errors import EngineError, PictureError
from stepsight.pictures import load_picture

_Shelved = tuple[str, int, int, bool]

# What vision towers are called with, of all that processors make. The rest counts tokens.
_INPUTS = (
    "pixel_values",
    "pixel_attention_mask",
    "image_grid_thw",
    "image_sizes",
    "aspect_ratio_ids",
    "aspect_ratio_mask",
    "num_tiles",
    "batch_num_images",
)


@dataclass(eq=False)
class Picture:
    """One preprocessed picture.

    `digest` is 62 bits of the content's SHA-256. `expansion` is the text that stands for the picture in a prompt and
    holds `tokens` placeholder tokens. `inputs` are the tensors that the vision tower takes; they are dropped once what
    is `seen` is known, except where that may be let go of again. `grid` counts frames, rows and columns of patches
    where the family lays them out so. `used` rises with each look at it.
    """

    digest: int
    expansion: str
    tokens: int
    inputs: dict[str, torch.Tensor]
    grid: tuple[int, int, int] = (1, 1, 1)
    seen: Seen | None = None
    used: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        held = [*self.inputs.values(), *([] if self.seen is None else self.seen.tensors)]
        return sum(tensor.nbytes for tensor in held)


def prepare(processor: Any, image: Image.Image, *, alone: bool = True) -> tuple[str, dict[str, torch.Tensor]]:
    """A picture as a processor prepares it, without the text: the processor's own per-picture steps.

    Args:
        processor: Of the model.
        image: RGB.
        alone: Whether it is the only picture of its conversation; to some families it then looks different.

    Returns:
        The text that stands for it in a prompt, and the tensors that the model takes of it (and `num_tiles`, where the
        family counts tiles), each with a first axis of one picture or of its parts.
    """
    options = dict(getattr(processor, "images_kwargs", None) or {})
    # One that is not alone is prepared beside itself, and the second one left.
    images = [image] if alone else [[image, image]]
    made = processor.image_processor(images, return_tensors="pt", **options)
    expansion = str(processor.replace_image_token(made, image_idx=0))
    inputs = {name: torch.as_tensor(made[name]) for name in _INPUTS if name in made}
    if not alone:
        inputs |= {name: inputs[name][:1] for name in ("pixel_values", "image_sizes")}
    return expansion, inputs


class PictureShelf:
    """Reads, preprocesses and encodes pictures, and keeps the latest within `max_bytes`.

    Pictures in use stay alive with their users whatever the bound. Of a family that looks at them beside the text, at
    every step, what is seen of them counts as well: beyond the bound that of the pictures looked at least recently is
    let go of, and encoded anew when somebody looks again. What one step looks at is there all at once, whatever the
    bound. Not thread-safe.
    """

    def __init__(self, family: Family, processor: Any, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._family = family
        self._processor = processor
        self._placeholder = str(processor.tokenizer.convert_ids_to_tokens(family.placeholder))
        self._shelf: OrderedDict[_Shelved, Picture] = OrderedDict()
        self._seen: WeakSet[Picture] = WeakSet()
        self._clock = count(1)

    @property
    def nbytes(self) -> int:
        """Bytes of pictures kept, of those in use, and of what is laid out of them."""
        return sum(picture.nbytes for picture in {*self._shelf.values(), *self._seen}) + self._family.laid_bytes

    def hold(self, rows: Sequence[tuple[Picture, ...]]) -> None:
        """Have all that the rows of a step look at, within the bound as far as that can be."""
        self._family.leave(rows, 0)
        needed = dict.fromkeys(chain(*rows))
        for picture in needed:
            self.see(picture)
            over = self.nbytes - self.max_bytes
            for other in sorted(self._seen, key=lambda one: one.used):
                if over > 0 and other not in needed and other.seen is not None:
                    over -= sum(tensor.nbytes for tensor in other.seen.tensors)
                    other.seen = None
                    self._seen.discard(other)
        self._family.leave(rows, max(0, self.max_bytes - self.nbytes))

    def get(self, path: Path, *, alone: bool = True) -> Picture:
        """The picture in a file.

        Args:
            path: The file.
            alone: Whether it is the only picture of its conversation; to some families it then looks different.

        Raises:
            PictureError: The file is missing, unreadable, or not a picture.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise PictureError(f"cannot read picture {path}: {error.strerror}") from error
        alone = alone or not self._family.alone_differs
        key = (str(path), stat.st_mtime_ns, stat.st_size, alone)
        picture = self._shelf.get(key)
        if picture is None:
            picture = self._shelf[key] = self._read(path, alone=alone)
            self._trim()
        self._shelf.move_to_end(key)
        return picture

    def see(self, picture: Picture) -> Seen:
        """What the language model gets of a picture; computed at the first call."""
        if picture.seen is None:
            model = self._family.model
            inputs = {
                name: value.to(self._family.device, model.dtype if value.is_floating_point() else None)
                for name, value in picture.inputs.items()
            }
            seen = self._family.see(inputs)
            if seen.vectors is not None and len(seen.vectors) != picture.tokens:
                raise EngineError(
                    f"a picture gives {len(seen.vectors)} vectors in the model, {picture.tokens} in its processor",
                    hint="the processor and the model in this folder do not belong together",
                )
            picture.seen = seen
            self._seen.add(picture)
            if not self._family.beside:
                picture.inputs = {}
            # It may take more room now than it did.
            self._trim()
        picture.used = next(self._clock)
        return picture.seen

    def _read(self, path: Path, *, alone: bool) -> Picture:
        expansion, inputs = prepare(self._processor, load_picture(path), alone=alone)
        digest = hashlib.sha256()
        for name, value in sorted(inputs.items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        grid = inputs["image_grid_thw"][0].tolist() if "image_grid_thw" in inputs else (1, 1, 1)
        return Picture(
            digest=int.from_bytes(digest.digest()[:8], "big") >> 2,
            expansion=expansion,
            tokens=expansion.count(self._placeholder),
            inputs=inputs,
            grid=(int(grid[0]), int(grid[1]), int(grid[2])),
        )

    def _trim(self) -> None:
        total = sum(picture.nbytes for picture in self._shelf.values())
        while total > self.max_bytes and len(self._shelf) > 1:
            _, dropped = self._shelf.popitem(last=False)
            total -= dropped.nbytes
