"""One identifier of one person in the form in which two parties compare it.

Who runs it: each party over its own table; set-based forms of the same rules are in
`party_node.phones` and `party_node.canonical`, with tests that both agree.
Learns: nobody, anything.  protocols.md section 1, canonical identifiers.

What cannot be parsed gives None and is counted, never guessed.  Empty is absent: callers
ask `is_absent` first.
"""

from __future__ import annotations

import re
import unicodedata

import idna
import phonenumbers

EMAIL, PHONE = "email", "phone"

# RFC 5322 atext and the dot, and printable characters beyond ASCII (RFC 6531).  Quoted local
# parts, comments and lists of addresses are not one mailbox that two companies write alike.
_LOCAL_ASCII = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]*")
_MAX_EMAIL = 320


def is_absent(text: str | None) -> bool:
    """Nothing, or nothing but white space."""
    return text is None or not text.strip()


def canonicalise(kind: str, text: str, region: str | None = None) -> str | None:
    """The canonical form of `text` as an identifier of type `kind`; None if it has none.

    region: the party's default region (two letters) for phones written without a country.
    """
    if kind == EMAIL:
        return canonical_email(text)
    if kind == PHONE:
        return canonical_phone(text, region)
    return canonical_other(text)


def canonical_email(text: str) -> str | None:
    """NFKC, trimmed, lower-cased, domain in ASCII (IDNA); dots and plus stay as they are."""
    local, at, domain = _nfkc_lower(text).strip().rpartition("@")
    if not at or not local or not domain or len(local) + len(domain) >= _MAX_EMAIL:
        return None
    if any(c == "@" or c.isspace() or not c.isprintable() for c in local):
        return None
    if not _LOCAL_ASCII.fullmatch("".join(c for c in local if c < "\x80")):
        return None
    try:
        ascii_domain = idna.encode(domain, uts46=not domain.isascii()).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None
    if ascii_domain.endswith("."):
        return None
    return f"{local}@{ascii_domain}"


def _nfkc_lower(text: str) -> str:
    # Twice: a lower-cased character can be one that NFKC would have changed.
    lowered = unicodedata.normalize("NFKC", text).lower()
    return unicodedata.normalize("NFKC", lowered)


def canonical_phone(text: str, region: str | None) -> str | None:
    """E.164, such as +8613800000000; None unless the number has a possible length.

    A number is not asked to be assigned (`is_valid_number`): numbering plans grow, and two
    parties with metadata of different age would then disagree about one person.
    """
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None  # also local numbers without an area code: they are no E.164
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def canonical_other(text: str) -> str | None:
    """NFKC, trimmed; case is kept."""
    return unicodedata.normalize("NFKC", text).strip() or None
