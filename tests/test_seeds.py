"""Seeds are stable, bounded, and differ wherever anything differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepsight.seeds import derive_seed
from stepsight.stages import Stage

identities = st.tuples(st.integers(), st.text(), st.text(), st.integers(min_value=0))


def test_a_seed_is_the_same_in_every_process_and_version() -> None:
    assert derive_seed(0, "q1", "SUMMARY", 0) == 1366386778837551447
    assert derive_seed(0, "q1", Stage.SUMMARY, 0) == derive_seed(0, "q1", "SUMMARY", 0)


@given(identities)
def test_a_seed_has_63_bits(identity: tuple[int, str, str, int]) -> None:
    assert 0 <= derive_seed(*identity) < 2**63


@given(identities, identities)
def test_different_identities_have_different_seeds(
    one: tuple[int, str, str, int], other: tuple[int, str, str, int]
) -> None:
    assert (derive_seed(*one) == derive_seed(*other)) == (one == other)


def test_the_parts_do_not_run_together() -> None:
    assert derive_seed(1, "12", "3", 4) != derive_seed(1, "1", "23", 4)
    assert derive_seed(1, 'a", "b', "c", 0) != derive_seed(1, "a", 'b", "c', 0)
