"""Benchmark files as VLMEvalKit publishes them: each one's columns in their order, and the odd cases of the format."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

Row = Mapping[str, object]

SKILLS = (
    "coarse perception",
    "fine-grained perception",
    "instance reasoning",
    "logical reasoning",
    "math",
    "science & technology",
)


def png(number: int, mode: str = "RGB") -> bytes:
    """A small picture; each number has its own."""
    stream = io.BytesIO()
    picture = Image.new("RGB", (12, 10), (number % 256, 40, 200))
    picture.putpixel((3, 4), (9, number // 256, 77))
    picture.convert(mode).save(stream, "PNG")
    return stream.getvalue()


def b64(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    assert len(text) > 64
    return text


def write(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Path:
    """A TSV file with the columns of the first row, or those that are named; absent cells are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns or list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def mmstar_rows(count: int = 12) -> list[Row]:
    """Skills in turn; every fourth question repeats its options, as in the original annotations."""
    rows: list[Row] = []
    for index in range(count):
        question = f"What is it in picture {index}?"
        if index % 4 == 0:
            question += "\nOptions: A: a red cube, B: a ball, C: a cone, D: nothing"
        rows.append(
            {
                "index": index,
                "question": question,
                "A": "a red cube",
                "B": "a ball",
                "C": "a cone",
                "D": "nothing",
                "answer": "ABCD"[index % 4],
                "category": SKILLS[index % 6],
                "l2_category": f"sub {index % 3}",
                "bench": "MMBench",
                "image": b64(png(index)),
            }
        )
    return rows


def ai2d_rows(count: int = 6) -> list[Row]:
    return [
        {
            "index": index,
            "question": f"Which label shows part {index}?",
            "A": "leaf",
            "B": "root",
            "C": "stem",
            "D": "seed",
            "answer": "ABCD"[index % 4],
            "category": ("foodChains", "partsOfA")[index % 2],
            "image": b64(png(100 + index)),
        }
        for index in range(count)
    ]


ABILITIES = (
    ("attribute_recognition", "finegrained_perception (instance-level)"),
    ("identity_reasoning", "attribute_reasoning"),
    ("physical_relation", "relation_reasoning"),
)


def mmbench_rows(groups: int = 3, *, answers: bool = True) -> list[Row]:
    """Four turns of each question; copies show the picture of their base row, and come before and after others."""
    rows: list[Row] = []
    for turn in range(4):
        for group in range(groups):
            options = [f"thing {group}", "another", "a third", "a fourth"]
            turned = options[turn:] + options[:turn]
            category, ability = ABILITIES[group % 3]
            row = {
                "index": turn * 1_000_000 + group,
                "question": f"What is shown in {group}?",
                "hint": "Look at the top." if group % 2 else "",
                **dict(zip("ABCD", turned, strict=True)),
                "answer": "ABCD"[turned.index(options[0])],
                "category": category,
                "l2-category": ability,
                "split": "dev" if answers else "test",
                "image": b64(png(200 + group)) if turn == 0 else group,
                "source": "drawn",
                "comment": "",
            }
            if not answers:
                row.pop("answer")
            rows.append(row)
    return rows


def mmvet_rows() -> list[Row]:
    categories = ["rec", "rec,know,gen", "ocr,spat,math", "ocr,math", "rec,ocr", "rec,know,gen"]
    return [
        {
            "index": f"v1_{number}",
            "question": f"What is x in {number}?",
            "answer": "-1<AND>-5" if number % 2 else "red<OR>crimson",
            "category": category,
            "image": b64(png(300 + number)),
        }
        for number, category in enumerate(categories)
    ]


def mathvista_rows() -> list[Row]:
    """A choice, whole numbers (one of them 0), a number with decimals, a list, and a skill that is no list."""
    hint = "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
    kinds: list[tuple[str, str, str, str, str, str, str]] = [
        # The letters of the query follow another order than the choices.
        (
            f"{hint}\nQuestion: How large?\nChoices:\n(A) 145°\n(B) 135°",
            "145°",
            "multi_choice",
            "text",
            "['135°', '145°']",
            "B",
            "['algebraic reasoning', 'geometry reasoning']",
        ),
        ("How many are left?", "4", "free_form", "integer", "", "", "['arithmetic reasoning']"),
        (
            "How many are zero?",
            "0",
            "free_form",
            "integer",
            "",
            "",
            "['arithmetic reasoning', 'logical reasoning']",
        ),
        ("What share?", "0.5", "free_form", "float", "", "", "['statistical reasoning']"),
        ("Between which years?", "[2007, 2008]", "free_form", "list", "", "", "['statistical reasoning']"),
        ("Which one?", "red", "multi_choice", "text", "['red', 'blue']", "A", "numeric commonsense"),
    ]
    tasks = ["geometry problem solving", "math word problem", "figure question answering"]
    return [
        {
            "index": str(number + 1),
            "question": question,
            "answer": answer,
            "question_type": question_type,
            "answer_type": answer_type,
            "choices": choices,
            "answer_option": option,
            "task": tasks[number % 3],
            "skills": skills,
            "category": "math-targeted-vqa",
            "image": b64(png(400 + number)),
        }
        for number, (question, answer, question_type, answer_type, choices, option, skills) in enumerate(kinds)
    ]


def hallusion_rows() -> list[Row]:
    """Two sets with two figures and two questions each, and `ocr` in both families with equal numbers."""
    rows: list[Row] = []
    for category, sub, set_id in (("VS", "chart", 13), ("VD", "illusion", 4), ("VS", "ocr", 0), ("VD", "ocr", 0)):
        for figure in (0, 1, 2):
            for question in (0, 1):
                rows.append(
                    {
                        "index": f"{category}_{sub}_{min(figure, 1)}_{set_id}_{figure}_{question}",
                        "question": f"Is {question} so in {sub} {set_id}?",
                        "answer": "Yes" if (figure + question) % 2 else "No",
                        "category": category,
                        "l2-category": sub,
                        # Figure 0 of a VS set is the question without any picture.
                        "image": "" if category == "VS" and figure == 0 else b64(png(500 + len(rows))),
                    }
                )
    return rows


FILES: dict[str, Callable[[], list[Row]]] = {
    "MMStar": mmstar_rows,
    "MMBench_DEV_EN_V11": mmbench_rows,
    "MMVet": mmvet_rows,
    "MathVista_MINI": mathvista_rows,
    "AI2D_TEST": ai2d_rows,
    "AI2D_TEST_NO_MASK": ai2d_rows,
    "HallusionBench": hallusion_rows,
}


def write_all(folder: Path) -> Path:
    """One file of every benchmark that has answers, and MMBench's part without."""
    for name, rows in FILES.items():
        write(folder / f"{name}.tsv", rows())
    write(folder / "MMBench_TEST_EN_V11.tsv", mmbench_rows(answers=False))
    return folder


def staged(conclusion: str) -> str:
    """A well-formed staged answer."""
    return (
        "<SUMMARY> Looking. </SUMMARY>\n\n<CAPTION> It shows things. </CAPTION>\n\n"
        f"<REASONING> So it is. </REASONING>\n\n<CONCLUSION> {conclusion} </CONCLUSION>"
    )
