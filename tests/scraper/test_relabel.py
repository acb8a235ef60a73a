"""Relabelling against what Prometheus's documentation and its own behaviour say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import compile_regex
from scraper.relabel import RelabelConfig, Template, compile_rules, relabel, relabel_problems


def apply(labels: dict[str, str], *configs: dict[str, object]) -> dict[str, str] | None:
    rules = compile_rules([RelabelConfig(**config) for config in configs])  # type: ignore[arg-type]
    result = relabel(Labels.of(labels), rules)
    return None if result is None else dict(result)


ACTIONS = [
    # replace
    (
        {"a": "foo", "b": "bar"},
        [{"source_labels": ("a",), "target_label": "d", "regex": "f(.*)", "replacement": "ch${1}-ch${1}"}],
        {"a": "foo", "b": "bar", "d": "choo-choo"},
    ),
    (
        {"a": "foo", "b": "bar"},
        [{"source_labels": ("a", "b"), "target_label": "c", "separator": "-"}],
        {"a": "foo", "b": "bar", "c": "foo-bar"},
    ),
    ({"a": "foo"}, [{"source_labels": ("a",), "target_label": "b", "regex": "nomatch"}], {"a": "foo"}),
    ({"a": "foo"}, [{"source_labels": ("a",), "target_label": "b", "regex": "oo"}], {"a": "foo"}),  # anchored
    (
        {"a": "x\ny"},
        [{"source_labels": ("a",), "target_label": "b", "regex": "x.y", "replacement": "yes"}],
        {"a": "x\ny", "b": "yes"},
    ),
    ({"a": "foo", "b": "old"}, [{"source_labels": ("none",), "target_label": "b"}], {"a": "foo"}),  # empty deletes
    ({"a": "foo"}, [{"target_label": "b", "replacement": "fixed"}], {"a": "foo", "b": "fixed"}),
    (
        {"a": "some-name-value"},
        [{"source_labels": ("a",), "regex": "some-([^-]+)-([^,]+)", "replacement": "${2}", "target_label": "${1}"}],
        {"a": "some-name-value", "name": "value"},
    ),
    (
        {"a": "foo"},
        [{"source_labels": ("a",), "target_label": "${3}", "regex": "f(.*)"}],
        {"a": "foo"},
    ),  # no name comes out
    (
        {"a": "foo"},
        [{"source_labels": ("a",), "target_label": "b", "regex": "(?P<rest>f.*)", "replacement": "${rest}!"}],
        {"a": "foo", "b": "foo!"},
    ),
    ({"a": "1"}, [{"source_labels": ("a",), "target_label": "b", "action": "Replace"}], {"a": "1", "b": "1"}),
    # keep, drop
    ({"a": "foo"}, [{"source_labels": ("a",), "regex": "f.*", "action": "keep"}], {"a": "foo"}),
    ({"a": "foo"}, [{"source_labels": ("a",), "regex": "o", "action": "keep"}], None),
    ({"a": "foo"}, [{"source_labels": ("a",), "regex": "f.*", "action": "drop"}], None),
    ({"a": "foo"}, [{"source_labels": ("a",), "regex": "f", "action": "drop"}], {"a": "foo"}),
    ({"a": "foo"}, [{"source_labels": ("a",), "regex": "f.*", "action": "drop"}, {"target_label": "b"}], None),
    (
        {"a": "foo", "b": "foo"},
        [{"source_labels": ("a",), "target_label": "b", "action": "keepequal"}],
        {"a": "foo", "b": "foo"},
    ),
    ({"a": "foo", "b": "bar"}, [{"source_labels": ("a",), "target_label": "b", "action": "keepequal"}], None),
    ({"a": "foo", "b": "foo"}, [{"source_labels": ("a",), "target_label": "b", "action": "dropequal"}], None),
    (
        {"a": "foo", "b": "bar"},
        [{"source_labels": ("a",), "target_label": "b", "action": "dropequal"}],
        {"a": "foo", "b": "bar"},
    ),
    # hashmod: the numbers are Prometheus's (relabel_test.go)
    (
        {"a": "foo", "b": "bar", "c": "baz"},
        [{"source_labels": ("c",), "separator": ";", "target_label": "d", "modulus": 1000, "action": "hashmod"}],
        {"a": "foo", "b": "bar", "c": "baz", "d": "976"},
    ),
    (
        {"a": "foo\nbar"},
        [{"source_labels": ("a",), "target_label": "b", "modulus": 1000, "action": "hashmod"}],
        {"a": "foo\nbar", "b": "734"},
    ),
    # labelmap, labeldrop, labelkeep
    (
        {"a": "foo", "b1": "bar", "b2": "baz"},
        [{"regex": "(b.*)", "replacement": "bar_${1}", "action": "labelmap"}],
        {"a": "foo", "b1": "bar", "b2": "baz", "bar_b1": "bar", "bar_b2": "baz"},
    ),
    (
        {"__meta_my_bar": "aaa", "__meta_my_baz": "bbb"},
        [{"regex": "__meta_(my.*)", "action": "labelmap"}],
        {"__meta_my_bar": "aaa", "__meta_my_baz": "bbb", "my_bar": "aaa", "my_baz": "bbb"},
    ),
    ({"a": "foo", "b1": "bar", "b2": "baz"}, [{"regex": "(b.*)", "action": "labeldrop"}], {"a": "foo"}),
    ({"a": "foo", "b1": "bar", "b2": "baz"}, [{"regex": "(b.*)", "action": "labelkeep"}], {"b1": "bar", "b2": "baz"}),
    # lowercase, uppercase: letter by letter, as Go does it
    (
        {"a": "bAr123Foo"},
        [
            {"source_labels": ("a",), "target_label": "l", "action": "lowercase"},
            {"source_labels": ("a",), "target_label": "u", "action": "uppercase"},
        ],
        {"a": "bAr123Foo", "l": "bar123foo", "u": "BAR123FOO"},
    ),
    (
        {"a": "Straße ΑΣ"},
        [
            {"source_labels": ("a",), "target_label": "l", "action": "lowercase"},
            {"source_labels": ("a",), "target_label": "u", "action": "uppercase"},
        ],
        {"a": "Straße ΑΣ", "l": "straße ασ", "u": "STRAßE ΑΣ"},
    ),
    # the whole set can go
    ({"a": "foo"}, [{"regex": "a", "action": "labeldrop"}], {}),
]


@pytest.mark.parametrize(("labels", "configs", "expected"), ACTIONS)
def test_actions(labels: dict[str, str], configs: list[dict[str, object]], expected: dict[str, str] | None) -> None:
    assert apply(labels, *configs) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1", "ab"),
        ("${1}x", "abx"),
        ("$1x", ""),  # the group named 1x
        ("$2-$word", "cd-cd"),
        ("$0", "ab-cd"),
        ("$01", ""),  # no leading zeros
        ("$9", ""),
        ("$$1", "$1"),
        ("cost: $", "cost: $"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("$-$1", "$-ab"),
    ],
)
def test_template_is_expanded_as_go_does(template: str, expected: str) -> None:
    regex = compile_regex("(ab)-(?P<word>cd)")
    assert Template(template, regex).expand(regex.fullmatch("ab-cd")) == expected


@given(st.text(alphabet="ab$1{}_", max_size=12))
def test_template_without_variables_is_itself(text: str) -> None:
    plain = text.replace("$", "")
    regex = compile_regex("(.*)")
    assert Template(plain, regex).expand(regex.fullmatch("x")) == plain


@pytest.mark.parametrize(
    ("config", "key_path", "message"),
    [
        ({"action": "swap"}, "r[0].action", "unknown relabel action"),
        ({"target_label": "a", "regex": "("}, "r[0].regex", "invalid regular expression"),
        ({"target_label": "a", "action": "hashmod"}, "r[0].modulus", "modulus of 1 or more"),
        ({"source_labels": ("a",)}, "r[0]", "needs a target_label"),
        ({"target_label": "a", "replacement": "x", "action": "lowercase"}, "r[0].replacement", "takes no replacement"),
        ({"target_label": "a", "separator": "x", "action": "keepequal"}, "r[0].separator", "takes no separator"),
        (
            {"source_labels": ("a",), "regex": "b", "action": "labeldrop"},
            "r[0].source_labels",
            "takes no source_labels",
        ),
        ({"replacement": "", "action": "labelmap"}, "r[0].replacement", "makes no label name"),
    ],
)
def test_problems(config: dict[str, object], key_path: str, message: str) -> None:
    (problem,) = relabel_problems([RelabelConfig(**config)], "r")  # type: ignore[arg-type]
    assert problem.key_path == key_path
    assert message in problem.message


def test_label_names_beyond_the_legacy_set_are_a_problem_only_where_the_job_says_so() -> None:
    config = RelabelConfig(source_labels=("a",), target_label="a.b", action="uppercase")
    assert list(relabel_problems([config], "r")) == []
    assert [problem.key_path for problem in relabel_problems([config], "r", legacy_names=True)] == ["r[0].target_label"]
