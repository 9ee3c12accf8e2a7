"""From turns to tokens: the chat template, pictures expanded, the assistant's text appended."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepsight.engines.transformers.families import Family
from stepsight.engines.transformers.pictures import Picture, PictureShelf
from stepsight.engines.transformers.prefix_store import Keys
from stepsight.errors import EngineError, InputError
from stepsight.protocols import Turn
from stepsight.records import Piece

_REMEMBERED = 512


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt as the model takes it.

    Attributes:
        ids: Token ids, (tokens,); placeholders at picture positions.
        keys: What identifies each position to the prefix store, (tokens,): the token id, or a negative number drawn
            from the picture's digest and the place inside the picture.
        pictures: In the order of their placeholders.
        places: Positions of all placeholders, ascending.
        positions: Rotary positions, (axes, tokens), where the family does not simply count.
        salt: What the key-values of every token depend on beside what stands before it; 0: nothing.
    """

    ids: npt.NDArray[np.int64]
    keys: Keys
    pictures: tuple[Picture, ...]
    places: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64] | None = None
    salt: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def keys_with(self, ids: Sequence[int]) -> Keys:
        """Keys of the prompt and of what was written behind it."""
        return np.concatenate([self.keys, _salted(np.array(ids, dtype=np.int64), self.salt)])

    def followed_by(self, ids: Sequence[int]) -> Prompt:
        """The prompt with what was written behind it."""
        positions = self.positions
        if positions is not None:
            behind = np.arange(1, len(ids) + 1) + positions.max()
            positions = np.concatenate([positions, np.broadcast_to(behind, (len(positions), len(ids)))], axis=1)
        whole = np.concatenate([self.ids, np.array(ids, dtype=np.int64)])
        return Prompt(whole, self.keys_with(ids), self.pictures, self.places, positions, self.salt)


_PLACES = 2**62 - 1


def _salted(ids: npt.NDArray[np.int64], salt: int) -> Keys:
    """Token ids as keys; with a salt as negative numbers that differ wherever id or salt do."""
    if not salt:
        return ids.copy()
    # An odd factor keeps different ids different; wrapping around is meant.
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    return -1 - (mixed & np.uint64(_PLACES)).astype(np.int64)


class PromptEncoder:
    """Encodes prompts for one processor. Not thread-safe: fast tokenizers are not."""

    def __init__(self, processor: Any, pictures: PictureShelf, family: Family) -> None:
        self._processor = processor
        self._family = family
        self._tokenizer = processor.tokenizer
        self._pictures = pictures
        self._image_token = str(processor.image_token)
        self._placeholder = str(processor.tokenizer.convert_ids_to_tokens(family.placeholder))
        self._remembered: OrderedDict[tuple[str, bool], tuple[int, ...]] = OrderedDict()

    def encode(self, turns: Sequence[Turn], prefix: Sequence[Piece] = ()) -> Prompt:
        """Encode the turns, open the assistant's turn, and append what the assistant has said so far.

        Pieces that carry ids are taken as those ids; neighbouring pieces without ids are tokenised together.

        Raises:
            InputError: A text holds the model's own placeholder for pictures, or the template cannot take the turns.
            PictureError: A picture cannot be read.
        """
        paths = [path for turn in turns for path in turn.images]
        pictures = tuple(self._pictures.get(path, alone=len(paths) == 1) for path in paths)
        text = self._render(turns, expected=len(pictures))
        expansions = iter([picture.expansion for picture in pictures])
        text = re.sub(re.escape(self._image_token), lambda _: next(expansions), text)
        bos = self._tokenizer.bos_token
        opened = self._tokenise(text, special=not (bos and text.startswith(bos)))
        ids = np.array([*opened, *self._continue(prefix)], dtype=np.int64)
        places = np.flatnonzero(ids[: len(opened)] == self._family.placeholder)
        salt = self._family.salt(pictures)
        keys = _salted(ids, salt)
        if sum(picture.tokens for picture in pictures) != len(places):
            raise EngineError(
                "the tokenizer does not keep the picture placeholders whole",
                hint=f"'{self._placeholder}' must be a special token of the tokenizer",
            )
        start = 0
        for picture in pictures:
            inside = np.arange(picture.tokens, dtype=np.int64)
            keys[places[start : start + picture.tokens]] = -1 - ((picture.digest + inside) & _PLACES)
            start += picture.tokens
        positions = self._family.positions(len(ids), places, pictures)
        return Prompt(ids, keys, pictures, places, positions, salt)

    def tokenise(self, text: str) -> tuple[int, ...]:
        """Tokens of assistant text: nothing is added before or after it."""
        return self._tokenise(text, special=False)

    def _render(self, turns: Sequence[Turn], *, expected: int) -> str:
        conversation = [
            {
                "role": turn.role,
                "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}],
            }
            for turn in turns
        ]
        try:
            text = str(self._processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))
        except Exception as error:
            # Templates raise what they like, mostly jinja2 errors that say which role they refuse.
            raise InputError(f"the model's chat template refuses the conversation: {error}") from error
        names = dict.fromkeys((self._image_token, self._placeholder))
        found = sum(text.count(name) for name in names)
        if found != expected:
            raise InputError(
                f"the prompt has {found} picture placeholders for {expected} pictures",
                hint=f"the text of a turn must not contain {' or '.join(repr(name) for name in names)}",
            )
        return text

    def _continue(self, prefix: Sequence[Piece]) -> list[int]:
        ids: list[int] = []
        text = ""
        for piece in prefix:
            if piece.ids is None:
                text += piece.text
                continue
            ids += [*self._tokenise(text, special=False), *piece.ids]
            text = ""
        return [*ids, *self._tokenise(text, special=False)]

    def _tokenise(self, text: str, *, special: bool) -> tuple[int, ...]:
        if not text:
            return ()
        key = (text, special)
        ids = self._remembered.get(key)
        if ids is None:
            ids = tuple(self._tokenizer(text, add_special_tokens=special)["input_ids"])
            self._remembered[key] = ids
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return ids
