"""Config files: what is read, and that every mistake is named with its place."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from common.yamlfile import ConfigError, Duration, Problem, load, loads


class Job(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    every: Duration = Duration(15_000)
    retries: int = 0
    tls: bool = False
    labels: dict[str, str] = {}


class File(msgspec.Struct, forbid_unknown_fields=True):
    jobs: list[Job] = []
    note: str = ""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, File, name="f.yml")
    return caught.value.problems


def test_scalars_are_the_text_that_stands_in_the_file() -> None:
    text = (
        "note: 010\njobs: [{name: yes, every: 1m, retries: 3, tls: true, labels: {rack: 12, on: on, day: 2020-01-01}}]"
    )
    assert loads(text, File) == File(
        [Job("yes", Duration(60_000), 3, True, {"rack": "12", "on": "on", "day": "2020-01-01"})], "010"
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "jobs:\n", "note: ~\njobs: []"])
def test_a_key_without_a_value_counts_as_not_given(text: str) -> None:
    assert loads(text, File) == File()


def test_merge_keys() -> None:
    text = "jobs:\n- &a {name: a, retries: 1}\n- {<<: *a, name: b}\n"
    assert loads(text, File).jobs == [Job("a", retries=1), Job("b", retries=1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nots: a", "f.yml:1: nots: unknown key"),
        ("jobs:\n- name: a\n  evry: 5s", "f.yml:3: jobs[0].evry: unknown key"),
        ("jobs:\n- every: 5s", "f.yml:2: jobs[0]: the key `name` is missing"),
        ("jobs: 5", "f.yml:1: jobs: expected a list, got text"),
        ("jobs:\n- name: a\n  retries: many", "f.yml:3: jobs[0].retries: expected a whole number, got text"),
        ("jobs:\n- name: a\n  tls: perhaps", "f.yml:3: jobs[0].tls: expected true or false, got text"),
        ("jobs:\n- name: a\n  every: [5s]", "f.yml:3: jobs[0].every: expected text, got a list"),
        ("jobs:\n- name: a\n  labels: {b: [c]}", "f.yml:3: jobs[0].labels: expected text, got a list"),
        ("note: a\nnote: b", "f.yml:2: note: the key is given twice"),
        ("- a", "f.yml:1: expected a mapping, got a list"),
        ("jobs: [", "f.yml:2: not valid YAML: did not find expected node content"),
        ("note: 'a", "f.yml:1: not valid YAML: found unexpected end of stream"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_a_bad_duration_says_what_a_good_one_is() -> None:
    assert problems("jobs:\n- name: a\n  every: 5 s") == [
        'f.yml:3: jobs[0].every: not a valid duration string: "5 s" (write it like 30s, 5m or 1h30m)'
    ]


def test_all_mistakes_are_found_in_the_order_of_the_file() -> None:
    text = "nots: 1\njobs:\n- nme: a\n- name: b\n  retries: x\n  every: y\n- name: [c]\n- name: d\n  z: 1\n"
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["f.yml:1", "nots"],
        ["f.yml:3", "jobs[0].nme"],
        ["f.yml:3", "jobs[0]"],
        ["f.yml:5", "jobs[1].retries"],
        ["f.yml:6", "jobs[1].every"],
        ["f.yml:7", "jobs[2].name"],
        ["f.yml:9", "jobs[3].z"],
    ]


def test_what_a_check_finds_gets_its_line() -> None:
    def check(file: File) -> Iterator[Problem]:
        yield Problem("jobs[1].name", "is taken")
        yield Problem("jobs[0].every", "is too short")  # stands nowhere: the line of its job

    with pytest.raises(ConfigError) as caught:
        loads("jobs:\n- name: a\n- name: a\n", File, check, name="f.yml")
    assert caught.value.problems == ["f.yml:2: jobs[0].every: is too short", "f.yml:3: jobs[1].name: is taken"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("note: !foo bar\n", "f.yml:1: note: the tag !foo has no meaning here: leave it out"),
        ("jobs: !!python/tuple []\n", "f.yml:1: jobs: the tag tag:yaml.org,2002:python/tuple has no meaning here"),
        ("jobs: []\n? [a, b]\n: 1\n", "f.yml:1: a key is a list or a mapping: only text can be one"),
        ("jobs: &x [*x]\n", "f.yml: is nested too deeply, or holds an alias of what it stands in"),
        (
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(f"{name}: &{name} [{', '.join(10 * ['*' + last])}]\n" for last, name in pairwise("abcdefg")),
            "aliases make more than 1000000 values of the file",
        ),
    ],
)
def test_yaml_that_is_no_plain_data(text: str, expected: str) -> None:
    assert expected in problems(text)[0]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml: cannot be read: No such file or directory"):
        load(tmp_path / "none.yml", File)
    (tmp_path / "latin.yml").write_bytes(b"note: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yml: is not UTF-8 text: .* at byte 6"):
        load(tmp_path / "latin.yml", File)
