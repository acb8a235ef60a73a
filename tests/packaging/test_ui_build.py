"""The page's build where npm packages cannot be had: everything else works, and the page says why it is missing."""

import shutil
from pathlib import Path

import pytest

from hatch_build import ROOT, build_ui_or_explain
from tests.fleetwatch_process import free_port


def test_without_npm_packages_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web, static = tmp_path / "web", tmp_path / "static"
    shutil.copytree(ROOT / "web", web, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    assert not build_ui_or_explain(web, static)
    page = (static / "index.html").read_text()
    assert "The web page could not be built" in page
    assert "ECONNREFUSED" in page
    assert "the rest works" in capsys.readouterr().err


def test_pins_name_no_download_address() -> None:
    assert '"resolved"' not in (ROOT / "web" / "package-lock.json").read_text()
    assert "://" not in (ROOT / "constraints.txt").read_text()
