"""Web config files: what is read, that every mistake is named with its place, and that promtool judges alike."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.webconfig import WebConfig
from common.yamlfile import ConfigError
from tests.common.certificates import P256, make_authority
from tests.components import require

HASH = "$2b$04$3CqKK.z4Mflt0A3ncdwd5entPZawdi6k6gesvb0JxXQV5iNZiSNFG"
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
HEADERS = "http_server_config:\n  headers:\n"


@dataclass(frozen=True)
class Case:
    """A file with what we say of it ("" when it is right) and what promtool says where that differs.

    `since` is the version of promtool that knows the keys of the file.
    """

    text: str
    message: str = ""
    promtool_accepts: bool | None = None
    since: int = 2


CASES = {
    "empty": Case(""),
    "tls": Case(TLS),
    "tls_with_everything": Case(
        TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS12\n"
        "  max_version: TLS13\n  prefer_server_cipher_suites: false\n  curve_preferences: [X25519, CurveP256]\n"
        "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
    ),
    "inline": Case("tls_server_config:\n  cert: |\n    @server.pem\n  key: |\n    @server.key\n", since=3),
    "inline_client_ca": Case(
        TLS + "  client_ca: |\n    @ca.pem\n  client_auth_type: VerifyClientCertIfGiven\n", since=3
    ),
    "file_wins_over_inline": Case(TLS + "  cert: abc\n", since=3),
    "old_versions": Case(TLS + "  min_version: TLS10\n"),
    "policy_request": Case(TLS + "  client_auth_type: RequestClientCert\n"),
    "policy_any": Case(TLS + "  client_auth_type: RequireAnyClientCert\n"),
    "policy_any_old_name": Case(TLS + "  client_auth_type: RequireClientCert\n"),
    "policy_none": Case(TLS + "  client_auth_type: NoClientCert\n"),
    "allowed_sans": Case(
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [a.example]\n", since=3
    ),
    "options_without_certificate": Case("tls_server_config:\n  min_version: TLS13\n"),
    "headers": Case(
        HEADERS + "    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 0\n"
        "    Strict-Transport-Security: max-age=31536000\n    Content-Security-Policy: default-src 'self'\n"
    ),
    "no_http2": Case("http_server_config:\n  http2: false\n"),
    "users": Case(f"basic_auth_users:\n  alice: {HASH}\n  bob: {HASH.replace('2b', '2y')}\n"),
    "no_users": Case("basic_auth_users: {}\n"),
    "rate_limit": Case("rate_limit:\n  interval: 1m1.5s\n  burst: 20\n", since=3),
    "no_rate_limit": Case("rate_limit:\n  interval: 0\n  burst: 20\n", since=3),
    "unknown_key": Case("tls_server_confg: {}\n", "1: tls_server_confg: unknown key"),
    "unknown_tls_key": Case(TLS + "  ciphers: []\n", "4: tls_server_config.ciphers: unknown key"),
    "key_given_twice": Case(TLS + "  key_file: server.key\n", "4: tls_server_config.key_file: the key is given twice"),
    "not_yaml": Case("a: [", "2: not valid YAML:"),
    "users_are_a_list": Case("basic_auth_users: [alice]\n", "1: basic_auth_users: expected a mapping, got a list"),
    "missing_certificate": Case(
        "tls_server_config:\n  key_file: server.key\n",
        "1: tls_server_config: has no certificate: give cert_file or cert",
    ),
    "missing_key": Case(
        "tls_server_config:\n  cert_file: server.pem\n",
        "1: tls_server_config: has no private key: give key_file or key",
    ),
    "policy_without_certificate": Case(
        "tls_server_config:\n  client_auth_type: NoClientCert\n", "1: tls_server_config: has no certificate"
    ),
    "missing_file": Case(
        TLS.replace("server.key", "gone.key"),
        "3: tls_server_config.key_file: @gone.key cannot be read (No such file or directory): name a PEM file that can",
    ),
    "directory": Case(TLS.replace("server.pem", "."), "2: tls_server_config.cert_file: @. cannot be read (Is a dir"),
    "truncated_key": Case(
        TLS.replace("server.key", "truncated.key"),
        "3: tls_server_config.key_file: @truncated.key is not a whole PEM private key: give the file",
    ),
    "truncated_certificate": Case(
        TLS.replace("server.pem", "truncated.pem"),
        "2: tls_server_config.cert_file: @truncated.pem is not a whole PEM certificate: give",
    ),
    "truncated_inline_key": Case(
        "tls_server_config:\n  cert_file: server.pem\n  key: |\n    @truncated.key\n",
        "3: tls_server_config.key: the text is not a whole PEM private key",
        since=3,
    ),
    "certificate_as_key": Case(
        TLS.replace("server.key", "server.pem"), "3: tls_server_config.key_file: @server.pem is"
    ),
    "encrypted_key": Case(
        TLS.replace("server.key", "encrypted.key"), "3: tls_server_config.key_file: @encrypted.key is an encrypted key"
    ),
    "key_of_another_certificate": Case(
        TLS.replace("server.key", "ca.key"),
        "3: tls_server_config.key_file: @ca.key does not belong to the certificate of tls_server_config.cert_file",
    ),
    "key_of_another_kind": Case(
        TLS.replace("server.key", "rsa.key"), "3: tls_server_config.key_file: @rsa.key does not belong to the certifi"
    ),
    "unknown_cipher": Case(
        TLS + "  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  - ROT13\n",
        '6: tls_server_config.cipher_suites[1]: unknown cipher suite "ROT13": write one of TLS_AES_128_GCM_SHA256, ',
    ),
    "unknown_curve": Case(
        TLS + "  curve_preferences: [secp256k1]\n",
        '4: tls_server_config.curve_preferences[0]: unknown curve "secp256k1": write one of CurveP256, CurveP384, ',
    ),
    "unknown_version": Case(
        TLS + "  min_version: '1.3'\n",
        '4: tls_server_config.min_version: unknown TLS version "1.3": write one of TLS13',
    ),
    "unknown_policy": Case(
        TLS + "  client_auth_type: Yes\n",
        '4: tls_server_config.client_auth_type: unknown client_auth_type "Yes": write one of NoClientCert, ',
    ),
    "client_ca_without_policy": Case(
        TLS + "  client_ca_file: ca.pem\n",
        "4: tls_server_config.client_ca_file: is of no use while no client certificate is asked for: set client_auth_",
    ),
    "missing_client_ca": Case(
        TLS + "  client_ca_file: gone.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
        "4: tls_server_config.client_ca_file: @gone.pem cannot be read",
    ),
    "unknown_header": Case(
        HEADERS + "    Server: mine\n", "3: http_server_config.headers.Server: this header cannot be set: only Content-"
    ),
    "wrong_header_value": Case(
        HEADERS + "    X-Frame-Options: DENY\n",
        '3: http_server_config.headers.X-Frame-Options: "DENY" has no meaning here: write deny or sameorigin',
    ),
    "password_for_hash": Case(
        f"basic_auth_users:\n  alice: {HASH}\n  bob: hunter2\n",
        "3: basic_auth_users.bob: is no bcrypt hash ($2b$, a cost of 04 to 31, $, 53 characters): make one with `htp",
    ),
    "cost_too_low": Case(
        f"basic_auth_users:\n  bob: {HASH.replace('$04', '$03')}\n", "2: basic_auth_users.bob: is no bcrypt hash"
    ),
    "user_without_hash": Case("basic_auth_users:\n  bob:\n", "2: basic_auth_users.bob: has no bcrypt hash: make one"),
    "wrong_interval": Case("rate_limit:\n  interval: 1d\n", '2: rate_limit.interval: "1d" is no duration: write one'),
    # What promtool 3.5 lets through and could not serve, or would serve without the protection asked for.
    "no_version_left": Case(
        TLS + "  max_version: TLS12\n  min_version: TLS13\n",
        "5: tls_server_config.min_version: is above max_version: no client could connect",
        promtool_accepts=True,
    ),
    "retired_versions_only": Case(
        TLS + "  max_version: TLS11\n",
        "4: tls_server_config.max_version: TLS11 is not served: write TLS12 or TLS13",
        promtool_accepts=True,
    ),
    "no_cipher_left": Case(
        TLS + "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
        "5: tls_server_config.cipher_suites: has none for TLS 1.2: add one that begins with TLS_ECDHE_",
        promtool_accepts=True,
    ),
    "client_ca_without_certificate": Case(
        TLS + "  client_ca_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n",
        "4: tls_server_config.client_ca_file: @server.key is not a whole PEM certificate: give",
        promtool_accepts=True,
    ),
    "allowed_sans_not_required": Case(
        TLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [a.example]\n",
        "5: tls_server_config.client_allowed_sans: a client without a certificate would get in: set client_auth_type",
        promtool_accepts=True,
        since=3,
    ),
    "no_request_allowed": Case(
        "rate_limit:\n  interval: 1s\n  burst: 0\n",
        "3: rate_limit.burst: every request would be refused: allow at least 1",
        promtool_accepts=True,
        since=3,
    ),
    "unknown_hash_version": Case(
        f"basic_auth_users:\n  bob: {HASH.replace('2b', '2z')}\n",
        "2: basic_auth_users.bob: is no bcrypt hash",
        promtool_accepts=True,
    ),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file for each case, and the PEM files that they name."""
    directory = tmp_path_factory.mktemp("web_config")
    authority = make_authority(directory, "ca")
    server = authority.issue(directory, "server", "DNS:localhost", P256)
    authority.issue(directory, "rsa", "DNS:localhost", ["-newkey", "rsa:2048"])
    for whole, truncated in ((server.cert, "truncated.pem"), (server.key, "truncated.key")):
        (directory / truncated).write_text(whole.read_text()[:120])
    subprocess.run(
        ["openssl", "pkey", "-in", server.key, "-out", directory / "encrypted.key", "-aes256", "-passout", "pass:x"],
        check=True,
    )
    for name, case in CASES.items():
        text = re.sub(
            r"( +)@(\S+)", lambda at: "".join(f"{at[1]}{line}\n" for line in _lines(directory / at[2])), case.text
        )
        (directory / f"{name}.yml").write_text(text)
    return directory


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _problems(path: Path) -> list[str]:
    try:
        WebConfig.load(path)
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_or_its_mistake_is_named_with_line_key_and_remedy(name: str, corpus: Path) -> None:
    path, message = corpus / f"{name}.yml", CASES[name].message
    problems = _problems(path)
    if not message:
        assert problems == []
        return
    assert problems[0].startswith(f"{path}:{message.replace('@', f'{corpus}/').replace('/.', '')}")
    assert all(secret not in "".join(problems) for secret in ("hunter2", "PRIVATE KEY", HASH[10:]))


def test_promtool_judges_the_files_alike(corpus: Path) -> None:
    promtool = require("promtool")
    version = subprocess.run([promtool, "--version"], check=True, capture_output=True, text=True)
    major = int(re.findall(r"version (\d+)\.", version.stdout + version.stderr)[0])
    cases = {name: case for name, case in CASES.items() if case.since <= major}
    files = [f"{name}.yml" for name in cases]
    checked = subprocess.run([promtool, "check", "web-config", *files], cwd=corpus, capture_output=True, text=True)
    verdicts = dict(re.findall(r"^(\w+)\.yml (SUCCESS|FAILED)", checked.stdout + checked.stderr, re.MULTILINE))
    assert len(cases) >= 40
    assert verdicts == {
        name: "SUCCESS" if case.promtool_accepts or not case.message else "FAILED" for name, case in cases.items()
    }


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(
        "tls_server_config:\n  cert_file: gone.pem\n  key_file: gone.key\n  min_version: SSL3\n"
        "  cipher_suites: [a, b]\nbasic_auth_users: {x: y}\nhttp_server_config: {headers: {Via: me}}\n"
    )
    assert [problem.split(": ")[0:2] for problem in _problems(path)] == [
        [f"{path}:2", "tls_server_config.cert_file"],
        [f"{path}:3", "tls_server_config.key_file"],
        [f"{path}:4", "tls_server_config.min_version"],
        [f"{path}:5", "tls_server_config.cipher_suites[0]"],
        [f"{path}:5", "tls_server_config.cipher_suites[1]"],
        [f"{path}:6", "basic_auth_users.x"],
        [f"{path}:7", "http_server_config.headers.Via"],
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert _problems(tmp_path / "web.yml") == [f"{tmp_path / 'web.yml'}: cannot be read: No such file or directory"]
