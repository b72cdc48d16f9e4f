"""YAML 1.2 files to checked models, with the line of everything that is wrong.

Who runs it: whatever reads a file that a person wrote.  `on`, `off` and `no` are words,
numbers with a point are exact decimals, a duplicate or unknown key is refused with file,
line and nearest known key.  Learns: nobody, anything.  contracts.md, first paragraphs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from protocol.errors import BadInput

# Limits that no honest file meets; they stop aliases that expand without end.
_MAX_BYTES = 4 << 20
_MAX_NODES = 200_000
_MAX_DEPTH = 32

_CORE = "tag:yaml.org,2002:"
_TAGS = frozenset(
    {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"}
)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")

# Scalars below these keys stay as they are written: a label value 007 is no number.
TEXT_KEYS = frozenset(
    {
        "federation",
        "job",
        "name",
        "table",
        "column",
        "consents",
        "ids",
        "values",
        "value",
        "is",
        "in",
        "requester",
        "requesters",
        "with",
        "rows",
        "columns",
        "default_region",
    }
)

Where = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document: plain values, and the line (from 1) of every key and item."""

    source: str
    value: Any
    lines: Mapping[Where, int]

    def line(self, path: Where) -> int:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, path: Where, cause: str, fix: str = "", *, at: Where | None = None) -> BadInput:
        """An error about `path`, in the line of `at` where that is another one."""
        where = f"{self.source} line {self.line(path if at is None else at)}"
        dotted = ".".join(str(part) for part in path)
        return BadInput(
            f"{where}: {dotted}: {cause}" if dotted else f"{where}: {cause}", next_step=fix
        )


def read_documents(path: Path) -> list[Document]:
    """Every document of the file, empty ones left out.

    Raises BadInput for a file that is missing, not UTF-8, not YAML, or has a duplicate key.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror})",
            next_step="check the path and the permissions",
        ) from error
    if len(data) > _MAX_BYTES:
        raise BadInput(f"{path}: larger than {_MAX_BYTES >> 20} MB, so not a configuration file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8", next_step="save it as UTF-8") from error
    return parse_documents(text, str(path))


def parse_documents(text: str, source: str) -> list[Document]:
    """As `read_documents`, for a text that is there already."""
    loader = YAML(typ="safe", pure=True)
    documents = []
    try:
        for node in loader.compose_all(StringIO(text)):
            document = _Builder(source).build(node)
            if document.value is not None:
                documents.append(document)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source} line {mark.line + 1}" if mark is not None else source
        problem = " ".join(str(error.problem or error.context).split())
        raise BadInput(
            f"{where}: is not YAML ({problem})", next_step="check indentation and quotes"
        ) from error
    except (YAMLError, RecursionError, ValueError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{source}: is not YAML ({problem})") from error
    return documents


def read_one(path: Path, what: str) -> Document:
    """The single document of a file.  Raises BadInput for none or several."""
    documents = read_documents(path)
    if len(documents) != 1:
        count = "is empty" if not documents else f"holds {len(documents)} documents (---)"
        raise BadInput(f"{path}: {count}", next_step=f"give it one {what}")
    return documents[0]


class _Builder:
    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: dict[Where, int] = {}
        self._nodes = 0

    def build(self, node: Node | None) -> Document:
        if node is None:
            return Document(self._source, None, {})
        value = self._plain(node, (), raw=False)
        return Document(self._source, value, self._lines)

    def _fail(self, node: Node, cause: str, fix: str = "") -> BadInput:
        return BadInput(f"{self._source} line {node.start_mark.line + 1}: {cause}", next_step=fix)

    def _plain(self, node: Node, path: Where, *, raw: bool) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise self._fail(node, "is nested too deeply or too large")
        tag = str(node.tag)
        if tag.removeprefix(_CORE) not in _TAGS:
            raise self._fail(node, f"the tag {tag} is not known here", "write plain YAML")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            return self._mapping(node, path, raw=raw)
        if isinstance(node, SequenceNode):
            return [
                self._plain(item, (*path, position), raw=raw)
                for position, item in enumerate(node.value)
            ]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, tag.removeprefix(_CORE), raw=raw)

    def _mapping(self, node: MappingNode, path: Where, *, raw: bool) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._fail(key_node, "a key must be a word")
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in out:
                first = self._lines[(*path, key)]
                raise self._fail(
                    key_node, f'the key "{key}" is here twice (first in line {first})', "keep one"
                )
            self._lines[(*path, key)] = line
            text = raw or _is_text(path, key, isinstance(value_node, MappingNode))
            out[key] = self._plain(value_node, (*path, key), raw=text)
        return out

    def _scalar(self, node: ScalarNode, tag: str, *, raw: bool) -> Any:
        text = str(node.value)
        if node.style is not None or tag == "str":
            return text
        if tag == "null" or text in ("", "~", "null", "Null", "NULL"):
            return None
        if raw:
            return text
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if _INT.fullmatch(text):
            if len(text) > 40:
                raise self._fail(node, "the number is too long")
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        if _FLOAT.fullmatch(text):
            return Decimal(text)
        if tag == "float":
            raise self._fail(node, f"{text} is not a finite number", "write digits")
        return text  # words, and dates, which are words here


class _Representer(SafeRepresenter):
    """Writes decimals with the digits they have; a whole one as an integer."""


def _represent_decimal(representer: SafeRepresenter, value: Decimal) -> Any:
    if value == value.to_integral_value():
        return representer.represent_int(int(value))
    return representer.represent_scalar(_CORE + "float", format(value, "f"))


_Representer.add_representer(Decimal, _represent_decimal)


def dump_yaml(value: Any) -> str:
    """Block-style YAML of plain values and decimals, keys in the order given."""
    writer: Any = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 1 << 20
    writer.sort_base_mapping_type_on_output = False
    out = StringIO()
    writer.dump(value, out)
    return out.getvalue()


def _is_text(path: Where, key: str, holds_keys: bool) -> bool:
    """Whether what is written below `key` stays as it is written."""
    if holds_keys:  # a party or attribute may be named `values`; ids: stands in two places
        if key == "words":  # a mapping's: both sides are labels
            return len(path) == 2 and path[0] == "mappings"
        return key == "ids" and (not path or (len(path) == 2 and path[0] == "parties"))
    return key in TEXT_KEYS


# -- models ------------------------------------------------------------------------------


class Strict(BaseModel):
    """A frozen model that refuses unknown keys by naming the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known and key not in cls.model_fields:
                raise unknown_key(str(key), known)
        return data


def unknown_key(key: str, known: Iterable[str]) -> PydanticCustomError:
    """The error for `key`, naming the nearest of `known`."""
    return PydanticCustomError(
        "unknown_key", 'unknown key "{key}"', {"key": key, "fix": nearest(key, known)}
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to `word`, or all of them."""
    words = [str(item) for item in known]
    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known here: " + ", ".join(words) if words else "nothing is known here"


def wrong(cause: str, fix: str = "") -> PydanticCustomError:
    """An error for a validator: `cause` says what is wrong, `fix` what to do."""
    return PydanticCustomError("wrong", "{cause}", {"cause": cause, "fix": fix})


def one_of(words: tuple[str, ...]) -> AfterValidator:
    """A validator that accepts `words` only."""

    def check(value: str) -> str:
        if value not in words:
            raise wrong(f'"{value}" is not known', nearest(value, words) + _list(words))
        return value

    return AfterValidator(check)


def _list(words: tuple[str, ...]) -> str:
    return f" (one of {', '.join(words)})"


def _text(value: Any) -> Any:
    if value is None or isinstance(value, Mapping | list):
        raise wrong("must be a word or text")
    return value if isinstance(value, str) else str(value).lower()


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong("must be a whole number")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise wrong("must be a number")
    return Decimal(value)


def as_words(value: Any) -> Any:
    """One word stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise wrong("must be a word or a list of words")
    return tuple(value)


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[Decimal, BeforeValidator(_decimal)]
Words = Annotated[tuple[Text, ...], BeforeValidator(as_words)]

_Model = TypeVar("_Model", bound=BaseModel)
_MEANINGS: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda e: f'the key "{e["loc"][-1]}" is missing',
    "model_type": lambda e: "must be a block of keys",
    "dict_type": lambda e: "must be a block of keys",
    "list_type": lambda e: "must be a list",
    "tuple_type": lambda e: "must be a list",
}


def build(model: type[_Model], value: Any, document: Document, at: Where = ()) -> _Model:
    """`value` (found at `at` in `document`) as a `model`; raises BadInput for its first error."""
    if not isinstance(value, Mapping):
        raise document.error(at, "must be a block of keys")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [(_located(details, document, at), details) for details in error.errors()]
        path, details = min(found, key=lambda item: document.line(item[0]))
        kind = details["type"]
        context = details.get("ctx", {})
        if kind == "missing":
            raise document.error(
                path[:-1], _MEANINGS[kind](details), f"add {path[-1]}: …"
            ) from error
        if kind == "unknown_key":
            cause = f'unknown key "{context["key"]}"'
            raise document.error(path[:-1], cause, str(context["fix"]), at=path) from error
        cause = _MEANINGS[kind](details) if kind in _MEANINGS else details["msg"]
        raise document.error(path, cause, str(context.get("fix", ""))) from error


def _located(details: ErrorDetails, document: Document, at: Where) -> Where:
    loc = (*at, *details["loc"])
    if details["type"] == "unknown_key":
        loc = (*loc, details["ctx"]["key"])
    return tuple(part for part in loc if part != "[key]")
