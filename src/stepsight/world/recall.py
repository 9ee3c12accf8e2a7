"""Which question of the world is being asked: by the picture's pixels, then by the words.

A picture is known by the hash of its decoded pixels, so it does not matter in which lossless file it arrives and what
became of its PNG mark; one that was scaled or recompressed is not recognised. The words may stand anywhere in a longer
prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from PIL import Image

from stepsight.errors import InputError
from stepsight.pictures import load_picture, picture_hash
from stepsight.records import Question


class Recall:
    """Questions of the world by picture and words."""

    def __init__(self, questions: Iterable[Question]) -> None:
        """Decode the picture of every question once.

        Raises:
            InputError: there is no question of the world among them.
            PictureError: a picture cannot be read.
        """
        self.count = 0
        self._by_picture: defaultdict[str, list[tuple[str, Question]]] = defaultdict(list)
        hashes: dict[str, str] = {}
        for question in questions:
            if "scene" not in question.meta or "program" not in question.meta or len(question.images) != 1:
                continue
            path = str(question.images[0])
            if path not in hashes:
                hashes[path] = picture_hash(load_picture(question.images[0]))
            self._by_picture[hashes[path]].append((_plain(question.text), question))
            self.count += 1
        if not self.count:
            raise InputError("there is no question of the drawn world", hint="make some with `stepsight draw`")

    def find(self, picture: Image.Image, text: str) -> Question | None:
        """The question about `picture` whose words stand in `text`.

        Of several, one whose choices stand there too goes before one whose do not, then the longer. None if there is
        none.
        """
        said = _plain(text)
        found = [
            (all(_plain(choice) in said for choice in question.choices), len(words), bool(question.choices), question)
            for words, question in self._by_picture.get(picture_hash(picture), ())
            if words in said
        ]
        return max(found, key=lambda one: one[:3])[3] if found else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
