"""What is derived from a wide run equals what a narrower one really answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import DreamEngine

from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.errors import InputError
from stepsight.evaluation.narrowing import DERIVED, narrowed, why_not
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.judges import LikelihoodJudge, SelfJudge, VoteJudge
from stepsight.judges.oracle import OracleJudge
from stepsight.judges.reward import RewardJudge, WordsReward
from stepsight.model_folders import ModelCard
from stepsight.prompts import judge_prompts
from stepsight.protocols import Adaptive, Budget, Judge, SearchSettings, Swires
from stepsight.records import Candidate, Question, Trace
from stepsight.search import STRATEGIES, WHOLE, is_judged, strategy
from stepsight.world.split import save_split

QUESTION = Question(id="q", text="How?", choices=("3", "4"))


def known(question: Question, line: object, candidate: Candidate) -> bool:
    return candidate.seed % 2 == 0


def judges() -> dict[str, Judge]:
    """New ones each time, as the engine's books would else be of two runs."""
    engine = DreamEngine(scorer=lambda request: (-0.1 * (len(request.turns[0].text) % 7), -0.3))
    return {
        "likelihood": LikelihoodJudge(),
        "vote": VoteJudge(),
        "oracle": OracleJudge(known),
        "self": SelfJudge(engine, judge_prompts("short-2")),
        "reward": RewardJudge(WordsReward(engine)),
    }


@pytest.mark.parametrize("judge", sorted(judges()))
@given(
    seed=st.integers(0, 10**6),
    wide=st.integers(1, 7),
    data=st.data(),
    search=st.sampled_from(WHOLE),
    source=st.sampled_from(WHOLE),
    faulty=st.sampled_from([0.0, 0.3]),
    greedy_first=st.booleans(),
)
async def test_the_derived_trace_is_the_one_that_is_really_run(
    judge: str, seed: int, wide: int, data: st.DataObject, search: str, source: str, faulty: float, greedy_first: bool
) -> None:
    least = 2 if greedy_first and wide > 1 else 1
    width = data.draw(st.integers(least, wide))
    settings = SearchSettings(width=wide, seed=seed, greedy_first=greedy_first)
    # The wide run was judged by another, whose tokens are no part of the narrower one, or by nobody.
    broad = await strategy(source)(QUESTION, DreamEngine(faulty=faulty), judges()["self"], settings)
    asked = judges()[judge] if is_judged(search, width, judge) else None
    real = await strategy(search)(QUESTION, DreamEngine(faulty=faulty), asked, replace(settings, width=width))
    derived = await narrowed(broad, width, strategy=search, judge=judges()[judge])
    assert why_not(broad, width) == ""
    for key in ("question", "strategy", "judge", "seed", "candidates", "verdicts", "chosen", "usage", "spending"):
        assert getattr(derived, key) == getattr(real, key), key
    whence = derived.settings[DERIVED]
    assert {**real.settings, DERIVED: whence} == derived.settings
    assert (whence["strategy"], whence["width"]) == (source, wide)


async def test_what_is_not_exact_is_refused_with_the_reason() -> None:
    judge, plain = LikelihoodJudge(), SearchSettings(width=4)
    for name, settings, width, reason in (
        ("stage-beam", plain, 2, "goes on from what was chosen"),
        ("sentence-beam", plain, 2, "goes on from what was chosen"),
        ("swires", replace(plain, swires=Swires(cutoff=0.0)), 2, "goes on from what was chosen"),
        ("adaptive", replace(plain, adaptive=Adaptive(rounds=1)), 2, "goes on from what was chosen"),
        ("greedy", plain, 1, "goes on from what was chosen"),
        ("vote", plain, 5, "5 answers cannot be taken from 4"),
        ("vote", replace(plain, budget=Budget(candidates=3)), 2, "budget"),
        ("best-of-n", replace(plain, greedy_first=True), 1, "most likely"),
    ):
        trace = await STRATEGIES[name](QUESTION, DreamEngine(), judge, settings)
        assert reason in why_not(trace, width), name
        with pytest.raises(InputError, match="run it"):
            await narrowed(trace, width, strategy="vote", judge=judge)
    trace = await STRATEGIES["vote"](QUESTION, DreamEngine(), None, plain)
    with pytest.raises(InputError, match="needs a judge"):
        await narrowed(trace, 2, strategy="best-of-n", judge=None)
    with pytest.raises(InputError, match="stage-beam goes on"):
        await narrowed(trace, 2, strategy="stage-beam", judge=judge)


async def test_a_trace_that_was_derived_itself_names_the_run_that_drew_the_answers() -> None:
    trace = await STRATEGIES["vote"](QUESTION, DreamEngine(), None, SearchSettings(width=6))
    once = await narrowed(trace, 4, strategy="best-of-n", judge=VoteJudge())
    twice = await narrowed(once, 2, strategy="vote", judge=None)
    assert twice.settings[DERIVED] == {"strategy": "vote", "judge": None, "width": 6}


def test_the_verb_writes_a_folder_for_each_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = DreamEngine()
    model = LoadedModel(engine, ModelCard(name="dream", judge_prompts="short-2"))
    path = save_split("test", seed=8, count=5, out=tmp_path)
    options = ["eval", "--questions", str(path), "--search", "vote", "--width", "5", "--out", str(tmp_path / "run")]
    assert run(options, model=model) == 0
    written = engine.generated
    out = tmp_path / "narrow"
    narrow = ["narrow", str(tmp_path / "run"), "--out", str(out)]
    assert run([*narrow, "--width", "4,1,2"], model=model) == 0
    assert "width 2: 5 traces derived, accuracy" in capsys.readouterr().out
    assert run([*narrow, "--width", "3", "--judge", "self", "--json"], model=model) == 0
    (result,) = json.loads(capsys.readouterr().out)["derived"]
    assert (result["traces"], result["accuracy"]["n"]) == (5, 5)
    assert run([*narrow, "--width", "1,2", "--judge", "oracle"], model=model) == 0
    assert engine.generated == written
    assert sorted(one.name for one in out.iterdir()) == [
        "best-of-n-1", "best-of-n-2-oracle", "best-of-n-3-self", "vote-1", "vote-2", "vote-4",
    ]  # fmt: skip
    options[options.index("5")] = "2"
    options[-1] = str(tmp_path / "real")
    assert run(options, model=model) == 0
    real, derived = (
        {one.question.id: one for one in read_jsonl(folder / "traces.jsonl", Trace)}
        for folder in (tmp_path / "real", out / "vote-2")
    )
    for id, trace in real.items():
        assert (derived[id].candidates, derived[id].chosen) == (trace.candidates, trace.chosen)
    capsys.readouterr()
    assert run(["eval", *options[1:], "--compare", str(out / "vote-2")], model=model) == 0


def test_the_verb_refuses_before_it_makes_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = LoadedModel(DreamEngine(), ModelCard(name="dream", judge_prompts="short-2"))
    path = save_split("test", seed=8, count=2, out=tmp_path)
    for search, words, fault in (
        ("stage-beam", ["--width", "2"], "goes on from what was chosen"),
        ("vote", ["--width", "2,9"], "9 answers cannot be taken from 4"),
        ("vote", ["--width", "0"], "'0' is no width"),
        ("vote", ["--width", "2", "--search", "best-of-n"], "name one with --judge"),
        ("vote", ["--width", "2", "--search", "swires"], "does not draw whole answers"),
        ("vote", ["--width", "2", "--judge", "nobody"], "there is no judge 'nobody'"),
    ):
        source = tmp_path / search
        assert run(["eval", "--questions", str(path), "--search", search, "--out", str(source)], model=model) == 0
        capsys.readouterr()
        assert run(["narrow", str(source), "--out", str(tmp_path / "out"), *words], model=model) == 2
        assert fault in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


async def test_a_row_with_too_few_answers_is_refused_by_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = await STRATEGIES["vote"](QUESTION, DreamEngine(), None, SearchSettings(width=4))
    write_jsonl(tmp_path / "t.jsonl", [trace, trace.model_copy(update={"candidates": trace.candidates[:1]})])
    assert run(["narrow", str(tmp_path / "t.jsonl"), "--width", "2", "--out", str(tmp_path / "out")]) == 2
    assert "it holds 1 of 4 answers" in capsys.readouterr().err
