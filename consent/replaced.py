"""Whoever is erased from a log is erased from those that it took the place of.

Who runs it: the consent service, when its operator keeps the databases of replaced logs
(`assent consent run --replaced`): their trees go on to prove what was in them.
Learns: nothing that these databases do not say already.

A node that follows to a new log says its records there under the ids that they had (changed in
the last bit where one was taken), so that ids lead from an entry to the same person's old ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from consent.log_database import check_there
from consent.log_sql import SqlOpenings, opened_origins
from consent.trust import party_of


class Replaced:
    """The erasable stores of logs that are no more; blocking."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Raises BadInput for a file that is not there: it would be made, and nobody erased."""
        for url in urls:
            check_there(url)
        self._stores = [
            (party_of(origin), SqlOpenings(url, origin))
            for url in urls
            for origin in opened_origins(url)
        ]

    def close(self) -> None:
        for _, store in self._stores:
            store.close()

    def of(self, party: str | None) -> list[SqlOpenings]:
        """Those of one party: ids come from parties, who may know one another's."""
        return [store for whose, store in self._stores if whose == party]


def _erase(stores: Sequence[SqlOpenings], ids: Sequence[bytes]) -> None:
    """Everything about whom these records are of.  Without a subject it was erased before."""
    wanted = [*ids, *(one[:-1] + bytes([one[-1] ^ 1]) for one in ids)]
    for store in stores:
        found = store.find(wanted).values()
        people = {one.subject for one in found if one.subject is not None}
        if people:
            store.erase([one.index for one in store.of_subjects(sorted(people))])


class ForgettingOpenings(SqlOpenings):
    """One log's openings; what is erased here is erased in the replaced stores first."""

    def __init__(self, url: str, origin: str, replaced: Replaced) -> None:
        super().__init__(url, origin)
        self._replaced = replaced.of(party_of(origin))

    def erase(self, indexes: Sequence[int]) -> None:
        if self._replaced:
            _erase(self._replaced, [one.id for one in self.at(indexes)])
        super().erase(indexes)
