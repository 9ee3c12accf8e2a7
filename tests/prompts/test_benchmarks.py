"""Prompts of benchmarks: word for word, with every space and line end."""

from __future__ import annotations

import pytest

from stepsight.errors import InputError
from stepsight.prompts.answer import question_text
from stepsight.prompts.benchmarks import benchmark_prompts
from stepsight.records import Question

OPTIONS = {"A": "leaf", "B": "{root}", "D": "4.0"}


def test_a_multiple_choice_as_vlmevalkit_asks_it() -> None:
    prompts = benchmark_prompts("vlmevalkit-1")
    assert prompts.choice("What {is} it?", OPTIONS, "Look.") == (
        "Hint: Look.\nQuestion: What {is} it?\nOptions:\nA. leaf\nB. {root}\nD. 4.0\n"
        "Please select the correct answer from the options above. \n"
    )
    assert prompts.choice("What?", {"A": "x"}).startswith("Question: What?\nOptions:\nA. x\nPlease")
    assert prompts.choice("What?", {}) == "Question: What?\n"
    assert prompts.diagram_choice("What?", OPTIONS) == prompts.choice("What?", OPTIONS)


def test_a_diagram_as_the_class_for_llama_asks_it() -> None:
    assert benchmark_prompts("llama-1").diagram_choice("What {is} it?", OPTIONS) == (
        "Look at the scientific diagram carefully and answer the following question: What {is} it?"
        "\nA. leaf\nB. {root}\nD. 4.0\n"
        'Think step by step and finally respond to the question with only the correct option number as "FINAL ANSWER".'
        "<cot_start>Let's think step by step."
    )
    assert benchmark_prompts("llama-1").choice("What?", OPTIONS) == benchmark_prompts("vlmevalkit-1").choice(
        "What?", OPTIONS
    )


def test_a_diagram_as_the_authors_of_llava_cot_ask_it() -> None:
    assert benchmark_prompts("llava-cot-1").diagram_choice("What?", OPTIONS) == (
        "Look at the scientific diagram carefully and answer the following question: What?"
        "\nA. leaf\nB. {root}\nD. 4.0\nRespond only with the correct option digit."
    )


def test_a_plain_choice_is_that_of_stepsight_ask() -> None:
    prompts = benchmark_prompts("plain-1")
    question = Question(id="1", text="What?", choices=("red", "blue"))
    assert prompts.choice("What?", {"A": "red", "B": "blue"}) == question_text(question) == "What?\nA. red\nB. blue"
    assert prompts.choice("What?", {"B": "blue"}, "Look.") == "Look.\nWhat?\nB. blue"


def test_a_published_version_never_changes() -> None:
    digests = {name: benchmark_prompts(name).digest for name in ("vlmevalkit-1", "llama-1", "llava-cot-1", "plain-1")}
    assert digests == {
        "vlmevalkit-1": "3c57bf3d9d25c612",
        "llama-1": "3f898cf8d97ff031",
        "llava-cot-1": "cc7470abee0fb750",
        "plain-1": "937a040aee6fa415",
    }


def test_an_unknown_version_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean llama-1"):
        benchmark_prompts("lama-1")
