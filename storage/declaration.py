"""A directory file: entries as TOML or YAML, the way operators keep them.

    [[accounts]]
    number = 100
    name = "Contact centre"

Each kind of `storage.entries.KINDS` is a list of tables. Pure; what entries must be to each other
is the business of `storage.snapshot`.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml as pyyaml

from storage.entries import KINDS, Entry, key_of, kind_of
from storage.records import InvalidEntry

MAX_OCTETS = 4 * 1024 * 1024
"""Largest file that is read."""
_DEPTH = 16
"""Deepest nesting of YAML that is read; entries need four."""
_AT = re.compile(r"(.*) - at `\$\.?(.*)`")


def read(text: bytes, *, yaml: bool = False) -> list[Entry]:
    """The entries of a file, by kind. Raises InvalidEntry, which names the place in one line."""
    if len(text) > MAX_OCTETS:
        raise InvalidEntry(f"larger than {MAX_OCTETS} octets")
    try:
        tree = (_yaml if yaml else _toml)(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidEntry(f"not UTF-8 at octet {error.start}") from None
    for kind in tree:
        if kind not in KINDS:
            raise InvalidEntry(f"{_short(kind)}: unknown kind, expected one of {', '.join(KINDS)}")
    return [entry for kind in KINDS if kind in tree for entry in _list(kind, tree[kind])]


def write(entries: Iterable[Entry]) -> str:
    """The entries as TOML that `read` takes, without the fields that have their default value."""
    return "\n".join(f"[[{kind_of(entry)}]]\n{_table(entry)}" for entry in entries)


def convert(tree: object, kind: type[Entry]) -> Entry:
    """The entry a tree of plain values stands for. Raises InvalidEntry with field and reason."""
    try:
        entry = msgspec.convert(tree, kind)
        msgspec.json.encode(entry)
    except msgspec.ValidationError as error:
        text = _short(error)
        found = _AT.fullmatch(text)
        raise InvalidEntry(f"{found[2]}: {found[1]}" if found else text) from None
    except UnicodeEncodeError:
        raise InvalidEntry("text that is not Unicode") from None
    return entry


def _list(kind: str, items: object) -> Iterator[Entry]:
    if not isinstance(items, list):
        raise InvalidEntry(f"{kind}: expected a list of tables, [[{kind}]]")
    seen: set[str] = set()
    for number, item in enumerate(items, 1):
        place = f"{kind}, no. {number}"
        try:
            entry = convert(item, KINDS[kind])
        except InvalidEntry as error:
            raise InvalidEntry(f"{place}: {error}") from None
        if key_of(entry) in seen:
            raise InvalidEntry(f"{place}: {key_of(entry)} is there twice")
        seen.add(key_of(entry))
        yield entry


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidEntry(f"not TOML: {_short(error)}") from None


class _Loader(getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only, and each key once."""

    def construct_mapping(self, node: pyyaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node. Raises YAMLError for a key that is no text, or there twice."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value) or not all(isinstance(key, str) for key in mapping):
            raise pyyaml.YAMLError(f"keys must be text, and each there once{node.start_mark}")
        return mapping


def _yaml(text: str) -> dict[str, Any]:
    try:
        depth = 0
        for event in pyyaml.parse(text, _Loader):
            depth += isinstance(event, pyyaml.CollectionStartEvent)
            depth -= isinstance(event, pyyaml.CollectionEndEvent)
            # An alias in an alias in an alias makes gigabytes out of a few lines.
            if isinstance(event, pyyaml.AliasEvent) or depth > _DEPTH:
                raise pyyaml.YAMLError(f"an alias, or nested too deep{event.start_mark}")
        tree = pyyaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (pyyaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidEntry(f"not YAML: {_short(error)}") from None
    if tree is not None and not isinstance(tree, dict):
        raise InvalidEntry("not a directory file: expected a mapping of kinds")
    return tree or {}


def _short(error: object) -> str:
    """One line, whatever a file made the text of."""
    text = " ".join(str(error).split())[:200]
    return "".join(char if char.isprintable() else "?" for char in text)


def _table(entry: Entry) -> str:
    return "".join(f"{name} = {_value(value)}\n" for name, value in _given(entry))


def _given(value: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Name and value of the fields that say something."""
    for each in msgspec.structs.fields(value):
        found = getattr(value, each.name)
        factory: Any = each.default_factory
        default = each.default if factory is msgspec.NODEFAULT else factory()
        if each.required or found != default:
            yield each.name, found


def _value(value: Any) -> str:
    match value:
        case msgspec.Struct():
            return f"{{ {', '.join(f'{name} = {_value(each)}' for name, each in _given(value))} }}"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case str() if "\n" in value:
            return '"""\n' + "\n".join(_text(line)[1:-1] for line in value.split("\n")) + '"""'
        case str():
            return _text(value)
    return str(value).lower()


def _text(value: str) -> str:
    """JSON's escapes are TOML's, but for the one character that JSON lets pass."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
