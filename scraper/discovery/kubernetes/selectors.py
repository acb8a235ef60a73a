"""The syntax of label and field selectors, which only the API server applies.

See https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and its Go code in k8s.io/apimachinery,
pkg/labels and pkg/fields, which takes somewhat more than is documented.
"""

import re

_WORD = r"[^\s=!(),<>]+"
_REQUIREMENT = re.compile(
    rf"""\s*(?:
        !\s*(?P<absent>{_WORD})
        |
        (?P<key>{_WORD})(?:
            \s*(?:==?|!=)\s*(?P<value>(?:{_WORD})?)
            |
            \s*[<>]\s*(?P<number>(?:{_WORD})?)
            |
            \s+(?:not)?in\s*\(\s*(?P<values>(?:{_WORD})?\s*(?:,\s*(?:{_WORD})?\s*)*)\)
        )?
    )\s*(?P<end>,|$)""",
    re.VERBOSE | re.ASCII,
)
_NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_MAX_INTEGER = 2**63 - 1

_FIELD_TERM = re.compile(r"(?:[^\\,]|\\.|\\$)+", re.DOTALL)
_FIELD_VALUE = re.compile(r"(?:[^\\=]|\\[\\,=])*", re.DOTALL)


def label_selector_problem(selector: str) -> str | None:
    """Why the text is no label selector, None where it is one."""
    position = 0
    while selector[position:].strip() or position:
        requirement = _REQUIREMENT.match(selector, position)
        if requirement is None:
            return f"cannot be understood from {selector[position:].strip()!r} on"
        if problem := _requirement_problem(requirement):
            return problem
        if not requirement["end"]:
            break
        position = requirement.end()
    return None


def _requirement_problem(requirement: re.Match[str]) -> str | None:
    key = requirement["absent"] or requirement["key"]
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        return f"{key!r} cannot be the name of a label"
    number = requirement["number"]
    if number is not None and not (number.isdecimal() and number.isascii() and int(number) <= _MAX_INTEGER):
        return f"{number!r} is not an integer, which < and > compare with"
    values = [requirement["value"] or "", number or "", *(requirement["values"] or "").split(",")]
    wrong = [value.strip() for value in values if value.strip() and not _NAME.fullmatch(value.strip())]
    return f"{wrong[0]!r} cannot be the value of a label" if wrong else None


def field_selector_problem(selector: str) -> str | None:
    """Why the text is no field selector, None where it is one."""
    for term in _FIELD_TERM.findall(selector):
        operator = re.search(r"!=|==?", term)
        if operator is None:
            return f"{term!r} has none of the operators =, == and !="
        value = term[operator.end() :]
        if not _FIELD_VALUE.fullmatch(value):
            return f"{value!r} must have a \\ before each = and \\, and before nothing else"
    return None
