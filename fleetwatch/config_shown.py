"""A config file's YAML as the status API shows it: with `<secret>` where Prometheus would say so."""

import re
from typing import Any

import yaml

from common.yamlfile import ConfigError

SECRET = "<secret>"

# Each key that holds a secret in some section; in `http_headers` the values are not secret, but `secrets` are.
_SECRET_KEYS = frozenset(
    ("application_credential_secret", "application_secret", "auth_token", "bearer_token", "client_secret",
     "consumer_key", "credentials", "password", "private_key", "proxy_connect_header", "secret_key", "secrets",
     "service_account_key", "token")
)  # fmt: skip
_FREE_KEYS = frozenset(("labels", "external_labels", "required_matchers"))
"""Mappings whose keys a person names, so that one called `token` is not a secret's."""
_PRIVATE_KEY = "PRIVATE KEY-----"
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/\s]+@")
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&\s]*")
"""As a DSN may have one."""


def shown(text: str) -> str:
    """The document again, secrets masked. Raises ConfigError where YAML makes a value of a text that is none."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # as of 2026-99-99, which looks like a date
        raise ConfigError([f"not valid YAML: {error}"]) from error
    return yaml.safe_dump(_masked(document), sort_keys=False)


def _masked(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _masked_entry(key, value) for key, value in document.items()}
    if isinstance(document, list):
        return [_masked(item) for item in document]
    if isinstance(document, str):
        if _PRIVATE_KEY in document:
            return SECRET
        return _QUERY_PASSWORD.sub(rf"\1{SECRET}", _URL_PASSWORD.sub(rf"\1{SECRET}@", document))
    return document


def _masked_entry(key: Any, value: Any) -> Any:
    if key in _FREE_KEYS:
        return value
    if key == "tls_config" and isinstance(value, dict) and value.get("key"):
        value = value | {"key": SECRET}
    return _hidden(value) if key in _SECRET_KEYS else _masked(value)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return value if value is None else SECRET
