"""Signatures of Standard Webhooks: a receiver knows by them that a message is ours, and new.

Source: the specification at https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret, in the form that libraries for receivers take."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    message_id: str, timestamp_s: int, body: bytes, *, secrets: Sequence[str]
) -> dict[str, str]:
    """The headers that go with a message.

    Args:
        message_id: the same for every try.
        timestamp_s: seconds since 1970, of this try: receivers refuse what is minutes old.
        body: as it is sent.
        secrets: each signs; a receiver needs to know one of them.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
