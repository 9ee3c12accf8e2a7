"""Scores that others have published, to be read beside one's own: with what they are of, as far as that is known.

All are in percent and were published without intervals. `FULL` and `SUBSET_ROWS` are Tables 2, 4 and 5 of LLaVA-CoT
(arXiv 2411.10440v6), `SKILL_ROWS` its scores of MMStar by skill; `ANCHORS` are from the reports named with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

SIX: Mapping[str, str] = MappingProxyType(
    {
        "MMStar": "MMStar",
        "MMBench V1.1": "MMBench_DEV_EN_V11",
        "MMVet": "MMVet",
        "MathVista": "MathVista_MINI",
        "AI2D": "AI2D_TEST",
        "HallusionBench": "HallusionBench",
    }
)
"""The paper's six benchmarks, by the names of its tables, and the data set that each is here."""
SIZES: Mapping[str, int] = MappingProxyType({"MMStar": 1500, "MathVista": 1000, "AI2D": 3088})
"""Questions of those that are shares of questions: of these an interval can be told for a published score, too."""
SUBSETS: Mapping[str, str] = MappingProxyType({"MMStar": "MMStar-R", "MMBench V1.1": "MMBench-R", "MMVet": "MMVet-R"})
"""Of which benchmarks the paper's reasoning subsets take but a part."""
SKILLS: Mapping[str, str] = MappingProxyType(
    {
        "coarse perception": "CP",
        "fine-grained perception": "FP",
        "instance reasoning": "IR",
        "logical reasoning": "LR",
        "math": "Math",
        "science & technology": "Sci&Tech",
    }
)
"""MMStar's skills, 250 questions each, and what the paper calls them."""


@dataclass(frozen=True)
class PublishedRow:
    """One system's published scores, in the order of a table's columns; the average comes last."""

    name: str
    values: tuple[float, ...]


PAPER = "LLaVA-CoT, arXiv 2411.10440v6"
PAPER_CONDITIONS = (
    f"rows in italics: {PAPER}; VLMEvalKit of 2024 (rules of 2024), MMBench V1.1 test, AI2D masked, at most 2048 new "
    "tokens; the paper does not say whether the whole answer or the CONCLUSION was scored, nor by which judge, "
    "and gives no intervals: those shown are Wilson's for the number of questions, where that is known; "
    "the base model's 49.8 on MMStar is 53.0 to 54.5 where others ran it with 2048 new tokens"
)

FULL: Sequence[PublishedRow] = (
    PublishedRow("Llama-3.2-11B-Vision-Instruct (base)", (49.8, 65.8, 57.6, 48.6, 77.3, 40.3, 56.6)),
    PublishedRow("base, trained on the original Q&A", (54.3, 76.2, 49.9, 49.5, 81.2, 42.9, 59.0)),
    PublishedRow("base, trained on the 100k without tags", (55.7, 74.2, 57.0, 54.1, 79.1, 45.0, 60.9)),
    PublishedRow("LLaVA-CoT, one pass", (57.6, 75.0, 60.3, 54.8, 78.7, 47.8, 62.4)),
    PublishedRow("LLaVA-CoT + SWIRES", (62.5, 77.6, 64.9, 57.7, 81.0, 49.1, 65.5)),
)
"""The full sets, in the order of `SIX`."""

SKILL_ROWS: Sequence[PublishedRow] = (
    PublishedRow("Llama-3.2-11B-Vision-Instruct (base)", (66.0, 46.4, 57.6, 50.8, 45.2, 32.8, 49.8)),
    PublishedRow("base, trained on the original Q&A", (68.4, 48.0, 65.6, 52.0, 51.6, 40.0, 54.3)),
    PublishedRow("base, trained on the 100k without tags", (68.4, 48.0, 60.0, 55.2, 64.4, 38.0, 55.7)),
    PublishedRow("LLaVA-CoT, one pass", (68.8, 46.8, 63.2, 58.0, 64.0, 44.8, 57.6)),
)
"""MMStar by skill, in the order of `SKILLS`."""

SUBSET_ROWS: Sequence[PublishedRow] = (
    PublishedRow("GPT-4o-0806", (66.0, 82.4, 80.8, 62.7, 84.7, 54.2, 71.8)),
    PublishedRow("GLM-4v-Plus", (68.8, 78.7, 78.1, 68.8, 85.1, 55.6, 72.5)),
    PublishedRow("Claude-3.5-Sonnet-0620", (64.2, 75.4, 68.7, 61.6, 80.2, 49.9, 66.7)),
    PublishedRow("Gemini-1.5-Pro", (56.4, 71.5, 71.3, 57.7, 79.1, 45.6, 63.6)),
    PublishedRow("GPT-4o-mini-0718", (54.9, 76.9, 74.6, 52.4, 77.8, 46.1, 63.8)),
    PublishedRow("Llama-3.2-90B-Vision-Instruct", (51.1, 76.8, 74.1, 58.3, 69.5, 44.1, 62.3)),
    PublishedRow("VILA-1.5-40B", (53.2, 75.3, 44.4, 49.5, 77.8, 40.9, 56.9)),
    PublishedRow("DeepSeek-VL2 27B MoE", (62.3, 80.2, 60.3, 63.9, 83.8, 45.3, 66.0)),
    PublishedRow("Qwen2-VL-7B", (59.0, 77.6, 63.7, 61.4, 83.0, 50.4, 65.9)),
    PublishedRow("InternVL2-8B", (62.5, 77.4, 56.9, 58.3, 83.6, 45.0, 64.0)),
    PublishedRow("Ovis1.5-Gemma2-9B", (58.7, 76.3, 50.9, 65.6, 84.5, 48.2, 64.0)),
    PublishedRow("MiniCPM-V2.6 8B", (57.1, 75.7, 56.3, 60.6, 82.1, 48.1, 63.3)),
    PublishedRow("Prism 7B", (41.0, 59.2, 47.6, 35.7, 65.7, 40.5, 48.3)),
    PublishedRow("VisCoT-7b-336", (28.2, 50.7, 17.1, 24.7, 40.7, 28.8, 31.7)),
    PublishedRow("Llama-3.2-11B-Vision-Instruct (base)", (46.6, 64.9, 63.8, 48.6, 77.3, 40.3, 56.9)),
    PublishedRow("LLaVA-CoT, one pass", (57.5, 73.1, 66.7, 54.8, 78.7, 47.8, 63.1)),
    PublishedRow("LLaVA-CoT + SWIRES", (63.0, 75.8, 71.4, 57.7, 81.0, 49.1, 66.3)),
)
"""The reasoning subsets of the first three, the other three in full, in the order of `SIX`."""

ANCHORS: Sequence[tuple[str, str, str]] = (
    ("reproduction", "62.4 and 65.5", "LLaVA-CoT, one pass and SWIRES: six full sets, AI2D masked"),
    (
        "same base model",
        "65.4",
        "Sherlock with correction (arXiv 2505.22651): mean of 8 sets, AI2D not masked; MathVista 52.0 at 3.3 "
        "A100-hours, 54.0 at 13.2, parallel vote with a verifier 55.1 at 40.2, self-correction with a verifier "
        "55.9 at 8.7",
    ),
    ("structured reasoning, about 8B", "67.5", "Corvid-o1-8B (arXiv 2507.07424): six sets, reported by its authors"),
    (
        "gain at test time, about 8B",
        "+3.7 to +8.4",
        "VisualPRM-8B, best of 8 (arXiv 2503.10291): mean of 7 sets; SWIRES gains 3.1 on six",
    ),
    ("ceiling near 10B", "77.9", "Ovis2.5-9B without search: six sets, reported by its authors"),
)
"""What else to hold a result against: which bar, its score, and what that is of."""
