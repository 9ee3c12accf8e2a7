"""A model that never was: it answers questions of the world in one form, rightly as often as it is told to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from stepsight.data.ablations import Form, in_form
from stepsight.data.staged_rows import StagedRow
from stepsight.judges.likelihood import LikelihoodJudge
from stepsight.judges.oracle import OracleJudge
from stepsight.protocols import (
    Capabilities,
    Completion,
    Judge,
    OnText,
    SampleRequest,
    SampleResult,
    ScoreRequest,
    ScoreResult,
)
from stepsight.records import Finish, Piece, Question
from stepsight.reproduce.run import Tools
from stepsight.stages import STAGES, Stage, parse, render
from stepsight.study.opening import Opened
from stepsight.world.split import load_questions
from stepsight.world.truth import is_true


def chance(*parts: object) -> float:
    """A number from 0 to 1 that depends on the parts alone."""
    return (
        int.from_bytes(hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()[:4], "big") / 2**32
    )


@cache
def questions_in(folder: Path) -> dict[str, Question]:
    """The questions drawn into a folder, by their pictures' names."""
    return {question.images[0].name: question for question in load_questions(folder / "questions.jsonl")}


def question_of(picture: Path) -> Question:
    """The question that a picture was drawn for."""
    return questions_in(picture.resolve().parents[1])[picture.name]


class FormEngine:
    """Writes the world's own staged answer in a form; the CONCLUSION is wrong in all but a share of `skill`."""

    capabilities = Capabilities(prefix=True, logprobs=True, images=True, seeds=True)
    name = "form"

    def __init__(self, form: Form, skill: float, salt: str = "") -> None:
        self.form, self.skill, self.salt = form, skill, salt

    async def sample(self, request: SampleRequest, on_text: OnText | None = None) -> SampleResult:
        question = question_of(request.turns[0].images[0])
        return SampleResult(tuple(self._write(question, request, seed) for seed in request.seeds))

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        raise AssertionError("nobody is asked to judge")

    def _write(self, question: Question, request: SampleRequest, seed: int) -> Completion:
        stages = dict(parse(question.meta["staged_answer"]).stages)
        sure = chance(question.id, self.salt, seed if request.temperature else "greedy")
        if sure >= self.skill:
            stages[Stage.CONCLUSION] = "nothing"
        turns = [{"from": "human", "value": question.text}, {"from": "gpt", "value": render(stages)}]
        rows = in_form(StagedRow.model_validate({"id": question.id, "conversations": turns}), self.form)
        if self.form is Form.APART:
            wanted = next(place for place, stage in enumerate(STAGES) if f"Write the {stage}." in request.turns[0].text)
            text = rows[wanted].exchanges[0][1]
        else:
            text = rows[0].exchanges[0][1]
        text = text.removeprefix("".join(piece.text for piece in request.prefix))
        if request.stop:
            end = min((text.find(stop) + len(stop) for stop in request.stop if stop in text), default=len(text))
            text = text[:end]
        return Completion(Piece(text=text), Finish.STOP, tokens=len(text.split()), logprob=-sure)


def fake_tools(skills: Mapping[str, float], log: list[str]) -> Tools:
    """Training that leaves an empty folder, and models that are as good as `skills` says of their arms."""

    def train(path: Path) -> object:
        import yaml

        recipe: dict[str, Any] = yaml.safe_load(path.read_text())
        log.append(f"train {path.stem}")
        folder = Path(recipe["out"])
        (folder / "model").mkdir(parents=True)
        lines = [{"step": recipe["optimisation"]["steps"], "loss": 0.5}, {"step": 4, "train_runtime": 60.0}]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "model" / "config.json").write_text("{}")
        return folder / "model"

    def open_model(name: str, reward: str) -> Opened:
        log.append(f"open {Path(name).parent.name}")
        arm, _, seed = Path(name).parent.name.rpartition("-")
        form = {"llava-cot": Form.STAGED}.get(arm) or Form(arm)
        engine = FormEngine(form, skills[arm], salt=f"{arm}-{seed}")

        async def close() -> None:
            log.append(f"close {Path(name).parent.name}")

        judges: dict[str, Judge] = {"likelihood": LikelihoodJudge(), "oracle": OracleJudge(is_true)}
        return Opened(engine, judges.__getitem__, close)

    return Tools(train, open_model, Console(stderr=True))
