"""Options are read from what a server lists, and what is not listed is bounded, never made up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.engines.openai.labels import listed_tokens, option_logprobs
from stepsight.errors import CapabilityError


def test_text_counts_with_and_without_a_space_before_it() -> None:
    top = {"1": math.log(0.3), " 1": math.log(0.2), "2": math.log(0.4), "11": math.log(0.05)}
    one, two = option_logprobs(top, ("1", "2"))
    assert one == pytest.approx(math.log(0.5))
    assert two == pytest.approx(math.log(0.4))


def test_a_beginning_of_one_option_alone_stands_for_it() -> None:
    top = {"cor": -0.1, " in": -3.0, "cow": -4.0, " ": -5.0, "": -6.0}
    assert option_logprobs(top, ("correct", "incorrect")) == (-0.1, -3.0)


@pytest.mark.parametrize("options", [("10", "12"), ("1", "12"), ("yes", "yes, it is")])
def test_options_that_begin_alike_are_refused(options: tuple[str, str]) -> None:
    with pytest.raises(CapabilityError, match="same token"):
        option_logprobs({"1": -0.1, "yes": -2.0, "2": -3.0}, options)


@given(weights=st.lists(st.floats(0.001, 1.0), min_size=3, max_size=20), hidden=st.integers(0, 19))
def test_the_bound_is_above_the_truth_and_below_everything_listed(weights: list[float], hidden: int) -> None:
    total = sum(weights)
    truth = sorted((math.log(weight / total) for weight in weights), reverse=True)
    kept = 1 + hidden % (len(truth) - 1)
    top = {f"t{index}": logprob for index, logprob in enumerate(truth[:kept])}
    (bound,) = option_logprobs(top, ("unlisted",))
    assert truth[kept] - 1e-9 <= bound <= truth[kept - 1]
    assert bound <= math.log(max(1e-6, 1 - sum(map(math.exp, truth[:kept])))) + 1e-6
    assert math.isfinite(bound)


def test_a_list_that_adds_up_to_one_still_leaves_a_finite_bound() -> None:
    assert option_logprobs({"2": 0.0}, ("1", "2")) == (math.log(1e-6), 0.0)
    assert option_logprobs({"2": 0.0, "x": -30.0}, ("1", "2"))[0] == -30.0


def test_the_sampled_token_counts_as_listed() -> None:
    listed = [{"token": "2", "logprob": -0.5}, {"token": "2", "logprob": -0.7}]
    choice = {"logprobs": {"content": [{"token": "1", "logprob": -1, "top_logprobs": listed}]}}
    assert listed_tokens(choice) == {"2": -0.5, "1": -1.0}


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": 3}]}])
def test_where_none_are_given_none_are_made_up(logprobs: object) -> None:
    assert listed_tokens({"logprobs": logprobs}) == {}
