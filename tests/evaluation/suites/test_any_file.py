"""From any model outputs, by files of predictions, to scores: nothing is lost, changed or scored twice on the way.

`test_any_text` looks at what is made of single texts; here whole runs over every benchmark go through files, in any
order, in part, and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.evaluation.suites.files import FILES, staged, write_all
from tests.evaluation.suites.test_any_text import OUTPUTS

from stepsight.evaluation.scoring.generations import GENERATIONS, Generation
from stepsight.evaluation.scoring.readings import By
from stepsight.evaluation.suites import (
    Prediction,
    Result,
    Scores,
    Settings,
    Suite,
    read_predictions,
    read_suite,
    score_by_rules,
    write_predictions,
)
from stepsight.stages import STAGES
from stepsight.world.benchmarks import save_benchmark

OWN = ("tabletop_test_mcq", "tabletop_test_yn", "tabletop_test_vqa")
ALL = [*FILES, *OWN]

_TAGS = [tag for stage in STAGES for tag in (stage.open, stage.close)]
_STRANGE = st.one_of(
    OUTPUTS,
    st.text(max_size=30),
    # Whatever a decoder may give: all code points, halves of pairs among them.
    st.text(st.characters(), max_size=20),
    st.text("\t\"',\n\r\x00\x0b\x1c\x85\u2028\ufeff\u200b", max_size=12),
    st.sampled_from(
        ["nan", "NaN", "-NaN", "inf", "1e999", "None", "NA", "", " ", "true", "FALSE", "05", "4.0", "٤", "1_0"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    # Tags in tags, to any depth that matters.
    st.recursive(
        st.sampled_from(["A", "yes", "no", "4", "", "B."]),
        lambda inner: st.tuples(st.sampled_from(_TAGS), inner, st.sampled_from(_TAGS)).map("".join),
        max_leaves=6,
    ),
    st.sampled_from(["A", "B.", "(C)", "Yes", "no", "4", "0.5"]).map(staged),
    st.sampled_from(["x" * 40_000, "9" * 400, "<CONCLUSION>" * 3000 + "A", "A\n" * 9000]),
)
TEXTS = st.lists(_STRANGE, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Suite]:
    folder = write_all(tmp_path_factory.mktemp("any"))
    for kind in ("mcq", "yn", "vqa"):
        save_benchmark(kind, "test", seed=0, count=8, out=folder)
    return {name: read_suite(name, root=folder) for name in ALL}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def answers(suite: Suite, texts: Sequence[str], every: int = 1) -> list[Prediction]:
    """An answer to every question, or to each `every`th."""
    return [
        Prediction(index=line.index, text=texts[place % len(texts)])
        for place, line in enumerate(suite.lines)
        if place % every == 0
    ]


def results(scores: Scores) -> list[Result]:
    return [one for one in (scores.whole, scores.conclusion) if one is not None]


def in_utf_8(text: str) -> str:
    """The text as a file of UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


anything = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(st.sampled_from(ALL), TEXTS, st.integers(1, 3), st.sampled_from(GENERATIONS), st.booleans())
@anything
def test_right_wrong_and_unscored_are_all_there_are(
    suites: dict[str, Suite], name: str, texts: list[str], every: int, generation: Generation, verbose: bool
) -> None:
    suite = suites[name]
    made = answers(suite, texts, every)
    scores = score_by_rules(suite, made, Settings(generation=generation, verbose=verbose))
    for result in results(scores):
        hits = [reading.hit for reading in result.readings]
        right, wrong, unscored = hits.count(1.0), hits.count(0.0), hits.count(None)
        assert right + wrong + unscored == len(suite.lines) == result.counts.questions
        assert unscored == result.counts.unscored
        assert result.counts.missing == len(suite.lines) - len(made)
        assert [reading.index for reading in result.readings] == [line.index for line in suite.lines]
        for reading in result.readings:
            # What could not be scored says why, and what is right says by what it was read.
            assert (reading.hit is None) == (reading.by in (By.UNREAD, By.UNGRADED, By.MISSING))
        first = result.groups[0].measure
        if suite.benchmark.rules.kind in ("multiple choice", "short answers") or name == OWN[1]:
            assert (first.n, first.unscored) == (right + wrong, unscored)
            assert first.value == (right / first.n if first.n else None)
            if result.exact is not None:
                assert result.exact[0].measure.n == len(made)
                assert result.exact[0].measure.value == right / len(made)
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


@given(st.sampled_from(ALL), TEXTS, st.sampled_from(GENERATIONS))
@anything
@example("MMStar", ["05", "5", "nan"], "2026-06")
@example("MathVista_MINI", ["4", "None"], "2026-06")
@example("MMStar", ["\ud800", "A"], "2024")
@example("HallusionBench", ["yes\r\nno", "\x00yes"], "2026-06")
def test_a_file_of_predictions_gives_the_same_scores(
    suites: dict[str, Suite], folder: Path, name: str, texts: list[str], generation: Generation
) -> None:
    suite, how = suites[name], Settings(generation=generation)
    made = [one.model_copy(update={"text": in_utf_8(one.text)}) for one in answers(suite, texts)]
    path = folder / "m_x.tsv"
    written = write_predictions(path, suite, answers(suite, texts))
    assert written.rows == len(suite.lines)
    back = read_predictions(path)
    assert back == made
    assert score_by_rules(suite, back, how) == score_by_rules(suite, made, how)
    # Written again it is the same file.
    first = path.read_bytes()
    write_predictions(path, suite, back)
    assert path.read_bytes() == first


@given(st.sampled_from(ALL), TEXTS)
@settings(anything, max_examples=30)
def test_pandas_reads_from_a_file_what_we_do(
    suites: dict[str, Suite], folder: Path, name: str, texts: list[str]
) -> None:
    """VLMEvalKit reads the file so. Carriage returns and NULs pandas itself does not keep apart."""
    suite = suites[name]
    plain = [text.replace("\r", "").replace("\x00", "") for text in texts]
    path = folder / "m_y.tsv"
    write_predictions(path, suite, answers(suite, plain))
    table = pd.read_csv(path, sep="\t")
    read = score_by_rules(suite, read_predictions(path))
    assert len(table) == len(suite.lines)
    assert sum(table["prediction"].isna()) == read.whole.counts.blanked


@given(st.sampled_from(ALL), TEXTS, st.integers(1, 3), st.randoms(use_true_random=False))
@anything
def test_the_order_of_predictions_does_not_matter_nor_does_scoring_twice(
    suites: dict[str, Suite], name: str, texts: list[str], every: int, random: object
) -> None:
    suite = suites[name]
    made = answers(suite, texts, every)
    scores = score_by_rules(suite, made)
    turned = list(made)
    random.shuffle(turned)  # type: ignore[attr-defined]
    assert score_by_rules(suite, turned) == scores
    assert score_by_rules(suite, made) == scores


@given(st.sampled_from(ALL), TEXTS)
@settings(anything, max_examples=40)
def test_the_conclusions_of_a_run_written_alone_score_as_they_did_within(
    suites: dict[str, Suite], folder: Path, name: str, texts: list[str]
) -> None:
    suite = suites[name]
    made = answers(suite, [in_utf_8(text) for text in texts])
    scores = score_by_rules(suite, made)
    path = folder / "m_z.tsv"
    write_predictions(path, suite, made, "conclusion")
    if scores.conclusion is None:
        return
    alone = score_by_rules(suite, read_predictions(path)).whole
    # An answer without a conclusion has an empty cell there, which reads as `nan`, not as nothing.
    column = [one.part("conclusion") for one in made]
    gaps = any(text is None for text in column)
    for within, apart, text in zip(scores.conclusion.readings, alone.readings, column, strict=True):
        if text is None:
            assert (within.by, within.hit) == (By.NO_CONCLUSION, 0.0)
        elif not gaps:
            assert within == apart


@given(st.sampled_from(ALL), _STRANGE, _STRANGE)
@settings(anything, max_examples=40)
def test_one_answer_more_changes_no_other_unless_it_changes_the_column(
    suites: dict[str, Suite], name: str, text: str, other: str
) -> None:
    """A column of which some text is a plain word is read text by text; then readings stand on their own."""
    suite = suites[name]
    anchor = Prediction(index=suite.lines[0].index, text="a word")
    lines = suite.lines[1:3]
    one = [anchor, Prediction(index=lines[0].index, text=text)]
    two = [*one, Prediction(index=lines[1].index, text=other)]
    assert score_by_rules(suite, one).whole.readings[:2] == score_by_rules(suite, two).whole.readings[:2]
