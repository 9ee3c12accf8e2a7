"""Splits of the world: questions with pictures, by split name, seed and index.

Which split a scene belongs to is decided by a hash of its layout, so no scene of one split can appear in another,
whatever the seeds. `hard` has more objects, which hide one another, and longer ways to the answer; training never
draws from it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, PngImagePlugin

from stepsight.errors import InputError
from stepsight.files import whole_file
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.records import Question
from stepsight.stages import Stage, render
from stepsight.world.drawing import MARK, draw_picture
from stepsight.world.programs import Family, Seen, seen
from stepsight.world.questions import Asked, ask_about
from stepsight.world.scene import Scene, SceneRange, draw_scene
from stepsight.world.teacher import teach
from stepsight.world.walks import walk


@dataclass(frozen=True)
class Split:
    """What a split draws: scenes, families of questions, and the share of the hash space that is its own."""

    scenes: SceneRange
    weights: dict[Family, float]
    shares: range
    specific: float = 0.0


STANDARD: dict[Family, float] = {
    "count": 1.0,
    "exist": 1.0,
    "compare": 1.0,
    "attribute": 1.0,
    "spatial": 1.0,
    "subtract-one": 1.0,
    "subtract-two": 1.5,
    "add": 0.8,
}
LONG: dict[Family, float] = {
    "count": 1.0,
    "compare": 1.5,
    "spatial": 1.5,
    "subtract-one": 1.0,
    "subtract-two": 2.5,
    "add": 1.0,
}

SPLITS: dict[str, Split] = {
    "train": Split(SceneRange(3, 7, 0.85), STANDARD, range(0, 80)),
    "test": Split(SceneRange(3, 7, 0.85), STANDARD, range(80, 90)),
    "hard": Split(SceneRange(8, 10, 0.6), LONG, range(90, 100), specific=0.6),
}


@dataclass(frozen=True)
class Posed:
    """A question about a scene before it is drawn: all that is true of it."""

    id: str
    split: str
    scene: Scene
    things: tuple[Seen, ...]
    asked: Asked
    stages: dict[Stage, str]

    def question(self, images: tuple[Path, ...] = ()) -> Question:
        """The record that goes into `questions.jsonl`."""
        program = self.asked.program
        return Question(
            id=self.id,
            text=self.asked.text,
            images=images,
            choices=self.asked.choices,
            answer=self.asked.answer,
            source="tabletop",
            meta={
                "split": self.split,
                "family": program.family,
                "program": program.to_dict(),
                "scene": self.scene.to_dict(),
                "staged_answer": render(self.stages),
            },
        )


@dataclass(frozen=True)
class Drawn:
    """A posed question as a record, with its picture (RGB, 224 x 224)."""

    question: Question
    picture: Image.Image


def pose(split: str, *, seed: int, index: int, crowded: bool = False) -> Posed:
    """The question number `index` of a split under a seed; the same for ever.

    Args:
        split: `train`, `test` or `hard`.
        seed: run seed.
        index: which question.
        crowded: only scenes with as many objects as the split has at most, or one less.

    Raises:
        InputError: there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}", hint=f"choose one of {', '.join(SPLITS)}")
    rules = SPLITS[split]
    rng = random.Random(f"tabletop:{split}:{seed}:{index}")
    scenes = replace(rules.scenes, fewest=rules.scenes.most - 1) if crowded else rules.scenes
    while True:
        scene = draw_scene(rng, scenes)
        if share_of(scene) in rules.shares:
            break
    things = seen(scene)
    asked = ask_about(rng, things, rules.weights, specific=rules.specific)
    stages = teach(rng, asked.program, things, walk(asked.program, things), asked.choices)
    kind = f"{split}-crowded" if crowded else split
    return Posed(f"tabletop-{kind}-{seed}-{index}", split, scene, things, asked, stages)


def share_of(scene: Scene) -> int:
    """0 to 99, from what stands in which cell and nothing else."""
    layout = ";".join(thing.words for thing in seen(scene))
    return int.from_bytes(hashlib.sha256(layout.encode()).digest()[:4], "big") % 100


def draw_split(split: str, *, seed: int, count: int) -> Iterator[Drawn]:
    """Draw the first `count` questions of a split under a seed."""
    for index in range(count):
        posed = pose(split, seed=seed, index=index)
        yield Drawn(posed.question(), draw_picture(posed.scene))


def png_of(picture: Image.Image) -> bytes:
    """A PNG that says it was drawn by the world."""
    mark = PngImagePlugin.PngInfo()
    mark.add_text(*MARK)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", pnginfo=mark)
    return stream.getvalue()


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write such a PNG; it appears whole or not at all."""
    with whole_file(path) as stream:
        stream.write(png_of(picture))


def save_split(
    split: str,
    *,
    seed: int,
    count: int,
    out: Path,
    crowded: bool = False,
    families: Collection[Family] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write pictures and `questions.jsonl` under `out`; pictures that are there already are kept.

    Args:
        split: `train`, `test` or `hard`.
        seed: run seed.
        count: how many questions.
        out: folder, made if absent.
        crowded: only scenes with as many objects as the split has at most, or one less.
        families: only questions of these; of all families if it is empty.
        progress: called with the number of questions done.

    Returns:
        The path of `questions.jsonl`, in which images are named relative to it.

    Raises:
        InputError: there is no such split, or it asks no question of these families.
    """
    if families and split in SPLITS and not set(families) & set(SPLITS[split].weights):
        raise InputError(
            f"{split} asks none of {', '.join(families)}", hint=f"it asks {', '.join(SPLITS[split].weights)}"
        )

    def questions() -> Iterator[Question]:
        posed_of_all = (pose(split, seed=seed, index=index, crowded=crowded) for index in itertools.count())
        wanted = (posed for posed in posed_of_all if not families or posed.asked.program.family in families)
        for done, posed in enumerate(itertools.islice(wanted, count), start=1):
            image = Path("images") / f"{posed.id}.png"
            if not (out / image).exists():
                save_picture(draw_picture(posed.scene), out / image)
            yield posed.question((image,))
            progress(done)

    path = out / "questions.jsonl"
    write_jsonl(path, questions())
    return path


def load_questions(path: Path) -> list[Question]:
    """Read `questions.jsonl`; image paths are resolved against its folder.

    Raises:
        InputError: no such file.
        RecordError: a malformed row, by file and line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="make one with `stepsight draw`")
    return [
        question.model_copy(update={"images": tuple(path.parent / name for name in question.images)})
        for question in read_jsonl(path, Question)
    ]
