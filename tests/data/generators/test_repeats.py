import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from minigpt.data.generators.repeats import LETTERS, generate_repeats

REPEATS_SHA256 = "136815f370fbad88b8127e5291e6195b2f8217fadbcaa68570cc41d1eb792ef5"


def test_the_list_is_the_same_everywhere_and_for_ever():
    """Bundled runs regenerate their corpus, so after a change of a generator they must be trained again."""
    assert hashlib.sha256(generate_repeats(20_000).encode()).hexdigest() == REPEATS_SHA256


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 2**63 - 1))
def test_a_longer_list_of_repeats_begins_with_the_shorter_one(one, other, seed):
    short, long = sorted((one, other))
    text = generate_repeats(long, seed=seed)
    assert len(text) == long
    assert text[:short] == generate_repeats(short, seed=seed)


def test_a_line_of_repeats_is_a_stretch_that_comes_again():
    lines = generate_repeats(49 * 400).splitlines()
    lengths = set()
    for line in lines:
        assert re.fullmatch("[a-z]{48}", line)
        # The sequence of a line: up to two letters come before each repetition of it.
        fits = [
            length
            for length in range(4, 14)
            for start in range(3)
            if (stretch := line[start : start + length]) in line[start + length :]
            and re.fullmatch(rf"([a-z]{{0,2}}{stretch})*[a-z]{{0,{length + 2}}}", line)
        ]
        assert fits, line
        lengths.add(max(fits))
    assert lengths >= set(range(5, 14))
    assert len(set(lines)) == len(lines)


def test_letters_of_repeats_are_about_equally_common():
    text = generate_repeats(200_000).replace("\n", "")
    shares = [text.count(letter) / len(text) for letter in LETTERS]
    assert max(shares) < 1.15 / 26
    assert min(shares) > 0.85 / 26


def test_no_repeats():
    assert generate_repeats(0) == generate_repeats(-1) == ""
