"""YAML files read into typed structures, with errors that name file, line and key path.

PyYAML composes the document with its marks, msgspec converts it to the Struct (unknown keys refused), and where
msgspec refuses, its path (`$.scrape_configs[0]`) is followed back to the line. All errors of a file are found, not
just the first: what was refused is taken out and the rest is tried again.

Scalars reach msgspec as the text that stands in the file, since `replacement: 1` and a label value `on` are
strings to Prometheus; fields of other types convert from it, also from YAML 1.1's `yes` and `0x1F`, which Go's
yaml.v2 takes. A key without a value counts as not given.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from common.durations import parse_duration
from common.errors import FleetwatchError

if TYPE_CHECKING:
    import yaml

T = TypeVar("T")

_REFUSAL = re.compile(r"(?P<reason>.*?)(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_WORDS = {"true": ("y", "yes", "on"), "false": ("n", "no", "off")}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)")
_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "value")
)
_MOST_NODES = 1_000_000
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document: where (`scrape_configs[0].job_name`), and what would be right."""

    key_path: str
    message: str


class ConfigError(FleetwatchError):
    """A file that cannot be used; `problems` has a line of text for each thing wrong in it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Duration(int):
    """Milliseconds, written as a Prometheus duration in the file."""

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Raises DurationError."""
        return cls(parse_duration(text))


@dataclass(slots=True, eq=False)
class _Node:
    """A YAML node that remembers where it stood, also when siblings are taken out."""

    line: int
    key_path: str
    value: "str | dict[str, _Node] | list[_Node] | None"
    quoted: bool = False

    def plain(self) -> Any:
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items() if node.value is not None}
            case list():
                return [node.plain() for node in self.value]
            case _:
                return self.value

    def child(self, step: str | int) -> "_Node | None":
        if isinstance(step, str):
            return self.value.get(step) if isinstance(self.value, dict) else None
        return self.value[step] if isinstance(self.value, list) and step < len(self.value) else None

    def discard(self, child: "_Node") -> None:
        if isinstance(self.value, dict):
            self.value = {key: node for key, node in self.value.items() if node is not child}
        elif isinstance(self.value, list):
            self.value = [node for node in self.value if node is not child]


def load(path: Path, type_: type[T], check: Callable[[T], Iterable[Problem]] = lambda _: ()) -> T:
    """Read a file into `type_`, then `check` what types alone cannot say. Raises ConfigError with all problems."""
    return loads(read_text(path), type_, check, name=str(path))


def read_text(path: Path) -> str:
    """The text of a file. Raises ConfigError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}"]) from error


def loads(text: str, type_: type[T], check: Callable[[T], Iterable[Problem]] = lambda _: (), name: str = "<text>") -> T:
    """Like `load`, of text in hand; `name` stands for the file in errors."""
    problems: list[tuple[int, str]] = []

    def report(node: _Node, message: str, key_path: str | None = None) -> None:
        where = node.key_path if key_path is None else key_path
        problems.append((node.line, f"{name}:{node.line}: {where + ': ' if where else ''}{message}"))

    root = _compose(text, name, report)
    value = _convert(root, type_, report)
    if value is not None:
        for problem in check(value):
            report(_follow(root, problem.key_path)[-1], problem.message, problem.key_path)
    if problems or value is None:
        raise ConfigError([text for _, text in sorted(problems, key=itemgetter(0))])
    return value


def convert(document: Any, type_: type[T]) -> T:
    """A document in hand, not from a file, as `type_`; scalars may be text. Raises ConfigError."""
    try:
        return msgspec.convert(document, type_, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError([_plain_words(str(error))]) from error


def _convert(root: _Node, type_: type[T], report: Callable[..., None]) -> T | None:
    """Convert, reporting each refusal and taking what caused it out; None when nothing sound remains."""
    taken_out: set[str] = set()
    while True:
        try:
            return msgspec.convert(root.plain(), type_, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            match = _REFUSAL.fullmatch(str(error))
            reason, path = (match["reason"], match["path"] or "") if match else (str(error), "")
        trail = _follow(root, path)
        node = trail[-1]
        if unknown := _UNKNOWN.fullmatch(reason):
            child = node.child(unknown[1])
            if child is None:
                report(node, reason)
                return None
            report(child, "unknown key")
            trail.append(child)
        elif missing := _MISSING.fullmatch(reason):
            if _join(node.key_path, missing[1]) not in taken_out:
                report(node, f"the key `{missing[1]}` is missing")
        elif (respelled := _respelled(node, reason)) is not None:
            node.value = respelled
            continue
        elif reason.startswith("Invalid enum value"):
            report(node, f"{node.value!r} is none of {', '.join(_choices(type_, path))}")
        else:
            report(node, _plain_words(reason))
        if len(trail) == 1:
            return None
        taken_out.add(trail[-1].key_path)
        trail[-2].discard(trail[-1])


def _respelled(node: _Node, reason: str) -> str | None:
    """The text of a scalar as msgspec understands it, where the field's type allows what YAML 1.1 makes of it."""
    text = node.value
    if not isinstance(text, str) or node.quoted:
        return None
    if reason.startswith("Expected `bool"):
        return next((word for word, spellings in _WORDS.items() if text.lower() in spellings), None)
    if reason.startswith(("Expected `int", "Expected `float")) and _INTEGER.fullmatch(text):
        digits = text.replace("_", "").lower()
        octal = digits.lstrip("+-").startswith("0") and digits.lstrip("+-").isdigit()
        spelled = str(int(digits, 8 if octal else 0))
        return spelled if spelled != text else None
    return None


def _choices(type_: Any, path: str) -> list[str]:
    """The texts that are allowed at a path of a document of this type."""
    from msgspec import inspect  # needed for nothing but errors

    def parts(info: Any, step: str) -> list[Any]:
        match info:
            case inspect.UnionType():
                return [part for member in info.types for part in parts(member, step)]
            case inspect.StructType():
                return [field.type for field in info.fields if field.encode_name == step]
            case inspect.DictType():
                return [info.value_type]
            case inspect.ListType() | inspect.VarTupleType():
                return [info.item_type]
        return []

    infos: list[Any] = [inspect.type_info(type_)]
    for name, index in _STEP.findall(path):
        infos = [part for info in infos for part in parts(info, name or index)]
    members = [member for info in infos for member in getattr(info, "types", (info,))]
    return [str(value) for member in members for value in getattr(member, "values", ()) if value != ""]


def _follow(root: _Node, path: str) -> list[_Node]:
    """The nodes from the root along a path, as far as it exists."""
    trail = [root]
    for name, index in _STEP.findall("." + path if path[:1] not in ("", ".", "[") else path):
        child = trail[-1].child(name or int(index))
        if child is None:
            break
        trail.append(child)
    return trail


def _join(key_path: str, key: str) -> str:
    return f"{key_path}.{key}" if key_path else key


def _plain_words(reason: str) -> str:
    words = {"object": "a mapping", "array": "a list", "str": "text", "int": "a whole number", "float": "a number",
             "bool": "true or false", "null": "nothing"}  # fmt: skip
    reason = reason.replace(" | null`", "`")
    return re.sub(r"`(\w+)`", lambda name: words.get(name[1], name[0]), reason).replace("Expected", "expected")


def _decode(type_: type[Any], text: Any) -> Any:
    """Types that read themselves from a scalar offer `from_yaml(text)`."""
    from_yaml = getattr(type_, "from_yaml", None)
    if from_yaml is None:
        raise NotImplementedError(f"{type_} cannot be read from YAML: give it a from_yaml(text) class method")
    if not isinstance(text, str):
        raise ValueError(f"Expected `str`, got `{'array' if isinstance(text, list) else 'object'}`")
    return from_yaml(text)


def _compose(text: str, name: str, report: Callable[..., None]) -> _Node:
    # Imported here as a process without a file, an exporter with flags alone, does without its memory.
    import yaml

    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError([f"{name}:{line}: not valid YAML: {getattr(error, 'problem', error)}"]) from error
    finally:
        loader.dispose()
    if node is None:
        return _Node(1, "", {})
    try:
        return _Builder(loader, name, report).build(node, "")
    except RecursionError as error:
        raise ConfigError([f"{name}: is nested too deeply, or holds an alias of what it stands in"]) from error


class _Builder:
    """Makes nodes of PyYAML's, which `loader` composed."""

    def __init__(self, loader: Any, name: str, report: Callable[..., None]) -> None:
        self._loader = loader
        self._name = name
        self._report = report
        self._count = 0

    def build(self, node: "yaml.Node", key_path: str) -> _Node:
        import yaml

        line = node.start_mark.line + 1
        self._count += 1
        if self._count > _MOST_NODES:
            raise ConfigError([f"{self._name}:{line}: aliases make more than {_MOST_NODES} values of the file"])
        if isinstance(node, yaml.MappingNode):
            built = self._mapping(node, key_path)
        elif isinstance(node, yaml.SequenceNode):
            items = [self.build(item, f"{key_path}[{index}]") for index, item in enumerate(node.value)]
            built = _Node(line, key_path, items)
        else:
            is_null = node.tag == "tag:yaml.org,2002:null"
            quoted = isinstance(node, yaml.ScalarNode) and bool(node.style)
            built = _Node(line, key_path, None if is_null else node.value, quoted)
        if node.tag not in _TAGS:
            self._report(built, f"the tag {node.tag} has no meaning here: leave it out")
        return built

    def _mapping(self, node: "yaml.MappingNode", key_path: str) -> _Node:
        own_keys = {id(key) for key, _ in node.value}
        self._loader.flatten_mapping(node)  # merge keys (`<<: *defaults`) go first, the mapping's own win
        built = _Node(node.start_mark.line + 1, key_path, {})
        children: dict[str, _Node] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node.value, str):
                self._report(built, "a key is a list or a mapping: only text can be one")
                continue
            key = key_node.value
            child = self.build(value_node, _join(key_path, key))
            child.line = key_node.start_mark.line + 1
            if key in seen:
                self._report(child, "the key is given twice")
            if id(key_node) in own_keys:
                seen.add(key)
            children[key] = child
        built.value = children
        return built
