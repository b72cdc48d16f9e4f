from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConsentHelloRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class ConsentHead(_message.Message):
    __slots__ = ("origin", "size", "time_ms")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    origin: str
    size: int
    time_ms: int
    def __init__(self, origin: _Optional[str] = ..., size: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ConsentScope(_message.Message):
    __slots__ = ("purposes", "recipients", "categories")
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    purposes: _containers.RepeatedScalarFieldContainer[str]
    recipients: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, purposes: _Optional[_Iterable[str]] = ..., recipients: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ...) -> None: ...

class ConsentNotice(_message.Message):
    __slots__ = ("id", "version", "language", "sha256", "kind")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: int
    language: str
    sha256: str
    kind: str
    def __init__(self, id: _Optional[str] = ..., version: _Optional[int] = ..., language: _Optional[str] = ..., sha256: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class ConsentTerms(_message.Message):
    __slots__ = ("notice", "processing", "legal_basis", "jurisdiction", "withdrawal", "method", "guardian", "default_off")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    LEGAL_BASIS_FIELD_NUMBER: _ClassVar[int]
    JURISDICTION_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    GUARDIAN_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OFF_FIELD_NUMBER: _ClassVar[int]
    notice: ConsentNotice
    processing: _containers.RepeatedScalarFieldContainer[str]
    legal_basis: str
    jurisdiction: str
    withdrawal: _containers.RepeatedScalarFieldContainer[str]
    method: str
    guardian: str
    default_off: int
    def __init__(self, notice: _Optional[_Union[ConsentNotice, _Mapping]] = ..., processing: _Optional[_Iterable[str]] = ..., legal_basis: _Optional[str] = ..., jurisdiction: _Optional[str] = ..., withdrawal: _Optional[_Iterable[str]] = ..., method: _Optional[str] = ..., guardian: _Optional[str] = ..., default_off: _Optional[int] = ...) -> None: ...

class ConsentBatch(_message.Message):
    __slots__ = ("scopes", "record_ids", "subjects", "key_versions", "scope_codes", "states", "times_ms", "channels", "terms", "terms_codes", "flags", "valid_until_ms", "actors", "revisions", "previous", "evidence")
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    RECORD_IDS_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    KEY_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SCOPE_CODES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    TIMES_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    TERMS_CODES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    ACTORS_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedCompositeFieldContainer[ConsentScope]
    record_ids: bytes
    subjects: bytes
    key_versions: bytes
    scope_codes: bytes
    states: bytes
    times_ms: bytes
    channels: bytes
    terms: _containers.RepeatedCompositeFieldContainer[ConsentTerms]
    terms_codes: bytes
    flags: bytes
    valid_until_ms: bytes
    actors: bytes
    revisions: bytes
    previous: bytes
    evidence: bytes
    def __init__(self, scopes: _Optional[_Iterable[_Union[ConsentScope, _Mapping]]] = ..., record_ids: _Optional[bytes] = ..., subjects: _Optional[bytes] = ..., key_versions: _Optional[bytes] = ..., scope_codes: _Optional[bytes] = ..., states: _Optional[bytes] = ..., times_ms: _Optional[bytes] = ..., channels: _Optional[bytes] = ..., terms: _Optional[_Iterable[_Union[ConsentTerms, _Mapping]]] = ..., terms_codes: _Optional[bytes] = ..., flags: _Optional[bytes] = ..., valid_until_ms: _Optional[bytes] = ..., actors: _Optional[bytes] = ..., revisions: _Optional[bytes] = ..., previous: _Optional[bytes] = ..., evidence: _Optional[bytes] = ...) -> None: ...

class ConsentAppendRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: ConsentBatch
    def __init__(self, batch: _Optional[_Union[ConsentBatch, _Mapping]] = ...) -> None: ...

class ConsentReplicateRequest(_message.Message):
    __slots__ = ("since",)
    SINCE_FIELD_NUMBER: _ClassVar[int]
    since: int
    def __init__(self, since: _Optional[int] = ...) -> None: ...

class ConsentReplicaPage(_message.Message):
    __slots__ = ("first_sequence", "batch", "head")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    batch: ConsentBatch
    head: ConsentHead
    def __init__(self, first_sequence: _Optional[int] = ..., batch: _Optional[_Union[ConsentBatch, _Mapping]] = ..., head: _Optional[_Union[ConsentHead, _Mapping]] = ...) -> None: ...
