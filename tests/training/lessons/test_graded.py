"""Graded answers as rows of a reward model's training, and what is learned from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from stepsight.errors import InputError
from stepsight.jsonl import write_jsonl
from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage
from stepsight.stages import STAGES, Stage, render
from stepsight.training.encoding.exchange import IGNORED, collate
from stepsight.training.lessons.graded import Graded, read_written
from stepsight.training.losses import RewardLoss
from stepsight.training.recipe.data import GradedAnswers
from stepsight.training.recipe.train import TrainRecipe
from stepsight.world.split import pose


def answered(question: Question, *answers: str) -> Trace:
    candidates = tuple(
        Candidate(id=n, stage=None, slot=n, seed=n, piece=Piece(text=text), finish=Finish.STOP, tokens=9)
        for n, text in enumerate(answers)
    )
    return Trace(
        question=question,
        strategy="vote",
        judge=None,
        seed=0,
        settings={},
        candidates=candidates,
        verdicts=(),
        chosen=(0,),
        usage=Usage(),
        seconds=0.0,
    )


def written(split: str = "train") -> Trace:
    posed = pose(split, seed=1, index=0)
    right = render(posed.stages)
    return answered(posed.question(), right, right, right.replace("small", "large").replace("large", "small", 1))


def test_answers_are_read_once_each_with_whether_something_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [written()])
    found = read_written([path])
    assert [one.faulty for one in found] == [False, True]


def test_questions_to_measure_with_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [written("test")])
    with pytest.raises(InputError, match="of the split test, not of train"):
        read_written([path])
    write_jsonl(path, [answered(pose("train", seed=1, index=0).question(), "no tags")])
    with pytest.raises(InputError, match="no answer that could be graded"):
        read_written([path])


def test_rows_are_the_same_for_ever_and_marked_at_words_and_ends(processor: Any, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [written()])
    data = GradedAnswers(traces=[path], spoiled=0.5, stretched=0.5, end_weight=7.0)
    one, other = (Graded(data, processor, batch=4, length=64) for _ in range(2))
    rows = [one[index] for index in range(64)]
    assert all(torch.equal(row.ids, other[index].ids) for index, row in reversed(list(enumerate(rows))))
    for row in rows:
        assert row.marks is not None
        ends = row.weights == 7.0
        tags = [processor.tokenizer.decode([int(token)]).strip() for token in row.ids[ends]]
        assert tags == [stage.close for stage in STAGES]
        assert bool((row.marks[ends] != IGNORED).all())
        assert row.pictured
    assert any(row.positions is not None for row in rows)
    assert any((row.marks == 0).any() for row in rows if row.marks is not None)


def test_rows_may_end_with_their_caption(processor: Any, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [written()])
    whole, some, short = (
        Graded(GradedAnswers(traces=[path], end_weight=7.0, captions=share), processor, batch=4, length=64)
        for share in (0.0, 0.5, 1.0)
    )

    def ends(row: Any) -> list[str]:
        return [processor.tokenizer.decode([int(token)]).strip() for token in row.ids[row.weights == 7.0]]

    assert all(ends(short.row(index)) == [Stage.SUMMARY.close, Stage.CAPTION.close] for index in range(32))
    # The share changes which rows are cut, and nothing of those that are not.
    kept = [index for index in range(32) if torch.equal(some.row(index).ids, whole.row(index).ids)]
    assert 8 <= len(kept) <= 24
    assert all(ends(some.row(index)) == ends(short.row(index)) for index in set(range(32)) - set(kept))


def test_a_reward_model_learns_what_is_wrong(processor: Any, model: Any) -> None:
    rows = Graded(GradedAnswers(spoiled=1.0, muddled=1.0), processor, batch=6, length=48)
    batch = collate([rows[index] for index in range(6)], processor.tokenizer.pad_token_id)
    loss = RewardLoss(processor.tokenizer, (" yes", " no"), wrong=2.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    seen = []
    for _ in range(200):
        value, noted = loss(model, batch)
        seen.append(noted | {"loss": value.detach()})
        optimiser.zero_grad()
        torch.autograd.backward(value)
        optimiser.step()
    assert seen[-1]["loss"] < 0.1 * seen[0]["loss"]
    assert seen[-1]["wrong_words_found"] > 0.9
    assert seen[-1]["wrong_ends_found"] > 0.9


def test_what_is_learned_is_what_is_read_later(processor: Any, model: Any) -> None:
    """The log-odds of the two words as the next token, as `WordsReward` reads them."""
    rows = Graded(GradedAnswers(spoiled=1.0), processor, batch=2, length=16)
    batch = collate([rows[0], rows[1]], processor.tokenizer.pad_token_id)
    yes, no = (processor.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" yes", " no"))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"]).logits.log_softmax(-1)
        value, _ = RewardLoss(processor.tokenizer, (" yes", " no"), wrong=1.0)(model, batch)
    where = batch["marks"] != IGNORED
    odds = (logits[..., yes] - logits[..., no])[where]
    truth, weights = batch["marks"][where].float(), batch["weights"][where]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(odds, truth, weight=weights, reduction="sum")
    assert torch.allclose(value, expected / weights.sum(), atol=1e-5)


def test_words_of_several_tokens_are_refused(processor: Any) -> None:
    with pytest.raises(InputError, match="one token each"):
        RewardLoss(processor.tokenizer, (" certainly not", " no"), wrong=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "sft"}, "reward, and nothing else"),
        ({"data": {"mixture": {"answer": 1.0}}}, "reward, and nothing else"),
        ({"data": {"spoiled": 0.5}}, "name traces"),
        ({"data": {"spoiled": 1.0, "colour": 1}}, "colour"),
    ],
)
def test_a_recipe_that_makes_no_sense_says_so(changes: dict[str, Any], message: str) -> None:
    sound = {
        "task": "reward",
        "start": {"folder": "pico"},
        "data": {"spoiled": 1.0},
        "optimisation": {"steps": 1, "batch": 2, "learning_rate": 1e-3},
        "out": "runs/x",
    }
    TrainRecipe.model_validate(sound)
    with pytest.raises(ValidationError, match=message):
        TrainRecipe.model_validate(sound | changes)
