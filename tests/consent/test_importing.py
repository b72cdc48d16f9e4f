"""A consent file against the log: only what changed is said, and nobody is given back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from consent.importing import Statements, changes, statements_of_everyone, statements_of_file
from consent.pseudonyms import Pseudonyms
from consent.purposes import CATEGORIES, PURPOSES, STATE_OF_WORD
from consent.records import RecordBatch, Scope, joined
from consent.standing import Standing
from consent.state_machine import check_batch
from consent.subjects import SubjectIndex
from protocol.errors import BadInput, ProtocolViolation
from protocol.secret import Secret
from tests.consent import made

MADE = Pseudonyms(Secret(b"m" * 32), "assent/00/consent/retailer", "retailer")
Row = tuple[str | None, str, str, str, str]


def file(rows: Sequence[Row]) -> Statements:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return statements_of_file(
        MADE, "email", *(pa.array(list(column), type=pa.string()) for column in columns)
    )


def row(who: str | None, status: str, recipient: str = "media", category: str = "purchases") -> Row:
    return who, made.PURPOSE, recipient, category, status


def people(*names: str) -> np.ndarray:
    return MADE.tokens("email", pa.array(names, type=pa.string()))


def say(stated: Statements, log: list[RecordBatch]) -> RecordBatch:
    return joined(list(changes(stated, log, 1, int(made.START * 1000), os.urandom).pieces()))


def state(log: list[RecordBatch], who: str, recipient: str = "media", category: str = "purchases",
          purpose: str = made.PURPOSE) -> str:  # fmt: skip
    index = SubjectIndex(people(who))
    events = Standing(index)
    for batch in log:
        events.add(batch)
    code = events.states((purpose, recipient, category))[0]
    return next((word for word, number in STATE_OF_WORD.items() if number == code), "")


def withdrawn(who: str, recipient: str = "*") -> RecordBatch:
    about = Scope(PURPOSES, (recipient,), CATEGORIES)
    return replace(made.batch(["x"], "withdrawn", about, channel="counter"), subjects=people(who))


def test_the_stricter_of_two_rows_for_one_key_wins_in_any_order() -> None:
    for first, second in (("given", "refused"), ("refused", "given")):
        log = [say(file([row("ann", first), row("bob", "given"), row("ann", second)]), [])]
        assert (state(log, "ann"), state(log, "bob")) == ("refused", "given")
        assert len(log[0]) == 2
    # other keys of the same person are untouched
    log = [say(file([row("ann", "given"), row("ann", "refused", category="finance")]), [])]
    assert (state(log, "ann"), state(log, "ann", category="finance")) == ("given", "refused")


def test_the_same_file_again_says_nothing() -> None:
    stated = file([row("ann", "given"), row("bob", "withdrawn"), row("eve", "expired", "bank")])
    log = [say(stated, [])]
    assert len(log[0]) == 3
    assert len(say(stated, log)) == 0


def test_an_import_that_broke_off_is_finished_by_the_next() -> None:
    stated = file([row(f"p{number}", "given") for number in range(10)])
    whole = say(stated, [])
    log = [whole.take(slice(0, 4))]
    rest = say(stated, log)
    assert len(rest) == 6
    assert len(say(stated, [*log, rest])) == 0


def test_a_changed_line_is_one_event() -> None:
    log = [say(file([row("ann", "given"), row("bob", "given")]), [])]
    log.append(say(file([row("ann", "withdrawn"), row("bob", "given")]), log))
    assert len(log[1]) == 1
    assert (state(log, "ann"), state(log, "bob")) == ("withdrawn", "given")


def test_a_permit_that_left_the_file_ends_and_can_come_back() -> None:
    both = file([row("ann", "given"), row("bob", "given"), row("eve", "refused")])
    log = [say(both, [])]
    log.append(say(file([row("bob", "given")]), log))
    assert [state(log, who) for who in ("ann", "bob", "eve")] == ["expired", "given", "refused"]
    assert len(log[1]) == 1
    assert len(say(file([row("bob", "given")]), log)) == 0
    log.append(say(both, log))
    assert state(log, "ann") == "given"


def test_an_old_file_does_not_undo_a_withdrawal() -> None:
    log = [say(file([row("ann", "given"), row("bob", "given")]), []), withdrawn("ann")]
    # the same file, and a file in which somebody else changed
    assert len(say(file([row("ann", "given"), row("bob", "given")]), log)) == 0
    log.append(say(file([row("ann", "given"), row("bob", "renewed")]), log))
    assert (state(log, "ann"), state(log, "bob")) == ("withdrawn", "renewed")
    # a person who leaves the file stays withdrawn, not merely expired
    log.append(say(file([row("bob", "renewed")]), log))
    assert state(log, "ann") == "withdrawn"
    # a change of her own line is newer than the withdrawal
    log.append(say(file([row("ann", "renewed"), row("bob", "renewed")]), log))
    assert state(log, "ann") == "renewed"


def test_a_file_that_names_somebody_first_does_not_undo_what_they_said() -> None:
    log = [withdrawn("ann")]
    assert len(say(file([row("ann", "given")]), log)) == 0
    log.append(say(file([row("ann", "refused")]), log))
    assert state(log, "ann") == "refused"


def test_no_file_permits_anew_for_somebody_who_was_erased() -> None:
    def gone(tokens: np.ndarray) -> np.ndarray:
        return (tokens == people("ann")).all(axis=1)

    def listed(stated: Statements, log: list[RecordBatch]) -> RecordBatch:
        now = int(made.START * 1000)
        return joined(list(changes(stated, log, 1, now, os.urandom, gone).pieces()))

    rows = [row("ann", "given"), row("ann", "renewed", "bank"), row("bob", "given")]
    log = [listed(file(rows), [])]
    assert [state(log, who) for who in ("ann", "bob")] == ["", "given"]
    log.append(listed(statements_of_everyone(people("ann", "bob"), ["media"]), log))
    assert [state(log, who) for who in ("ann", "bob")] == ["", "given"]
    # What the person says again herself counts for what she says it of, and for nothing else.
    said = made.batch(["x"], "given", made.scope(), channel="portal")
    log.append(replace(said, subjects=people("ann")))
    log.append(listed(file(rows), log))
    assert (state(log, "ann"), state(log, "ann", "bank")) == ("given", "")
    log.append(listed(file([row("ann", "refused", "bank")]), log))
    assert state(log, "ann", "bank") == "refused"  # a no is always heard


def test_everyone_is_one_record_each_and_a_new_party_gives_nobody_back() -> None:
    everyone = people("ann", "bob", "eve")
    log = [say(statements_of_everyone(everyone, ["media"]), [])]
    assert len(log[0]) == 3
    assert len(log[0].scopes) == 1
    assert len(say(statements_of_everyone(everyone, ["media"]), log)) == 0
    log.append(withdrawn("ann"))
    log.append(withdrawn("bob", "media"))
    log.append(say(statements_of_everyone(everyone, ["media", "bank"]), log))
    assert [state(log, who) for who in ("ann", "bob", "eve")] == ["withdrawn", "withdrawn", "given"]
    assert [state(log, who, "bank") for who in ("ann", "bob", "eve")] == [
        "withdrawn", "given", "given",
    ]  # fmt: skip
    assert len(say(statements_of_everyone(everyone, ["media", "bank"]), log)) == 0


def test_a_party_or_a_person_that_left_ends_in_few_events() -> None:
    everyone = people("ann", "bob", "eve")
    log = [say(statements_of_everyone(everyone, ["media", "bank"]), [])]
    log.append(say(statements_of_everyone(everyone[:2], ["media"]), log))
    for who, recipient, wanted in (
        ("ann", "media", "given"), ("ann", "bank", "expired"), ("eve", "media", "expired"),
        ("eve", "bank", "expired"),
    ):  # fmt: skip
        assert state(log, who, recipient) == wanted
        assert state(log, who, recipient, CATEGORIES[-1], PURPOSES[-1]) == wanted
    assert len(log[1]) == 3


def test_from_a_file_to_everyone_and_back() -> None:
    stated = file([row("ann", "given"), row("bob", "refused")])
    log = [say(stated, [])]
    log.append(say(statements_of_everyone(people("ann", "bob"), ["media"]), log))
    assert len(log[1]) == 2
    assert state(log, "ann", category="finance") == "given"
    log.append(say(stated, log))
    assert (state(log, "ann"), state(log, "bob")) == ("given", "refused")
    assert state(log, "ann", category="finance") == "expired"
    assert len(say(stated, log)) == 0


def test_rows_without_a_readable_identifier_say_nothing() -> None:
    assert len(file([row(None, "given")])) == 0
    assert len(file([])) == 0
    assert len(say(file([]), [])) == 0
    assert len(file([row(None, "given"), row("ann", "given")])) == 1


def test_words_are_checked() -> None:
    with pytest.raises(BadInput, match="'granted' is not a consent status"):
        file([row("ann", "granted")])
    with pytest.raises(BadInput, match="one by one"):
        file([row("ann", "refused", "*")])
    with pytest.raises(ProtocolViolation, match="gossip"):
        file([row("ann", "given", category="gossip")])


def test_whatever_a_file_says_next_can_be_logged() -> None:
    """Every pair of states, the first from the file or from the person: no illegal event, and
    whoever the file does not permit is not permitted."""
    about = made.scope()
    for before in STATE_OF_WORD:
        for channel in ("import", "counter"):
            for after in STATE_OF_WORD:
                said = replace(made.batch(["x"], before, about, channel), subjects=people("ann"))
                log = [said]
                stated = file([row("ann", after)])
                more = say(stated, log)
                check_batch(joined(log), more)
                log.append(more)
                permits = STATE_OF_WORD[state(log, "ann")].permits
                assert permits <= STATE_OF_WORD[after].permits
                if channel == "import":
                    assert permits == STATE_OF_WORD[after].permits
                assert len(say(stated, log)) == 0
