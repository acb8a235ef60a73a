"""Relabelling: rules that rewrite, keep or drop label sets (prometheus model/relabel).

A rule list is checked as configuration (`RelabelConfig`, `relabel_problems`) and compiled once (`compile_rules`);
applying it (`relabel`) is a pure function from labels to labels, or to None where a rule drops them.
Regular expressions are RE2 and anchored; replacement texts are expanded like Go's `regexp.Expand`.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from common.labels import Labels, is_legacy_label_name
from common.matchers import MatcherError, compile_regex
from common.yamlfile import Problem

DEFAULT_REGEX = "(.*)"
DEFAULT_REPLACEMENT = "$1"
DEFAULT_SEPARATOR = ";"

# A label name in which parts may stand as `$1` or `${name}` (prometheus model/relabel, relabelTarget).
_LEGACY_LABEL_TEMPLATE = re.compile(r"(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))(?:\w|\$(?:\{\w+\}|\w+))*", re.ASCII)
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))")
_NEEDS_TARGET_LABEL = {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}


class RelabelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of `relabel_configs` or `metric_relabel_configs`, with Prometheus's keys and defaults."""

    source_labels: tuple[str, ...] = ()
    separator: str = DEFAULT_SEPARATOR
    target_label: str = ""
    regex: str = DEFAULT_REGEX
    modulus: int = 0
    replacement: str = DEFAULT_REPLACEMENT
    action: str = "replace"


Rule = Callable[[dict[str, str]], bool]
"""Changes the labels in place; False drops them."""


def compile_rules(configs: Sequence[RelabelConfig]) -> tuple[Rule, ...]:
    """The rules ready to run. Raises MatcherError for a bad regular expression: see `relabel_problems`."""
    return tuple(_COMPILERS[config.action.lower()](config) for config in configs)


def relabel(labels: Labels, rules: Sequence[Rule]) -> Labels | None:
    """Apply the rules in order; None as soon as one drops the label set."""
    if not rules:
        return labels
    changed = dict(labels)
    for rule in rules:
        if not rule(changed):
            return None
    return Labels.of(changed)


def relabel_problems(configs: Sequence[RelabelConfig], key_path: str, legacy_names: bool = False) -> Iterator[Problem]:
    """What is wrong with a list of rules beyond the types of its fields, as Prometheus judges it.

    `legacy_names`: label names beyond letters, digits and underscores are refused.
    """
    for index, config in enumerate(configs):
        for key, message in _rule_problems(config, legacy_names):
            yield Problem(f"{key_path}[{index}]" + (f".{key}" if key else ""), message)


def _rule_problems(config: RelabelConfig, legacy_names: bool) -> Iterator[tuple[str, str]]:
    action = config.action.lower()
    if action not in _COMPILERS:
        yield "action", f"unknown relabel action {config.action!r}: use one of {', '.join(_COMPILERS)}"
        return
    try:
        compile_regex(config.regex)
    except MatcherError as error:
        yield "regex", str(error)
    if "" in config.source_labels:
        yield "source_labels", "a label has no name"
    if config.modulus < 0 or (action == "hashmod" and config.modulus == 0):
        yield "modulus", "hashmod needs a modulus of 1 or more"
    if action in _NEEDS_TARGET_LABEL and not config.target_label:
        yield "", f"the action {action} needs a target_label"
    elif action in _NEEDS_TARGET_LABEL and legacy_names and not _is_legacy_target(action, config.target_label):
        yield "target_label", f"{config.target_label!r} is no label name by the legacy rules"
    if action == "labelmap" and not _is_label_template(config.replacement, legacy_names):
        yield "replacement", f"{config.replacement!r} makes no label name"
    if action in ("lowercase", "uppercase") and config.replacement != DEFAULT_REPLACEMENT:
        yield "replacement", f"the action {action} takes no replacement"
    if action in ("keepequal", "dropequal"):
        yield from _unused(config, "regex", "modulus", "separator", "replacement")
    if action in ("labeldrop", "labelkeep"):
        yield from _unused(config, "source_labels", "target_label", "modulus", "separator", "replacement")


def _is_legacy_target(action: str, target_label: str) -> bool:
    if action == "replace":
        return _is_label_template(target_label, legacy_names=True)
    return is_legacy_label_name(target_label)


def _is_label_template(text: str, legacy_names: bool) -> bool:
    return bool(_LEGACY_LABEL_TEMPLATE.fullmatch(text)) if legacy_names else text != ""


def _unused(config: RelabelConfig, *keys: str) -> Iterator[tuple[str, str]]:
    default = RelabelConfig()
    for key in keys:
        if getattr(config, key) != getattr(default, key):
            yield key, f"the action {config.action.lower()} takes no {key}"


class Template:
    """A replacement text with `$1`, `${1}`, `$name`, `${name}` and `$$`, expanded as Go's `regexp.Expand` does.

    A name is the longest run of letters, digits and underscores: `$1x` is the group named `1x`. A group that is
    not there, or took no part in the match, is empty; a `$` that starts no variable stands for itself.
    """

    def __init__(self, text: str, regex: Any) -> None:
        self._parts: list[str | int] = []
        end = 0
        for variable in _VARIABLE.finditer(text):
            self._parts.append(text[end : variable.start()])
            self._parts.append("$" if variable["dollar"] else _group(variable["braced"] or variable["bare"], regex))
            end = variable.end()
        self._parts.append(text[end:])

    def expand(self, match: Any) -> str:
        """The text for a match of the regular expression."""
        return "".join([part if isinstance(part, str) else match.group(part) or "" for part in self._parts])


def _group(name: str, regex: Any) -> str | int:
    """The number of a group, or the empty text where the expression has none of that name."""
    if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
        return int(name) if int(name) <= regex.groups else ""
    number: int | None = regex.groupindex.get(name)
    return "" if number is None else number


# One compiler per action. Each returns a closure over what it needs, so that nothing is decided per label set.


def _joined(config: RelabelConfig) -> Callable[[dict[str, str]], str]:
    names, separator = config.source_labels, config.separator
    if len(names) == 1:
        name = names[0]
        return lambda labels: labels.get(name, "")
    return lambda labels: separator.join([labels.get(name, "") for name in names])


def _replace(config: RelabelConfig) -> Rule:
    source, regex = _joined(config), compile_regex(config.regex)
    target, replacement = Template(config.target_label, regex), Template(config.replacement, regex)

    def rule(labels: dict[str, str]) -> bool:
        match = regex.fullmatch(source(labels))
        if match is not None:
            name = target.expand(match)
            if name:
                _set(labels, name, replacement.expand(match))
        return True

    return rule


def _keep(config: RelabelConfig) -> Rule:
    source, regex = _joined(config), compile_regex(config.regex)
    return lambda labels: regex.fullmatch(source(labels)) is not None


def _drop(config: RelabelConfig) -> Rule:
    source, regex = _joined(config), compile_regex(config.regex)
    return lambda labels: regex.fullmatch(source(labels)) is None


def _keepequal(config: RelabelConfig) -> Rule:
    source, target = _joined(config), config.target_label
    return lambda labels: source(labels) == labels.get(target, "")


def _dropequal(config: RelabelConfig) -> Rule:
    source, target = _joined(config), config.target_label
    return lambda labels: source(labels) != labels.get(target, "")


def _hashmod(config: RelabelConfig) -> Rule:
    source, target, modulus = _joined(config), config.target_label, config.modulus

    def rule(labels: dict[str, str]) -> bool:
        # The last eight bytes of the MD5, big-endian: so that shards agree with Prometheus's.
        digest = hashlib.md5(source(labels).encode(), usedforsecurity=False).digest()
        labels[target] = str(int.from_bytes(digest[8:], "big") % modulus)
        return True

    return rule


def _lowercase(config: RelabelConfig) -> Rule:
    source, target = _joined(config), config.target_label
    return lambda labels: _set(labels, target, _simple_lower(source(labels)))


def _uppercase(config: RelabelConfig) -> Rule:
    source, target = _joined(config), config.target_label
    return lambda labels: _set(labels, target, _simple_upper(source(labels)))


def _labelmap(config: RelabelConfig) -> Rule:
    regex = compile_regex(config.regex)
    replacement = Template(config.replacement, regex)

    def rule(labels: dict[str, str]) -> bool:
        for name, value in sorted(labels.items()):
            match = regex.fullmatch(name)
            new_name = replacement.expand(match) if match is not None else ""
            if new_name:
                labels[new_name] = value
        return True

    return rule


def _labeldrop(config: RelabelConfig) -> Rule:
    regex = compile_regex(config.regex)
    return lambda labels: _delete(labels, [name for name in labels if regex.fullmatch(name) is not None])


def _labelkeep(config: RelabelConfig) -> Rule:
    regex = compile_regex(config.regex)
    return lambda labels: _delete(labels, [name for name in labels if regex.fullmatch(name) is None])


_COMPILERS: dict[str, Callable[[RelabelConfig], Rule]] = {
    "replace": _replace,
    "keep": _keep,
    "drop": _drop,
    "keepequal": _keepequal,
    "dropequal": _dropequal,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}


# Go maps letter by letter with Unicode's simple mappings; Python's full mappings change lengths (ß becomes SS).


def _simple_lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join([letter.lower()[0] for letter in text])


def _simple_upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join([_upper_letter(letter) for letter in text])


def _upper_letter(letter: str) -> str:
    for mapped in (letter.upper(), letter.title()):
        if len(mapped) == 1:
            return mapped
    return letter


def _set(labels: dict[str, str], name: str, value: str) -> bool:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)
    return True


def _delete(labels: dict[str, str], names: list[str]) -> bool:
    for name in names:
        del labels[name]
    return True
