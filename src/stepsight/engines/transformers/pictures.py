"""Pictures on their way into the model: read once, encoded once, known by their content.

A picture is keyed by a digest of its pixel values, never by its placeholder tokens: two pictures under the same text
must not share key-values.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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
    is `seen` is known. `grid` counts frames, rows and columns of patches where the family lays them out so.
    """

    digest: int
    expansion: str
    tokens: int
    inputs: dict[str, torch.Tensor]
    grid: tuple[int, int, int] = (1, 1, 1)
    seen: Seen | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        held = [*self.inputs.values(), *([] if self.seen is None else self.seen.tensors)]
        return sum(tensor.nbytes for tensor in held)


class PictureShelf:
    """Reads, preprocesses and encodes pictures, and keeps the latest within `max_bytes`.

    Pictures in use stay alive with their users whatever the bound. Not thread-safe.
    """

    def __init__(self, family: Family, processor: Any, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._family = family
        self._processor = processor
        self._placeholder = str(processor.tokenizer.convert_ids_to_tokens(family.placeholder))
        self._shelf: OrderedDict[_Shelved, Picture] = OrderedDict()

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
                name: value.to(model.device, model.dtype if value.is_floating_point() else None)
                for name, value in picture.inputs.items()
            }
            seen = self._family.see(inputs)
            if seen.vectors is not None and len(seen.vectors) != picture.tokens:
                raise EngineError(
                    f"a picture gives {len(seen.vectors)} vectors in the model, {picture.tokens} in its processor",
                    hint="the processor and the model in this folder do not belong together",
                )
            picture.seen = seen
            picture.inputs = {}
            # It may take more room now than it did.
            self._trim()
        return picture.seen

    def _read(self, path: Path, *, alone: bool) -> Picture:
        image = load_picture(path)
        # The processor's own per-picture steps, without the text: the expansion is spliced in by prompts.py. A picture
        # that is not alone is prepared beside itself, and the second one left.
        options = dict(getattr(self._processor, "images_kwargs", None) or {})
        images = [image] if alone else [[image, image]]
        made = self._processor.image_processor(images, return_tensors="pt", **options)
        expansion = str(self._processor.replace_image_token(made, image_idx=0))
        inputs = {name: torch.as_tensor(made[name]) for name in _INPUTS if name in made}
        if not alone:
            inputs |= {name: inputs[name][:1] for name in ("pixel_values", "image_sizes")}
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
