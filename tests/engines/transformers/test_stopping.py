"""Stop strings in a text that arrives in bits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.engines.transformers.stopping import StopScanner

LETTERS = st.text(alphabet="ab<", max_size=30)


@settings(deadline=None)
@given(text=LETTERS, stops=st.lists(st.text(alphabet="ab<", min_size=1, max_size=5), max_size=3), data=st.data())
def test_bits_stop_where_the_whole_text_stops(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bits = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)

    scanner = StopScanner(tuple(stops))
    read = 0
    found = None
    for bit in bits:
        found = scanner.push(bit)
        if found is not None:
            found += read
            break
        read += len(bit)
    assert found == expected
