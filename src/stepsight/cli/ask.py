"""`stepsight ask`: one question about one picture, answered before your eyes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepsight.cli.model_options import brought_model, choose_model
from stepsight.cli.options import JsonOption, check_writable
from stepsight.cli.search_options import choose_search
from stepsight.cli.taking import takes

if TYPE_CHECKING:
    from rich.console import Console

    from stepsight.api import Answer, Notice
    from stepsight.assembly import ModelChoice, SearchChoice
    from stepsight.reports.live import LiveSearch

EXAMPLE_QUESTION = "Subtract all small shiny balls. Subtract all purple objects. How many objects are left?"
"""What is asked about the bundled picture."""

_PICTURE_NAME = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?|ppm)$", re.IGNORECASE)


@takes(choice=choose_model, plan=choose_search)
def ask_command(
    context: typer.Context,
    image: Annotated[
        str | None,
        typer.Argument(
            help="The picture. Without one, the bundled example is asked about; a lone argument that is no file and "
            "has a space in it is a question about that example.",
            show_default=False,
        ),
    ] = None,
    question: Annotated[str | None, typer.Argument(help="What to ask about it.", show_default=False)] = None,
    *,
    choice: ModelChoice,
    plan: SearchChoice,
    choices: Annotated[
        list[str] | None, typer.Option("--choice", "-c", help="One option of a multiple choice; repeat it for each.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write everything the search did to this file, as JSON.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a question about a picture and watch the answer being found."""
    from rich.console import Console

    from stepsight.api import ask
    from stepsight.files import whole_file
    from stepsight.reports.live import LiveSearch

    picture, text = what_is_asked(image, question)
    if trace is not None:
        check_writable(trace)
    console = Console(quiet=as_json, highlight=False)
    errors = Console(stderr=True, highlight=False)
    live = LiveSearch(console, single=plan.single)
    teller = _Teller(picture, live, console, errors)

    with live:
        answer = ask(
            picture,
            text,
            model=brought_model(context) or choice,
            choices=choices or (),
            search=plan,
            watch=live.watch,
            notice=teller.tell,
        )
    if trace is not None:
        with whole_file(trace) as stream:
            stream.write(answer.trace.model_dump_json().encode() + b"\n")
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False))
    else:
        live.finish(answer.trace)
        _print_report(console, answer, teller.loading)


def what_is_asked(image: str | None, question: str | None) -> tuple[Path, str]:
    """Sort out the two optional arguments into a picture and a question.

    Raises:
        InputError: there is a picture but no question, or an empty argument.
    """
    from stepsight.errors import InputError

    if question is not None:
        return Path(image or ""), question
    if image is None:
        return example_picture(), EXAMPLE_QUESTION
    if not image.strip():
        raise InputError("the question is empty", hint="say what you want to know about the picture")
    is_question = " " in image.strip() and not Path(image).exists() and not _PICTURE_NAME.search(image)
    if is_question:
        return example_picture(), image
    if not Path(image).exists():
        raise InputError(
            f"there is no file {image}", hint='stepsight ask PICTURE "QUESTION"; a lone question needs a space in it'
        )
    raise InputError(
        f"there is no question about {image}", hint=f'stepsight ask {image} "How many red cubes are there?"'
    )


def example_picture() -> Path:
    """The drawn picture that the package brings along."""
    from importlib.resources import files

    return Path(str(files("stepsight") / "examples" / "tabletop.png"))


class _Teller:
    """Shows what happens before the search: the question, loading in the live view, warnings on stderr."""

    def __init__(self, picture: Path, live: LiveSearch, console: Console, errors: Console) -> None:
        self._picture = picture
        self._live = live
        self._console = console
        self._errors = errors
        self.loading = ""

    def tell(self, notice: Notice) -> None:
        if notice.kind == "asked":
            from rich.text import Text

            from stepsight.reports.terminal import Line, print_lines, shown

            head = Text.assemble((f"{self._picture.name}  ", "dim"), (shown(notice.text), "bold"))
            print_lines(self._console, [Line(head), Line(Text())])
        elif notice.kind == "loading":
            self._live.doing(f"loading {notice.text}")
        elif notice.kind == "loaded":
            self._live.doing("reading the picture")
            self.loading = f"{notice.text} loaded in {notice.seconds:.1f} s"
        else:
            # Where both are one screen, only the console of the live view knows how to print above it.
            one_screen = self._console.is_terminal and self._errors.is_terminal and not self._console.quiet
            where = self._console if one_screen else self._errors
            where.print(f"note: {notice.text}", style="yellow", markup=False, soft_wrap=not one_screen)
            if one_screen:
                where.print()


def _print_report(console: Console, answer: Answer, loading: str) -> None:
    from rich.text import Text

    from stepsight.reports.terminal import Line, cost_line, print_answer, print_lines, tried_lines

    print_lines(console, tried_lines(answer.trace, marks=not console.is_terminal))
    if answer.faults:
        faults = "; ".join(fault.detail for fault in answer.faults)
        print_lines(console, [Line(Text(f"the answer is malformed: {faults}", style="red")), Line(Text())])
    print_answer(console, answer.conclusion)
    print_lines(console, [cost_line(answer.usage, answer.seconds, loading=loading)])
