"""What Pleo's webhook delivers: who signed it, and which export job it tells of."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from standardwebhooks import Webhook, WebhookVerificationError

from blocks.pleo.fields import canonical_uuid
from blocks.pleo.http.wire import decode

_EVENT = re.compile(r"(?:v\d+\.)?export(?:-job\.|\.job-)created")
_LONGEST_ID = 200
_SHORTEST_SECRET_BYTES = 16


class WebhookError(Exception):
    """The webhook cannot be served as it was asked for; one line for the user."""


class NotSigned(Exception):
    """A delivery that nobody who knows the secret has signed, or not in the last five minutes; says why."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A new export job that Pleo tells of, by the id of the message."""

    message_id: str
    company_id: str
    job_id: str


def signatures(environment: Mapping[str, str]) -> list[Webhook]:
    """Whoever knows one of these secrets is Pleo. Raises WebhookError where there is none, or one is no secret."""
    names = ("PLEO_WEBHOOK_SECRET", "PLEO_WEBHOOK_SECRET_OLD")
    given = {name: environment.get(name, "").strip() for name in names}
    if not given[names[0]]:
        raise WebhookError(f"{names[0]}: it is not set: python -m flows.webhook subscribe says how to get the secret")
    return [Webhook(_secret(name, value)) for name, value in given.items() if value]


def _secret(name: str, value: str) -> bytes:
    """The bytes of a secret. The library drops what is no base64, so that a typing mistake would be a secret, too."""
    encoded = value.removeprefix("whsec_")
    try:
        secret = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise WebhookError(f"{name}: no webhook secret: it should be whsec_ and letters in base64") from None
    if len(secret) < _SHORTEST_SECRET_BYTES:
        raise WebhookError(f"{name}: no webhook secret: {len(secret)} bytes are too short for one")
    return secret


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[Webhook]) -> None:
    """Raise NotSigned unless this was signed with one of the secrets within the last five minutes."""
    for number, webhook in enumerate(secrets, 1):
        try:
            webhook.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError, OverflowError) as error:  # it takes headers apart without a look
            if number == len(secrets):
                why = str(error) if isinstance(error, WebhookVerificationError) else "headers that cannot be read"
                raise NotSigned(why) from None
        else:
            return


def delivered(message_id: str, body: bytes) -> Delivery | None:
    """The job that a body tells of, None where it tells of something else.

    Pleo prints the fields at the top level and under `payload`, and spells the event in four ways. Raises ValueError
    for what is no JSON, or tells of a job without saying which.
    """
    document = decode(body)
    if isinstance(document, dict) and isinstance(document.get("payload"), dict):
        document = document["payload"]
    event = document.get("eventType") if isinstance(document, dict) else None
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        return None
    data = document.get("data")
    company, job = (data.get("companyId"), data.get("id")) if isinstance(data, dict) else (None, None)
    if not isinstance(company, str) or not isinstance(job, str) or len(message_id) > _LONGEST_ID:
        raise ValueError("a new export job, and not which")
    return Delivery(message_id, canonical_uuid(company), canonical_uuid(job))
