"""`stepsight bench run` and `score`: from a benchmark file to a result, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.suites.files import FILES, mmbench_rows, mmstar_rows, staged, write

import stepsight
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.evaluation.bench import read_result
from stepsight.evaluation.suites import read_predictions
from stepsight.model_folders import ModelCard
from stepsight.protocols import SampleRequest
from stepsight.records import Trace
from stepsight.testing import FakeServer

SOURCE = Path(stepsight.__file__).parent.parent


def said_of(request: SampleRequest, slot: int, seed: int) -> str:
    """Right for two thirds of MMStar's questions; every third is answered by nothing that a rule can read."""
    number = re.search(r"picture (\d+)\?", request.turns[-1].text)
    place = int(number[1]) if number else 0
    return staged("ABCD"[place % 4] if place % 3 else "I would rather not")


def model() -> LoadedModel:
    return LoadedModel(ScriptedEngine(said_of), ModelCard(name="scripted/vl"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "LMUData/MMStar.tsv", mmstar_rows(12))
    return tmp_path / "LMUData"


def bench(root: Path, out: Path, *more: str) -> list[str]:
    return ["bench", "run", "MMStar", "--root", str(root), "--out", str(out), "--search", "greedy", *more]


def test_both_texts_are_scored_and_the_card_says_what_they_depend_on(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out), model=model()) == 0
    result = read_result(out / "MMStar/result.json")
    assert result.scores is not None
    assert result.scores.conclusion is not None
    exact = result.scores.conclusion.exact
    assert exact is not None
    assert (exact[0].measure.value, exact[0].measure.n) == (8 / 12, 12)
    assert result.scores.conclusion.counts.unscored == 4
    card = result.card
    assert card.model == "scripted/vl"
    assert (card.search["strategy"], card.search["max_tokens"], card.search["seed"]) == ("greedy", 1024, 0)
    assert card.prompts is not None
    assert card.prompts.version == "vlmevalkit-1"
    assert len(card.prompts.digest) == 16
    assert card.generation == "2026-06"
    assert card.data.md5
    assert card.data.published is False
    assert {"stepsight", "python", "numpy"} <= card.versions.keys() | {"stepsight"}
    assert result.answers is not None
    assert result.answers.limited == 0
    assert any("is not the published file" in notice for notice in result.notices)


def test_predictions_lie_beside_the_traces_in_vlmevalkit_s_form(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out), model=model()) == 0
    whole = read_predictions(out / "MMStar/scripted--vl_MMStar.tsv")
    assert whole[1].text == staged("B")
    assert read_predictions(out / "MMStar/scripted--vl-conclusion_MMStar.tsv")[1].text == "B"
    lines = (out / "MMStar/traces.jsonl").read_text().splitlines()
    assert {Trace.model_validate_json(line).question.meta["index"] for line in lines} == {one.index for one in whole}


def test_a_name_alone_means_run_in_any_case(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMUData", str(root))
    assert run(["bench", "mmstar", "--search", "greedy"], model=model()) == 0
    out, err = capsys.readouterr()
    assert "66.7 (39.1 to 86.2)" in out
    assert "CONCLUSION: 4 unscored" in out
    assert "results and page.html are in bench/scripted--vl_greedy" in out
    assert "is not the published file" in err
    assert (tmp_path / "bench/scripted--vl_greedy/MMStar/result.json").is_file()
    assert "MMStar by skill" in (tmp_path / "bench/scripted--vl_greedy/page.html").read_text()


def test_several_benchmarks_in_one_command_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("MMStar", "AI2D_TEST", "MathVista_MINI", "HallusionBench", "MMVet"):
        write(tmp_path / f"{name}.tsv", FILES[name]())
    names = ["mmstar", "ai2d_test", "mathvista_mini", "hallusionbench", "mmvet", "MMStar"]
    words = ["bench", "run", *names, "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--search", "greedy"]
    assert run([*words, "--json", "--limit", "4"], model=model()) == 0
    printed = json.loads(capsys.readouterr().out)["results"]
    assert [one["dataset"] for one in printed] == ["MMStar", "AI2D_TEST", "MathVista_MINI", "HallusionBench", "MMVet"]
    assert "readings" not in printed[0]["scores"]["whole"]
    assert printed[0]["asked"] == 4
    assert printed[3]["asked"] >= 4  # whole sets
    assert printed[4]["scores"]["whole"]["counts"]["unscored"] == 4


def test_the_part_without_answers_is_written_for_its_server(tmp_path: Path) -> None:
    write(tmp_path / "MMBench_TEST_EN_V11.tsv", mmbench_rows(answers=False))
    words = ["bench", "mmbench_test_en_v11", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "-s", "greedy"]
    assert run(words, model=model()) == 0
    folder = tmp_path / "out/MMBench_TEST_EN_V11"
    assert read_result(folder / "result.json").scores is None
    handed = read_predictions(folder / "scripted--vl-submission_MMBench_TEST_EN_V11.tsv")
    assert len(handed) == 12


def test_a_missing_file_says_where_people_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "mmvet", "--root", str(tmp_path)], model=model()) == 2
    assert "download https://opencompass.openxlab.space/utils/VLMEval/MMVet.tsv to" in capsys.readouterr().err
    assert run(["bench", "run", "nothing", "--root", str(tmp_path)], model=model()) == 2
    assert "the benchmarks are MMStar" in capsys.readouterr().err


@pytest.mark.parametrize("other", [("--prompts", "plain-1"), ("--search", "vote")])
def test_a_folder_of_another_run_is_not_mixed_in(
    other: tuple[str, str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out), model=model()) == 0
    assert run([*bench(root, out), *other], model=model()) == 2
    assert "belongs to a run with other" in capsys.readouterr().err


def test_a_run_goes_on_and_may_ask_more(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first, second = model(), model()
    assert run(bench(root, out, "--limit", "5"), model=first) == 0
    assert read_result(out / "MMStar/result.json").asked == 5
    assert run(bench(root, out), model=second) == 0
    assert isinstance(second.engine, ScriptedEngine)
    assert len(second.engine.calls) == 7
    result = read_result(out / "MMStar/result.json")
    assert result.answers is not None
    assert (result.asked, result.answers.resumed) == (12, 5)
    assert run(bench(root, out, "--limit", "5"), model=model()) == 0
    assert read_result(out / "MMStar/result.json").asked == 5


def test_a_run_that_is_killed_goes_on_to_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "MMStar.tsv", mmstar_rows(30))
    words = [sys.executable, "-m", "stepsight", "bench", "mmstar", "--root", str(tmp_path), "--search", "greedy"]
    words += ["--concurrency", "2"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}

    def said(request: SampleRequest, slot: int, seed: int) -> str:
        if "in picture" in request.turns[-1].text:
            time.sleep(0.1)
        return said_of(request, slot, seed)

    with FakeServer(write=said) as fake:
        words += ["--server", fake.url]
        traces = tmp_path / "killed/MMStar/traces.jsonl"
        started = subprocess.Popen([*words, "--out", str(tmp_path / "killed")], env=environment, cwd=tmp_path)
        while not traces.exists() or traces.read_bytes().count(b"\n") < 8:
            assert started.poll() is None
            time.sleep(0.02)
        started.send_signal(signal.SIGKILL)
        started.wait()
        assert not (tmp_path / "killed/MMStar/result.json").exists()
        with traces.open("ab") as stream:
            stream.write(b'{"question": {"id"')  # a line torn by the end
        for out in ("killed", "whole"):
            done = subprocess.run(
                [*words, "--out", str(tmp_path / out)], env=environment, cwd=tmp_path, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        asked = sum("in picture" in str(asked["messages"]) for asked in fake.seen)
    assert asked <= 2 * 30 + 2  # only what was under way when the end came is asked again
    name = "MMStar/scripted-vl_MMStar.tsv"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    killed, whole = (read_result(tmp_path / out / "MMStar/result.json") for out in ("killed", "whole"))
    assert killed.scores == whole.scores
    assert killed.card == whole.card


def scored(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run(["bench", "score", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]  # type: ignore[no-any-return]


def test_stored_answers_are_scored_again_by_other_rules(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out), model=model()) == 0
    before = read_result(out / "MMStar/result.json")
    scored(capsys, str(out), "--generation", "2024")
    after = read_result(out / "MMStar/result.json")
    assert (before.card.generation, after.card.generation) == ("2026-06", "2024")
    assert after.card.model_copy(update={"generation": "2026-06"}) == before.card
    assert after.answers == before.answers
    scored(capsys, str(out / "MMStar"))
    assert read_result(out / "MMStar/result.json") == before


def test_answers_of_a_run_that_never_ended_are_scored_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out, "--limit", "5"), model=model()) == 0
    (out / "MMStar/result.json").unlink()
    scored(capsys, str(out), "--root", str(root))
    result = read_result(out / "MMStar/result.json")
    assert result.scores is not None
    assert result.scores.whole.counts.missing == 7


def test_a_file_of_predictions_alone_is_scored(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(bench(root, out), model=model()) == 0
    ours = read_result(out / "MMStar/result.json")
    file = out / "MMStar/scripted--vl_MMStar.tsv"
    (theirs,) = scored(capsys, str(file), "--root", str(root))
    assert theirs["card"]["model"] == "scripted--vl"
    assert theirs["card"]["search"] == {}
    assert theirs["scores"] == ours.short()["scores"]
    file.rename(tmp_path / "other.tsv")
    assert run(["bench", "score", str(tmp_path / "other.tsv"), "--root", str(root)]) == 2
    assert "name it with --bench" in capsys.readouterr().err
    words = [str(tmp_path / "other.tsv"), "--bench", "MMStar", "--root", str(root), "--out", str(tmp_path / "kept")]
    scored(capsys, *words)
    assert read_result(tmp_path / "kept/result.json").dataset == "MMStar"


def test_where_there_is_nothing_to_score_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "score", str(tmp_path)]) == 2
    assert "holds no answers to a benchmark" in capsys.readouterr().err
    assert run(["bench", "score", str(tmp_path), "--grader-model", "x"]) == 2
    assert "name its server with --grader" in capsys.readouterr().err


def test_a_grader_behind_a_real_server_grades_and_its_verdicts_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "MMVet.tsv", FILES["MMVet"]())
    words = ["bench", "mmvet", "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--search", "greedy"]
    red = LoadedModel(ScriptedEngine(lambda request, slot, seed: staged("It is red.")), ModelCard(name="red"))
    assert run(words, model=red) == 0
    command = [sys.executable, "-m", "stepsight.testing", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            (first,) = scored(capsys, str(tmp_path / "run"), "--grader", url)
        finally:
            process.kill()
    # Even rows want red or crimson, odd ones two numbers.
    overall = first["scores"]["conclusion"]["groups"][0]["measure"]
    assert (overall["value"], overall["n"], overall["unscored"]) == (0.5, 6, 0)
    assert first["card"]["grader"]["engine"] == "openai:scripted-vl"
    assert first["card"]["grader"]["prompts"]["version"] == "grading-1"
    assert first["subsets"]["conclusion"][0]["name"] == "MMVet-R"

    with FakeServer() as other:
        (second,) = scored(capsys, str(tmp_path / "run"), "--grader", other.url)
        assert not any("Correct answer" in str(asked["messages"]) for asked in other.seen)
    assert second == first


def test_a_grader_that_fails_leaves_texts_unscored_and_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "MMVet.tsv", FILES["MMVet"]())
    words = ["bench", "mmvet", "--root", str(tmp_path), "--out", str(tmp_path / "run"), "--search", "greedy"]
    red = LoadedModel(ScriptedEngine(lambda request, slot, seed: staged("It is red.")), ModelCard(name="red"))
    assert run(words, model=red) == 0
    fail = True

    def says(request: SampleRequest, slot: int, seed: int) -> str:
        from stepsight.testing.model import say

        asked = request.turns[-1].text
        return "I cannot say." if fail and "in 0?" in asked and "Correct answer" in asked else say(request, slot, seed)

    with FakeServer(write=says) as fake:
        (first,) = scored(capsys, str(tmp_path / "run"), "--grader", fake.url)
        whole = first["scores"]["whole"]["counts"]
        assert (whole["unscored"], whole["judge_failed"], whole["judged"]) == (1, 1, 5)
        tries = [asked for asked in fake.seen if "in 0?" in str(asked["messages"])]
        assert [asked["temperature"] for asked in tries][:5] == [0.0, 0.5, 1.0, 1.5, 2.0]
        fail = False
        # Unreadable replies were replies, and are remembered like others.
        (second,) = scored(capsys, str(tmp_path / "run"), "--grader", fake.url)
        assert second["scores"]["whole"]["counts"]["judge_failed"] == 1
