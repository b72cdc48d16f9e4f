"""The made-up people of the demo: who they are, and how dirty two companies write them down.

What: seeded columns of phones, e-mails, traits and consents.  Nobody here exists: the numbers
and addresses are drawn, and no message is ever sent to them.
Who runs it: `assent.demo_data`.
Learns: nothing; there is no real data.
Section: issue of the demo; protocols.md section 1 for what matching has to survive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Text = npt.NDArray[np.str_]

# Beginnings of Chinese mobile numbers that the numbering plan knows.
_PREFIXES = np.array(
    [*range(130, 140), 150, 151, 152, 153, *range(155, 160), *range(180, 190)], dtype=np.int64
)
_SURNAMES = np.array(
    ["wang", "li", "zhang", "liu", "chen", "yang", "zhao", "huang", "zhou", "wu",
     "xu", "sun", "hu", "zhu", "gao", "lin", "he", "guo", "ma", "luo"]
)  # fmt: skip
_GIVEN = np.array(
    ["wei", "fang", "na", "min", "jing", "li", "qiang", "lei", "jun", "yang",
     "yong", "yan", "jie", "juan", "tao", "ming", "chao", "xia", "ping", "gang"]
)  # fmt: skip
_DOMAINS = np.array(
    ["qq.com", "163.com", "126.com", "gmail.com", "outlook.com", "sina.com", "邮箱.中国"]
)
_DOMAIN_SHARES = (0.36, 0.26, 0.1, 0.12, 0.08, 0.07, 0.01)
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


@dataclass(frozen=True)
class People:
    """n people, column by column.

    phone, email: the true, clean identifiers.  wealth, youth: standard normal traits that
    make the two companies' tags correlate; no company has them as such.
    """

    phone: Text
    email: Text
    wealth: npt.NDArray[np.float64]
    youth: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.phone)

    def take(self, index: npt.NDArray[np.int64]) -> People:
        return People(self.phone[index], self.email[index], self.wealth[index], self.youth[index])


def draw_people(n: int, rng: np.random.Generator) -> People:
    """n different people: no two share a phone or an e-mail (companies add that later)."""
    # A bijection of 0…10^8-1 makes the last eight digits look drawn and never collide.
    tail = (np.arange(n, dtype=np.int64) * 68_718_737 + int(rng.integers(10**8))) % 10**8
    phone = (_PREFIXES[rng.integers(len(_PREFIXES), size=n)] * 10**8 + tail).astype(str)
    local = np.char.add(
        np.char.add(
            np.char.add(_SURNAMES[rng.integers(len(_SURNAMES), size=n)], "."),
            _GIVEN[rng.integers(len(_GIVEN), size=n)],
        ),
        (np.arange(n) * 7 % (10 * n + 1) + 10).astype(str),
    )
    email = np.char.add(
        np.char.add(local, "@"), rng.choice(_DOMAINS, size=n, p=np.array(_DOMAIN_SHARES))
    )
    return People(phone, email, rng.normal(size=n), rng.normal(size=n))


def share_phones(phones: Text, pairs: int, rng: np.random.Generator) -> Text:
    """Families: `pairs` rows take over the phone of another row, so that both are ambiguous."""
    chosen = rng.choice(len(phones), size=2 * min(pairs, len(phones) // 2), replace=False)
    shared = phones.copy()
    half = len(chosen) // 2
    shared[chosen[:half]] = phones[chosen[half:]]
    return shared


def write_phones(
    phones: Text, rng: np.random.Generator, *, missing: float, broken: float
) -> pa.Array:
    """The phones as people type them; null where missing, nonsense where broken."""
    clean = pa.array(phones)
    a, b, c = (pc.utf8_slice_codeunits(clean, *ends) for ends in ((0, 3), (3, 7), (7, 11)))
    ways = [
        clean,
        pc.binary_join_element_wise(a, b, c, " "),
        pc.binary_join_element_wise(a, b, c, "-"),
        pc.binary_join_element_wise("+86", a, b, c, " "),
        pc.binary_join_element_wise("+86", clean, ""),
        pc.binary_join_element_wise("0086", clean, ""),
        pa.array([phone.translate(_FULL_WIDTH) for phone in phones.tolist()]),
        pc.binary_join_element_wise("", clean, "", " "),  # a blank before and after
    ]
    way = rng.choice(len(ways), size=len(phones), p=[0.5, 0.12, 0.12, 0.08, 0.06, 0.04, 0.03, 0.05])
    written = pc.choose(pa.array(way), *ways)
    nonsense = pc.choose(
        pa.array(rng.integers(3, size=len(phones))), pc.utf8_slice_codeunits(clean, 0, 6),
        pa.scalar("待补充"), pa.scalar("n/a"),
    )  # fmt: skip
    return _spoil(written, nonsense, rng, missing=missing, broken=broken)


def write_emails(
    emails: Text, rng: np.random.Generator, *, missing: float, broken: float
) -> pa.Array:
    """The e-mails as people type them; null where missing, nonsense where broken."""
    clean = pa.array(emails)
    ways = [
        clean,
        pc.utf8_upper(clean),
        pc.utf8_capitalize(clean),
        pc.binary_join_element_wise("", clean, "", " "),
        pc.replace_substring(clean, "@", "＠"),
    ]
    way = rng.choice(len(ways), size=len(emails), p=[0.72, 0.08, 0.12, 0.06, 0.02])
    written = pc.choose(pa.array(way), *ways)
    return _spoil(
        written, pc.replace_substring(clean, "@", "."), rng, missing=missing, broken=broken
    )


def _spoil(
    written: pa.Array,
    nonsense: pa.Array,
    rng: np.random.Generator,
    *,
    missing: float,
    broken: float,
) -> pa.Array:
    fate = rng.random(len(written))
    spoiled = pc.if_else(pa.array(fate < broken), nonsense, written)
    return pc.if_else(pa.array(fate > 1 - missing), pa.nulls(len(written), pa.string()), spoiled)


# What becomes of each person's consent at one company: status and share.  "none": not asked.
CONSENT_SHARES = {
    "given": 0.72,
    "renewed": 0.08,
    "refused": 0.08,
    "withdrawn": 0.04,
    "expired": 0.01,
    "requested": 0.02,
    "none": 0.05,
}


def consents(
    id_type: str,
    identifiers: Text,
    recipient: str,
    scopes: list[tuple[str, str]],
    rng: np.random.Generator,
) -> pa.Table:
    """A consents file: for each person one line per (purpose, category) of `scopes`.

    2 % of those who agree refuse the last scope alone; half of those who withdrew still have
    the line that says they once agreed, and the stricter line wins.
    """
    n = len(identifiers)
    words = np.array(list(CONSENT_SHARES))
    person = rng.choice(words, size=n, p=np.array(list(CONSENT_SHARES.values())))
    partly = (rng.random(n) < 0.02) & np.isin(person, ["given", "renewed"])
    kept = (rng.random(n) < 0.5) & (person == "withdrawn")
    parts = []
    for number, (purpose, category) in enumerate(scopes):
        status = np.where(partly, "refused", person) if number == len(scopes) - 1 else person
        for chosen, said in ((status != "none", status), (kept, np.full(n, "given"))):
            count = int(chosen.sum())
            parts.append(
                pa.table(
                    {
                        id_type: pa.array(identifiers[chosen]),
                        "purpose": pa.array(np.full(count, purpose)),
                        "recipient": pa.array(np.full(count, recipient)),
                        "category": pa.array(np.full(count, category)),
                        "status": pa.array(said[chosen]),
                    }
                )
            )
    return pa.concat_tables(parts)
