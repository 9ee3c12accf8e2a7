"""Where a model goes: what can be wrong without looking at the machine is refused at once."""

from __future__ import annotations

import pytest

from stepsight.engines.placement import Placement, check_bounds
from stepsight.errors import InputError


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (None, None),
        ("auto", "auto"),
        ("balanced", "balanced"),
        ('{"": "cpu"}', {"": "cpu"}),
        ('{"model": 0, "lm_head": "cuda:1"}', {"model": 0, "lm_head": "cuda:1"}),
    ],
)
def test_a_device_map_is_a_word_or_a_device_for_each_part(given: str | None, parts: object) -> None:
    assert Placement(device_map=given).parts == parts


@pytest.mark.parametrize("given", ["", "cuda", "{", "[]", "{}", "3", '{"": null}', '{"": true}', '{"": {"a": 1}}'])
def test_a_map_that_cannot_be_read_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        Placement(device_map=given)
    assert "cuda:0" in caught.value.hint


def test_a_map_and_a_device_exclude_each_other() -> None:
    with pytest.raises(InputError, match="exclude each other"):
        Placement(device="cpu", device_map="auto")


def test_unknown_words_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean sdpa"):
        Placement(attention="spda")
    with pytest.raises(InputError, match="known: auto, sdpa, eager"):
        Placement(attention="flash_attention_2")
    with pytest.raises(InputError, match="did you mean 4bit"):
        Placement(quantize="4-bit")


@pytest.mark.parametrize("bounds", [(-1.0, 1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1), (1.0, 0, 1), (1.0, 1, 0)])
def test_bounds_that_make_no_sense_are_refused(bounds: tuple[float, int, int]) -> None:
    with pytest.raises(InputError, match="cache_gb"):
        check_bounds(*bounds)
    check_bounds(0.0, 1, None)
