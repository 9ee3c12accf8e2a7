"""The teacher answers from the truth, goes wrong as often and in the way it is told, and says where it did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stepsight.data.agreement import Agreement, judged
from stepsight.data.refusals import refuses
from stepsight.engines.openai import OpenAIEngine, ProbeReport, Server, connect
from stepsight.engines.openai.messages import picture_url
from stepsight.errors import InputError
from stepsight.jsonl import read_jsonl
from stepsight.prompts.answer import question_text
from stepsight.prompts.teacher import teacher_prompts
from stepsight.records import Question
from stepsight.serving.teacher import MODEL, Injected, Shares, TeacherServer
from stepsight.serving.teacher_replies import UNKNOWN, verdict
from stepsight.stages import Stage, parse
from stepsight.world.checker import check
from stepsight.world.recall import Recall
from stepsight.world.split import load_questions, save_split

NONE = Shares(malformed=0, wrong=0, refusal=0, truncated=0, status_429=0, status_500=0)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    return load_questions(save_split("test", seed=5, count=24, out=tmp_path_factory.mktemp("drawn")))


def first_message(question: Question) -> dict[str, Any]:
    # A client may decode a picture and encode it again, which takes the PNG mark away.
    with Image.open(question.images[0]) as picture:
        url = picture_url(picture.convert("RGB"))
    text = f"Answer in four stages.\n\nQuestion: {question_text(question)}\n\nStandard answer: ?"
    return {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}],
    }


def post(url: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    body = json.dumps({"model": MODEL, "messages": messages, **more}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer: dict[str, Any] = json.loads(reply.read())
    return answer


def text_of(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


def ask(server: TeacherServer, question: Question, *turns: str) -> str:
    """The reply behind earlier ones, each followed by a complaint."""
    said = [first_message(question)]
    for turn in turns:
        said += [{"role": "assistant", "content": turn}, {"role": "user", "content": "That is not right."}]
    return text_of(post(server.url, said))


def test_it_answers_from_the_truth(questions: list[Question]) -> None:
    with TeacherServer(Recall(questions), NONE) as server:
        for question in questions:
            stages = parse(ask(server, question)).stages
            truth = check(question, stages)
            assert (truth.caption, truth.reasoning, truth.conclusion) == (True, True, True), question.id
        assert server.injected == []
        assert server.requests == len(questions)


def kind_of(question: Question, text: str) -> str:
    """What is wrong with a reply, told without the server's help."""
    parsed = parse(text)
    said = parsed.stages.get(Stage.CONCLUSION, "" if "<" in text else text)
    if "can't help" in said or "cannot identify" in said or "unable to" in said:
        return "refusal"
    if not parsed.valid:
        return "malformed"
    return "sound" if check(question, parsed.stages).conclusion else "wrong"


def test_what_goes_wrong_is_what_it_says(questions: list[Question], tmp_path: Path) -> None:
    log = tmp_path / "injected.jsonl"
    shares = Shares(malformed=0.25, wrong=0.25, refusal=0.25, status_429=0, status_500=0)
    with TeacherServer(Recall(questions), shares, log=log) as server:
        seen = {question.id: kind_of(question, ask(server, question)) for question in questions}
        with urllib.request.urlopen(server.url.replace("/v1", "/injected"), timeout=60) as reply:
            told = json.loads(reply.read())
    said = {one["question"]: one["fault"] for one in told["injected"]}
    assert said == {name: kind for name, kind in seen.items() if kind != "sound"}
    assert told["requests"] == len(questions)
    assert set(seen.values()) == {"sound", "malformed", "wrong", "refusal"}
    assert [one.model_dump() for one in read_jsonl(log, Injected)] == told["injected"]


def test_faults_depend_on_seed_and_question_alone(questions: list[Question]) -> None:
    recall = Recall(questions)
    shares = Shares(malformed=0.3, wrong=0.3, refusal=0.3)

    def faults(seed: int) -> list[object]:
        server = TeacherServer(recall, shares, seed=seed)
        server._http.server_close()
        return [server.fault_of(question) for question in questions]

    assert faults(1) == faults(1)
    assert faults(1) != faults(2)


def test_a_second_attempt_is_sound_unless_the_fault_persists(questions: list[Question]) -> None:
    recall, question = Recall(questions), questions[0]
    for persistent, expected in ((0.0, "sound"), (1.0, "wrong")):
        shares = Shares(malformed=0, wrong=1, refusal=0, persistent=persistent, status_429=0, status_500=0)
        with TeacherServer(recall, shares) as server:
            first = ask(server, question)
            assert kind_of(question, first) == "wrong"
            assert ask(server, question) == first, "a new conversation meets the same fault"
            assert kind_of(question, ask(server, question, first)) == expected
            assert [one.attempt for one in server.injected] == [1, 1, 2][: 3 if persistent else 2]


def test_a_fault_that_passes_is_met_by_the_first_conversation_alone(questions: list[Question]) -> None:
    question = questions[0]
    shares = Shares(malformed=0, wrong=1, refusal=0, passing=1, persistent=1, status_429=0, status_500=0)
    with TeacherServer(Recall(questions), shares) as server:
        first = ask(server, question)
        assert kind_of(question, ask(server, question, first)) == "wrong", "the same conversation goes on"
        assert [kind_of(question, ask(server, question)) for _ in range(2)] == ["sound", "sound"]
    assert [one.fault for one in server.injected] == ["wrong", "wrong"]


def test_truncation_is_owned_up_to(questions: list[Question]) -> None:
    shares = Shares(malformed=0, wrong=0, refusal=0, truncated=1, status_429=0, status_500=0)
    with TeacherServer(Recall(questions), shares) as server:
        cut = post(server.url, [first_message(questions[0])])
    assert cut["choices"][0]["finish_reason"] == "length"
    assert Stage.CONCLUSION not in parse(text_of(cut)).stages
    with TeacherServer(Recall(questions), NONE) as server:
        short = post(server.url, [first_message(questions[0])], max_tokens=5, n=2)
    assert [choice["finish_reason"] for choice in short["choices"]] == ["length", "length"]
    assert short["usage"]["completion_tokens"] == 10


def test_statuses_are_drawn_for_every_request(questions: list[Question]) -> None:
    shares = Shares(malformed=0, wrong=0, refusal=0, status_429=0.4, status_500=0.3, retry_after=2)
    found: Counter[int] = Counter()
    waits: set[tuple[int, str | None]] = set()
    with TeacherServer(Recall(questions), shares) as server:
        for question in questions[:6]:
            for _ in range(4):
                try:
                    ask(server, question)
                    found[200] += 1
                except urllib.error.HTTPError as error:
                    found[error.code] += 1
                    waits.add((error.code, error.headers["Retry-After"]))
                    error.close()
        told = Counter(one.fault for one in server.injected)
    assert set(found) == {200, 429, 500}
    assert waits == {(429, "2"), (500, None)}
    assert told == {"429": found[429], "500": found[500]}


def test_a_slow_request_waits(questions: list[Question]) -> None:
    shares = Shares(malformed=0, wrong=0, refusal=0, status_429=0, status_500=0, slow=1, slow_seconds=0.3)
    with TeacherServer(Recall(questions), shares) as server:
        start = time.monotonic()
        ask(server, questions[0])
        assert time.monotonic() - start >= 0.3
        assert [one.fault for one in server.injected] == ["slow"]


def test_what_it_does_not_know_it_says_and_counts(questions: list[Question]) -> None:
    other = questions[0].model_copy(update={"text": "Is this a photograph of a bird?"})
    with TeacherServer(Recall(questions[:1]), Shares(wrong=1, malformed=0, refusal=0)) as server:
        for question in (questions[1], other):
            said = ask(server, question)
            assert refuses(said)  # so a build that asks for what is not served here says why nothing is kept
            assert "The mean color of this picture is #" in said
        words = post(server.url, [{"role": "user", "content": "Hello"}], n=2)
        assert [choice["message"]["content"] for choice in words["choices"]] == [UNKNOWN] * 2
        assert (server.unknown, server.requests, server.injected) == (3, 0, [])
        broken = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,base64,AAAA"}}]}
        for messages in ([broken], [{"role": "system", "content": "Hello"}], []):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(server.url, messages)
            assert refused.value.code == 400
            refused.value.close()
    with pytest.raises(InputError, match="no question of the drawn world"):
        Recall([Question(id="1", text="?")])


async def test_a_probe_finds_what_it_can(questions: list[Question]) -> None:
    with TeacherServer(Recall(questions), Shares(status_429=0.5, status_500=0.5)) as server:
        engine = await connect(server.url)
        await engine.aclose()
        report = engine.report
        assert report.capabilities.images
        assert (report.images.value, report.pictures_told_apart.value, report.n.value) == ("yes", "yes", "yes")
        assert not report.capabilities.prefix
        assert server.requests == 0


COLORS = Question(id="c", text="What is left?", choices=("red cube", "large metal ball"))


@pytest.mark.parametrize(
    ("question", "answer", "conclusion", "wanted"),
    [
        (Question(id="q", text="How many cubes?"), "2", "There are two of them.", Agreement.SAME),
        (Question(id="q", text="How many cubes?"), "2", "I see 2 red cubes.", Agreement.SAME),
        (Question(id="q", text="How many cubes?"), "2", "There are 3 of them.", Agreement.DIFFERENT),
        (Question(id="q", text="How many cubes?"), "2", "One here and one there, so 2.", Agreement.UNKNOWN),
        (Question(id="q", text="How many cubes?"), "2", "I am unable to answer, be it 2 or not.", Agreement.DIFFERENT),
        (Question(id="q", text="Is it?"), "yes", "It is so.", Agreement.UNKNOWN),
        (Question(id="q", text="Is it?"), "yes", "I would say no to that.", Agreement.DIFFERENT),
        (Question(id="q", text="What shape?"), "sphere", "Those are balls.", Agreement.SAME),
        (COLORS, "B", "It is the shiny big sphere.", Agreement.SAME),
        (COLORS, "B", "It is the red cube.", Agreement.DIFFERENT),
        (COLORS, "B", "(B)", Agreement.SAME),
        (COLORS, "B", "A", Agreement.DIFFERENT),
        (Question(id="q", text="Which bird?"), "an owl", "a bird of the night", Agreement.UNKNOWN),
    ],
)
async def test_it_judges_whether_answers_agree(
    question: Question, answer: str, conclusion: str, wanted: Agreement, questions: list[Question]
) -> None:
    """By the very request that a build sends to its judge."""
    with TeacherServer(Recall(questions[:1]), Shares(wrong=1, malformed=0, refusal=0, status_500=0.95)) as server:
        report = ProbeReport(url=server.url, model=MODEL, at="now")
        engine = OpenAIEngine(Server(server.url, MODEL), report)
        said = await judged(engine, teacher_prompts("teacher-1"), question, answer, conclusion)
        await engine.aclose()
        assert (said.agreement, said.evidence) == (wanted, wanted.value)
        assert (server.compared, server.unknown, server.requests) == (1, 0, 0)


def test_no_other_text_is_taken_for_two_answers() -> None:
    assert (
        verdict("Two answers to the same question are to be compared. Correct answer:\n1\n\nOther answer:\n1") is None
    )
    assert verdict("") is None


def test_shares_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"add up to 1\.5"):
        Shares(malformed=0.5, wrong=0.5, refusal=0.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        Shares(slow=-0.1)


def test_the_command_serves_until_it_is_ended(questions: list[Question]) -> None:
    path = questions[0].images[0].parent.parent / "questions.jsonl"
    command = [sys.executable, "-m", "stepsight", "teacher", "serve", "--questions", str(path), "--port", "0"]
    command += ["--malformed", "1", "--wrong", "0", "--refusal", "0", "--status-429", "0", "--status-500", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert kind_of(questions[0], text_of(post(url, [first_message(questions[0])]))) == "malformed"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(20) == 0
