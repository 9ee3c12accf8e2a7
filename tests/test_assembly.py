"""Names become objects, or one clear error."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.scripts import scripted_model

from stepsight.assembly import (
    LoadedModel,
    ModelChoice,
    build_judge,
    check_names,
    load_model,
    loaded,
)
from stepsight.errors import CapabilityError, InputError, ModelError
from stepsight.judges import JUDGES, RewardJudge, WordsReward
from stepsight.model_folders import ModelCard, read_card, resolve_model
from stepsight.protocols import SearchSettings
from stepsight.search import STRATEGIES


@pytest.mark.parametrize("search", STRATEGIES)
@pytest.mark.parametrize("judge", JUDGES)
def test_every_pair_of_names_either_works_or_is_refused_at_once(search: str, judge: str) -> None:
    if judge == "vote" and search not in ("greedy", "best-of-n", "vote", "adaptive"):
        with pytest.raises(CapabilityError, match="best-of-n"):
            check_names(search, judge, SearchSettings())
        return
    check_names(search, judge, SearchSettings())
    model = scripted_model()
    # A reward model that was loaded before is taken from there.
    model = replace(model, choice=ModelChoice(reward="mine"), rewards={"mine": RewardJudge(WordsReward(model.engine))})
    built = build_judge(judge, model, search=search, width=4)
    assert (built is None) == (search in ("greedy", "vote") or (search == "adaptive" and judge != "reward"))
    assert built is None or built.name == judge
    # Retracing needs scores of every single candidate, and so does the adaptive search.
    alone = search == "swires" or (search == "adaptive" and judge == "reward")
    assert (build_judge(judge, model, search=search, width=1) is None) == (not alone)


def test_a_model_without_a_reward_model_says_how_to_name_one() -> None:
    with pytest.raises(InputError, match="nobody says which reward model"):
        build_judge("reward", scripted_model(), search="stage-beam", width=2)


def test_the_self_judge_speaks_the_words_of_the_card() -> None:
    model = scripted_model(judge_prompts="short-2")
    judge = build_judge("self", model, search="stage-beam", width=2)
    assert getattr(judge, "prompts").version == "short-2"  # noqa: B009 - `Judge` has no such name


def test_a_folder_without_a_card_gets_the_default_one(tmp_path: Path) -> None:
    assert read_card(tmp_path) == ModelCard(name=tmp_path.name)


def test_a_card_is_read(tmp_path: Path) -> None:
    (tmp_path / "stepsight.json").write_text(json.dumps({"judge_prompts": "short-2", "world_only": True}))
    assert read_card(tmp_path) == ModelCard(name=tmp_path.name, judge_prompts="short-2", world_only=True)


@pytest.mark.parametrize(
    "card", ["{", "[]", '{"colour": 1}', '{"world_only": "perhaps"}', '{"judge_prompts": "none-1"}']
)
def test_a_broken_card_is_named(tmp_path: Path, card: str) -> None:
    (tmp_path / "stepsight.json").write_text(card)
    with pytest.raises(ModelError, match=r"stepsight\.json"):
        read_card(tmp_path)


@pytest.mark.parametrize("name", ["", "missing", "./missing/model", "/missing/model", "a/b/c", "a model"])
def test_what_can_be_no_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError):
        resolve_model(name)


def test_folders_and_hub_ids_are_told_apart(tmp_path: Path) -> None:
    assert resolve_model("owner/model-2.5") == "owner/model-2.5"
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(str(tmp_path / "config.json"))


def test_a_failed_load_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_model(ModelChoice(str(tmp_path)))
    with pytest.raises(ModelError):
        load_model(ModelChoice(str(tmp_path)))


def test_the_last_two_models_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(choice: ModelChoice) -> LoadedModel:
        loads.append(choice.name)
        return scripted_model()

    monkeypatch.setattr("stepsight.assembly._load", load)
    monkeypatch.setattr("stepsight.assembly._shelf", OrderedDict())
    first = load_model(ModelChoice("a"))
    assert load_model(ModelChoice("a")) is first
    load_model(ModelChoice("b"))
    load_model(ModelChoice("a"))
    load_model(ModelChoice("a", dtype="float32"))
    assert load_model(ModelChoice("a")) is first
    load_model(ModelChoice("b"))
    assert loads == ["a", "b", "a", "b"]
    assert loaded(ModelChoice("a", dtype="float32")) is None


def test_every_option_of_a_choice_reaches_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stepsight.engines.transformers import TransformersEngine

    (tmp_path / "config.json").write_text("{}")
    given: dict[str, Any] = {
        "device_map": "auto",
        "dtype": "bfloat16",
        "attention": "eager",
        "quantize": "4bit",
        "revision": "v1",
        "trust_remote_code": True,
        "cache_gb": 2.5,
        "max_rows": 7,
        "threads": 3,
        "rows_gb": 1.5,
        "shared_prefix": "on",
        "draft_tokens": 7,
    }
    seen: dict[str, Any] = {}
    monkeypatch.setattr(TransformersEngine, "load", lambda source, **options: seen.update(options, source=source))
    monkeypatch.setattr("stepsight.assembly._shelf", OrderedDict())
    load_model(ModelChoice(str(tmp_path), **given))
    assert seen == {**given, "device": "auto", "name": tmp_path.name, "source": str(tmp_path)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"attention": "flash"},
        {"quantize": "2bit"},
        {"device_map": "cuda"},
        {"device_map": "auto", "device": "cpu"},
        {"max_rows": 0},
        {"cache_gb": -1.0},
        {"threads": 0},
        {"rows_gb": 0.0},
        {"shared_prefix": "maybe"},
        {"compile": True},
    ],
)
def test_a_choice_that_makes_no_sense_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ModelChoice(**wrong)
