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
    __slots__ = ("origin", "checkpoint", "time_ms")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    origin: str
    checkpoint: str
    time_ms: int
    def __init__(self, origin: _Optional[str] = ..., checkpoint: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...

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

class ConsentRecorded(_message.Message):
    __slots__ = ("origin", "indexes", "checkpoint", "proof_pending")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROOF_PENDING_FIELD_NUMBER: _ClassVar[int]
    origin: str
    indexes: _containers.RepeatedScalarFieldContainer[int]
    checkpoint: str
    proof_pending: bool
    def __init__(self, origin: _Optional[str] = ..., indexes: _Optional[_Iterable[int]] = ..., checkpoint: _Optional[str] = ..., proof_pending: _Optional[bool] = ...) -> None: ...

class ConsentReplicateRequest(_message.Message):
    __slots__ = ("since",)
    SINCE_FIELD_NUMBER: _ClassVar[int]
    since: int
    def __init__(self, since: _Optional[int] = ...) -> None: ...

class ConsentOpening(_message.Message):
    __slots__ = ("salt", "body")
    SALT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    salt: bytes
    body: bytes
    def __init__(self, salt: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class ConsentReplicaPage(_message.Message):
    __slots__ = ("first", "leaves", "openings", "checkpoint")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    OPENINGS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    first: int
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    openings: _containers.RepeatedCompositeFieldContainer[ConsentOpening]
    checkpoint: str
    def __init__(self, first: _Optional[int] = ..., leaves: _Optional[_Iterable[bytes]] = ..., openings: _Optional[_Iterable[_Union[ConsentOpening, _Mapping]]] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class ConsentFollowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConsentJobEvent(_message.Message):
    __slots__ = ("type", "id", "body")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: bytes
    body: bytes
    def __init__(self, type: _Optional[str] = ..., id: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class ConsentProofRequest(_message.Message):
    __slots__ = ("origin", "index")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class ConsentProof(_message.Message):
    __slots__ = ("proof",)
    PROOF_FIELD_NUMBER: _ClassVar[int]
    proof: str
    def __init__(self, proof: _Optional[str] = ...) -> None: ...

class ConsentFileRequest(_message.Message):
    __slots__ = ("origin", "path")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    origin: str
    path: str
    def __init__(self, origin: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class ConsentFile(_message.Message):
    __slots__ = ("body", "found")
    BODY_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    found: bool
    def __init__(self, body: _Optional[bytes] = ..., found: _Optional[bool] = ...) -> None: ...

class ConsentBundleRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConsentBundlePart(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, lines: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ConsentEraseRequest(_message.Message):
    __slots__ = ("subject",)
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    subject: bytes
    def __init__(self, subject: _Optional[bytes] = ...) -> None: ...

class ConsentCosignRequest(_message.Message):
    __slots__ = ("number", "request")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    number: int
    request: str
    def __init__(self, number: _Optional[int] = ..., request: _Optional[str] = ...) -> None: ...

class ConsentCosignature(_message.Message):
    __slots__ = ("number", "lines", "conflict_size_plus_one", "refusal", "conflict_note")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_SIZE_PLUS_ONE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_NOTE_FIELD_NUMBER: _ClassVar[int]
    number: int
    lines: str
    conflict_size_plus_one: int
    refusal: str
    conflict_note: str
    def __init__(self, number: _Optional[int] = ..., lines: _Optional[str] = ..., conflict_size_plus_one: _Optional[int] = ..., refusal: _Optional[str] = ..., conflict_note: _Optional[str] = ...) -> None: ...

class ConsentSubjectRequest(_message.Message):
    __slots__ = ("party", "subject")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    party: str
    subject: bytes
    def __init__(self, party: _Optional[str] = ..., subject: _Optional[bytes] = ...) -> None: ...

class ConsentSubjectEvent(_message.Message):
    __slots__ = ("index", "leaf", "opening", "proof")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    index: int
    leaf: bytes
    opening: ConsentOpening
    proof: str
    def __init__(self, index: _Optional[int] = ..., leaf: _Optional[bytes] = ..., opening: _Optional[_Union[ConsentOpening, _Mapping]] = ..., proof: _Optional[str] = ...) -> None: ...

class ConsentSubjectReply(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[ConsentSubjectEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[ConsentSubjectEvent, _Mapping]]] = ...) -> None: ...

class ConsentSubjectAppendRequest(_message.Message):
    __slots__ = ("party", "batch")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    party: str
    batch: ConsentBatch
    def __init__(self, party: _Optional[str] = ..., batch: _Optional[_Union[ConsentBatch, _Mapping]] = ...) -> None: ...
