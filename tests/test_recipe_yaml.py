"""YAML 1.2's plain values, no key twice, and dumping that reads back equal."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stepsight.recipe_yaml import YamlError, dump_yaml, parse_yaml

tricky = st.sampled_from(["1e-3", "yes", "no", "on", "1:30", "2024-01-01", "010", "0x1F", "~", "", "1_0", ".5", "null"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | tricky
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tricky | st.text("ab <é:#"), inner, max_size=3)
)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-2.5e+3", -2500.0),
        ("1.", 1.0),
        (".5", 0.5),
        (".inf", math.inf),
        ("10_000", 10000),
        ("-7", -7),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", "010"),
        ("'1e-3'", "1e-3"),
        ("e3", "e3"),
    ],
)
def test_plain_values_mean_what_they_look_like(written: str, value: object) -> None:
    read = parse_yaml(f"key: {written}").value["key"]
    assert read == value
    assert type(read) is type(value)


@given(values)
def test_what_is_dumped_reads_back_equal(value: Any) -> None:
    assert parse_yaml(dump_yaml({"key": value})).value == {"key": value}


@given(tricky)
def test_a_dumped_text_stays_a_text_for_readers_of_version_1_1(text: str) -> None:
    assert yaml.safe_load(dump_yaml({"key": text})) == {"key": text}


def test_repeated_keys_are_all_found_with_the_line_of_the_second() -> None:
    document = parse_yaml("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\nlist:\n  - x: 1\n    x: 2\na: 2\n")
    assert document.repeated == ((("b", "c"), 5), (("list", 0, "x"), 8), (("a",), 9))


def test_what_a_repeated_key_holds_is_not_repeated_itself() -> None:
    assert parse_yaml("a: {x: 1}\na: {x: 2}\n").repeated == ((("a",), 2),)


def test_merge_keys_may_be_overridden() -> None:
    document = parse_yaml("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  y: 3\n")
    assert document.value["mine"] == {"x": 1, "y": 3}
    assert document.repeated == ()
    assert parse_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n").repeated == ((("b", "<<"), 4),)


def test_lines_of_keys_and_items() -> None:
    assert parse_yaml("# head\na: 1\n\nb:\n  - c: 2\n").lines == {("a",): 2, ("b",): 4, ("b", 0): 5, ("b", 0, "c"): 5}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\n", 3),
        ("a: 1\n b: 2\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: *nowhere\n", 1),
        ("a: 1\nb: !!python/object:os.system x\n", 2),
        ("a: 1\nb: \x07\n", 2),
        ("- 1\n- 2\n", 1),
        ("only words", 1),
        ("a: 1\n? [x]\n: 2\n", 2),
        ("a: &a [*a]\n", 1),
        ("[" * 3000, 1),
    ],
)
def test_what_is_no_mapping_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert caught.value.line == line
    assert str(caught.value)


@given(st.text("ab:-[]{}&*!<\n \t'\"#|>?%@,1e"))
def test_any_text_is_read_or_refused(text: str) -> None:
    line = 1
    try:
        parse_yaml(text)
    except YamlError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1
