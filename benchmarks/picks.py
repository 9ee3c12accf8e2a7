"""How often a judge picks a true candidate where some are true and some are not; from the traces of an evaluation.

Only stages of which the candidates differ in truth count: elsewhere any choice is as good. Beside the judge's picks
stand what a draw at random would get and what the likeliest candidate would, on the same candidates.

    stepsight eval --questions hard/questions.jsonl --search stage-beam --out beam-hard
    python benchmarks/picks.py beam-hard/traces.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepsight.cli.app import run
from stepsight.evaluation.statistics import wilson
from stepsight.jsonl import read_jsonl
from stepsight.judges.reading import malformed, stage_texts, unit_text
from stepsight.records import Candidate, Question, Trace
from stepsight.stages import Stage
from stepsight.world.checker import check, check_reasoning, read_caption
from stepsight.world.programs import Program


def is_true(question: Question, chosen: Mapping[Stage, str], candidate: Candidate) -> bool | None:
    """Whether a stage is true: CAPTION of the scene, REASONING of the chosen caption, CONCLUSION of the question."""
    stage = candidate.stage
    if malformed(candidate) is not None:
        return False
    text = unit_text(candidate)
    if stage is Stage.CAPTION:
        return check(question, {stage: text}).caption
    if stage is Stage.REASONING:
        things = read_caption(chosen.get(Stage.CAPTION, ""))
        program = Program.from_dict(question.meta["program"])
        return None if things is None else not check_reasoning(program, things, text, question.choices)
    return check(question, {stage: text}).conclusion if stage is Stage.CONCLUSION else None


def mixed(trace: Trace) -> list[tuple[Stage, list[tuple[Candidate, bool]], int]]:
    """Stages whose candidates differ in truth: the stage, candidates with their truth, the id that was chosen."""
    found = []
    by_id = {candidate.id: candidate for candidate in trace.candidates}
    for place, chosen in enumerate(trace.chosen):
        stage = by_id[chosen].stage
        earlier = stage_texts([by_id[one] for one in trace.chosen[:place]])
        group = [candidate for candidate in trace.candidates if candidate.stage is stage]
        truths = [(candidate, is_true(trace.question, earlier, candidate)) for candidate in group]
        known = [(candidate, truth) for candidate, truth in truths if truth is not None]
        if stage is not None and len({truth for _, truth in known}) == 2:
            found.append((stage, known, chosen))
    return found


def likeliest(group: Sequence[tuple[Candidate, bool]]) -> bool:
    """Whether the candidate of the highest log-probability is true."""
    return max(group, key=lambda pair: -1e9 if pair[0].logprob is None else pair[0].logprob)[1]


def small_run(folder: Path) -> Path:
    """The traces of fifty questions, for want of others."""
    questions, out = folder / "hard", folder / "beam"
    run(["draw", "--split", "hard", "--seed", "5", "--count", "50", "--out", str(questions)])
    run(["eval", "--questions", str(questions / "questions.jsonl"), "--search", "stage-beam", "--out", str(out)])
    return out / "traces.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="?", help="without it, fifty questions are answered first")
    arguments = parser.parse_args()
    counts: dict[Stage, list[tuple[bool, float, bool]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        traces = read_jsonl(arguments.traces or small_run(Path(folder)), Trace)
    for trace in traces:
        for stage, group, chosen in mixed(trace):
            judged = next(truth for candidate, truth in group if candidate.id == chosen)
            counts[stage].append((judged, sum(truth for _, truth in group) / len(group), likeliest(group)))
    for stage, rows in counts.items():
        line = {
            "judge": wilson(sum(judged for judged, _, _ in rows), len(rows)).model_dump(),
            "at_random": round(sum(chance for _, chance, _ in rows) / len(rows), 3),
            "likeliest": round(sum(likely for _, _, likely in rows) / len(rows), 3),
        }
        print(stage.value, json.dumps(line))


if __name__ == "__main__":
    main()
