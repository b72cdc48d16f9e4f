"""Signed notes, keys and cosignatures: public examples, hand-made bytes, every flipped byte."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.checkpoint import Checkpoint, parse_checkpoint
from consent.errors import NoteError
from consent.merkle import EMPTY_ROOT, hash_leaf
from consent.note import add_signatures, open_note, parse_note, sign_note, verify_note
from consent.note_keys import ED25519, Signer, VerifierKey, parse_key
from tests.consent import logs

# The examples of C2SP signed-note and of Go's golang.org/x/mod/sumdb/note.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NEUMANN_NOTE = NEUMANN_TEXT + (
    "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
HEAD = Checkpoint(logs.ORIGIN, 3, hash_leaf(b"root")).to_text()


def test_public_examples_verify() -> None:
    assert verify_note(FOO_NOTE, [FOO]) == ("This is an example message.\n", [FOO])
    assert verify_note(NEUMANN_NOTE, [FOO, NEUMANN]) == (NEUMANN_TEXT, [NEUMANN])
    assert str(parse_key(FOO)) == FOO
    assert str(parse_key(NEUMANN)) == NEUMANN


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize(
    ("note", "vkey"), [(FOO_NOTE, FOO), (NEUMANN_NOTE, NEUMANN)], ids=["foo", "neumann"]
)
def test_every_flipped_bit_of_a_note_is_found(note: str, vkey: str, bit: int) -> None:
    data = note.encode()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        with pytest.raises(NoteError):
            verify_note(bytes(flipped), [vkey])
    for end in range(len(data)):
        with pytest.raises(NoteError):
            verify_note(data[:end], [vkey])


@pytest.mark.parametrize("algorithm", [0x01, 0x04, 0x06])
def test_every_flipped_byte_of_each_algorithm_is_found(algorithm: int) -> None:
    signer = Signer(logs.ORIGIN, algorithm, logs.secret("any"))
    data = sign_note(HEAD, [signer], 1_800_000_000).encode()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        with pytest.raises(NoteError):
            verify_note(bytes(flipped), [str(signer.key)])


SIGNED = FOO_NOTE.partition("\n\n")[2]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        SIGNED,
        "This is an example message.\n" + SIGNED,
        "This is an example message." + "\n\n" + SIGNED[:-1],
        FOO_NOTE + "\n",
        FOO_NOTE + "— x\n",
        FOO_NOTE + "— x \n",
        FOO_NOTE + "— x AAAA\n",
        FOO_NOTE + "— x AAAAAA==\n",
        FOO_NOTE + "— x+y AAAAAAA=\n",
        FOO_NOTE + "—  AAAAAAA=\n",
        FOO_NOTE + "- x AAAAAAA=\n",
        FOO_NOTE + "— x AAAAAAA= \n",
        FOO_NOTE + "— x AAAAAAB=\n",  # not the canonical spelling of its bytes
        FOO_NOTE + "— x AAAA\tAAA=\n",
        FOO_NOTE.replace("\n", "\r\n"),
        FOO_NOTE.replace("example m", "example\x00m"),
        FOO_NOTE.replace("Uw2Q", "Uw2Q\u00a0"),
        FOO_NOTE + "".join(f"— k{i} AAAAAAA=\n" for i in range(100)),
        "\ud800" + FOO_NOTE,
        "x" * 1_000_001 + FOO_NOTE,
    ],
    ids=lambda note: repr(note[-40:]),
)
def test_malformed_notes_are_refused(note: str) -> None:
    with pytest.raises(NoteError):
        verify_note(note, [FOO])


def test_unknown_keys_are_ignored_and_known_ones_must_verify() -> None:
    stranger = "— example.com/bar AAAAAAA=\n"
    assert verify_note(FOO_NOTE + stranger, [FOO])[1] == [FOO]
    with pytest.raises(NoteError, match="no trusted key"):
        verify_note(FOO_NOTE, [NEUMANN])
    # name and id of a known key with a wrong signature spoils the note
    wrong = f"— example.com/foo {base64.b64encode(parse_key(FOO).key_id + bytes(64)).decode()}\n"
    with pytest.raises(NoteError, match="is wrong"):
        verify_note(FOO_NOTE + wrong, [FOO])
    # the same name with another id is another key, and the other way round
    other = f"— example.com/foo {base64.b64encode(bytes(68)).decode()}\n"
    assert verify_note(FOO_NOTE + other, [FOO])[1] == [FOO]
    with pytest.raises(NoteError, match="no trusted key"):
        verify_note(FOO_NOTE.replace("— example.com/foo", "— example.com/bar"), [FOO])


def test_text_goes_to_the_last_empty_line_and_may_have_some() -> None:
    signer = Signer("a", ED25519, logs.secret("a"))
    for text in ("\n", "one\n\ntwo\n", "\n\n\n", "— x AAAAAAA=\n"):
        note = sign_note(text, [signer])
        assert verify_note(note, [str(signer.key)])[0] == text
    with pytest.raises(NoteError):
        sign_note("no newline", [signer])
    with pytest.raises(NoteError):
        sign_note("tab\there\n", [signer])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        FOO.replace("530d903a", "530D903A"),
        FOO.replace("530d903a", "530d903b"),
        FOO.replace("530d903a", "0530d903a"),
        FOO.replace("example.com/foo", "example.com/fop"),
        FOO.replace("example.com/foo", "example.com /foo"),
        FOO.replace("example.com/foo", ""),
        FOO[:-1] + "=",
        FOO[:-4],
        FOO + "AAAA",
        FOO.replace("+Aeky", "+Beky"),
        "x+00000000+",
    ],
)
def test_malformed_keys_are_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        parse_key(vkey)


def test_two_keys_under_one_name_and_id_are_refused() -> None:
    key = parse_key(FOO)

    class Collision(VerifierKey):
        key_id = key.key_id  # type: ignore[assignment]

    with pytest.raises(NoteError, match="two different keys"):
        open_note(FOO_NOTE, [key, Collision(key.name, key.algorithm, bytes(32))])
    assert len(open_note(FOO_NOTE, [key, key]).verified) == 1


# -- cosignatures ----------------------------------------------------------------------------


def test_ed25519_cosignature_is_the_bytes_of_the_specification() -> None:
    signer = logs.witness_key("w1")
    raw = base64.b64decode(signer.line(HEAD, 1679315147).split(" ")[2])
    private = ed25519.Ed25519PrivateKey.from_private_bytes(logs.secret("w1").reveal())
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"witness.test/w1\n\x04" + public).digest()[:4]
    assert raw[:4] == key_id
    assert int.from_bytes(raw[4:12], "big") == 1679315147
    message = b"cosignature/v1\ntime 1679315147\n" + HEAD.encode()
    private.public_key().verify(raw[12:], message)


def test_mldsa_cosignature_is_the_bytes_of_the_specification() -> None:
    signer = logs.mldsa_key("w1")
    raw = base64.b64decode(signer.line(HEAD, 1679315147).split(" ")[2])
    private = mldsa.MLDSA44PrivateKey.from_seed_bytes(logs.secret("w1").reveal())
    public = private.public_key().public_bytes_raw()
    assert raw[:4] == hashlib.sha256(b"witness.test/w1\n\x06" + public).digest()[:4]
    origin, size, root = HEAD.encode().split(b"\n")[:3]
    message = (
        b"subtree/v1\n\0"
        + bytes([15]) + b"witness.test/w1"
        + (1679315147).to_bytes(8, "big")
        + bytes([len(origin)]) + origin
        + bytes(8) + int(size).to_bytes(8, "big") + base64.b64decode(root)
    )  # fmt: skip
    private.public_key().verify(raw[12:], message)


@pytest.mark.parametrize("make", [logs.witness_key, logs.mldsa_key])
def test_a_cosignature_says_when_and_the_later_of_two_counts(make: object) -> None:
    signer = make("w1")  # type: ignore[operator]
    lines = [signer.line(HEAD, 50), signer.line(HEAD, 90), signer.line(HEAD, 70)]
    note = sign_note(HEAD, [logs.log_key()]) + "".join(lines)
    opened = open_note(note, [signer.key, logs.log_key().key])
    assert {one.key.name: one.time for one in opened.verified} == {
        logs.ORIGIN: None,
        "witness.test/w1": 90,
    }


def test_a_cosignature_needs_a_checkpoint_and_a_time() -> None:
    for signer in (logs.witness_key("w"), logs.mldsa_key("w")):
        with pytest.raises(NoteError):
            signer.line("hello\n", 5)
        with pytest.raises(NoteError, match="time"):
            signer.line(HEAD, 0)
        with pytest.raises(NoteError, match="time"):
            signer.line(HEAD, 2**63)
    with pytest.raises(NoteError, match="extension"):
        logs.mldsa_key("w").line(HEAD + "more\n", 5)
    assert logs.witness_key("w").line(HEAD + "more\n", 5)


def test_signatures_are_added_once_and_renewed() -> None:
    note = sign_note(HEAD, [logs.log_key()])
    first, later = (logs.witness_key("w").line(HEAD, time) for time in (5, 6))
    assert add_signatures(note, [first, first]) == note + first
    assert add_signatures(note + first, [later]) == note + later
    assert add_signatures(note, []) == note
    with pytest.raises(NoteError):
        add_signatures(note, ["nonsense\n"])


# -- checkpoints -----------------------------------------------------------------------------


ROOT64 = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_checkpoint_of_the_specification() -> None:
    text = f"example.com/behind-the-sofa\n20852163\n{ROOT64}\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.to_text() == text
    extended = parse_checkpoint(text + "more\n")
    assert extended.extensions == ("more",)
    assert extended.to_text() == text + "more\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"\n1\n{ROOT64}\n",
        f"a\n1\n{ROOT64}",
        "a\n1\n",
        f"a\n\n{ROOT64}\n",
        f"a\n01\n{ROOT64}\n",
        f"a\n-1\n{ROOT64}\n",
        f"a\n+1\n{ROOT64}\n",
        f"a\n1 \n{ROOT64}\n",
        f"a\n١\n{ROOT64}\n",
        f"a\n{2**63}\n{ROOT64}\n",
        f"a\n1\n{ROOT64[:-1]}\n",
        f"a\n1\n{ROOT64[:-2]}J=\n",
        "a\n1\nAAAA\n",
        f"a\n0\n{ROOT64}\n",
        f"a\n1\n{ROOT64}\n\n",
        f"a\n1\n{ROOT64}\n\nx\n",
        f"{'a' * 256}\n1\n{ROOT64}\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


def test_the_empty_tree_has_one_root() -> None:
    assert parse_checkpoint(Checkpoint("a", 0, EMPTY_ROOT).to_text()).root == EMPTY_ROOT


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.binary(max_size=200))
def test_any_bytes_are_a_note_error_or_parsed(text: str, data: bytes) -> None:
    for anything in (text, data, text + "\n\n" + text, text + FOO_NOTE):
        try:
            note = parse_note(anything)
        except NoteError:
            continue
        assert note.text + "\n" + "".join(s.line for s in note.signatures) == anything
