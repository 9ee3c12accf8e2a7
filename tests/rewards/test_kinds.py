"""Each kind of reward model in a real process of its own, over real HTTP: what it is given, and what comes back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rewards.asking import asked, staged, striped, values
from tests.rewards.folders import WORDS, classifier, released, valued

from stepsight.errors import EngineError, ModelError
from stepsight.pictures import load_picture, picture_hash
from stepsight.rewards import ProcessReward, RemoteChoice
from stepsight.tasks import finished


class Recorded:
    """What a fake model wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rewards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder / "hub"))
        patch.setenv("HF_MODULES_CACHE", str(folder / "modules"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("FAKE_RECORD", str(folder / "record"))
        yield folder


@pytest.fixture(scope="module")
def record(home: Path) -> Recorded:
    return Recorded(home / "record")


@pytest.fixture(scope="module")
def plain(home: Path) -> Iterator[ProcessReward]:
    with ProcessReward(RemoteChoice("classifier", str(classifier(home / "classifier")))) as model:
        yield model


@pytest.fixture(scope="module")
def seeing(home: Path) -> Iterator[ProcessReward]:
    with ProcessReward(RemoteChoice("classifier", str(valued(home / "valued")))) as model:
        yield model


@pytest.fixture(scope="module")
def ixc(home: Path) -> Iterator[ProcessReward]:
    folder = released(home / "ixc", "ixc")
    with ProcessReward(RemoteChoice("ixc", str(folder), trust_remote_code=True), batch=3) as model:
        yield model


@pytest.fixture(scope="module")
def visualprm(home: Path) -> Iterator[ProcessReward]:
    folder = released(home / "visualprm", "visualprm")
    with ProcessReward(RemoteChoice("visualprm", str(folder), trust_remote_code=True)) as model:
        yield model


# A classifier.


async def test_a_classifier_says_its_logit_on_the_conversation_in_its_own_template(plain: ProcessReward) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    words = AutoTokenizer.from_pretrained(plain.choice.model)
    model = AutoModelForSequenceClassification.from_pretrained(plain.choice.model)
    answers = ["good one .", "bad", "three three two"]
    results = await values(plain, *[asked(answer) for answer in answers])
    for answer, result in zip(answers, results, strict=True):
        ids = words(f"user How many ? <end> assistant {answer} <end> ", return_tensors="pt").input_ids
        with torch.no_grad():
            assert result.value == pytest.approx(model(ids).logits[0, 0].item(), abs=1e-5)
        assert result.computed == ids.shape[1]
    assert len({result.value for result in results}) == 3
    assert plain.name == f"classifier:{plain.choice.model}"
    assert plain.scale == "unbounded"


@settings(max_examples=15, deadline=None)
@given(answers=st.lists(st.lists(st.sampled_from(WORDS[5:]), min_size=1, max_size=4).map(" ".join), max_size=20))
def test_scores_are_in_the_order_of_the_requests(plain: ProcessReward, answers: list[str]) -> None:
    results = finished(values(plain, *[asked(answer) for answer in answers]))
    single = {answer: finished(values(plain, asked(answer)))[0] for answer in set(answers)}
    assert results == [single[answer] for answer in answers]


async def test_a_classifier_without_eyes_is_shown_no_picture(plain: ProcessReward, tmp_path: Path) -> None:
    picture = striped(tmp_path / "a.png", 8, 8)
    with pytest.raises(EngineError, match=r"could not score 1 of 2 answers.*takes no pictures"):
        await values(plain, asked("good"), asked("good", images=(picture,)))


async def test_a_value_head_beside_a_model_reads_its_last_hidden_state(seeing: ProcessReward, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = Path(seeing.choice.model)
    untyped: Any = AutoProcessor
    processor, model = untyped.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    head = load_file(folder / "value_head.safetensors")
    pictures = [striped(tmp_path / "a.png", 64, 48), striped(tmp_path / "b.png", 40, 60)]
    results = await values(seeing, *[asked("a red cube", images=(picture,)) for picture in pictures])
    for picture, result in zip(pictures, results, strict=True):
        chat = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many ?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "a red cube"}]},
        ]
        text = processor.apply_chat_template(chat, tokenize=False)
        inputs = processor(text=[text], images=[load_picture(picture)], return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs, output_hidden_states=True).hidden_states[-1][0, -1]
        value = float(hidden @ head["v_head.summary.weight"][0] + head["v_head.summary.bias"][0])
        assert result.value == pytest.approx(value, abs=1e-4)
    assert results[0].value != results[1].value
    assert (await values(seeing, asked("a red cube")))[0].value not in {result.value for result in results}


# InternLM-XComposer2.5-Reward.


async def test_ixc_gets_chats_paths_and_hd_num_and_the_same_pixels(
    ixc: ProcessReward, record: Recorded, tmp_path: Path
) -> None:
    first, second = striped(tmp_path / "a.png", 31, 17), striped(tmp_path / "b.png", 9, 40)
    record.lines()
    results = await values(ixc, asked("good", images=(first,)), asked("rather bad", images=(first, second)), asked(""))
    assert [result.value for result in results] == [4.0, 10.0, 0.0]
    (seen,) = record.lines()
    assert seen["hd_num"] == 9
    assert seen["chats"][1] == [
        {"role": "user", "content": "How many ?"},
        {"role": "assistant", "content": "rather bad"},
    ]
    hashes = [picture_hash(load_picture(path)) for path in (first, second)]
    assert seen["images"] == [hashes[:1], hashes, []]


async def test_ixc_may_give_a_bare_number_for_a_single_chat(ixc: ProcessReward) -> None:
    (result,) = await values(ixc, asked("good"))
    assert result.value == 4.0


async def test_requests_are_sent_in_bounded_batches(ixc: ProcessReward, record: Recorded) -> None:
    record.lines()
    results = await values(ixc, *[asked("x" * length) for length in range(8)])
    assert [result.value for result in results] == list(range(8))
    assert sorted(len(line["chats"]) for line in record.lines()) == [2, 3, 3]


@pytest.mark.parametrize(
    ("answer", "message"), [("it may crash", "out of memory, say"), ("nan, alas", "the score is nan")]
)
async def test_one_answer_that_cannot_be_scored_is_an_error_and_no_zero(
    ixc: ProcessReward, answer: str, message: str
) -> None:
    with pytest.raises(EngineError, match=rf"could not score 1 of 3 answers; the first: .*{message}"):
        await values(ixc, asked("good"), asked(answer), asked("fine"))


async def test_a_child_that_dies_midway_is_told_at_once(home: Path) -> None:
    folder = released(home / "mortal", "ixc")
    with ProcessReward(RemoteChoice("ixc", str(folder), trust_remote_code=True)) as model:
        with pytest.raises(EngineError, match=r"process of the reward model ixc:.*has ended \(exit code 9\)"):
            await values(model, asked("please die"))
        with pytest.raises(EngineError, match=r"has ended"):
            await values(model, asked("good"))


@pytest.mark.parametrize("kind", ["ixc", "visualprm"])
def test_code_of_its_own_is_not_run_unless_that_was_allowed(home: Path, kind: str) -> None:
    folder = released(home / f"untrusted-{kind}", kind)
    with pytest.raises(ModelError, match=r"runs code of its own, which was not allowed .*trust_remote_code"):
        ProcessReward(RemoteChoice(kind, str(folder)))


def test_a_classifier_with_code_of_its_own_is_refused_too(home: Path) -> None:
    folder = released(home / "sly", "ixc")
    code = (folder / "released.py").read_text()
    (folder / "released.py").write_text(f"open({str(home / 'ran')!r}, 'w')\n{code}")
    with pytest.raises(ModelError, match="runs code of its own"):
        ProcessReward(RemoteChoice("classifier", str(folder)))
    assert not (home / "ran").exists()


# VisualPRM.


async def test_visualprm_takes_stages_for_steps_and_gives_their_mean(
    visualprm: ProcessReward, record: Recorded
) -> None:
    record.lines()
    answer = staged("plan", "two\n\n  \ncubes", "a bad one")
    (result,) = await values(visualprm, asked(answer))
    (seen,) = record.lines()
    assert seen == {
        "question": "How many ?",
        "steps": ["plan", "two\ncubes", "a bad one"],
        "patches": [],
        "pixels": None,
    }
    assert result.value == pytest.approx((0.75 + 0.75 + 0.25) / 3)
    assert visualprm.scale == "probability"


async def test_visualprm_parts_an_answer_without_stages_as_it_likes(visualprm: ProcessReward, record: Recorded) -> None:
    record.lines()
    await values(visualprm, asked("one\n\ntwo"))
    assert record.lines()[0]["steps"] == ["one", "two"]


async def test_visualprm_sees_squares_and_a_thumbnail_of_the_same_pixels(
    visualprm: ProcessReward, record: Recorded, tmp_path: Path
) -> None:
    wide, square = striped(tmp_path / "wide.png", 56, 28), striped(tmp_path / "square.png", 28, 28)
    record.lines()
    await values(visualprm, asked("good", images=(wide, square)))
    (seen,) = record.lines()
    assert seen["question"] == "<image>\n<image>\nHow many ?"
    assert seen["patches"] == [3, 1]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.tensor(seen["pixels"]).permute(0, 2, 3, 1) * deviation + mean
    whole = rgb(wide)
    expected = [whole[:, :28], whole[:, 28:], rgb(square)]
    for view, there in zip((pixels[0], pixels[1], pixels[3]), expected, strict=True):
        assert torch.equal((view * 255).round().long(), there)


def rgb(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(load_picture(path))).long()


async def test_visualprm_can_say_the_log_odds_of_the_last_step(home: Path) -> None:
    folder = released(home / "last", "visualprm")
    with ProcessReward(RemoteChoice("visualprm", str(folder), trust_remote_code=True, steps="last")) as model:
        results = await values(model, asked(staged("good", "bad")), asked(staged("bad", "good")))
        assert [result.value for result in results] == pytest.approx([-math.log(3), math.log(3)])
        assert model.scale == "log-odds"
