"""Draw the README's picture of a search: what `stepsight ask` shows at the end of it, as SVG.

python docs/images/draw_search.py docs/images/search.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stepsight import ask
from stepsight.cli.ask import EXAMPLE_QUESTION, example_picture
from stepsight.reports.terminal import Line, cost_line, print_answer, print_lines, stage_lines, tried_lines
from stepsight.stages import Stage


def main(out: Path) -> None:
    answer = ask(example_picture(), EXAMPLE_QUESTION, seed=3)
    console = Console(record=True, width=118, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    print_lines(console, [Line(Text(EXAMPLE_QUESTION, style="bold")), Line(Text())])
    for stage in Stage:
        if stage is not Stage.CONCLUSION:
            print_lines(console, stage_lines(stage, answer.stages[stage]))
    print_lines(console, tried_lines(answer.trace, marks=False))
    print_answer(console, answer.conclusion)
    print_lines(console, [cost_line(answer.usage, answer.seconds)])
    console.save_svg(str(out), title="stepsight ask")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
