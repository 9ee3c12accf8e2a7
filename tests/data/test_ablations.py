"""The forms hold the same questions, pictures and words; only what the paper took away is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.datasets import answer, pairs, row, save, write_pictures

from stepsight.cli.app import run
from stepsight.data.ablations import Form, in_form, write_form
from stepsight.data.exporting import ChatRow, Target, export
from stepsight.data.staged_rows import StagedRow, read_rows
from stepsight.errors import InputError
from stepsight.jsonl import read_jsonl
from stepsight.parquet import scan_parquet
from stepsight.prompts.tasks import DESCRIBE, stage_task
from stepsight.stages import SEPARATOR, STAGES, FaultKind, Stage, parse

TURNS = StagedRow.model_validate(
    {
        "id": "turns",
        "image": "vg/sound.png",
        "conversations": pairs("How many?\n<image>", answer("4"), "Which?", answer("B", caption="Two.\n\nOr three.")),
    }
)
FIRST, SECOND = (parse(reply).stages for _, reply in TURNS.exchanges)


def replies(form: Form, seed: int = 0) -> list[str]:
    (made,) = in_form(TURNS, form, seed=seed)
    assert (made.id, made.image) == (TURNS.id, TURNS.image)
    assert [user for user, _ in made.exchanges] == ["How many?", "Which?"]
    return [reply for _, reply in made.exchanges]


def test_staged_rows_stay_as_they_are() -> None:
    assert in_form(TURNS, Form.STAGED) == (TURNS,)


def test_direct_rows_say_the_conclusion_and_no_more() -> None:
    assert replies(Form.DIRECT) == ["4", "B"]


def test_rows_without_tags_say_the_same_in_the_same_order() -> None:
    assert replies(Form.NO_TAGS) == [SEPARATOR.join(stages[one] for one in STAGES) for stages in (FIRST, SECOND)]
    assert "<" not in replies(Form.NO_TAGS)[0]


def test_shuffled_rows_hold_every_stage_in_an_order_of_their_own() -> None:
    for reply, stages in zip(replies(Form.SHUFFLED), (FIRST, SECOND), strict=True):
        parsed = parse(reply)
        assert parsed.stages == stages
        assert {fault.kind for fault in parsed.faults} <= {FaultKind.OUT_OF_ORDER}
    assert replies(Form.SHUFFLED) == replies(Form.SHUFFLED)
    orders = {tuple(parse(reply).stages) for seed in range(60) for reply in replies(Form.SHUFFLED, seed)}
    # 120 draws of 24 orders.
    assert len(orders) > 18
    assert any(replies(Form.SHUFFLED, seed)[0].startswith(Stage.CONCLUSION.open) for seed in range(60))


def test_stages_apart_are_given_those_before_and_teach_one() -> None:
    made = in_form(TURNS, Form.APART)
    assert [one.id for one in made] == [f"turns-{turn}-{stage.key}" for turn in (0, 1) for stage in STAGES]
    for place, one in enumerate(made):
        stage, stages = STAGES[place % 4], (FIRST, SECOND)[place // 4]
        ((user, reply),) = one.exchanges
        assert (one.image, parse(reply).stages) == ("vg/sound.png", {stage: stages[stage]})
        assert user.startswith(("How many?", "Which?")[place // 4])
        assert user.endswith(f"Write the {stage}.")
        given = parse(user.removeprefix(("How many?", "Which?")[place // 4])).stages
        assert given == {before: stages[before] for before in STAGES[: place % 4]}


def test_the_task_of_a_stage_is_to_the_letter() -> None:
    assert stage_task("Why?", {}, Stage.SUMMARY) == "Why?\n\nWrite the SUMMARY."
    told = stage_task("Why?", {Stage.SUMMARY: "a", Stage.CAPTION: "b"}, Stage.REASONING)
    assert told == "Why?\n\n<SUMMARY> a </SUMMARY>\n\n<CAPTION> b </CAPTION>\n\nWrite the REASONING."
    assert DESCRIBE == "Describe the picture."


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, Path]:
    images = write_pictures(tmp_path / "in" / "vg").parent
    rows = (
        TURNS.model_dump(mode="json"),
        row("words", question="Why?"),
        row("zero", image="vg/empty.png"),
        row("bare", reply="4"),
        "{",
    )
    return save(images / "train.jsonl", *rows), images


@pytest.mark.parametrize("form", Form)
def test_a_dataset_is_written_in_a_form_and_what_is_no_staged_row_is_counted(
    dataset: tuple[Path, Path], tmp_path: Path, form: Form
) -> None:
    rows, images = dataset
    out = tmp_path / "out.jsonl"
    written = write_form(rows, images, out, form)
    sound = [TURNS, _words(rows)]
    expected = [made for one in sound for made in in_form(one, form)]
    assert read_jsonl(out, StagedRow) == expected
    assert (written.read, written.rows) == (5, len(expected))
    assert written.set_aside == {"picture_empty": 1, "format": 1, "malformed_row": 1}
    # What training reads.
    assert list(read_rows(out, images).rows) == expected


def _words(rows: Path) -> StagedRow:
    return StagedRow.model_validate_json(rows.read_text().splitlines()[1])


@pytest.mark.parametrize("form", Form)
def test_parquet_says_the_same_as_json_lines(dataset: tuple[Path, Path], tmp_path: Path, form: Form) -> None:
    pytest.importorskip("pyarrow")
    rows, images = dataset
    packed = export(rows, images, tmp_path, Target.PARQUET, relative=True).path
    plain, again, both = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.parquet"
    write_form(rows, images, plain, form)
    told = write_form(packed, images, again, form)
    assert told.set_aside == {"format": 1}
    write_form(packed, images, both, form)
    exchanges = [(one.id, one.image, one.exchanges) for one in read_jsonl(plain, StagedRow)]
    assert [(one.id, one.image, one.exchanges) for one in read_jsonl(again, StagedRow)] == exchanges
    chats = [one for one in scan_parquet(both, ChatRow) if isinstance(one, ChatRow)]
    assert [one.id for one in chats] == [id for id, _, _ in exchanges]
    assert [one.messages[1].content for one in chats] == [said[0][1] for _, _, said in exchanges]


def test_what_cannot_be_written_is_said(dataset: tuple[Path, Path], tmp_path: Path) -> None:
    rows, images = dataset
    with pytest.raises(InputError, match="is what is read"):
        write_form(rows, images, rows, Form.DIRECT)
    none = save(tmp_path / "none.jsonl", row("bare", reply="4"))
    with pytest.raises(InputError, match="no staged row \\(1 format\\)"):
        write_form(none, images, tmp_path / "out.jsonl", Form.DIRECT)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_command(dataset: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, images = dataset
    out = tmp_path / "direct.jsonl"
    assert run(["data", "ablate", str(images), "--form", "direct", "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert f"2 rows of 5: {out}" in told.out
    assert "left out: 1 picture_empty, 1 format, 1 malformed_row" in told.err
    assert [one.exchanges[0][1] for one in read_jsonl(out, StagedRow)] == ["4", "4"]
    assert run(["data", "ablate", str(rows), "--form", "drect", "--out", str(out)]) == 2
    assert "choose one of staged, direct, no-tags, apart, shuffled" in capsys.readouterr().err
