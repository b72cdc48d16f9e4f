"""Which people's records a job had: against plain sets, whatever happens to the table."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pyroaring import BitMap

from party_node.job_history import RUNNING, JobHistory
from party_node.store import NodeStore

USE = {"time_ms": 1, "purpose": "activation", "requester": "shop", "protocol": "psi",
       "categories": ["content"]}  # fmt: skip


def key(word):
    """8 bytes of a pseudonym; words are made up so that they differ."""
    return int.from_bytes(word.encode().ljust(8, b".")[:8], "little") if word else 0


def keys_of(table):
    """table: rows of (e-mail, phone) words → uint64[2, rows]."""
    return np.array([[key(row[at]) for row in table] for at in (0, 1)], dtype=np.uint64)


def subjects(*words):
    rows = np.zeros((len(words), 32), dtype=np.uint8)
    for row, word in zip(rows, words, strict=True):
        row[:8] = np.frombuffer(np.uint64(key(word)).tobytes(), np.uint8)
    return rows


class Node:
    """The history of one party whose table changes between restarts."""

    def __init__(self, folder):
        self.store = NodeStore(folder / "node.sqlite")
        self.table = []

    def load(self, table):
        self.table = table
        self.history = JobHistory(self.store.engine, lambda: keys_of(table))

    def run(self, job, rows, attempt=1):
        kept = self.history.keep(job, attempt, BitMap(rows), USE, b"s" * 32)
        self.history.ended(job, attempt, "released")
        return kept

    def jobs(self, row):
        return [use.job for use in self.history.uses(np.array([row]))]


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    yield made
    made.store.close()


def own(table, row):
    """Words of a row that no other row has: by which its person is known again."""
    every = [word for other in table for word in other]
    return {word for word in table[row] if word and every.count(word) == 1}


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_plain_sets_over_many_tables(node, seed):
    rng = random.Random(seed)
    print(f"seed {seed}")
    names = [f"n{i}" for i in range(14)]
    said = []  # (job, words of its people), oldest first
    for generation in range(6):
        people = rng.sample(names, rng.randint(0, 14))
        table = [(f"e{p}" if rng.random() > 0.3 else "", f"t{p}" if rng.random() > 0.3 else "")
                 for p in people]  # fmt: skip
        if len(table) > 2 and rng.random() > 0.5:
            table[1] = (table[0][0], table[1][1])  # an e-mail in two rows
        node.load(table)
        rows = rng.sample(range(len(table)), rng.randint(0, len(table)))
        job = f"job{generation}"
        node.run(job, rows)
        said.append((job, set().union(set(), *(own(table, row) for row in rows))))
        if rng.random() > 0.5 and table:
            gone = rng.choice(table)
            word = gone[0] or gone[1]
            node.history.forget(subjects(word) if word else subjects())
            forgotten = {word} - {""}
            for row in range(len(table)):
                if own(table, row) & forgotten:
                    forgotten |= own(table, row)
            said = [(job, words - forgotten) for job, words in said]
        for row in range(len(table)):
            mine = own(table, row)
            expected = [job for job, words in reversed(said) if words & mine]
            assert node.jobs(row) == expected, (generation, row)


def test_a_second_admission_of_an_attempt_never_grows(node):
    node.load([("a", ""), ("b", ""), ("c", "")])
    first = node.history.keep("j", 1, BitMap([0, 1]), USE, b"1" * 32)
    again = node.history.keep("j", 1, BitMap([1, 2]), USE, b"2" * 32)
    assert (sorted(first.rows), sorted(again.rows)) == ([0, 1], [1])
    assert again.digest == first.digest
    other = node.history.keep("j", 2, BitMap([0, 1]), USE, b"2" * 32)
    assert other.digest != first.digest  # salted anew: equal sets do not show
    assert node.history.attempts("j") == [1, 2]
    assert node.jobs(2) == []
    (use,) = node.history.uses(np.array([0]))  # one job, however often it started over
    assert (use.job, use.outcome) == ("j", RUNNING)


def test_who_has_nothing_of_their_own_is_in_nobodys_history(node):
    node.load([("", ""), ("x", ""), ("x", "")])
    node.run("j", [0, 1, 2])
    assert [node.jobs(row) for row in range(3)] == [[], [], []]
    assert node.jobs(17) == []


def test_rows_of_an_erased_person_go_when_the_job_has_ended(node):
    node.load([("a", "1"), ("b", "2")])
    running = node.history.keep("now", 1, BitMap([0, 1]), USE, b"s" * 32)
    node.run("before", [0, 1])
    node.history.forget(subjects("a"))
    again = node.history.keep("now", 1, BitMap([0, 1]), USE, b"s" * 32)
    assert (again.rows, again.digest) == (running.rows, running.digest)
    node.history.ended("now", 1, "released")
    with node.store.engine.connect() as db:
        held = db.exec_driver_sql("SELECT rows, erased FROM job_inputs").all()
    assert all(row.erased and not BitMap.deserialize(row.rows) for row in held)
    assert [node.jobs(0), len(node.jobs(1))] == [[], 2]
    node.load([("a", "1"), ("b", "2")])  # the same words again are somebody new
    assert [node.jobs(0), len(node.jobs(1))] == [[], 2]


def test_forgetting_leaves_no_byte_and_a_stranger_changes_nothing(node, tmp_path):
    node.load([("anna-key", "tel-0001"), ("bert-key", "tel-0002")])
    node.run("j", [0, 1])
    node.history.forget(subjects())
    node.history.forget(subjects("nobody"))
    assert len(node.jobs(0)) == 1
    node.history.forget(subjects("anna-key"))
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"anna-key" not in files
    assert b"tel-0001" not in files
    assert b"bert-key" in files


def test_people_keep_their_jobs_when_pseudonyms_are_made_anew(tmp_path):
    engine = NodeStore(tmp_path / "node.sqlite").engine
    old, new = (np.arange(start, start + 4, dtype=np.uint64) for start in (100, 200))
    before = JobHistory(engine, lambda: old.reshape(1, 4))
    before.keep("job", 1, BitMap([1, 3]), USE, b"s" * 32)
    after = JobHistory(engine, lambda: new.reshape(1, 4))
    for _ in range(2):  # a second time it changes nothing
        after.renamed(old, new)
        assert [len(after.uses(np.array([row]))) for row in range(4)] == [0, 1, 0, 1]
