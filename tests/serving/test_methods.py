"""The method in a model's name: written and read back, and what is said of one that cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scripts import scripted_model

from stepsight.assembly import SearchChoice
from stepsight.errors import CapabilityError, InputError
from stepsight.judges import JUDGES
from stepsight.protocols import Budget, SearchSettings
from stepsight.search import STRATEGIES
from stepsight.serving.methods import Method, method_name, parse_method
from stepsight.serving.served import Catalogue, ServedModel


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("greedy", Method("greedy")),
        ("stage-beam:4", Method("stage-beam", width=4)),
        ("adaptive:2000tok", Method("adaptive", tokens=2000)),
        ("best-of-n:8+reward", Method("best-of-n", width=8, judge="reward")),
        ("stage-beam:4:t0.6:30s:900tok+likelihood", Method("stage-beam", 4, 900, 30.0, 0.6, "likelihood")),
        ("swires+likelihood", Method("swires", judge="likelihood")),
        ("stage-beam:1.5s", Method("stage-beam", seconds=1.5)),
    ],
)
def test_methods_are_read(text: str, method: Method) -> None:
    assert parse_method(text) == method


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "known: greedy"),
        ("stagebeam:4", "did you mean stage-beam"),
        ("stage-beam:four", "write it as"),
        ("stage-beam:4:5", "write it as"),
        ("stage-beam:", "write it as"),
        ("stage-beam:-4", "write it as"),
        ("stage-beam:4+", "write it as"),
        ("stage-beam:t1e9", "write it as"),
        ("stage-beam:" + "9" * 99, "write it as"),
        ("stage-beam:٤", "write it as"),  # a digit of another script
    ],
)
def test_others_are_refused_with_a_way_to_write_them(text: str, hint: str) -> None:
    with pytest.raises(InputError) as failed:
        parse_method(text)
    assert hint in failed.value.hint


@given(
    search=st.sampled_from(sorted(STRATEGIES)),
    judge=st.sampled_from(sorted(JUDGES)),
    width=st.integers(1, 64),
    tokens=st.none() | st.integers(1, 10**6),
    seconds=st.none() | st.integers(1, 999),
)
def test_the_name_of_a_plan_says_the_plan(
    search: str, judge: str, width: int, tokens: int | None, seconds: int | None
) -> None:
    settings = SearchSettings(width, budget=Budget(tokens, seconds))
    try:
        plan = SearchChoice(search, judge, settings)
    except CapabilityError:
        return
    again = parse_method(method_name(plan)).applied_to(SearchChoice(), "self")
    assert again.search == search
    assert again.settings.budget == settings.budget
    assert method_name(again) == method_name(plan)
    if search not in ("greedy", "swires", "adaptive"):
        assert again.settings.width == width


def test_what_a_name_says_changes_the_plan_and_nothing_else() -> None:
    plan = SearchChoice("stage-beam", "likelihood", SearchSettings(6, survivors=3, seed=9, max_tokens=50))
    changed = Method(width=2, temperature=0.1).applied_to(plan, "self")
    assert changed == SearchChoice("stage-beam", "self", SearchSettings(2, 0.1, 0.9, 50, 9, survivors=2))


def test_a_catalogue_finds_models_and_says_which_there_are() -> None:
    catalogue = Catalogue([ServedModel("pico", scripted_model()), ServedModel("other", scripted_model())])
    served, method = catalogue.find("other@vote:8")
    assert (served.name, method) == ("other", Method("vote", width=8))
    assert catalogue.find("pico")[1] == Method()
    with pytest.raises(LookupError, match="did you mean pico"):
        catalogue.find("pica@vote")
    with pytest.raises(InputError):
        catalogue.find("pico@")
    assert {"pico", "other", "other@greedy"} <= set(catalogue.forms())
    for faulty in ([], [ServedModel("a", scripted_model())] * 2):
        with pytest.raises(InputError):
            Catalogue(faulty)
    for name in ("", "a@b", "a/b", "a\nb"):
        with pytest.raises(InputError):
            ServedModel(name, scripted_model())


def test_a_search_that_the_servers_judge_cannot_serve_gets_one_that_can() -> None:
    plain = ServedModel("m", scripted_model(cutoffs={"likelihood": -1.0}))
    assert plain.planned(Method("stage-beam")).judge == "self"
    assert plain.planned(Method("swires")).judge == "likelihood"
    assert plain.planned(Method("adaptive")).judge == "self"
    assert "m@swires" in plain.forms()
    rewarded = ServedModel("m", scripted_model(reward="reward"))
    assert rewarded.planned(Method("swires")).judge == "reward"
    assert rewarded.planned(Method("adaptive")).judge == "reward"
    assert rewarded.planned(Method("swires", judge="likelihood")).judge == "likelihood"
    own = ServedModel("m", scripted_model(reward="reward"), SearchChoice(judge="likelihood"))
    assert own.planned(Method("swires")).judge == "likelihood"
    assert own.planned(Method("adaptive")).judge == "reward"
    assert "m@swires" not in ServedModel("m", scripted_model()).forms()
