"""The machine, read from files such as Linux's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepsight import machine
from stepsight.findings import Memory
from stepsight.machine import look_at_machine, read_cpu, read_memory

GIB = 2**30

MEMINFO = """MemTotal:       16777216 kB
MemFree:          100000 kB
MemAvailable:    8388608 kB
HugePages_Total:       0
"""


def cpuinfo(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    return path


def test_a_processor_with_bfloat16_instructions(tmp_path: Path) -> None:
    text = (
        "processor\t: 0\nmodel name\t: Fast 9000 @ 3 GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\nprocessor\t: 1\n"
    )
    cpu = read_cpu(cpuinfo(tmp_path, text))
    assert cpu.name == "Fast 9000 @ 3 GHz"
    assert cpu.flags == ("avx2", "avx512f", "avx512_bf16")
    assert cpu.bf16 is True
    assert cpu.cores


def test_a_processor_without_them_and_one_of_another_make(tmp_path: Path) -> None:
    assert read_cpu(cpuinfo(tmp_path, "model name : Old\nflags : fpu avx2\n")).bf16 is False
    arm = read_cpu(cpuinfo(tmp_path, "processor : 0\nFeatures : fp asimd sve bf16\n"))
    assert (arm.flags, arm.bf16) == (("asimd", "bf16", "sve"), True)


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    cpu = read_cpu(tmp_path / "missing")
    assert cpu.bf16 is None
    assert cpu.name
    assert read_memory(tmp_path / "missing", tmp_path) == Memory(total=None, free=None)


def test_free_memory_is_what_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert read_memory(tmp_path / "meminfo", tmp_path / "missing") == Memory(total=16 * GIB, free=8 * GIB)


@pytest.mark.parametrize(
    ("bound", "used", "idle", "expected"),
    [
        (str(4 * GIB), 3 * GIB, GIB, Memory(total=4 * GIB, free=2 * GIB)),
        (str(12 * GIB), GIB, 0, Memory(total=12 * GIB, free=8 * GIB)),
        (str(2 * GIB), 3 * GIB, 0, Memory(total=2 * GIB, free=0)),
        (str(64 * GIB), GIB, 0, Memory(total=16 * GIB, free=8 * GIB)),
        ("max", GIB, 0, Memory(total=16 * GIB, free=8 * GIB)),
    ],
)
def test_a_containers_bound_counts_where_it_is_lower(
    tmp_path: Path, bound: str, used: int, idle: int, expected: Memory
) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "memory.max").write_text(f"{bound}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 12\ninactive_file {idle}\n")
    assert read_memory(tmp_path / "meminfo", tmp_path) == expected


def test_packages_are_found_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("pydantic", "no-such-package-at-all"))
    found = look_at_machine()
    assert found.packages["pydantic"]
    assert found.packages["no-such-package-at-all"] is None
    assert found.python.count(".") == 2
