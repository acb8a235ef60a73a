"""What `http_config` may say. The answers are those of promtool 3.5.3's `check config`, asked once for each case."""

from pathlib import Path

import pytest

from common.yamlfile import ConfigError, loads
from scraper.http_config import HTTPConfig, http_file_problems, http_problems

ACCEPTED = """
http_headers: {X-A: {values: [a, b], secrets: [s], files: [nofile]}}
http_headers: {X-A: }
http_headers: {"": {values: [a]}}
http_headers: {"a b": {values: [a]}}
http_headers: {Accept: {values: [a]}}
http_headers: {Transfer-Encoding: {values: [a]}}
http_headers: {Cookie: {values: [a]}}
http_headers: {X-A: {values: [a]}, x-a: {values: [b]}}
http_headers: {}
basic_auth: {}
basic_auth:
basic_auth: {password_file: nofile}
authorization: {}
authorization: {type: ""}
authorization: {type: "a b"}
tls_config: {ca_file: nofile}
tls_config: {cert: c, key: k, ca: x}
tls_config: {min_version: TLS13, max_version: TLS12}
tls_config: {insecure_skip_verify: true, server_name: x}
oauth2: {client_id: a, token_url: b}
oauth2: {client_id: a, token_url: "%zz"}
oauth2: {client_id: a, token_url: b, client_secret_file: nofile, tls_config: {ca_file: nofile}}
oauth2: {client_id: a, token_url: b, scopes: [a], endpoint_params: {a: b}}
oauth2:
proxy_connect_header: {}
{proxy_url: "http://x", proxy_connect_header: {A: [x]}}
{proxy_from_environment: true, proxy_connect_header: {A: [x]}}
{proxy_url: "", no_proxy: x}
{proxy_url: "", proxy_from_environment: true}
{proxy_url: "http://x", no_proxy: "", proxy_from_environment: false}
proxy_url: "http://x:"
proxy_url: "http://x:99999"
proxy_url: "http://[::1]:80"
proxy_url: "ftp://x"
proxy_url: "x:80"
proxy_url: "http://u:p@x"
proxy_url: "http://x/?%zz"
proxy_url: "x"
proxy_url: "/x"
proxy_url: "//x"
proxy_url: "http:x"
proxy_url: "http:///"
enable_http2: false
follow_redirects: no
"""

REJECTED = """
http_headers: {X-A: a}
http_headers: {X-A: {value: [a]}}
http_headers: {X-A: {values: a}}
http_headers: {Authorization: {values: [a]}}
http_headers: {Host: {values: [a]}}
http_headers: {Content-Encoding: {values: [a]}}
http_headers: {Content-Length: {values: [a]}}
http_headers: {Content-Type: {values: [a]}}
http_headers: {User-Agent: {values: [a]}}
http_headers: {Connection: {values: [a]}}
http_headers: {Keep-Alive: {values: [a]}}
http_headers: {Proxy-Authenticate: {values: [a]}}
http_headers: {Proxy-Authorization: {values: [a]}}
http_headers: {Www-Authenticate: {values: [a]}}
http_headers: {Accept-Encoding: {values: [a]}}
http_headers: {X-Prometheus-Remote-Write-Version: {values: [a]}}
http_headers: {X-Prometheus-Remote-Read-Version: {values: [a]}}
http_headers: {x-prometheus-scrape-timeout-seconds: {values: [a]}}
http_headers: {X-Amz-Date: {values: [a]}}
http_headers: {X-Amz-Security-Token: {values: [a]}}
http_headers: {X-Amz-Content-Sha256: {values: [a]}}
authorization: {type: " basic "}
authorization: {credentials: a, credentials_file: b}
authorization: {unknown: x}
basic_auth: {username: a, username_file: b}
basic_auth: {password: a, password_file: b}
basic_auth: {unknown: x}
tls_config: {cert: c}
tls_config: {key: c}
tls_config: {min_version: TLS14}
tls_config: {min_version: ""}
tls_config: {next_protos: [x]}
tls_config: {unknown: x}
tls_config: {ca: a, ca_file: b}
tls_config: {cert: a, cert_file: b, key: x}
tls_config: {key: a, key_file: b, cert: x}
oauth2: {}
oauth2: {client_id: a}
oauth2: {token_url: a}
oauth2: {client_id: a, token_url: b, client_secret: a, client_secret_file: b}
oauth2: {client_id: a, token_url: b, tls_config: {cert: c}}
oauth2: {client_id: a, token_url: b, proxy_url: x, proxy_from_environment: true}
oauth2: {client_id: a, token_url: b, no_proxy: x}
oauth2: {client_id: a, token_url: b, proxy_connect_header: {A: [x]}}
oauth2: {client_id: a, token_url: b, basic_auth: {}}
oauth2: {client_id: a, token_url: b, endpoint_params: {a: [b]}}
proxy_connect_header: {A: [x]}
proxy_connect_header: {A: x}
{proxy_url: "http://x", proxy_connect_header: {A: x}}
{proxy_url: "", proxy_connect_header: {A: [x]}}
{proxy_from_environment: true, no_proxy: x}
{proxy_from_environment: true, proxy_url: "http://x"}
no_proxy: x
proxy_url: "::"
proxy_url: "ht tp://x"
proxy_url: "http://a:b:c"
proxy_url: "http://x:port"
proxy_url: "http://[::1"
proxy_url: "%zz"
proxy_url: "1.2.3.4:80"
proxy_url: "http://user:p%zz@x"
proxy_url: "http://us er:p@x"
proxy_url: "http://a b"
proxy_url: "http://a%41"
proxy_url: "http://x/%zz"
proxy_url: " http://x"
proxy_url: "http://x\\x01"
proxy_url: "1x://y"
proxy_url: ":80"
{bearer_token: x, bearer_token_file: y}
{bearer_token: x, authorization: {}}
{bearer_token: x, basic_auth: {}}
{oauth2: {client_id: a, token_url: b}, basic_auth: {}}
{oauth2: {client_id: a, token_url: b}, authorization: {}}
{oauth2: {client_id: a, token_url: b}, bearer_token: a}
{basic_auth: {}, authorization: {}}
enable_http2: maybe
"""


def read(text: str) -> HTTPConfig:
    return loads(text, HTTPConfig, lambda config: http_problems(config, ""))


@pytest.mark.parametrize("text", ACCEPTED.strip().splitlines())
def test_what_prometheus_accepts(text: str) -> None:
    read(text)


@pytest.mark.parametrize("text", REJECTED.strip().splitlines())
def test_what_prometheus_rejects(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("authorization: {credentials_file: gone}", "authorization.credentials_file"),
        ("bearer_token_file: gone", "bearer_token_file"),
        ("tls_config: {cert_file: here, key_file: gone}", "tls_config.key_file"),
        ("tls_config: {cert_file: here, key_file: here, ca_file: gone}", None),
        ("basic_auth: {password_file: gone}", None),
        ("bearer_token_file: here", None),
    ],
)
def test_files_that_prometheus_looks_for(tmp_path: Path, text: str, missing: str | None) -> None:
    (tmp_path / "here").touch()
    found = [problem.key_path for problem in http_file_problems(read(text), tmp_path, "job")]
    assert found == ([f"job.{missing}"] if missing else [])
