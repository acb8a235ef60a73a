"""Kubernetes discovery against a server that lists and watches as an API server does."""

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scraper.discovery.discovering import Labels, failures, surroundings
from tests.scraper.discovery.kubernetes_api import Object, pod, read_objects, serving_kubernetes
from tests.scraper.discovery.kubernetes_discovering import discovering, watched
from tests.scraper.targets import eventually

DIRECTORY = Path(__file__).parent / "kubernetes"
CLUSTER = read_objects((DIRECTORY / "cluster.yml").read_text("utf-8"))
TARGETS: dict[str, dict[str, Any]] = yaml.safe_load((DIRECTORY / "targets.yml").read_text("utf-8"))


def short(labels: Labels) -> Labels:
    return {name.replace("__meta_kubernetes_", "@"): value for name, value in labels.items() if value}


@pytest.mark.parametrize("job", TARGETS)
async def test_targets(job: str) -> None:
    role, _, attached = job.partition("_")
    async with (
        serving_kubernetes(*CLUSTER) as api,
        discovering(role=role, api_server=api.url, attach_metadata={"node": bool(attached)}) as published,
    ):
        await eventually(lambda: published.times > 0)
        found = {
            group.source: {"labels": short(dict(group.labels)), "targets": [short(dict(t)) for t in group.targets]}
            for group in published.groups
        }
    assert found == TARGETS[job]


async def test_changes_are_watched() -> None:
    async with (
        serving_kubernetes(pod("a", "10.0.0.1"), pod("b", "10.0.0.2")) as api,
        discovering(role="pod", api_server=api.url) as published,
    ):
        await eventually(lambda: published.addresses == ["10.0.0.1:80", "10.0.0.2:80"])
        await watched(api, "pods")
        await api.put(pod("c", "10.0.0.3"), pod("b", "10.0.0.22"))
        await eventually(lambda: published.addresses == ["10.0.0.1:80", "10.0.0.22:80", "10.0.0.3:80"])
        await api.delete("Pod", "a", "default")
        await eventually(lambda: published.addresses == ["10.0.0.22:80", "10.0.0.3:80"])
        assert len(api.asked("pods", watch=False)) == 1


def changed(kind: str, name: str, **labels: str) -> Object:
    """An object of the cluster with other labels."""
    found = next(object_ for object_ in CLUSTER if object_["kind"] == kind and object_["metadata"]["name"] == name)
    other = copy.deepcopy(found)
    other["metadata"]["labels"] = {**(other["metadata"].get("labels") or {}), **labels}
    return other


@pytest.mark.parametrize("role", ["endpoints", "endpointslice"])
@pytest.mark.parametrize(
    ("kind", "name", "label"),
    [
        ("Service", "web", "__meta_kubernetes_service_label_news"),
        ("Pod", "web-1", "__meta_kubernetes_pod_label_news"),
        ("Node", "node-a", "__meta_kubernetes_node_label_news"),
    ],
)
async def test_a_change_behind_endpoints_is_a_change_of_their_targets(
    role: str, kind: str, name: str, label: str
) -> None:
    async with (
        serving_kubernetes(*CLUSTER) as api,
        discovering(role=role, api_server=api.url, attach_metadata={"node": True}) as published,
    ):
        await eventually(lambda: published.times > 0)
        await watched(api, "services", "pods", "nodes")
        assert not any(label in target for target in published.targets)
        await api.put(changed(kind, name, news="yes"))
        await eventually(
            lambda: any(
                target.get(label) == "yes" and target["__address__"] == "10.1.0.1:8080" for target in published.targets
            )
        )


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_watch_is_taken_up_where_it_ended(abruptly: bool) -> None:
    around = surroundings()
    async with (
        serving_kubernetes(pod("a", "10.0.0.1")) as api,
        discovering(around, role="pod", api_server=api.url) as published,
    ):
        await watched(api, "pods")
        await api.put(pod("b", "10.0.0.2"))
        await eventually(lambda: len(published.targets) == 2)
        await api.disconnect(abruptly)
        await api.put(pod("c", "10.0.0.3"))
        await eventually(lambda: len(published.targets) == 3)
        versions = [int(query["resourceVersion"]) for query in api.asked("pods", watch=True)]
        assert versions[-1] > versions[0]
        assert len(api.asked("pods", watch=False)) == 1
        assert failures(around, "kubernetes") == 0


async def test_a_watch_that_ends_as_it_begins_is_a_failure() -> None:
    around = surroundings()
    async with serving_kubernetes(pod("a", "10.0.0.1")) as api, discovering(around, role="pod", api_server=api.url):
        await watched(api, "pods")
        await api.disconnect()
        await eventually(lambda: failures(around, "kubernetes") == 1)


async def test_a_bookmark_says_where_to_take_up_a_watch() -> None:
    async with (
        serving_kubernetes(pod("a", "10.0.0.1")) as api,
        discovering(role="pod", api_server=api.url),
    ):
        await watched(api, "pods")
        asked = int(api.asked("pods", watch=True)[-1]["resourceVersion"])
        await api.bookmark()
        await eventually(lambda: api.told.get("pods", 0) > asked)
        await api.disconnect()
        await eventually(lambda: len(api.asked("pods", watch=True)) > 1)
        assert int(api.asked("pods", watch=True)[-1]["resourceVersion"]) == api.told["pods"]


@pytest.mark.parametrize("as_status", [False, True])
async def test_what_is_gone_is_listed_anew(as_status: bool) -> None:
    async with (
        serving_kubernetes(pod("a", "10.0.0.1"), pod("b", "10.0.0.2")) as api,
        discovering(role="pod", api_server=api.url) as published,
    ):
        api.gone_as_status = as_status
        await watched(api, "pods")
        api.outage = True
        await api.disconnect()
        await api.delete("Pod", "a", "default")
        await api.put(pod("c", "10.0.0.3"))
        api.forget()
        api.outage = False
        await eventually(lambda: published.addresses == ["10.0.0.2:80", "10.0.0.3:80"])
        assert len(api.asked("pods", watch=False)) == 2


async def test_targets_are_kept_while_the_server_fails() -> None:
    around = surroundings()
    async with (
        serving_kubernetes(pod("a", "10.0.0.1")) as api,
        discovering(around, role="pod", api_server=api.url) as published,
    ):
        await watched(api, "pods")
        api.outage = True
        await api.disconnect()
        await eventually(lambda: failures(around, "kubernetes") >= 2)
        assert published.addresses == ["10.0.0.1:80"]
        api.outage = False
        await watched(api, "pods")
        await api.put(pod("b", "10.0.0.2"))
        await eventually(lambda: len(published.targets) == 2)


async def test_a_server_that_is_not_there_at_first() -> None:
    around = surroundings()
    async with serving_kubernetes(pod("a", "10.0.0.1")) as api:
        api.outage = True
        async with discovering(around, role="endpoints", api_server=api.url) as published:
            await eventually(lambda: failures(around, "kubernetes") >= 4)
            assert published.times == 0
            api.outage = False
            await eventually(lambda: published.times > 0)


async def test_a_long_list_is_asked_for_in_pages() -> None:
    pods = [pod(f"p{number}", f"10.0.0.{number}") for number in range(7)]
    async with serving_kubernetes(*pods) as api:
        api.page_limit = 3
        async with discovering(role="pod", api_server=api.url) as published:
            await eventually(lambda: len(published.targets) == 7)
        lists = api.asked("pods", watch=False)
        assert [query.get("continue") for query in lists] == [None, "3", "6"]


async def test_a_connection_that_is_dead_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scraper.discovery.kubernetes.reflector.WATCH_S", 0)
    monkeypatch.setattr("scraper.discovery.kubernetes.reflector.GRACE_S", 0.05)
    monkeypatch.setattr("scraper.discovery.kubernetes.reflector.SHORT_S", 0.01)
    around = surroundings()
    async with serving_kubernetes(pod("a", "10.0.0.1")) as api:
        api.ends_watches = False
        async with discovering(around, role="pod", api_server=api.url) as published:
            await eventually(lambda: len(api.asked("pods", watch=True)) > 2)
            assert published.addresses == ["10.0.0.1:80"]
    assert failures(around, "kubernetes") == 0


async def test_changes_are_gathered() -> None:
    async with (
        serving_kubernetes() as api,
        discovering(role="pod", api_server=api.url, gather_s=0.5) as published,
    ):
        await watched(api, "pods")
        await eventually(lambda: published.times == 1)
        for number in range(20):
            api.told.clear()
            await api.put(pod(f"p{number}", f"10.0.0.{number}"))
            await eventually(lambda: "pods" in api.told)
        await eventually(lambda: len(published.targets) == 20)
        assert published.times <= 4


async def test_nothing_is_published_before_every_namespace_was_asked() -> None:
    async with serving_kubernetes(pod("x", "10.0.0.1", "a"), pod("y", "10.0.0.2", "b")) as api:
        api.held["b/pods"] = asyncio.Event()
        async with discovering(role="pod", api_server=api.url, namespaces={"names": ["a", "b"]}) as published:
            await watched(api, "pods")
            await api.put(pod("x", "10.0.0.3", "a"))
            await eventually(lambda: "pods" in api.told)
            assert published.times == 0
            api.held["b/pods"].set()
            await eventually(lambda: published.times > 0)
            assert published.addresses == ["10.0.0.2:80", "10.0.0.3:80"]


async def test_namespaces() -> None:
    pods = [pod(namespace, f"10.0.0.{number}", namespace) for number, namespace in enumerate(["a", "b", "c"])]
    async with serving_kubernetes(*pods) as api:
        async with discovering(role="pod", api_server=api.url, namespaces={"names": ["a", "c", "a"]}) as published:
            await eventually(lambda: published.addresses == ["10.0.0.0:80", "10.0.0.2:80"])
            paths = {path for path, _ in api.requests}
        assert paths == {"/api/v1/namespaces/a/pods", "/api/v1/namespaces/c/pods"}


async def test_a_namespace_that_may_not_be_seen_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    around = surroundings()
    async with serving_kubernetes(pod("x", "10.0.0.1", "a"), pod("y", "10.0.0.2", "b")) as api:
        api.forbidden = {"b/services"}
        names = {"names": ["a", "b"]}
        async with discovering(around, role="endpoints", api_server=api.url, namespaces=names) as published:
            await eventually(lambda: published.times > 0)
        assert 'services is forbidden: User "fleetwatch" cannot list' in str(caplog.records[0].__dict__["error"])


async def test_nodes_are_not_in_namespaces() -> None:
    async with (
        serving_kubernetes(*CLUSTER) as api,
        discovering(role="node", api_server=api.url, namespaces={"names": ["a"]}) as published,
    ):
        await eventually(lambda: len(published.targets) == 3)


async def test_selectors() -> None:
    pods = [pod("a", "10.0.0.1", labels={"app": "x"}), pod("b", "10.0.0.2"), pod("c", "10.0.0.3", labels={"app": "x"})]
    selectors = [{"role": "pod", "label": "app=x", "field": "metadata.name=c"}]
    async with (
        serving_kubernetes(*pods) as api,
        discovering(role="pod", api_server=api.url, selectors=selectors) as published,
    ):
        await eventually(lambda: published.addresses == ["10.0.0.3:80"])
        await watched(api, "pods")
        await api.put(pod("c", "10.0.0.3", labels={"app": "y"}))
        await eventually(lambda: published.targets == [])


async def test_the_urls_path_is_kept() -> None:
    async with serving_kubernetes(pod("a", "10.0.0.1")) as api:
        api.prefix = "/k8s/clusters/c-1"
        async with discovering(role="pod", api_server=f"{api.url}/k8s/clusters/c-1/") as published:
            await eventually(lambda: published.addresses == ["10.0.0.1:80"])


async def test_objects_that_are_not_as_expected_are_told() -> None:
    around = surroundings()
    async with (
        serving_kubernetes(pod("a", "10.0.0.1")) as api,
        discovering(around, role="pod", api_server=api.url) as published,
    ):
        await watched(api, "pods")
        await api.put({**pod("b", "10.0.0.2"), "status": {"podIP": 7}})
        await eventually(lambda: failures(around, "kubernetes") > 1)
        assert published.addresses == ["10.0.0.1:80"]
        await api.put(pod("b", "10.0.0.2"))
        api.forget()
        await api.disconnect()
        await eventually(lambda: len(published.targets) == 2)
