"""Equal keys are found on disk as in memory, whatever the order of the records and the size of the files."""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from ropewalk.corpus.spill import Spill

FILE_RECORDS = [7, 100, 5_000]


def spilled(folder, records: list[tuple[int, ...]], *, expected: int, file_records: int, portions: int = 9) -> Spill:
    spill = Spill(folder, lanes=len(records[0]) - 1, expected=expected, file_records=file_records)
    for start in range(0, len(records), portions):
        portion = np.array(records[start : start + portions], dtype=np.uint64)
        spill.add(portion[:, :-1], portion[:, -1])
    return spill


def random_records(seed: int, lanes: int) -> list[tuple[int, ...]]:
    """1,000 records: keys that come once, twice, often; and with two lanes, keys that share the first."""
    chance = random.Random(seed)
    few = [chance.getrandbits(64) for _ in range(300)]
    keys = [
        (chance.choice(few[:3] if chance.random() < 0.3 else few), *[chance.randrange(2)] * (lanes - 1))
        for _ in range(1_000)
    ]
    return [(*key, number) for number, key in enumerate(keys)]


@pytest.mark.parametrize("file_records", FILE_RECORDS)
@pytest.mark.parametrize("lanes", [1, 2])
def test_edges_link_the_first_of_a_key_to_all_others(tmp_path, lanes, file_records):
    records = random_records(lanes, lanes)
    of_key = defaultdict(list)
    for *key, number in records:
        of_key[tuple(key)].append(number)
    shuffled = random.Random(2).sample(records, len(records))
    edges = np.concatenate(list(spilled(tmp_path, shuffled, expected=1_000, file_records=file_records).edges()))
    assert sorted(edges[:, 1].tolist()) == sorted(number for numbers in of_key.values() for number in sorted(numbers)[1:])
    key_of = {number: tuple(key) for *key, number in records}
    assert all(key_of[one] == key_of[other] and one < other for one, other in edges.tolist())
    assert not list(tmp_path.iterdir())


def test_one_key_a_hundred_times_the_size_of_a_file(tmp_path):
    records = [(1 << 60, number) for number in range(5_000)]
    edges = np.concatenate(list(spilled(tmp_path, records[::-1], expected=5_000, file_records=50).edges()))
    assert sorted(edges[:, 1].tolist()) == list(range(1, 5_000))


@pytest.mark.parametrize("file_records", FILE_RECORDS)
def test_totals_are_sums_of_numbers(tmp_path, file_records):
    records = [(key, number % 5) for key, number in random_records(3, 1)]
    expected = Counter()
    for key, number in records:
        expected[key] += number
    spill = spilled(tmp_path, records, expected=1_000, file_records=file_records)
    assert {
        int(key): int(total) for keys, totals in spill.totals() for key, total in zip(keys, totals, strict=True)
    } == expected


def test_what_a_killed_run_left_is_not_counted(tmp_path):
    records = random_records(4, 1)
    spilled(tmp_path, records, expected=1_000, file_records=100).edges().__next__()
    again = np.concatenate(list(spilled(tmp_path, records, expected=1_000, file_records=100).edges()))
    assert len(again) == len(records) - len({key for key, _ in records})
