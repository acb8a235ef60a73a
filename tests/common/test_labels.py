import copy
import pickle

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import EMPTY_LABELS, METRIC_NAME, Labels, is_legacy_label_name, is_legacy_metric_name, quote

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
label_maps = st.dictionaries(texts.filter(bool), texts, max_size=6)


def test_labels_are_sorted_and_without_empty_values() -> None:
    labels = Labels.of({"job": "node", "__name__": "up", "zone": "", "Z": "1"})
    assert list(labels) == [("Z", "1"), ("__name__", "up"), ("job", "node")]


def test_the_same_labels_are_equal_and_hash_alike_whatever_their_source() -> None:
    from_mapping = Labels.of({"a": "1", "b": "2"})
    from_pairs = Labels.of([("b", "2"), ("a", "1")])
    from_words = Labels.of(b="2", a="1")
    assert from_mapping == from_pairs == from_words
    assert len({from_mapping, from_pairs, from_words}) == 1
    assert from_mapping != Labels.of(a="1")
    assert Labels.of() == EMPTY_LABELS


def test_the_later_of_two_values_wins() -> None:
    assert Labels.of([("a", "1"), ("a", "2")]) == Labels.of(a="2")
    assert Labels.of({"a": "1"}, a="3") == Labels.of(a="3")
    assert Labels.of({"a": "1"}, a="") == EMPTY_LABELS


def test_getting() -> None:
    labels = Labels.of({METRIC_NAME: "up", "job": "node"})
    assert labels.get("job") == "node"
    assert labels.get("zone") == ""
    assert labels.get("zone", "eu") == "eu"
    assert labels.metric_name == "up"
    assert EMPTY_LABELS.metric_name == ""


def test_without_only_and_replace() -> None:
    labels = Labels.of(a="1", b="2", c="3")
    assert labels.without("a", "c", "x") == Labels.of(b="2")
    assert labels.only("a", "c", "x") == Labels.of(a="1", c="3")
    assert labels.replace(b="5", d="4", a="") == Labels.of(b="5", c="3", d="4")
    assert all(type(changed) is Labels for changed in (labels.without("a"), labels.only("a"), labels.replace()))


@pytest.mark.parametrize("name", ["self", "cls", "labels", "names", "changes", "more"])
def test_any_word_is_a_label_name(name: str) -> None:
    labels = Labels.of(**{name: "1"})
    assert labels == Labels.of({name: "1"})
    assert labels.replace(**{name: "2"}) == Labels.of({name: "2"})


def test_as_dict_is_a_copy_in_order() -> None:
    labels = Labels.of(b="2", a="1")
    plain = labels.as_dict()
    assert list(plain.items()) == [("a", "1"), ("b", "2")]
    plain["a"] = "changed"
    assert labels.get("a") == "1"


def test_labels_order_as_prometheus_sorts_series() -> None:
    # By the first name that differs, then by its value, and a prefix comes first.
    in_order = [
        EMPTY_LABELS,
        Labels.of(a="1"),
        Labels.of(a="1", b="1"),
        Labels.of(a="2"),
        Labels.of(a="é"),
        Labels.of(b="1"),
    ]
    shuffled = [in_order[position] for position in (3, 0, 5, 2, 4, 1)]
    assert sorted(shuffled) == in_order


def test_labels_survive_copying_and_pickling() -> None:
    labels = Labels.of(a="1", b="2")
    for twin in (copy.copy(labels), copy.deepcopy(labels), pickle.loads(pickle.dumps(labels))):
        assert twin == labels
        assert type(twin) is Labels


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, "{}"),
        ({METRIC_NAME: "up"}, "up"),
        ({METRIC_NAME: "up", "job": "node", "a": "b"}, 'up{a="b", job="node"}'),
        ({"job": "node"}, '{job="node"}'),
        ({METRIC_NAME: "job:up:sum"}, "job:up:sum"),
        ({METRIC_NAME: "my.metric"}, '{"my.metric"}'),
        ({METRIC_NAME: "my.metric", "a.b": "c"}, '{"my.metric", "a.b"="c"}'),
        ({METRIC_NAME: "up", "a:b": "c"}, 'up{"a:b"="c"}'),
        ({METRIC_NAME: "9lives"}, '{"9lives"}'),
        ({"path": 'C:\\"x"\n'}, '{path="C:\\\\\\"x\\"\\n"}'),
        ({"place": "Küche"}, '{place="Küche"}'),
    ],
)
def test_notation(labels: dict[str, str], text: str) -> None:
    assert str(Labels.of(labels)) == text


@pytest.mark.parametrize(
    ("name", "label", "metric"),
    [
        ("job", True, True),
        ("_", True, True),
        ("a1", True, True),
        ("a:b", False, True),
        (":", False, True),
        ("1a", False, False),
        ("", False, False),
        ("a.b", False, False),
        ("a\n", False, False),
        ("é", False, False),
        ("a１", False, False),
    ],
)
def test_which_names_need_no_quotes(name: str, label: bool, metric: bool) -> None:
    assert is_legacy_label_name(name) is label
    assert is_legacy_metric_name(name) is metric


@given(label_maps)
def test_of_is_a_filtered_sorted_dictionary(pairs: dict[str, str]) -> None:
    labels = Labels.of(pairs)
    assert labels.as_dict() == {name: value for name, value in pairs.items() if value}
    assert list(labels) == sorted(labels)
    assert Labels.of(labels) == labels
    assert Labels.of(list(pairs.items())[::-1]) == labels


@given(label_maps, st.lists(texts, max_size=3))
def test_without_and_only_part_a_set(pairs: dict[str, str], names: list[str]) -> None:
    labels = Labels.of(pairs)
    assert sorted([*labels.without(*names), *labels.only(*names)]) == list(labels)


@given(texts)
def test_promql_reads_a_quoted_text_back(text: str) -> None:
    literal = promql_parser.parse(quote(text))
    assert isinstance(literal, promql_parser.StringLiteral)
    assert literal.val == text


# A metric that is called like a number or an operator cannot be written without quotes; such names are left out.
@given(label_maps, texts.filter(lambda text: "inf" not in text.lower() and "nan" not in text.lower()))
def test_promql_reads_the_notation_back(pairs: dict[str, str], name: str) -> None:
    labels = Labels.of(pairs | {METRIC_NAME: f"{name}_x"})
    selector = promql_parser.parse(str(labels))
    assert isinstance(selector, promql_parser.VectorSelector)
    read = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    if selector.name is not None:
        read[METRIC_NAME] = selector.name
    assert Labels.of(read) == labels
