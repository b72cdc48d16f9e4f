from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PortalLeaseRequest(_message.Message):
    __slots__ = ("version", "wait_seconds")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    wait_seconds: float
    def __init__(self, version: _Optional[str] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class PortalQuestion(_message.Message):
    __slots__ = ("id", "find", "tags", "uses", "tickets", "file")
    ID_FIELD_NUMBER: _ClassVar[int]
    FIND_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    find: PortalFind
    tags: PortalSubjects
    uses: PortalSubjects
    tickets: PortalSubjects
    file: PortalRequest
    def __init__(self, id: _Optional[bytes] = ..., find: _Optional[_Union[PortalFind, _Mapping]] = ..., tags: _Optional[_Union[PortalSubjects, _Mapping]] = ..., uses: _Optional[_Union[PortalSubjects, _Mapping]] = ..., tickets: _Optional[_Union[PortalSubjects, _Mapping]] = ..., file: _Optional[_Union[PortalRequest, _Mapping]] = ...) -> None: ...

class PortalFind(_message.Message):
    __slots__ = ("kind", "address", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    address: str
    subject: bytes
    def __init__(self, kind: _Optional[str] = ..., address: _Optional[str] = ..., subject: _Optional[bytes] = ...) -> None: ...

class PortalSubjects(_message.Message):
    __slots__ = ("subjects",)
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    subjects: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, subjects: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PortalRequest(_message.Message):
    __slots__ = ("subjects", "id", "right", "attribute", "words")
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    subjects: _containers.RepeatedScalarFieldContainer[bytes]
    id: bytes
    right: str
    attribute: str
    words: str
    def __init__(self, subjects: _Optional[_Iterable[bytes]] = ..., id: _Optional[bytes] = ..., right: _Optional[str] = ..., attribute: _Optional[str] = ..., words: _Optional[str] = ...) -> None: ...

class PortalAnswer(_message.Message):
    __slots__ = ("id", "refused", "person", "tags", "uses", "tickets")
    ID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    refused: str
    person: PortalPerson
    tags: PortalTags
    uses: PortalUses
    tickets: PortalTickets
    def __init__(self, id: _Optional[bytes] = ..., refused: _Optional[str] = ..., person: _Optional[_Union[PortalPerson, _Mapping]] = ..., tags: _Optional[_Union[PortalTags, _Mapping]] = ..., uses: _Optional[_Union[PortalUses, _Mapping]] = ..., tickets: _Optional[_Union[PortalTickets, _Mapping]] = ...) -> None: ...

class PortalAnswerReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PortalPerson(_message.Message):
    __slots__ = ("subjects", "key_version", "shared", "purposes", "recipients", "categories", "absent")
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    KEY_VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    subjects: _containers.RepeatedScalarFieldContainer[bytes]
    key_version: int
    shared: bool
    purposes: _containers.RepeatedScalarFieldContainer[str]
    recipients: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    absent: bool
    def __init__(self, subjects: _Optional[_Iterable[bytes]] = ..., key_version: _Optional[int] = ..., shared: _Optional[bool] = ..., purposes: _Optional[_Iterable[str]] = ..., recipients: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ..., absent: _Optional[bool] = ...) -> None: ...

class PortalTags(_message.Message):
    __slots__ = ("tags",)
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[PortalTag]
    def __init__(self, tags: _Optional[_Iterable[_Union[PortalTag, _Mapping]]] = ...) -> None: ...

class PortalTag(_message.Message):
    __slots__ = ("attribute", "kind", "category", "value", "source", "since_ms")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    kind: str
    category: str
    value: str
    source: str
    since_ms: int
    def __init__(self, attribute: _Optional[str] = ..., kind: _Optional[str] = ..., category: _Optional[str] = ..., value: _Optional[str] = ..., source: _Optional[str] = ..., since_ms: _Optional[int] = ...) -> None: ...

class PortalUses(_message.Message):
    __slots__ = ("uses",)
    USES_FIELD_NUMBER: _ClassVar[int]
    uses: _containers.RepeatedCompositeFieldContainer[PortalUse]
    def __init__(self, uses: _Optional[_Iterable[_Union[PortalUse, _Mapping]]] = ...) -> None: ...

class PortalUse(_message.Message):
    __slots__ = ("job", "time_ms", "purpose", "requester", "protocol", "outcome", "categories")
    JOB_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    job: str
    time_ms: int
    purpose: str
    requester: str
    protocol: str
    outcome: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job: _Optional[str] = ..., time_ms: _Optional[int] = ..., purpose: _Optional[str] = ..., requester: _Optional[str] = ..., protocol: _Optional[str] = ..., outcome: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ...) -> None: ...

class PortalTickets(_message.Message):
    __slots__ = ("tickets",)
    TICKETS_FIELD_NUMBER: _ClassVar[int]
    tickets: _containers.RepeatedCompositeFieldContainer[PortalTicket]
    def __init__(self, tickets: _Optional[_Iterable[_Union[PortalTicket, _Mapping]]] = ...) -> None: ...

class PortalTicket(_message.Message):
    __slots__ = ("id", "right", "attribute", "state", "filed_ms", "changed_ms", "due_ms", "answer")
    ID_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FILED_MS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_MS_FIELD_NUMBER: _ClassVar[int]
    DUE_MS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    right: str
    attribute: str
    state: str
    filed_ms: int
    changed_ms: int
    due_ms: int
    answer: str
    def __init__(self, id: _Optional[bytes] = ..., right: _Optional[str] = ..., attribute: _Optional[str] = ..., state: _Optional[str] = ..., filed_ms: _Optional[int] = ..., changed_ms: _Optional[int] = ..., due_ms: _Optional[int] = ..., answer: _Optional[str] = ...) -> None: ...
