"""Who is to be told of new export jobs: the subscriptions of Pleo's webhook, and what was done to them.

Choices where Pleo's pages are silent: credentials see the subscriptions of credentials for the same companies; one that
was deleted is not found any more, but for its activities; plain HTTP is for receivers on this machine alone.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import QueryParams

from blocks.pleo.sandbox import paging
from blocks.pleo.sandbox.errors import ApiError, bad_request
from blocks.pleo.sandbox.paging import PageRequest, Source
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.wire import Json, draw_uuid, dumps, read_choice, timestamp

JOB_CREATED = "v1.export-job.created"
"""A user has pressed Export, as Pleo's definition of subscriptions and its printed delivery spell it."""

SPELLINGS = (
    JOB_CREATED,
    "v1.export.job-created",
    "v2.export-job.created",
    "v2.export.job-created",
    "export-job.created",
)
"""That event as Pleo's pages spell it, all of which can be subscribed to."""

STATUSES = ("ACTIVE", "INACTIVE")
OPERATIONS = ("CREATE", "UPDATE", "DELETE")
AUTH_TYPES = ("NONE", "BASIC")
MAX_TEXT = 2_000
_SECRET_BYTES = 24
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_OUR_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told, where, and by which secret. `companies` None stands for every company; times are in seconds."""

    id: str
    endpoint_url: str
    event_types: tuple[str, ...]
    status: str
    custom_headers: Mapping[str, str] = field(repr=False)
    endpoint_auth: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """The subscription of a row of the table `subscriptions`."""
        values = {name: row[name] for name in cls.__slots__}
        for name in ("event_types", "custom_headers", "endpoint_auth"):
            values[name] = json.loads(values[name])
        return cls(**{**values, "event_types": tuple(values["event_types"])})

    def wire(self) -> Json:
        """The subscription as Pleo answers it (`SubscriptionModel`). The password of Basic is not repeated."""
        model: Json = {
            "id": self.id,
            "endpointUrl": self.endpoint_url,
            "eventTypes": list(self.event_types),
            "status": self.status,
            "createdAt": timestamp(self.created_at),
            "updatedAt": timestamp(self.updated_at),
        }
        if self.custom_headers:
            model["customHeaders"] = dict(self.custom_headers)
        if self.endpoint_auth:
            model["endpointAuth"] = {"type": "BASIC", "credentials": {"username": self.endpoint_auth["username"]}}
        return model


class Subscriptions:
    """The subscriptions in the store. `companies` is always what the caller's credentials see, None for all."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, companies: frozenset[str] | None, asked: Json, now_s: float) -> Subscription:
        """A new subscription of a request's body; 400 for what the contract does not allow."""
        values = _read_request(asked)
        id_ = draw_uuid(random.SystemRandom())
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO subscriptions (id, companies, secret, created_at, updated_at, endpoint_url, event_types,"
                " status, custom_headers, endpoint_auth) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id_, _seen(companies), secret, now_s, now_s, *values),
            )
            self._note(id_, "CREATE", now_s)
        return self.find(companies, id_)

    def change(self, companies: frozenset[str] | None, id_: str, asked: Json, now_s: float) -> Subscription:
        """Put a request's body in the place of what a subscription said; its secret stays."""
        self.find(companies, id_)
        values = _read_request(asked)
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE subscriptions SET endpoint_url = ?, event_types = ?, status = ?, custom_headers = ?,"
                " endpoint_auth = ?, updated_at = ? WHERE id = ?",
                (*values, now_s, id_),
            )
            self._note(id_, "UPDATE", now_s)
        return self.find(companies, id_)

    def delete(self, companies: frozenset[str] | None, id_: str, now_s: float) -> None:
        """Delete one; 404 where there is none."""
        self.find(companies, id_)
        with self._store.transaction() as connection:
            connection.execute("UPDATE subscriptions SET deleted_at = ? WHERE id = ?", (now_s, id_))
            self._note(id_, "DELETE", now_s)

    def find(self, companies: frozenset[str] | None, id_: str) -> Subscription:
        """One that was not deleted; 404 where there is none."""
        row = self._store.row(
            "SELECT * FROM subscriptions WHERE id = ? AND companies = ? AND deleted_at IS NULL",
            (id_, _seen(companies)),
        )
        if row is None:
            raise _not_found()
        return Subscription.of(row)

    def page(
        self, companies: frozenset[str] | None, query: QueryParams, request: PageRequest
    ) -> tuple[list[Subscription], Json]:
        """A page of them, the oldest first unless sorted; by `status` and `event_types[]` where they are given."""
        conditions, args = ["companies = ?", "deleted_at IS NULL"], [_seen(companies)]
        if "status" in query:
            conditions.append("status = ?")
            args.append(read_choice(query["status"], STATUSES, "status"))
        if types := query.getlist("event_types[]"):
            conditions.append(
                "EXISTS (SELECT 1 FROM json_each(event_types) e WHERE e.value IN (SELECT value FROM json_each(?)))"
            )
            args.append(dumps(types))
        keys = {"createdAt": "created_at", "updatedAt": "updated_at", "status": "status", "id": "id"}
        order = [("created_at", False), ("id", False)]
        source = Source("subscriptions", "*", "subscriptions", " AND ".join(conditions), args, keys, order)
        rows, info = self._page(source, request)
        return [Subscription.of(row) for row in rows], info

    def activities(
        self, companies: frozenset[str] | None, id_: str, query: QueryParams, request: PageRequest
    ) -> tuple[list[Json], Json]:
        """What was done to a subscription, also to a deleted one, the oldest first."""
        known = "SELECT 1 FROM subscriptions WHERE id = ? AND companies = ?"
        if self._store.row(known, (id_, _seen(companies))) is None:
            raise _not_found()
        condition, args = "subscription = ?", [id_]
        if types := query.getlist("operation_types[]"):
            args += [read_choice(one, OPERATIONS, "operation_types[]") for one in types]
            condition += f" AND operation IN ({','.join('?' * len(types))})"
        source = Source("activities", "*", "subscription_activities", condition, args, {}, [("activity", False)])
        rows, info = self._page(source, request)
        return [
            {"id": row["id"], "operationType": row["operation"], "createdAt": timestamp(row["at"])} for row in rows
        ], info

    def told_of(self, company_id: str) -> list[Subscription]:
        """The active ones that are told of a new job of this company, the oldest first."""
        rows = self._store.rows("SELECT * FROM subscriptions WHERE status = 'ACTIVE' AND deleted_at IS NULL")
        return [
            Subscription.of(row)
            for row in sorted(rows, key=lambda row: (row["created_at"], row["id"]))
            if _sees(row["companies"], company_id) and set(json.loads(row["event_types"])) & set(SPELLINGS)
        ]

    def active(self, id_: str) -> Subscription | None:
        """One as it is now, None when it is deleted or inactive."""
        row = self._store.row(
            "SELECT * FROM subscriptions WHERE id = ? AND status = 'ACTIVE' AND deleted_at IS NULL", (id_,)
        )
        return None if row is None else Subscription.of(row)

    def _page(self, source: Source, request: PageRequest) -> tuple[list[sqlite3.Row], Json]:
        sql = f"SELECT count(*) FROM {source.tables} WHERE {source.condition}"  # noqa: S608 - constants
        return paging.read_page(self._store, source, request, self._store.number(sql, source.args))

    def _note(self, id_: str, operation: str, now_s: float) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO subscription_activities (id, subscription, operation, at) VALUES (?, ?, ?, ?)",
                (draw_uuid(random.SystemRandom()), id_, operation, now_s),
            )


def endpoint(url: str) -> SplitResult:
    """The parts of an address that can be delivered to; 400 for any other, in words that name what is wrong."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.username is None and not parts.fragment and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not (url.isascii() and url.isprintable()) or " " in url or len(url) > MAX_TEXT:
        raise bad_request("endpointUrl must be an address such as https://export.example/pleo")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname or "")):
        raise bad_request("endpointUrl must be https; a sandbox takes http for loopback addresses")
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_request(asked: Json) -> tuple[str, str, str, str, str]:
    """Address, events, status, headers and credentials of a `SubscriptionRequest`, as they are stored."""
    url = asked.get("endpointUrl")
    if not isinstance(url, str):
        raise bad_request("endpointUrl must be a string")
    endpoint(url)
    types = asked.get("eventTypes")
    if not isinstance(types, list) or not all(isinstance(one, str) and 0 < len(one) <= MAX_TEXT for one in types):
        raise bad_request("eventTypes must be an array of strings")
    if not types or len(set(types)) != len(types):
        raise bad_request("eventTypes must name one event or more, each once")
    status = read_choice(asked.get("status", "ACTIVE"), STATUSES, "status")
    auth = _read_auth(asked.get("endpointAuth"))
    headers = _read_headers(asked.get("customHeaders"), has_auth=bool(auth))
    return url, dumps(types), status, dumps(headers), dumps(auth)


def _read_headers(value: Any, *, has_auth: bool) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request("customHeaders must be an object")
    taken = set(_OUR_HEADERS) | ({"authorization"} if has_auth else set())
    for name, content in value.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in taken or name.lower().startswith("webhook-"):
            raise bad_request("customHeaders has a name that no header of a delivery can have")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            raise bad_request(f"customHeaders.{name} must be a string that a header can have")
        taken.add(name.lower())
    return value


def _read_auth(value: Any) -> dict[str, str]:
    """User name and password for Basic, nothing for NONE."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request("endpointAuth must be an object")
    if read_choice(value.get("type", "NONE"), AUTH_TYPES, "endpointAuth.type") == "NONE":
        return {}
    credentials = value.get("credentials")
    given = credentials if isinstance(credentials, dict) else {}
    username, password = given.get("username"), given.get("password")
    if not isinstance(username, str) or not username or ":" in username or not isinstance(password, str):
        raise bad_request("endpointAuth.credentials must have username and password")
    return {"username": username, "password": password}


def _seen(companies: Sequence[str] | frozenset[str] | None) -> str:
    return dumps(None if companies is None else sorted(companies))


def _sees(companies: str, company_id: str) -> bool:
    seen = json.loads(companies)
    return seen is None or company_id in seen


def _not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "Subscription not found")
