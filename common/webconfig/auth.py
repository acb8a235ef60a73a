"""Basic auth against bcrypt hashes: a password is checked once, then a keyed hash of it is compared.

bcrypt is slow by design (50 ms and more), so it runs in a thread, one check at a time. Of each user the last password
that passed is remembered as its HMAC under a key of this process; failures are not remembered, so that nobody can
fill the memory. A user who does not exist costs a check as well: response times do not tell who does.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping

# bcrypt reads no further; the bcrypt package refuses longer passwords, Prometheus's servers cut them.
BCRYPT_PASSWORD_BYTES = 72


class BasicAuth:
    """Checks `Authorization` headers against users (name to bcrypt hash; at least one). For one event loop."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._hashes = {user.encode(): password_hash.encode() for user, password_hash in users.items()}
        self._hash_for_unknown_users = next(iter(self._hashes.values()))
        self._key = secrets.token_bytes(32)
        self._accepted: dict[bytes, bytes] = {}
        self._checking = asyncio.Lock()
        self.checks = 0
        """How many times bcrypt ran."""

    async def allows(self, authorization: str) -> bool:
        """Whether the value of an `Authorization` header names a user and the password."""
        credentials = _decode(authorization)
        if credentials is None:
            return False
        user, password = credentials
        digest = hmac.digest(self._key, password, "sha256")
        if self._has_accepted(user, digest):
            return True
        async with self._checking:
            if self._has_accepted(user, digest):  # by a request that waited before this one
                return True
            self.checks += 1
            password_hash = self._hashes.get(user, self._hash_for_unknown_users)
            matches = await asyncio.to_thread(_matches, password, password_hash)
            if not matches or user not in self._hashes:
                return False
            self._accepted[user] = digest
            return True

    def _has_accepted(self, user: bytes, digest: bytes) -> bool:
        return hmac.compare_digest(self._accepted.get(user, b""), digest)


def _matches(password: bytes, password_hash: bytes) -> bool:
    import bcrypt  # a process without basic auth does without its memory

    return bcrypt.checkpw(password[:BCRYPT_PASSWORD_BYTES], password_hash)


def _decode(authorization: str) -> tuple[bytes, bytes] | None:
    """User and password (RFC 7617); None for anything else."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
