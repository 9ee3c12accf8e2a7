"""Whatever is given, the command line answers with one clear line and the right exit code, never with a traceback."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import stepsight
from stepsight import EngineError
from stepsight.assembly import LoadedModel
from stepsight.cli.app import run
from stepsight.engines.scripted import ScriptedEngine
from stepsight.model_folders import ModelCard

SOURCE = Path(stepsight.__file__).parent.parent


def program(arguments: Sequence[str], *, before: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the real program; `before` is Python that runs first in its process."""
    code = f"import sys; {before}\nfrom stepsight.cli import main; sys.argv[0] = 'stepsight'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "HF_HUB_OFFLINE": "1"},
    )


def huge_png(path: Path) -> Path:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, end))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every kind of input, good and bad, as the working folder."""
    Image.new("RGB", (64, 64), (165, 165, 165)).save(tmp_path / "good.png")
    huge_png(tmp_path / "huge.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "folder").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("tusk: align\noptimisation: {stepz: 3}\n")
    (tmp_path / "questions.jsonl").write_text('{"id": "1", "text": "How many?", "images": ["good.png"]}\n')
    (tmp_path / "torn.jsonl").write_text('{"id": "1", "te\n')
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "blind.jsonl").write_text('{"id": "1", "text": "How many?", "images": ["gone.png"]}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


FAULTS = [
    (["ask", "missing.png", "How many?"], 2, "missing.png"),
    (["ask", "missing.png"], 2, "missing.png"),
    (["ask", "good.png"], 2, "no question"),
    (["ask", "folder", "How many?"], 2, "folder"),
    (["ask", "text.png", "How many?"], 2, "text.png"),
    (["ask", "empty.png", "How many?"], 2, "empty"),
    (["ask", "cut.png", "How many?"], 2, "cut"),
    (["ask", "huge.png", "How many?"], 2, "pixels"),
    (["ask", "good.png", ""], 2, "question is empty"),
    (["ask", ""], 2, "question is empty"),
    (["frobnicate"], 2, "frobnicate"),
    (["ask", "--nope"], 2, "stepsight ask --help"),
    (["ask", "good.png", "How many?", "--width", "many"], 2, "--width"),
    (["ask", "good.png", "How many?", "--width", "0"], 2, "--width"),
    (["ask", "good.png", "How many?", "--temperature", "nan"], 2, "temperature"),
    (["eval"], 2, "--questions"),
    (["draw"], 2, "--out"),
    (["ask", "good.png", "How many?", "--search", "stage-bean"], 2, "did you mean stage-beam"),
    (["ask", "good.png", "How many?", "--judge", "myself"], 2, "did you mean self"),
    (["ask", "good.png", "How many?", "--judge", "vote"], 1, "best-of-n"),
    (["ask", "good.png", "How many?", "--choice", "red"], 2, "choices"),
    (["ask", "good.png", "How many?", "--top-p", "0"], 2, "top_p"),
    (["ask", "good.png", "How many?", "--trace", "folder"], 2, "folder"),
    (["ask", "good.png", "How many?", "--trace", "good.png/trace.json"], 2, "good.png"),
    (["ask", "good.png", "How many?", "--model", "missing"], 1, "missing"),
    (["ask", "good.png", "How many?", "--model", "./missing/model"], 1, "missing"),
    (["ask", "good.png", "How many?", "--model", "folder"], 1, "config.json"),
    (["ask", "good.png", "How many?", "--attention", "spda"], 2, "did you mean sdpa"),
    (["ask", "good.png", "How many?", "--quantize", "3bit"], 2, "8bit"),
    (["ask", "good.png", "How many?", "--device-map", "{"], 2, "cuda:0"),
    (["ask", "good.png", "How many?", "--device-map", "auto", "--device", "cpu"], 2, "exclude"),
    (["ask", "good.png", "How many?", "--max-rows", "0"], 2, "--max-rows"),
    (["ask", "good.png", "How many?", "--rows-gb", "0"], 2, "rows_gb"),
    (["ask", "good.png", "How many?", "--shared-prefix", "yes"], 2, "way of sharing"),
    (["ask", "good.png", "How many?", "--cache-gb", "-1"], 2, "--cache-gb"),
    (["ask", "good.png", "How many?", "--threads", "0"], 2, "--threads"),
    (["eval", "--questions", "questions.jsonl", "--quantize", "4bits"], 2, "did you mean 4bit"),
    (["doctor", "--attention", "spda"], 2, "did you mean sdpa"),
    (["doctor", "--device-map", "{"], 2, "cuda:0"),
    (["draw", "--split", "tset", "--count", "1", "--out", "drawn"], 2, "test"),
    (["draw", "--out", "good.png/drawn"], 2, "good.png"),
    (["train", "missing.yaml"], 2, "missing.yaml"),
    (["train", "recipe.yaml", "--dry-run"], 2, "tusk"),
    (["train", "recipe.yaml", "--dry-run"], 2, "stepz: unknown key"),
    (["train", "recipe.yaml", "--set", "optimisation.steps"], 2, "optimisation.steps"),
    (["train", "recipe.yaml", "--out", "good.png"], 2, "good.png"),
    (["eval", "--questions", "missing.jsonl"], 2, "missing.jsonl"),
    (["eval", "--questions", "torn.jsonl"], 2, "torn.jsonl"),
    (["eval", "--questions", "none.jsonl"], 2, "no question"),
    (["eval", "--questions", "blind.jsonl"], 2, "gone.png"),
    (["eval", "--questions", "questions.jsonl", "--search", "beam"], 2, "stage-beam"),
    (["eval", "--questions", "questions.jsonl", "--judge", "slef"], 2, "self"),
    (["eval", "--questions", "questions.jsonl", "--compare", "missing"], 2, "missing"),
    (["eval", "--questions", "questions.jsonl", "--compare", "folder"], 2, "folder"),
    (["eval", "--questions", "questions.jsonl", "--out", "good.png"], 2, "good.png"),
    (["eval", "--questions", "questions.jsonl", "--model", "missing"], 1, "missing"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "code", "says"), FAULTS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_fault_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("here")
def test_the_real_program_fails_before_any_model_is_imported() -> None:
    watch = "import atexit; atexit.register(lambda: print('torch' in sys.modules, 'transformers' in sys.modules))"
    done = program(["ask", "good.png", "How many?", "--search", "stage-bean"], before=watch)
    assert done.returncode == 2
    assert done.stdout == "False False\n"
    assert done.stderr.startswith("error: there is no strategy 'stage-bean'")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("here")
def test_a_model_folder_without_a_processor_is_named() -> None:
    done = program(["ask", "good.png", "How many?", "--model", "bare"])
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "processor" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("here")
def test_a_hub_model_that_cannot_be_had_is_named() -> None:
    done = program(["ask", "good.png", "How many?", "--json", "--model", "nobody-at-all/no-such-model"])
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "nobody-at-all/no-such-model" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("torch", ["ask", "good.png", "How many?", "--model", "bare"], "stepsight[local]"),
        ("transformers", ["eval", "--questions", "questions.jsonl", "--model", "bare"], "stepsight[local]"),
        ("torch", ["train", "recipe.yaml"], "stepsight[train]"),
    ],
)
def test_a_missing_extra_gives_the_line_that_installs_it(missing: str, arguments: list[str], extra: str) -> None:
    done = program(arguments, before=f"sys.modules['{missing}'] = None")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"pip install '{extra}'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("here")
def test_an_engine_that_fails_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    model = LoadedModel(ScriptedEngine([]), ModelCard())
    assert run(["ask", "good.png", "How many?", "--json"], model=model) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: the script has 0 continuations left")
    assert issubclass(EngineError, stepsight.StepsightError)


@pytest.mark.usefixtures("here")
def test_an_interruption_leaves_at_once_with_130() -> None:
    """The engine keeps a thread busy for an hour; nobody waits for it."""
    code = """
import asyncio, signal, sys, threading, time
import stepsight.assembly as assembly
# A suite that runs in the background of a shell has interruptions switched off, and so have its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from stepsight.engines.scripted import ScriptedEngine
class Busy(ScriptedEngine):
    async def sample(self, request, on_text=None):
        print("working", file=sys.stderr, flush=True)
        await asyncio.to_thread(time.sleep, 3600)
assembly._load = lambda choice: assembly.LoadedModel(Busy(), assembly.ModelCard())
sys.argv = ["stepsight", "ask", "good.png", "How many?", "--model", "bare"]
from stepsight.cli import main
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "working\n"
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("here")
def test_a_reader_that_goes_away_is_no_crash() -> None:
    done = subprocess.run(
        f"{sys.executable} -m stepsight ask --help | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert "Traceback" not in done.stderr
