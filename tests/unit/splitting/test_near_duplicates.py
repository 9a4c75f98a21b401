"""Close hashes are found without comparing all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.splitting.groups import connected
from posterity.splitting.near_duplicates import close_pairs

HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30)


def pairs(hashes, max_distance=8, neighbours=8):
    return close_pairs(np.array(hashes, np.uint64), max_distance=max_distance, neighbours=neighbours).tolist()


def flipped(value, *bits):
    for bit in bits:
        value ^= 1 << bit
    return value


@settings(deadline=None)
@given(HASHES, st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 63), max_size=3)), max_size=8))
def test_every_pair_of_up_to_three_bits_is_found_once(values, copies):
    values = values + [flipped(values[source % len(values)], *bits) for source, bits in copies]
    expected = [
        [first, second]
        for first in range(len(values))
        for second in range(first + 1, len(values))
        if (values[first] ^ values[second]).bit_count() <= 3
    ]
    assert pairs([[value] for value in values], max_distance=3, neighbours=len(values)) == expected


@pytest.mark.parametrize(("bits", "found"), [([0, 1, 2, 3], True), ([0, 16, 32, 48], False), (range(9), False)])
def test_of_more_bits_a_pair_is_found_if_a_band_is_the_same_and_the_distance_allowed(bits, found):
    assert pairs([[12345], [flipped(12345, *bits)]]) == ([[0, 1]] if found else [])


def test_a_variant_is_compared_with_the_first_hashes_and_not_with_other_variants():
    one, other, third = 0, 0x0F0F0F0F0F0F0F0F, 0x3333333333333333
    assert pairs([[one, other], [third, one]]) == [[0, 1]]  # the second one's variant is the first one's whole
    assert pairs([[one, other], [third, other]]) == []


def test_a_row_is_not_its_own_neighbour():
    assert pairs([[5, 5, 4]]) == []


def test_only_the_nearest_are_kept():
    values = [0, 0b1, 0b11, 0b111, 0b1111]
    # The nearest of each: 0 and 1 each other, and of two at the same distance the first.
    assert pairs([[value] for value in values], neighbours=1) == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_a_crowd_brings_few_pairs_for_each_row_and_is_connected():
    generator = np.random.default_rng(0)
    crowd = 5000
    hashes = np.uint64(12345) ^ (np.uint64(1) << generator.integers(0, 64, (crowd, 3)).astype(np.uint64))
    found = close_pairs(hashes, max_distance=8, neighbours=4)
    assert len(found) <= 4 * crowd
    assert connected(crowd, found.tolist()).max() == 0


def test_no_rows_have_no_pairs():
    assert close_pairs(np.empty((0, 25), np.uint64), max_distance=8, neighbours=8).shape == (0, 2)
