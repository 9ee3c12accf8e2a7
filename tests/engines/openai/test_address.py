"""Addresses are checked before anybody is asked, and the key is shown to nobody."""

from __future__ import annotations

import pytest

from stepsight.engines.openai.address import Key, checked_url
from stepsight.errors import InputError


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        (" https://api.example.com/v1/chat/completions ", "https://api.example.com/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_brought_into_one_form(given: str, url: str) -> None:
    assert checked_url(given) == url


@pytest.mark.parametrize(
    "given",
    ["", "localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http://host:0", "http://host/v1?key=1"],
)
def test_what_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(InputError, match="localhost:8000/v1"):
        checked_url(given)


def test_a_name_and_password_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        checked_url("http://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)
    assert "STEPSIGHT_API_KEY" in str(caught.value)


OPENAI = "https://api.openai.com/v1"


def test_the_key_comes_from_the_first_variable_that_is_set() -> None:
    both = {"STEPSIGHT_API_KEY": "ours", "OPENAI_API_KEY": "theirs"}
    assert Key.from_environment(OPENAI, both).headers() == {"Authorization": "Bearer ours"}
    assert Key.from_environment(OPENAI, {**both, "STEPSIGHT_API_KEY": "  "}).headers() == {
        "Authorization": "Bearer theirs"
    }
    assert Key.from_environment(OPENAI, {}).headers() == {}


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/v1", "https://openai.com.example/v1", "https://myopenai.com/v1"]
)
def test_the_key_of_openai_goes_to_openai_only(url: str) -> None:
    assert Key.from_environment(url, {"OPENAI_API_KEY": "theirs"}).headers() == {}
    both = {"STEPSIGHT_API_KEY": "ours", "OPENAI_API_KEY": "theirs"}
    assert Key.from_environment(url, both).headers() == {"Authorization": "Bearer ours"}


def test_a_key_hides_itself() -> None:
    key = Key.from_environment(OPENAI, {"OPENAI_API_KEY": "sk-secret"})
    assert "secret" not in f"{key!r} {key} {vars(key).keys()}"
    assert key.hidden_in("you sent sk-secret!") == "you sent [key]!"
    assert Key().hidden_in("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize("value", ["sk-a\nb", "sk-ä", "sk a"])
def test_a_key_that_cannot_be_sent_is_named_by_its_variable_alone(value: str) -> None:
    with pytest.raises(InputError) as caught:
        Key.from_environment(OPENAI, {"OPENAI_API_KEY": value})
    assert "OPENAI_API_KEY" in str(caught.value)
    assert value not in str(caught.value)
