"""Tokens for Google's APIs: Application Default Credentials, see
https://cloud.google.com/docs/authentication/application-default-credentials.

The credentials are those of the file that GOOGLE_APPLICATION_CREDENTIALS names, then what `gcloud auth
application-default login` left, then those of the metadata server. Of files those of a user can be used: to sign with
the key of a service account a library would be needed that is no dependency.
"""

import asyncio
import os
import time
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from scraper.discovery.http_api import HTTPAPI
from scraper.discovery.model import DiscoveryError

TOKEN_URL = "https://oauth2.googleapis.com/token"
METADATA_HOST = "metadata.google.internal"
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
SCOPE = "https://www.googleapis.com/auth/compute.readonly"
GCLOUD_FILE = ".config/gcloud/application_default_credentials.json"

# A token this close to its end is renewed.
_MARGIN_S = 60


class TokenSource:
    """A token, kept until shortly before it expires."""

    def __init__(self) -> None:
        self._token = ""
        self._renew_s = 0.0  # on the monotonic clock

    async def current(self, api: HTTPAPI) -> str:
        """The token as it is now. Raises FleetwatchError."""
        if not self._token or time.monotonic() >= self._renew_s:
            asked_s = time.monotonic()
            answer = await _ask(api)
            self._token, self._renew_s = answer.access_token, asked_s + answer.expires_in - _MARGIN_S
        return self._token


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 0


class _Credentials(msgspec.Struct):
    type: str = ""
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    token_uri: str = TOKEN_URL


async def _ask(api: HTTPAPI) -> _Token:
    found = await asyncio.to_thread(_credentials)
    if found is None:
        url = f"http://{os.environ.get('GCE_METADATA_HOST') or METADATA_HOST}{METADATA_PATH}"
        return await api.json(url, _Token, params=[("scopes", SCOPE)], headers={"Metadata-Flavor": "Google"})
    form = {
        "grant_type": "refresh_token",
        "client_id": found.client_id,
        "client_secret": found.client_secret,
        "refresh_token": found.refresh_token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await api.json(found.token_uri, _Token, method="POST", headers=headers, data=urlencode(form).encode())


def _credentials() -> _Credentials | None:
    """Those of a file; None where there is none and the metadata server is to be asked."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    path = Path(named) if named else Path.home() / GCLOUD_FILE
    if not named and not path.exists():
        return None
    try:
        credentials = msgspec.json.decode(path.read_bytes(), type=_Credentials)
    except (OSError, msgspec.MsgspecError) as error:
        raise DiscoveryError(f"the credentials file {path} cannot be used: {error}") from error
    if credentials.type != "authorized_user":
        raise DiscoveryError(
            f"the credentials file {path} is of the type {credentials.type!r}: expected authorized_user"
        )
    return credentials
