"""The probe sees what a server does, not what it says; and never harms it unasked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engines.openai.servers import MODEL, YES, report_of

from stepsight.engines.openai import Ability, OpenAIEngine, ProbeReport, connect, connected, probe_server
from stepsight.engines.openai.address import Key
from stepsight.engines.openai.findings import StopEnds
from stepsight.engines.openai.trials import distance
from stepsight.errors import EngineError, InputError, ModelError
from stepsight.testing import FakeServer, Fault, Manners


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEPSIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def seen(manners: Manners, *, seeds: bool = False) -> tuple[ProbeReport, FakeServer]:
    with FakeServer(manners) as fake:
        return probe_server(fake.url, seeds=seeds), fake


def test_a_server_with_good_manners_can_do_everything() -> None:
    report, fake = seen(Manners(), seeds=True)
    assert {name: finding.value for name, finding in report.findings()} == {
        name: Ability.YES for name, _ in report.findings()
    }
    assert report.model == MODEL
    assert report.context_limit == 100_000
    assert report.stop_ends is StopEnds.INCLUDED
    assert report.requests == len(fake.seen) + 1  # the list of models
    assert report.requests < 20
    assert fake.most_at_once == 1
    assert all(finding.evidence for _, finding in report.findings())


FAULTS = [
    (Manners(prefix=False), "prefix", Ability.NO, "written anew"),
    (Manners(strict=True), "prefix", Ability.NO, "Unrecognized request argument"),
    (Manners(images=False), "images", Ability.NO, "not a multimodal model"),
    (Manners(blind=True), "pictures_told_apart", Ability.NO, "0.0000 apart"),
    (Manners(blind=True, logprobs=0), "pictures_told_apart", Ability.UNKNOWN, "the same text"),
    (Manners(logprobs=0), "pictures_told_apart", Ability.YES, "red"),
    (Manners(n=1), "n", Ability.NO, "1 of 2 choices"),
    (Manners(n=1, images=False), "n", Ability.NO, "without a picture"),
    (Manners(stops="ignored"), "stop_honoured", Ability.NO, "Saturday"),
    (Manners(stops="named"), "stop_included", Ability.NO, "changed nothing"),
    (Manners(strict=True, stops="named"), "stop_included", Ability.NO, "Unrecognized"),
    (Manners(stops="cut"), "stop_named", Ability.NO, "does not say"),
    (Manners(logprobs=0), "logprobs", Ability.NO, ""),
    (Manners(tempered=True), "untempered", Ability.NO, "apart"),
    (Manners(cache=False), "cache", Ability.NO, "--enable-prompt-tokens-details"),
    (Manners(thinks=True), "prefix", Ability.UNKNOWN, "too little"),
    (Manners(streams="never"), "streams", Ability.NO, "in one go"),
    (Manners(streams="unbilled"), "streams", Ability.NO, "billed"),
    (Manners(grammar=""), "grammar", Ability.NO, "did not"),
    (Manners(strict=True, grammar=""), "grammar", Ability.NO, "Unrecognized"),
]


@pytest.mark.parametrize(("manners", "name", "value", "says"), FAULTS, ids=lambda value: str(value)[:40])
def test_each_fault_is_seen(manners: Manners, name: str, value: Ability, says: str) -> None:
    report, _ = seen(manners)
    finding = dict(report.findings())[name]
    assert finding.value is value, finding
    assert says in finding.evidence


def test_what_was_seen_becomes_what_may_be_relied_on() -> None:
    assert not seen(Manners(prefix=False))[0].capabilities.prefix
    assert not seen(Manners(blind=True))[0].capabilities.images
    assert not seen(Manners(images=False))[0].capabilities.images
    assert seen(Manners(logprobs=0))[0].capabilities.images
    assert not seen(Manners(logprobs=0))[0].capabilities.logprobs
    assert seen(Manners(stops="named"))[0].stop_ends is StopEnds.NAMED
    assert seen(Manners(stops="cut"))[0].stop_ends is StopEnds.OWN
    assert seen(Manners(stops="ignored"))[0].stop_ends is StopEnds.OWN
    assert seen(Manners(logprobs=5))[0].top_logprobs == 5


def test_seeds_are_never_sent_unasked_and_tried_last() -> None:
    report, fake = seen(Manners(seeds="deadly"))
    assert not fake.dead
    assert all("seed" not in request for request in fake.seen)
    assert report.seeds.value is Ability.UNKNOWN
    assert not report.capabilities.seeds
    _, fake = seen(Manners(), seeds=True)
    seeded = ["seed" in request for request in fake.seen]
    assert seeded == [*sorted(seeded[:-1]), False]
    assert seen(Manners(seeds="ignored"), seeds=True)[0].seeds.value is Ability.NO


def test_a_server_that_dies_of_a_seed_is_noticed() -> None:
    with pytest.raises(EngineError, match=r"no longer answers after a request with a seed.*restart it"):
        seen(Manners(seeds="deadly"), seeds=True)


def test_a_failure_is_no_finding_but_unknown() -> None:
    with FakeServer(faults=[Fault(), *[Fault(500)] * 2]) as fake:
        report = probe_server(fake.url)
    assert report.prefix.value is Ability.UNKNOWN
    assert "the server failed" in report.prefix.evidence
    assert report.n.value is Ability.YES


def test_the_report_goes_to_json_and_back() -> None:
    report, _ = seen(Manners(n=1, stops="cut"))
    assert ProbeReport.model_validate_json(report.model_dump_json()) == report


def test_the_only_model_is_taken_and_others_must_be_named() -> None:
    with FakeServer(Manners(models=("a", "b", "pico"))) as fake:
        with pytest.raises(InputError, match="several models: a, b, pico"):
            probe_server(fake.url)
        with pytest.raises(ModelError, match="it offers: a, b, pico"):
            probe_server(fake.url, "c")
        assert fake.seen == []
        assert probe_server(fake.url, "b").model == "b"
        assert connected(fake.url, "pico", default="pico").server.model == "pico"
    with FakeServer() as fake:
        assert connected(fake.url, "pico", default="pico").name == f"openai:{MODEL}"
        with pytest.raises(ModelError, match="pico"):
            probe_server(fake.url, "pico")


def test_a_server_without_a_list_takes_the_name_on_trust() -> None:
    with FakeServer() as fake:
        wrong = fake.url.removesuffix("/v1")
        with pytest.raises(InputError, match=r"does not list.*/v1"):
            probe_server(wrong)


def test_a_wrong_key_ends_the_probe_at_once() -> None:
    with FakeServer(Manners(key="sk-right")) as fake:
        with pytest.raises(EngineError, match="wants a key"):
            probe_server(fake.url)
        engine = asyncio.run(connect(fake.url, key=Key("sk-right", "STEPSIGHT_API_KEY")))
    assert isinstance(engine, OpenAIEngine)
    assert "sk-right" not in engine.report.model_dump_json()


async def test_it_can_be_called_where_an_event_loop_runs() -> None:
    with FakeServer() as fake:
        assert probe_server(fake.url).prefix.yes


def test_the_distance_of_two_lists() -> None:
    assert distance({"a": 0.0}, {"b": 0.0}) == 1.0
    assert distance({"a": -0.5, "b": -2.0}, {"a": -0.5, "b": -2.0}) == 0.0


def test_a_report_without_trials_promises_nothing() -> None:
    with FakeServer() as fake:
        able = report_of(fake)
    bare = ProbeReport(url="http://host/v1", model="m", at="now")
    assert not any(vars(bare.capabilities).values())
    assert bare.stop_ends is StopEnds.OWN
    assert able.prefix == YES


@pytest.mark.parametrize("key", ["structured_outputs", "guided_regex", "regex", "grammar"])
def test_the_field_in_which_a_server_takes_a_grammar_is_found(key: Any) -> None:
    report, fake = seen(Manners(grammar=key))
    assert report.capabilities.grammar
    assert report.grammar_key == key
    assert report.requests == len(fake.seen) + 1


def test_a_model_that_writes_stages_unasked_does_not_show_whether_there_is_a_grammar() -> None:
    with FakeServer(write=lambda request, slot, seed: "<SUMMARY> I look. </SUMMARY>") as fake:
        report = probe_server(fake.url)
    assert report.grammar.value is Ability.UNKNOWN
    assert not report.capabilities.grammar
