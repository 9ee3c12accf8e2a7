"""Small datasets in the public format for tests, with dirt on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepsight.stages import Stage, render
from stepsight.world.drawing import draw_picture
from stepsight.world.split import pose, save_picture


def pairs(*texts: str) -> list[dict[str, str]]:
    """Turns of human and gpt."""
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def answer(conclusion: str = "4", **stages: str) -> str:
    """A staged answer."""
    texts = {
        Stage.SUMMARY: "I will look at the picture and count.",
        Stage.CAPTION: "The picture shows some things on a table.",
        Stage.REASONING: "I look at one after another.",
        Stage.CONCLUSION: conclusion,
    }
    return render(texts | {Stage[name.upper()]: text for name, text in stages.items()})


def row(name: str, *, image: str | None = None, question: str = "How many?", reply: str = "") -> dict[str, Any]:
    """A row with one exchange."""
    picture = {} if image is None else {"image": image}
    return {"id": name, **picture, "conversations": pairs(question, reply or answer())}


def save(path: Path, *rows: object) -> Path:
    """A file of rows; texts are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (one if isinstance(one, str) else json.dumps(one) for one in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_pictures(images: Path) -> Path:
    """`sound.png`, `other.png`, the first half of a PNG in `cut.png`, and `empty.png` of zero bytes."""
    for index, name in enumerate(("sound.png", "other.png")):
        save_picture(draw_picture(pose("train", seed=0, index=index).scene), images / name)
    whole = (images / "sound.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.png").write_bytes(b"")
    return images
