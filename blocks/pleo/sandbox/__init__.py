"""A Pleo to run on one's own machine: the export API v3, its state, a control API with pages, made-up expenses.

It is a second reading of Pleo's published contract, made apart from the client, and shares no code with it.
`README.md` here tells how to use it from a shell and from other languages. From Python, in the same process:

    from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve

    with Sandbox() as sandbox, serve(sandbox) as base_url:
        job_id = sandbox.add_job(items=80, seed=1)
        ...                                   # export from base_url with SANDBOX_API_KEY
        sandbox.job(job_id).status            # "completed_with_errors"
        sandbox.items(job_id)                 # status, external id, failure of each item
        sandbox.received().total              # requests made to the API

What goes wrong on demand: `refuse_item` (an error in a PUT's `errors[]`), `miss_contra_accounts` (400), `inject`
(statuses, web pages, cut and lost answers), `add_credential` (a key for some companies and scopes only, 403 for
others), `failing` in `add_job` (items that cannot be booked), `cancel`, `edit_export_item`, `export_again`, `strict`
(400 for what may be a mistake), and `clock` (expiry, links, the rate limit). As an authorisation server:
`add_oauth_client`, `grant_access`, `expire_access_tokens`, `revoke_access`. Deliveries of the webhook:
`sandbox.webhooks` (`webhooks.Manner` says how they can go wrong).

The modules, each of which imports only from those that stand after it (a test holds it):

    __main__                        the command line
    server                          Sandbox, serve; what stands before the routes
    api, subscription_api           Pleo's paths
    companies                       those that tell whose a key is
    control_api, fault_api          the sandbox's own
    authorization                   who may call, and the endpoints of OAuth
    control, pages                  all that is asked from Python; HTML for people
    webhooks, subscriptions         who is told of new jobs, and how
    jobs, oauth, paging, traffic    the rules; what came in, and faults on order
    strict, credentials             what may be a client's mistake; keys and tokens
    store, models, items            SQLite; the contract's fields; made-up expenses
    amounts, templates              the arithmetic of lines; what expenses are to be
    company, receipts, fields       whose they are; the files; the bodies of control calls
    wire, errors                    values and refusals on the wire
"""

from blocks.pleo.sandbox.authorization import SANDBOX_ACCESS_TOKEN, SANDBOX_API_KEY
from blocks.pleo.sandbox.company import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.models import Event, Item, Job
from blocks.pleo.sandbox.oauth import (
    SANDBOX_CLIENT_ID,
    SANDBOX_CLIENT_SECRET,
    SANDBOX_REDIRECT_URI,
    OAuthGrant,
    TokenPair,
)
from blocks.pleo.sandbox.server import Sandbox, serve
from blocks.pleo.sandbox.traffic import Received, ReceivedRequest

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
