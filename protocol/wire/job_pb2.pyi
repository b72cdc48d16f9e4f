from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Proposal(_message.Message):
    __slots__ = ("job", "signature", "dry_run", "nonce")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    signature: bytes
    dry_run: bool
    nonce: bytes
    def __init__(self, job: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., dry_run: _Optional[bool] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class AttributeOffer(_message.Message):
    __slots__ = ("name", "kind", "category", "vocabulary", "lo", "hi", "decimals", "nullable", "title", "value_titles")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    LO_FIELD_NUMBER: _ClassVar[int]
    HI_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    VALUE_TITLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    category: str
    vocabulary: _containers.RepeatedScalarFieldContainer[str]
    lo: int
    hi: int
    decimals: int
    nullable: bool
    title: Title
    value_titles: _containers.RepeatedCompositeFieldContainer[Title]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., category: _Optional[str] = ..., vocabulary: _Optional[_Iterable[str]] = ..., lo: _Optional[int] = ..., hi: _Optional[int] = ..., decimals: _Optional[int] = ..., nullable: _Optional[bool] = ..., title: _Optional[_Union[Title, _Mapping]] = ..., value_titles: _Optional[_Iterable[_Union[Title, _Mapping]]] = ...) -> None: ...

class Title(_message.Message):
    __slots__ = ("zh", "en")
    ZH_FIELD_NUMBER: _ClassVar[int]
    EN_FIELD_NUMBER: _ClassVar[int]
    zh: str
    en: str
    def __init__(self, zh: _Optional[str] = ..., en: _Optional[str] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("party", "nonce", "attributes", "min_cohort", "noise_required", "members_allowed", "paillier_n", "data_version")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MIN_COHORT_FIELD_NUMBER: _ClassVar[int]
    NOISE_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    PAILLIER_N_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    party: str
    nonce: bytes
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeOffer]
    min_cohort: int
    noise_required: bool
    members_allowed: bool
    paillier_n: bytes
    data_version: bytes
    def __init__(self, party: _Optional[str] = ..., nonce: _Optional[bytes] = ..., attributes: _Optional[_Iterable[_Union[AttributeOffer, _Mapping]]] = ..., min_cohort: _Optional[int] = ..., noise_required: _Optional[bool] = ..., members_allowed: _Optional[bool] = ..., paillier_n: _Optional[bytes] = ..., data_version: _Optional[bytes] = ...) -> None: ...

class OfferBundle(_message.Message):
    __slots__ = ("sealed",)
    class SealedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: _containers.ScalarMap[str, bytes]
    def __init__(self, sealed: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class Admission(_message.Message):
    __slots__ = ("job_hash", "handles", "answered")
    JOB_HASH_FIELD_NUMBER: _ClassVar[int]
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    job_hash: bytes
    handles: int
    answered: bool
    def __init__(self, job_hash: _Optional[bytes] = ..., handles: _Optional[int] = ..., answered: _Optional[bool] = ...) -> None: ...

class KeyDelivery(_message.Message):
    __slots__ = ("k", "paillier_proof")
    K_FIELD_NUMBER: _ClassVar[int]
    PAILLIER_PROOF_FIELD_NUMBER: _ClassVar[int]
    k: bytes
    paillier_proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, k: _Optional[bytes] = ..., paillier_proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PlanPart(_message.Message):
    __slots__ = ("handles", "refusal", "cause", "remaining_rho")
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_RHO_FIELD_NUMBER: _ClassVar[int]
    handles: int
    refusal: str
    cause: str
    remaining_rho: int
    def __init__(self, handles: _Optional[int] = ..., refusal: _Optional[str] = ..., cause: _Optional[str] = ..., remaining_rho: _Optional[int] = ...) -> None: ...

class Sealed(_message.Message):
    __slots__ = ("sealed",)
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: bytes
    def __init__(self, sealed: _Optional[bytes] = ...) -> None: ...

class Confirmation(_message.Message):
    __slots__ = ("what", "commitment")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    what: str
    commitment: bytes
    def __init__(self, what: _Optional[str] = ..., commitment: _Optional[bytes] = ...) -> None: ...
