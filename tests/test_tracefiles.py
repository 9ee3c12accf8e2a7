"""Traces as JSON lines and as parquet are the same traces; what is damaged or foreign is named."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.doubles import DreamEngine
from tests.traces import traces as any_traces

from stepsight import parquet
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.errors import InputError, MissingExtraError, RecordError
from stepsight.jsonl import read_jsonl, write_jsonl
from stepsight.judges import LikelihoodJudge
from stepsight.model_folders import ModelCard
from stepsight.protocols import SearchSettings
from stepsight.records import Candidate, Finish, Piece, Question, Trace, Usage
from stepsight.search import stage_beam
from stepsight.tracefiles import read_traces, scan_traces, sift_traces, trace_file, write_traces
from stepsight.world.split import save_split


def odd() -> Trace:
    """Every number that is none, and texts that are no ASCII."""
    drawn = [
        Candidate(
            id=0, stage=None, slot=0, seed=1, piece=Piece(text="é\n😀\x00"), finish=Finish.STOP, tokens=1, logprob=one
        )
        for one in (math.nan, math.inf, -math.inf, -0.0, None)
    ]
    return Trace(
        question=Question(id="ü", text="Wie viele? ‮", meta={"n": 2**60, "none": None, "ü": [1.5, "NaN"]}),
        strategy="vote",
        judge=None,
        seed=0,
        settings={},
        candidates=tuple(drawn),
        verdicts=(),
        chosen=(0,),
        usage=Usage(),
        seconds=0.1 + 0.2,
    )


async def searched(count: int) -> list[Trace]:
    return [
        await stage_beam(Question(id=f"q{one}", text="How?"), DreamEngine(), LikelihoodJudge(), SearchSettings(width=2))
        for one in range(count)
    ]


@given(made=st.lists(any_traces, max_size=5))
@example(made=[odd(), odd()])
@settings(max_examples=40)
def test_there_and_back_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, made: list[Trace]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    first, packed, again = folder / "a.jsonl", folder / "a.parquet", folder / "b.jsonl"
    write_jsonl(first, made)
    sound = read_jsonl(first, Trace)  # NaN is not itself, so texts are compared
    assert write_traces(packed, sound) == len(made)
    assert write_traces(again, sift_traces(packed).rows) == len(made)
    assert again.read_bytes() == first.read_bytes()


async def test_many_small_groups_are_read_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    monkeypatch.setattr(parquet, "READ_ROWS", 2)
    made = await searched(10)
    assert write_traces(tmp_path / "a.parquet", iter(made)) == 10
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 4
    assert read_traces(tmp_path / "a.parquet") == made
    assert read_traces(tmp_path / "a.parquet", 4) == made[:4]


async def test_columns_are_typed_compressed_and_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_traces(path, await searched(3))
    table = pq.read_table(path, columns=["candidates", "usage"])
    assert table.schema.field("usage").type.field("kept").type == pa.int64()
    assert table["candidates"][0][0]["logprob"].as_py() < 0
    group = pq.ParquetFile(path).metadata.row_group(0)
    assert {group.column(place).compression for place in range(group.num_columns)} == {"ZSTD"}


async def test_a_field_that_an_older_file_lacks_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    (made,) = await searched(1)
    write_traces(path, [made])
    pq.write_table(pq.read_table(path).drop_columns(["spending"]), path)
    assert read_traces(path) == [made]


async def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    made = await searched(2)
    path = tmp_path / "a.parquet"
    write_traces(path, made[:1])

    def failing() -> Iterator[Trace]:
        yield made[1]
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_traces(path, failing())
    assert read_traces(path) == made[:1]
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]


async def test_a_number_beyond_64_bits_is_refused_by_name(tmp_path: Path) -> None:
    (made,) = await searched(1)
    with pytest.raises(RecordError, match=r"rows 1 to 1 do not fit into a\.parquet"):
        write_traces(tmp_path / "a.parquet", [made.model_copy(update={"seed": 2**64})])
    assert not list(tmp_path.iterdir())


async def test_damaged_and_foreign_files_are_errors_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1", b'{"question": 1}\n' * 9):
        path.write_bytes(content)
        with pytest.raises(RecordError, match=r"a\.parquet .*(no parquet|damaged)"):
            read_traces(path)
    write_traces(path, await searched(40))
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(RecordError, match="damaged"):
        read_traces(path)
    spoilt = bytearray(sound)
    for place in range(100, 4000):
        spoilt[place] ^= 0xFF
    path.write_bytes(bytes(spoilt))
    with pytest.raises(RecordError, match="damaged"):
        read_traces(path)
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(RecordError, match="holds no Traces: it has no column question"):
        read_traces(path)
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        list(scan_traces(tmp_path / "none.parquet"))


async def test_a_row_that_is_no_trace_is_set_aside_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_traces(path, await searched(3))
    table = pq.read_table(path)
    for column, value, fault in (("settings", "{no json", "Expecting"), ("chosen", None, "chosen")):
        place = table.column_names.index(column)
        values = table[column].to_pylist()
        spoilt = pa.array([values[0], value, values[2]], table.schema.field(column).type)
        pq.write_table(table.set_column(place, table.schema.field(column), spoilt), path)
        sifted = sift_traces(path)
        assert [one.question.id for one in sifted.rows] == ["q0", "q2"]
        assert f"a.parquet, row 2: not a Trace: {fault}" in str(sifted.faults[0])
        with pytest.raises(RecordError, match="row 2"):
            read_traces(path)


async def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await searched(1)
    write_traces(tmp_path / "a.parquet", made)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (lambda: write_traces(tmp_path / "b.parquet", made), lambda: read_traces(tmp_path / "a.parquet")):
        with pytest.raises(MissingExtraError, match=r"stepsight\[data\]"):
            act()
    write_traces(tmp_path / "b.jsonl", made)


def test_a_folder_stands_for_the_traces_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stepsight eval"):
        trace_file(tmp_path)
    (tmp_path / "traces.parquet").touch()
    assert trace_file(tmp_path).name == "traces.parquet"
    (tmp_path / "traces.jsonl").touch()
    assert trace_file(tmp_path).name == "traces.jsonl"


async def test_the_verb_converts_both_ways_and_sets_bad_rows_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await searched(4)
    source, packed = tmp_path / "traces.jsonl", tmp_path / "t.parquet"
    write_jsonl(source, made)
    with source.open("a") as stream:
        stream.write('{"torn')
    assert run(["convert", str(tmp_path), str(packed), "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["traces"], result["set_aside"], result["bytes"]) == (4, 1, packed.stat().st_size)
    assert "traces.jsonl, line 5: not a Trace" in said.err
    assert run(["convert", str(packed), str(tmp_path / "back.jsonl")]) == 0
    assert read_jsonl(tmp_path / "back.jsonl", Trace) == made
    assert run(["show", str(packed), "--question", "q2"]) == 0
    for out, fault in ((tmp_path / "t.csv", "neither .parquet nor .jsonl"), (packed, "is what is read")):
        assert run(["convert", str(packed), str(out)]) == 2
        assert fault in capsys.readouterr().err
    source.write_text("nothing\n")
    assert run(["convert", str(source), str(tmp_path / "none.parquet")]) == 2
    assert not (tmp_path / "none.parquet").exists()


def test_every_verb_that_reads_traces_reads_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = LoadedModel(DreamEngine(), ModelCard(name="dream", judge_prompts="short-2"))
    questions = str(save_split("train", seed=8, count=4, out=tmp_path))
    evaluated = ["eval", "--questions", questions, "--judge", "likelihood", "--json"]
    assert run([*evaluated, "--out", str(tmp_path / "run")], model=model) == 0
    folder = tmp_path / "packed"
    assert run(["convert", str(tmp_path / "run"), str(folder / "traces.parquet")]) == 0
    packed = str(folder / "traces.parquet")
    said = []
    for path in (str(tmp_path / "run"), str(folder), packed):
        capsys.readouterr()
        assert run(["judge", path, "--json"]) == 0
        assert run(["judge", path, "--judge", "oracle", "--json"]) == 0
        assert run(["calibrate", path, "--json"]) == 0
        assert run(["show", path]) == 0
        said.append(capsys.readouterr().out)
        assert run([*evaluated, "--compare", path], model=model) == 0
        assert json.loads(capsys.readouterr().out)["compared"]["n"] == 4
        assert run(["rejudge", path, "--judge", "oracle", "--out", str(tmp_path / "again.jsonl")]) == 0
    assert len(set(said)) == 1
    Path(packed).write_bytes(b"PAR1 no more")
    for words in (["judge"], ["calibrate"], ["show"], ["rejudge", "--judge", "oracle", "--out", "a.jsonl"]):
        capsys.readouterr()
        assert run([words[0], packed, *words[1:]]) == 2
        assert "error: " in capsys.readouterr().err
