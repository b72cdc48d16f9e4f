"""Questions and answers between portal and node to and from proto/portal.proto.

Who runs it: both ends.  Everything is checked on the way in (ProtocolViolation
'bad_portal_message').  Learns: nobody more than the messages say.
"""

from __future__ import annotations

from typing import Any

from consent.portal.port import (
    ID_BYTES,
    Answer,
    FileRequest,
    Find,
    NotAnswered,
    Person,
    Question,
    ReadTags,
    ReadTickets,
    ReadUses,
    Tag,
    Tags,
    Ticket,
    Tickets,
    Use,
    Uses,
)
from protocol.errors import ProtocolViolation
from protocol.wire import portal_pb2 as pb

_READS: dict[str, type[ReadTags] | type[ReadUses] | type[ReadTickets]] = {
    "tags": ReadTags,
    "uses": ReadUses,
    "tickets": ReadTickets,
}
_NAMES: dict[type, str] = {kind: name for name, kind in _READS.items()}


def question_to_pb(id: bytes, question: Question) -> pb.PortalQuestion:
    if isinstance(question, Find):
        find = pb.PortalFind(kind=question.kind, address=question.address, subject=question.subject)
        return pb.PortalQuestion(id=id, find=find)
    if isinstance(question, FileRequest):
        request = pb.PortalRequest(
            subjects=question.subjects, id=question.id, right=question.right,
            attribute=question.attribute, words=question.words,
        )  # fmt: skip
        return pb.PortalQuestion(id=id, file=request)
    made = pb.PortalQuestion(id=id)
    getattr(made, _NAMES[type(question)]).subjects.extend(question.subjects)
    return made


def question_from_pb(message: pb.PortalQuestion) -> tuple[bytes, Question] | None:
    """Id and question; None when the portal had none."""
    if not message.id:
        return None
    id = _id(message.id)
    name = message.WhichOneof("what")
    if name == "find":
        found = message.find
        return id, Find(found.kind, found.address, found.subject)
    if name == "file":
        said = message.file
        return id, FileRequest(
            tuple(said.subjects), said.id, said.right, said.attribute, said.words
        )
    if name in _READS:
        return id, _READS[name](tuple(getattr(message, name).subjects))
    raise _bad("the portal asked something that this node does not know")


def answer_to_pb(id: bytes, answer: Answer) -> pb.PortalAnswer:
    made = pb.PortalAnswer(id=id)
    if isinstance(answer, NotAnswered):
        made.refused = answer.reason
    elif isinstance(answer, Person):
        made.person.CopyFrom(
            pb.PortalPerson(
                subjects=answer.subjects, key_version=answer.key_version, shared=answer.shared,
                purposes=answer.purposes, recipients=answer.recipients,
                categories=answer.categories, absent=answer.absent,
            )
        )  # fmt: skip
    elif isinstance(answer, Tags):
        made.tags.CopyFrom(pb.PortalTags(tags=[_fields(pb.PortalTag, t) for t in answer.items]))
    elif isinstance(answer, Uses):
        made.uses.CopyFrom(pb.PortalUses(uses=[_fields(pb.PortalUse, u) for u in answer.items]))
    else:
        tickets = [_fields(pb.PortalTicket, t) for t in answer.items]
        made.tickets.CopyFrom(pb.PortalTickets(tickets=tickets))
    return made


def answer_from_pb(message: pb.PortalAnswer) -> tuple[bytes, Answer]:
    id = _id(message.id)
    if message.refused:
        return id, NotAnswered(message.refused)
    name = message.WhichOneof("what")
    if name == "person":
        p = message.person
        return id, Person(
            tuple(p.subjects), p.key_version, p.shared, tuple(p.purposes), tuple(p.recipients),
            tuple(p.categories), p.absent,
        )  # fmt: skip
    if name == "tags":
        return id, Tags(
            tuple(
                Tag(t.attribute, t.kind, t.category, t.value, t.source, t.since_ms)
                for t in message.tags.tags
            )
        )
    if name == "uses":
        return id, Uses(
            tuple(
                Use(
                    u.job, u.time_ms, u.purpose, u.requester, u.protocol, u.outcome,
                    tuple(u.categories),
                )
                for u in message.uses.uses
            )
        )  # fmt: skip
    if name == "tickets":
        return id, Tickets(
            tuple(
                Ticket(
                    t.id, t.right, t.attribute, t.state, t.filed_ms, t.changed_ms, t.due_ms,
                    t.answer,
                )
                for t in message.tickets.tickets
            )
        )  # fmt: skip
    raise _bad("a node answered nothing")


def _fields(kind: Any, value: object) -> Any:
    return kind(**vars(value))


def _id(id: bytes) -> bytes:
    if len(id) != ID_BYTES:
        raise _bad(f"a question's id is {ID_BYTES} bytes")
    return id


def _bad(cause: str) -> ProtocolViolation:
    return ProtocolViolation("bad_portal_message", cause, stage="portal")
