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
from PIL import Image, ImageOps, UnidentifiedImageError

from stepsight.errors import EngineError, PictureError

_Stat = tuple[str, int, int]


@dataclass(eq=False)
class Picture:
    """One preprocessed picture.

    `digest` is 62 bits of the content's SHA-256. `expansion` is the text that stands for the picture in a prompt and
    holds `tokens` placeholder tokens. `inputs` are the tensors that the vision tower takes; they are dropped once
    `features`, of shape (tokens, hidden), are known.
    """

    digest: int
    expansion: str
    tokens: int
    inputs: dict[str, torch.Tensor]
    features: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        held = [*self.inputs.values(), *([] if self.features is None else [self.features])]
        return sum(tensor.nbytes for tensor in held)


class PictureShelf:
    """Reads, preprocesses and encodes pictures, and keeps the latest within `max_bytes`.

    Pictures in use stay alive with their users whatever the bound. Not thread-safe.
    """

    def __init__(self, model: Any, processor: Any, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._model = model
        self._processor = processor
        self._shelf: OrderedDict[_Stat, Picture] = OrderedDict()

    def get(self, path: Path) -> Picture:
        """The picture in a file.

        Raises:
            PictureError: The file is missing, unreadable, or not a picture.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise PictureError(f"cannot read picture {path}: {error.strerror}") from error
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        picture = self._shelf.get(key)
        if picture is None:
            picture = self._shelf[key] = self._read(path)
        self._shelf.move_to_end(key)
        self._trim()
        return picture

    def features(self, picture: Picture) -> torch.Tensor:
        """What the language model sees of a picture, shape (tokens, hidden); computed at the first call."""
        if picture.features is None:
            inputs = {
                name: value.to(self._model.device, self._model.dtype if value.is_floating_point() else None)
                for name, value in picture.inputs.items()
            }
            output = self._model.get_image_features(**inputs, return_dict=True)
            features = torch.cat([part.reshape(-1, part.shape[-1]) for part in output.pooler_output])
            if len(features) != picture.tokens:
                raise EngineError(
                    f"a picture gives {len(features)} vectors in the model, {picture.tokens} in its processor",
                    hint="the processor and the model in this folder do not belong together",
                )
            picture.features = features.to(self._model.dtype)
            picture.inputs = {}
        return picture.features

    def _read(self, path: Path) -> Picture:
        try:
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise PictureError(f"cannot read picture {path}: {error}") from error
        # The processor's own per-picture steps, without the text: the expansion is spliced in by prompts.py.
        options = dict(getattr(self._processor, "images_kwargs", None) or {})
        made = self._processor.image_processor([image], return_tensors="pt", **options)
        expansion = str(self._processor.replace_image_token(made, image_idx=0))
        inputs = {name: made[name] for name in ("pixel_values", "pixel_attention_mask") if name in made}
        digest = hashlib.sha256()
        for name, value in sorted(inputs.items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return Picture(
            digest=int.from_bytes(digest.digest()[:8], "big") >> 2,
            expansion=expansion,
            tokens=expansion.count(self._processor.image_token),
            inputs=inputs,
        )

    def _trim(self) -> None:
        total = sum(picture.nbytes for picture in self._shelf.values())
        while total > self.max_bytes and len(self._shelf) > 1:
            _, dropped = self._shelf.popitem(last=False)
            total -= dropped.nbytes
