"""A Pleo to run on one's own machine: the export API v3, its state, a control page, made-up expenses.

It is a second reading of Pleo's published contract, made apart from the client, and shares no code with it.

From the shell:

    python -m blocks.pleo.sandbox --port 8765 --items 100 --state sandbox.sqlite

From Python, in the same process:

    from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve

    with Sandbox() as sandbox, serve(sandbox) as base_url:
        job_id = sandbox.add_job(items=80, seed=1)
        ...                                   # export from base_url with SANDBOX_API_KEY
        sandbox.job(job_id).status            # "completed_with_errors"
        sandbox.items(job_id)                 # status, external id, failure of each item
        sandbox.received().total              # requests made to the API

What goes wrong on demand: `Sandbox.refuse_item` (an error in a PUT's `errors[]`), `Sandbox.miss_contra_accounts`
(400), `Sandbox.inject` (statuses, web pages, cut and lost answers), `Sandbox.add_credential` (a key that sees some
companies only, 403 for others), `failing` in `Sandbox.add_job` (items that cannot be booked), and `clock` (expiry,
links, the rate limit).

It is an authorisation server too (`blocks.pleo.sandbox.oauth`), at `/oauth/authorize` and `/oauth/token`:
`Sandbox.add_oauth_client`, `Sandbox.grant_access`, `Sandbox.expire_access_tokens`, `Sandbox.revoke_access`.
"""

from blocks.pleo.sandbox.authorization import SANDBOX_ACCESS_TOKEN, SANDBOX_API_KEY
from blocks.pleo.sandbox.company import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.log import Received, ReceivedRequest
from blocks.pleo.sandbox.models import Event, Item, Job
from blocks.pleo.sandbox.oauth import (
    SANDBOX_CLIENT_ID,
    SANDBOX_CLIENT_SECRET,
    SANDBOX_REDIRECT_URI,
    OAuthGrant,
    TokenPair,
)
from blocks.pleo.sandbox.sandbox import Sandbox, serve

__all__ = [
    "SANDBOX_ACCESS_TOKEN",
    "SANDBOX_API_KEY",
    "SANDBOX_CLIENT_ID",
    "SANDBOX_CLIENT_SECRET",
    "SANDBOX_COMPANY_ID",
    "SANDBOX_REDIRECT_URI",
    "Event",
    "Item",
    "Job",
    "OAuthGrant",
    "Received",
    "ReceivedRequest",
    "Sandbox",
    "SandboxError",
    "TokenPair",
    "serve",
]
