"""A benchmark read from its file: which questions it asks, in which words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from stepsight.errors import InputError
from stepsight.evaluation.suites.catalogue import BENCHMARKS, known_name
from stepsight.evaluation.suites.lines import Table, read_table, write_pictures
from stepsight.evaluation.suites.own import own_benchmark
from stepsight.evaluation.suites.places import DataFile, data_folder, find_file, name_there
from stepsight.evaluation.suites.rules import Benchmark, Line
from stepsight.prompts.benchmarks import BenchmarkPrompts, benchmark_prompts
from stepsight.records import Question

PROMPTS = "vlmevalkit-1"


@dataclass(frozen=True)
class Suite:
    """A benchmark, or, where `of` is larger than the number of lines, the first part of one."""

    benchmark: Benchmark
    file: DataFile
    table: Table
    of: int

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.benchmark.name

    @property
    def lines(self) -> tuple[Line, ...]:
        """The rows that are asked."""
        return self.table.lines

    @property
    def beside(self) -> Path:
        """Where pictures lie that the file only names, as VLMEvalKit unpacks them."""
        return self.file.path.parent / "images" / (self.benchmark.pictures or self.name)

    @cached_property
    def answered(self) -> bool:
        """Whether every answer is known, so that it can be scored here."""
        return all(self.benchmark.rules.answered(line) for line in self.lines)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of a score must know of the file."""
        found = []
        if self.file.published is False:
            found.append(
                f"{self.file.path} is not the published file of {self.name}: its MD5 is {self.file.md5}, "
                f"not {self.file.expected}; scores need not compare with published ones"
            )
        if self.benchmark.rows is not None and self.of != self.benchmark.rows:
            found.append(f"{self.name} has {self.benchmark.rows} questions with pictures, this file {self.of}")
        if self.table.without_image:
            found.append(f"{self.table.without_image} rows without a picture are not asked")
        if len(self.lines) < self.of:
            found.append(f"only the first {len(self.lines)} of {self.of} questions")
        if not self.answered:
            found.append(f"{self.name} holds no answers for some of its questions, so it cannot be scored here")
        return tuple(found)

    def first(self, count: int) -> Suite:
        """At least the first `count` questions: those that are scored together stay together, so it may be more.

        Raises:
            InputError: `count` is not positive.
        """
        if count < 1:
            raise InputError(f"{count} questions are none", hint="ask for at least 1")
        rules = self.benchmark.rules
        kept = {rules.together(line) for line in self.lines[:count]}
        lines = tuple(line for line in self.lines if rules.together(line) in kept)
        return replace(self, table=replace(self.table, lines=lines))

    def questions(self, prompts: str | BenchmarkPrompts = PROMPTS, *, pictures: Path | None = None) -> list[Question]:
        """The questions as they are put to a model; their pictures are written as files first.

        The id is `<data set>/<index>`; `meta` has the index, the prompts' version and the labels of the row.

        Args:
            prompts: in which words.
            pictures: the folder for pictures; by default `images/stepsight` beside the benchmark file.

        Raises:
            InputError: there are no such prompts, or a picture that the file names is not there.
            PictureError: a picture cannot be decoded.
        """
        words = benchmark_prompts(prompts) if isinstance(prompts, str) else prompts
        paths = write_pictures(
            self.file.path,
            self.lines,
            self.table.owners,
            folder=pictures or self.file.path.parent / "images" / "stepsight",
            beside=self.beside,
        )
        return [self._question(line, words, paths[line.index]) for line in self.lines]

    def _question(self, line: Line, prompts: BenchmarkPrompts, images: tuple[Path, ...]) -> Question:
        asked = self.benchmark.rules.asked(line, prompts)
        labels = {name: line.text(name) for name in ("category", "l2-category", "split") if line.names(name)}
        return Question(
            id=question_id(self.name, line.index),
            text=asked.text,
            images=images,
            choices=asked.choices,
            answer=asked.answer,
            source=self.name,
            meta={"index": line.index, "wording": asked.wording, "prompts": prompts.version, **labels},
        )


def question_id(dataset: str, index: str) -> str:
    """The id of a benchmark question: its data set and its index there."""
    return f"{dataset}/{index}"


def read_suite(name: str, *, root: Path | None = None) -> Suite:
    """Read a benchmark, or a file of one's own (`own`), from the folder of benchmark files.

    Args:
        name: the data set's name, in any case of letters; for a file of one's own its name without `.tsv`.
        root: the folder; by default that of `LMUData` (`places.data_folder`).

    Raises:
        InputError: there is no such file, which says where people get it, or it is not of the benchmark's form.
    """
    name = known_name(name_there(name, root))
    known = BENCHMARKS.get(name)
    if known is None and not any((data_folder(root) / f"{name}{end}.tsv").is_file() for end in ("", "_local")):
        raise InputError(
            f"there is no benchmark {name}, and no file {data_folder(root) / name}.tsv",
            hint=f"the benchmarks are {', '.join(BENCHMARKS)}",
        )
    file = find_file(name, root=root, expected=known.md5 if known else "", url=known.url if known else "")
    table = read_table(file.path)
    columns = {name for line in table.lines[:1] for name in line.cells}
    benchmark = known or own_benchmark(
        name, sorted(columns), [line.text("answer") for line in table.lines if "answer" in line.cells]
    )
    missing = [column for column in benchmark.rules.needs if column not in columns]
    if missing:
        raise InputError(
            f"{file.path} has no column {missing[0]}, which {benchmark.name} has", hint="download the file again"
        )
    for line in table.lines:
        try:
            benchmark.rules.check(line)
        except InputError as error:
            raise InputError(f"{file.path}, row {line.row}: {error.args[0]}", hint=error.hint) from error
    return Suite(benchmark, file, table, len(table.lines))
