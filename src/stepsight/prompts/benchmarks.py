"""How benchmark questions are put to the model that answers, word for word as published scores asked them, or plainly.

    vlmevalkit-1   VLMEvalKit's own prompts, which it also sends to any server
    llama-1        what its class for Llama 3.2 Vision 11B, and so its LLaVA-CoT, says instead for AI2D
    llava-cot-1    what the file of LLaVA-CoT's authors says instead for AI2D
    plain-1        the question and a line for each option, as `stepsight ask` has it; for models of the drawn world

Sources: `build_prompt` in vlmeval/dataset/image_mcq.py and vlmeval/vlm/llama_vision.py of open-compass/VLMEvalKit;
inference/VLMEvalKit of PKU-YuanGroup/LLaVA-CoT. The second and third put the text of AI2D and MathVista before the
picture, which a `Turn` does not: here pictures stand first. A published version never changes; a new wording gets a new
version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType

from stepsight.prompts.versions import chosen


@dataclass(frozen=True)
class BenchmarkPrompts:
    """One versioned set of templates.

    A multiple choice is `hint` (where there is one), `question`, `options`, an `option` each, `request`; without any
    option it is `hint` and `question`. `diagram` replaces all that for AI2D, where it is not empty: the question, a
    `diagram_option` each, and the words around them.
    """

    version: str
    hint: str = "Hint: {hint}\n"
    question: str = "Question: {question}\n"
    options: str = "Options:\n"
    option: str = "{letter}. {text}\n"
    request: str = "Please select the correct answer from the options above. \n"
    diagram: str = ""
    diagram_option: str = "\n{letter}. {text}"

    @property
    def digest(self) -> str:
        """A hash of every text in the set, to be kept beside results."""
        return hashlib.sha256("\0".join(astuple(self)).encode()).hexdigest()[:16]

    def choice(self, question: str, options: Mapping[str, str], hint: str | None = None) -> str:
        """A multiple choice; `options` are texts by letter."""
        asked = self.question.format(question=question)
        if hint is not None:
            asked = self.hint.format(hint=hint) + asked
        if not options:
            return asked
        return asked + self.options + _lines(self.option, options) + self.request

    def diagram_choice(self, question: str, options: Mapping[str, str], hint: str | None = None) -> str:
        """A multiple choice of AI2D."""
        if not self.diagram:
            return self.choice(question, options, hint)
        return self.diagram.format(question=question + _lines(self.diagram_option, options))


def benchmark_prompts(version: str) -> BenchmarkPrompts:
    """The set named `version`.

    Raises:
        InputError: there is no such set.
    """
    return chosen(_SETS, version, "benchmark")


def _lines(template: str, options: Mapping[str, str]) -> str:
    return "".join(template.format(letter=letter, text=text) for letter, text in options.items())


_DIAGRAM = "Look at the scientific diagram carefully and answer the following question: {question}\n"

_SETS: Mapping[str, BenchmarkPrompts] = MappingProxyType(
    {
        prompts.version: prompts
        for prompts in (
            BenchmarkPrompts(version="vlmevalkit-1"),
            BenchmarkPrompts(
                version="plain-1",
                hint="{hint}\n",
                question="{question}",
                options="",
                option="\n{letter}. {text}",
                request="",
            ),
            BenchmarkPrompts(
                version="llama-1",
                diagram=_DIAGRAM
                + "Think step by step and finally respond to the question with only the correct option number as "
                + '"FINAL ANSWER".<cot_start>Let\'s think step by step.',
            ),
            BenchmarkPrompts(version="llava-cot-1", diagram=_DIAGRAM + "Respond only with the correct option digit."),
        )
    }
)
