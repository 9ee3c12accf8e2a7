"""The four stages of a staged answer, as one ordered list.

Everything that depends on the stages (parsing, rendering, stop strings, format checks, prompts, documentation)
derives from `STAGES`; no tag is spelled anywhere else.

Source: LLaVA-CoT, arXiv 2411.10440, section 3.1, and the public file `train.jsonl` of LLaVA-CoT-100k.
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """One named stage of an answer; members iterate in the order in which they must be written."""

    SUMMARY = "SUMMARY"
    CAPTION = "CAPTION"
    REASONING = "REASONING"
    CONCLUSION = "CONCLUSION"

    @property
    def open(self) -> str:
        """The opening tag, such as `<SUMMARY>`."""
        return f"<{self.value}>"

    @property
    def close(self) -> str:
        """The closing tag, such as `</SUMMARY>`; also the stop string of the stage."""
        return f"</{self.value}>"

    @property
    def key(self) -> str:
        """The lower-case name used as a JSON key."""
        return self.value.lower()


STAGES: tuple[Stage, ...] = tuple(Stage)

SEPARATOR = "\n\n"
"""What stands between two stages in the public dataset: one blank line."""
