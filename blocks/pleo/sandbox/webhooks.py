"""What Pleo's webhook delivers: a signed message of each new job, to whoever subscribed, again until it is taken.

Signatures are those of the Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, as `v1,` and base64. Any 2xx is an
answer; after any other, or none within ten seconds, the message comes again after 1, 5, 30, 120 and 600 seconds and is
then given up, as Pleo's own times are not published. The wait is in real time, the timestamp by the sandbox's clock.

A message goes to the address that was subscribed and nowhere else: no redirect is followed, no proxy is asked. Each
subscription has its messages in order, sent by a thread of its own that ends when nothing waits: one receiver that
hangs keeps no other waiting, and a sandbox without subscriptions has neither thread nor work. What waits when the
sandbox ends is forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import http.client
import itertools
import random
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.models import Job
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.subscriptions import JOB_CREATED, Subscription, Subscriptions, endpoint
from blocks.pleo.sandbox.wire import Json, draw_uuid, dumps

RETRY_WAITS_S = (1.0, 5.0, 30.0, 120.0, 600.0)
TIMEOUT_S = 10.0
TOLERANCE_S = 300.0
KEPT = 2_000
MAX_COPIES = 100
MAX_AGE_S = 1e9
_MAX_ANSWER = 65_536
_TOLD = ("companyId", "createdAt", "createdBy", "expiresIn", "id", "numberOfItems", "status")

Signature = Literal["right", "forged", "altered", "missing"]
"""`forged`: with another secret. `altered`: the body was changed after it was signed. `missing`: no signature."""

SIGNATURES: tuple[str, ...] = get_args(Signature)

Layout = Literal["top", "payload"]
"""Where the body has `data`, `eventId` and `eventType`: at the top, or under `payload` with the headers beside it."""

LAYOUTS: tuple[str, ...] = get_args(Layout)

State = Literal["waiting", "held", "delivered", "given up", "dropped"]
"""`held` until another message has gone; `dropped` with a subscription that was deleted or made inactive."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a message is delivered. The default is as Pleo does it.

    `delay_s` makes it late, `copies` is how often the same message comes, `held` lets the next message of the
    subscription go first. `age_s` makes its timestamp that much older than it is, or younger where negative.
    What is not signed as it should be, or has a timestamp more than five minutes off, is tried once only.
    """

    delay_s: float = 0.0
    copies: int = 1
    held: bool = False
    signature: Signature = "right"
    age_s: float = 0.0
    layout: Layout = "top"
    event_type: str = JOB_CREATED

    def __post_init__(self) -> None:
        if self.delay_s < 0:
            raise SandboxError(f"a delivery cannot be {-self.delay_s:g} seconds early: delay_s is 0 or more")
        if not 1 <= self.copies <= MAX_COPIES:
            raise SandboxError(f"a message cannot come {self.copies} times: copies is 1 to {MAX_COPIES}")
        if not abs(self.age_s) <= MAX_AGE_S:
            raise SandboxError(f"age_s is {MAX_AGE_S:.0f} seconds at most")
        if self.signature not in SIGNATURES:
            raise SandboxError(f"signature must be one of {', '.join(SIGNATURES)}")
        if self.layout not in LAYOUTS:
            raise SandboxError(f"layout must be one of {', '.join(LAYOUTS)}")

    @property
    def is_sound(self) -> bool:
        """Whether a receiver that verifies will take it."""
        return self.signature == "right" and abs(self.age_s) <= TOLERANCE_S


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver: when, in seconds since 1970, and the status of the answer or what went wrong without one."""

    at: float
    status: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to one subscriber and what became of it so far."""

    message_id: str
    subscription_id: str
    job_id: str
    event_type: str
    state: State
    attempts: tuple[Attempt, ...]


@dataclass(slots=True, eq=False)
class _Message:
    id: str
    subscription_id: str
    job_id: str
    manner: Manner
    body: Json
    state: State = "waiting"
    attempts: list[Attempt] = field(default_factory=list)

    def told(self) -> Delivery:
        event_type = self.manner.event_type
        return Delivery(self.id, self.subscription_id, self.job_id, event_type, self.state, tuple(self.attempts))


@dataclass(slots=True, eq=False)
class _Line:
    """What one subscriber is still to get: due times with messages and how often each was tried, and what is held."""

    due: list[tuple[float, int, _Message, int]] = field(default_factory=list)
    held: list[_Message] = field(default_factory=list)
    thread: threading.Thread | None = None
    connection: http.client.HTTPConnection | None = None


@dataclass(slots=True)
class _Order:
    manner: Manner
    times: int


class Webhooks:
    """The subscriptions, and the messages to their subscribers. Any thread may call it."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.subscriptions = Subscriptions(store)
        self._clock = clock
        self._changed = threading.Condition()
        self._lines: dict[str, _Line] = {}
        self._numbers = itertools.count()
        self._closed = False
        self._messages: deque[_Message] = deque(maxlen=KEPT)
        self._manner = Manner()
        self._orders: list[_Order] = []
        self._waits_s: tuple[float, ...] = RETRY_WAITS_S

    def announce(self, job: Job) -> None:
        """Tell of a new job, in the manner that was ordered."""
        for subscription in self.subscriptions.told_of(job.company_id):
            self._push(subscription, job, self._next_manner())

    def deliver(self, job: Job, manner: Manner) -> list[str]:
        """Tell of a job now, as often as one likes; the ids of the messages, one a subscription."""
        return [self._push(subscription, job, manner) for subscription in self.subscriptions.told_of(job.company_id)]

    def order(self, manner: Manner, times: int | None = None) -> None:
        """Deliver the next `times` messages of new jobs in this manner; without a number all from now on."""
        with self._changed:
            if times is None:
                self._manner, self._orders = manner, []
            else:
                self._orders.append(_Order(manner, times))

    def retry(self, waits_s: Sequence[float]) -> None:
        """Try again after these waits, in seconds, from the next failure on; none: never."""
        with self._changed:
            self._waits_s = tuple(waits_s)

    def sent(self) -> list[Delivery]:
        """The last 2,000 messages, the oldest first."""
        with self._changed:
            return [message.told() for message in self._messages]

    def forget(self) -> None:
        """Forget what was delivered, what waits, and all that was ordered."""
        with self._changed:
            self._messages.clear()
            self._manner, self._orders, self._waits_s = Manner(), [], RETRY_WAITS_S
            for line in self._lines.values():
                line.due.clear()
                line.held.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver nothing more; what is being sent is broken off."""
        with self._changed:
            self._closed = True
            threads = [line.thread for line in self._lines.values() if line.thread is not None]
            for line in self._lines.values():
                if line.connection is not None and line.connection.sock is not None:
                    with suppress(OSError):  # it has ended by itself
                        line.connection.sock.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        for thread in threads:
            thread.join(TIMEOUT_S)

    def _next_manner(self) -> Manner:
        with self._changed:
            if not self._orders:
                return self._manner
            order = self._orders[0]
            order.times -= 1
            if order.times < 1:
                self._orders.pop(0)
            return order.manner

    def _push(self, subscription: Subscription, job: Job, manner: Manner) -> str:
        whole = job.wire()
        event = {
            "data": {name: whole[name] for name in _TOLD},
            "eventId": draw_uuid(random.SystemRandom()),
            "eventType": manner.event_type,
        }
        message = _Message(f"msg_{secrets.token_hex(14)}", subscription.id, job.id, manner, event)
        with self._changed:
            if self._closed:
                return message.id
            self._messages.append(message)
            line = self._lines.setdefault(subscription.id, _Line())
            if manner.held:
                message.state = "held"
                line.held.append(message)
            else:
                self._schedule(line, message)
        return message.id

    def _schedule(self, line: _Line, message: _Message) -> None:
        message.state = "waiting"
        due_s = time.monotonic() + message.manner.delay_s
        for _ in range(message.manner.copies):
            heapq.heappush(line.due, (due_s, next(self._numbers), message, 0))
        if line.thread is None:
            line.thread = threading.Thread(target=self._run, args=(line,), name="pleo-sandbox-webhook", daemon=True)
            line.thread.start()
        self._changed.notify_all()

    def _run(self, line: _Line) -> None:
        while (next_ := self._next(line)) is not None:
            message, tried = next_
            subscription = self.subscriptions.active(message.subscription_id)
            attempt = None if subscription is None else self._attempt(line, subscription, message)
            with self._changed:
                self._settle(line, message, tried, attempt)

    def _next(self, line: _Line) -> tuple[_Message, int] | None:
        """Wait for the message that is due; None, and the thread is no more the line's, when nothing waits."""
        with self._changed:
            while line.due and not self._closed:
                wait_s = line.due[0][0] - time.monotonic()
                if wait_s <= 0:
                    _, _, message, tried = heapq.heappop(line.due)
                    return message, tried
                self._changed.wait(wait_s)
            line.thread = None
            return None

    def _settle(self, line: _Line, message: _Message, tried: int, attempt: Attempt | None) -> None:
        if attempt is None:
            message.state = "dropped"
            return
        message.attempts.append(attempt)
        if attempt.status is not None and 200 <= attempt.status < 300:
            message.state = "delivered"
        elif message.manner.is_sound and tried < len(self._waits_s) and not self._closed:
            due_s = time.monotonic() + self._waits_s[tried]
            heapq.heappush(line.due, (due_s, next(self._numbers), message, tried + 1))
        elif message.state != "delivered" and not any(one[2] is message for one in line.due):
            message.state = "given up"
        if not message.manner.held:
            for held in line.held:
                self._schedule(line, held)
            line.held.clear()

    def _attempt(self, line: _Line, subscription: Subscription, message: _Message) -> Attempt:
        at = self._clock()
        body, headers = _written(message, subscription, int(at - message.manner.age_s))
        parts = endpoint(subscription.endpoint_url)
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and writes no keys down
            tls.load_default_certs()
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with self._changed:
                line.connection = connection
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(_MAX_ANSWER)
            return Attempt(at, answer.status, "")
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: no host can have such a name
            return Attempt(at, None, f"{type(error).__name__}: {error}"[:200])
        finally:
            with self._changed:
                line.connection = None
            connection.close()


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The signature of a body by a `whsec_` secret, as the header has it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def _written(message: _Message, subscription: Subscription, timestamp_s: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a delivery."""
    manner, secret = message.manner, subscription.secret
    if manner.signature == "forged":
        secret = base64.b64encode(secrets.token_bytes(24)).decode()
    body = dumps(message.body).encode()
    if manner.layout == "payload":
        # Beside it stand the headers, as Pleo prints them; of the signature that can only be the payload's.
        inner = {
            "webhook-id": message.id,
            "webhook-timestamp": timestamp_s,
            "webhook-signature": sign(secret, message.id, timestamp_s, body),
        }
        body = dumps({**inner, "payload": message.body}).encode()
    headers = {
        **subscription.custom_headers,
        "Content-Type": "application/json",
        "User-Agent": "pleo-sandbox",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp_s),
    }
    if manner.signature != "missing":
        headers["webhook-signature"] = sign(secret, message.id, timestamp_s, body)
    if manner.signature == "altered":
        body = body.replace(message.job_id.encode(), draw_uuid(random.SystemRandom()).encode())
    if auth := subscription.endpoint_auth:
        pair = f"{auth['username']}:{auth['password']}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return body, headers
