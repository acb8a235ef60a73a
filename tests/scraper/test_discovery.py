"""File discovery: files that appear, change, break and go."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.yamlfile import Duration
from scraper.discovery.file import FileDiscovery, FileSDConfig
from scraper.discovery.model import TargetGroup
from scraper.discovery.watch import DirectoryWatcher
from tests.scraper.targets import eventually

Targets = dict[str, dict[str, str]]


class Published:
    """What a discoverer publishes, as {address: group labels}."""

    def __init__(self) -> None:
        self.times = 0
        self.targets: Targets = {}

    def __call__(self, groups: Sequence[TargetGroup]) -> None:
        self.times += 1
        self.targets = {target["__address__"]: dict(group.labels) for group in groups for target in group.targets}


@asynccontextmanager
async def discovering(directory: Path, *patterns: str, refresh_ms: int = 3_600_000) -> AsyncIterator[Published]:
    watcher, published = DirectoryWatcher(), Published()
    config = FileSDConfig(files=patterns, refresh_interval=Duration(refresh_ms))
    task = asyncio.create_task(FileDiscovery(config, directory, watcher).run(published))
    try:
        await eventually(lambda: published.times > 0)
        yield published
    finally:
        task.cancel()
        await asyncio.wait([task])
        await watcher.close()


def write(path: Path, *addresses: str, **labels: str) -> None:
    path.write_text(json.dumps([{"targets": addresses, "labels": labels}]))


async def test_json_and_yaml_with_their_labels(tmp_path: Path) -> None:
    write(tmp_path / "a.json", "one:1", "two:2", dc="eu")
    (tmp_path / "b.yml").write_text("- targets: [three:3]\n  labels: {rack: 12}\n- targets: ['four:4']\n")
    (tmp_path / "c.txt").write_text("no")
    async with discovering(tmp_path, "*.json", "b.yml") as published:
        a, b = str(tmp_path / "a.json"), str(tmp_path / "b.yml")
        assert published.targets == {
            "one:1": {"dc": "eu", "__meta_filepath": a},
            "two:2": {"dc": "eu", "__meta_filepath": a},
            "three:3": {"rack": "12", "__meta_filepath": b},
            "four:4": {"__meta_filepath": b},
        }


async def test_changes_are_seen_as_they_happen(tmp_path: Path) -> None:
    async with discovering(tmp_path, "*.json") as published:
        assert published.targets == {}
        write(tmp_path / "a.json", "one:1")
        await eventually(lambda: set(published.targets) == {"one:1"})
        (tmp_path / "new").write_text((tmp_path / "a.json").read_text().replace("one", "two"))
        (tmp_path / "new").rename(tmp_path / "a.json")  # as careful writers do
        await eventually(lambda: set(published.targets) == {"two:1"})
        (tmp_path / "a.json").unlink()
        await eventually(lambda: published.targets == {})


@pytest.mark.parametrize("broken", ["{", "[{}, 5]", '[{"targets": "one"}]', '[{"hosts": ["one"]}]'])
async def test_a_broken_file_keeps_its_last_targets(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.json", "one:1")
    async with discovering(tmp_path, "*.json") as published:
        (tmp_path / "a.json").write_text(broken)
        write(tmp_path / "b.json", "two:2")
        await eventually(lambda: set(published.targets) == {"one:1", "two:2"})
        record = next(record for record in caplog.records if "cannot be used" in record.message)
        assert vars(record)["file"] == str(tmp_path / "a.json")


async def test_a_directory_made_later_is_found_at_the_refresh(tmp_path: Path) -> None:
    async with discovering(tmp_path, "later/*.json", refresh_ms=50) as published:
        (tmp_path / "later").mkdir()
        write(tmp_path / "later" / "a.json", "one:1")
        await eventually(lambda: set(published.targets) == {"one:1"})
