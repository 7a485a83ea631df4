"""The HTML of the control page and of the page that asks for access.

Jinja escapes every value; there is no script and nothing from the web.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import DictLoader, Environment, StrictUndefined

from blocks.pleo.sandbox.models import OPEN, Item, Job
from blocks.pleo.sandbox.oauth import AuthorizationRequest
from blocks.pleo.sandbox.traffic import Received
from blocks.pleo.sandbox.wire import Json

SHOWN_REQUESTS = 50
SHOWN_EVENTS = 20
MAX_TEXT = 200


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _expense(item: Json) -> dict[str, str]:
    """What is shown of an export item; an item may be anything, so whatever it lacks is left out."""
    supplier = item.get("supplier")
    return {
        "type": str(item.get("type") or "no type")[:MAX_TEXT].replace("_", " "),
        "sub_type": str(item.get("subType") or "")[:MAX_TEXT].replace("_", " "),
        "supplier": str(supplier.get("name") or "")[:MAX_TEXT] if isinstance(supplier, dict) else "",
        "amount": _amount(item),
    }


def _amount(item: Json) -> str:
    try:
        money = item["amount"]["inWalletCurrency"]
        return f"{money['value'] / 100:,.2f} {money['currency']}"
    except (KeyError, TypeError, OverflowError):
        return ""


_BASE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}Pleo sandbox{% endblock %}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
:root { --dim: #6b6b6b; --good: #17803d; --bad: #c0262d; --on: #1d5fbf }
@media (prefers-color-scheme: dark) { :root { --dim: #999; --good: #4ccf7f; --bad: #ff7b7f; --on: #7fb2ff } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 0 auto; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p { margin: .25rem 0 } a { color: var(--on) } code { font: 13px ui-monospace, monospace }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; color: var(--dim) } td.n, th.n { text-align: right; padding-right: 1.4rem }
td.n { font-variant-numeric: tabular-nums }
td.text { max-width: 22rem; overflow-wrap: anywhere } .nowrap { white-space: nowrap }
.dim { color: var(--dim) } .good { color: var(--good) } .bad { color: var(--bad) } .on { color: var(--on) }
form { display: inline } input { font: inherit; width: 6rem } button { font: inherit; padding: .1rem .6rem }
.bar { background: var(--soft); border: 1px solid var(--line); border-radius: 6px }
.bar { padding: .6rem .9rem; margin: 1rem 0 }
</style>
</head>
<body>
{% block body %}{% endblock %}
</body>
</html>
"""

_MACROS = """
{%- macro status(name) -%}
<span class="{{ {'successful': 'good', 'completed': 'good', 'failed': 'bad', 'completed_with_errors': 'bad',
'in_progress': 'on', 'abandoned': 'bad'}.get(name, 'dim') }}">{{ name | replace('_', ' ') }}</span>
{%- endmacro -%}
{%- macro failure(row) -%}
{% if row.failure_reason_type %}<code>{{ row.failure_reason_type }}</code><br>{% endif %}{{ row.failure_reason or '' }}
{%- endmacro -%}
"""

_OVERVIEW = """{% extends 'base' %}{% from 'macros' import status, failure %}
{% block body %}
<h1>Pleo sandbox</h1>
<p class="dim">Export API v3 on this machine. API key <code>{{ key }}</code>, sent as the user name with an empty
password.</p>
<h2>Export jobs</h2>
{% if jobs %}<div class="wide"><table>
<tr><th>Job</th><th>Created</th><th>Status</th><th class="n">Items</th><th>Failure</th><th></th></tr>
{% for job, outcome in jobs | reverse %}<tr>
<td><a href="/jobs/{{ job.id }}"><code>{{ job.id }}</code></a>
<br><span class="dim">company {{ job.company_id }}</span></td>
<td class="nowrap">{{ job.created_at | moment }}</td><td class="nowrap">{{ status(job.status) }}</td>
<td class="n">{{ job.number_of_items }}
{%- for name, count in outcome | dictsort -%}
<br><span class="nowrap">{{ count }} {{ status(name) }}</span>{% endfor %}</td>
<td class="text">{{ failure(job) }}</td>
{% set act, label = ('cancel', 'Cancel') if job.status in open else ('export-again', 'Export again') -%}
<td class="nowrap"><form method="post" action="/sandbox/jobs/{{ job.id }}/{{ act }}">
<input type="hidden" name="from" value="page"><button>{{ label }}</button></form></td>
</tr>{% endfor %}
</table></div>{% else %}<p>No job yet.</p>{% endif %}
<form class="new" method="post" action="/sandbox/jobs"><p class="bar">
<label>Items <input name="items" type="number" min="0" max="50000" value="100"></label>
<label>Seed <input name="seed" type="number" value="1"></label> <button>Make a job</button></p></form>
<h2>Events</h2>
{% if received.events %}<div class="wide"><table>
<tr><th>Time</th><th>Event</th><th>Job</th><th>Failure</th></tr>
{% for event in (received.events | list)[-shown_events:] | reverse %}<tr>
<td class="nowrap">{{ event.at | moment }}</td><td>{{ event.name }}</td><td><code>{{ event.job_id }}</code></td>
<td class="text">{{ failure(event) }}</td>
</tr>{% endfor %}
</table></div>{% else %}<p>None yet.</p>{% endif %}
<h2>Requests</h2>
<p>{{ received.total }} to the API, {{ received.receipts }} for receipts.
{%- if received.by_status %} By status: {% for code, count in received.by_status | dictsort %}{{ code or 'broken off' }}
× {{ count }}{{ ', ' if not loop.last }}{% endfor %}.{% endif %}</p>
{% if received.by_call %}<div class="wide"><table>
<tr><th>Call</th><th class="n">Requests</th></tr>
{% for call, count in received.by_call | dictsort %}<tr>
<td><code>{{ call }}</code></td><td class="n">{{ count }}</td></tr>
{% endfor %}</table></div>
<h2>The last {{ requests | length }}</h2>
<div class="wide"><table>
<tr><th>Time</th><th>Method</th><th>Path</th><th class="n">Status</th><th class="n">ms</th><th></th></tr>
{% for request in requests | reverse %}<tr>
<td class="nowrap">{{ request.at | moment }}</td><td>{{ request.method }}</td>
<td class="text"><code>{{ request.path }}</code></td>
<td class="n {{ 'bad' if request.status >= 400 or not request.status }}">{{ request.status or '–' }}</td>
<td class="n">{{ '%.1f' | format(request.duration_ms) }}</td><td class="nowrap">{{ request.detail }}</td>
</tr>{% endfor %}
</table></div>{% endif %}
{% endblock %}
"""

_JOB = """{% extends 'base' %}{% from 'macros' import status, failure %}
{% block title %}Job {{ job.id }} · Pleo sandbox{% endblock %}
{% block body %}
<p><a href="/">Pleo sandbox</a></p>
<h1>Job {{ job.id }}</h1>
<p>{{ status(job.status) }} · {{ job.number_of_items }} items · created {{ job.created_at | moment }}
{%- if job.started_at %} · started {{ job.started_at | moment }}{% endif %}
{%- if job.completed_at %} · completed {{ job.completed_at | moment }}{% endif %}
{%- if job.expired_at %} · expired {{ job.expired_at | moment }}{% endif %}</p>
{% if job.failure_reason or job.failure_reason_type %}<p class="bar">{{ failure(job) }}</p>{% endif %}
{% macro turn() %}<p>
{%- if start > 1 %}<a href="/jobs/{{ job.id }}?start={{ [start - size, 1] | max }}">Earlier</a> {% endif %}
{%- if rows %}
{{- '' }}<span class="dim">{{ start }} to {{ start + rows | length - 1 }} of {{ job.number_of_items }}</span>
{%- endif %}
{%- if start + size <= job.number_of_items %} <a href="/jobs/{{ job.id }}?start={{ start + size }}">Later</a>{% endif %}
</p>{% endmacro %}
{{ turn() }}
{% if rows %}<div class="wide"><table>
<tr><th class="n">#</th><th>Expense</th><th class="n">Amount</th>
<th>Status</th><th>External id</th><th>Failure</th></tr>
{% for item, expense in rows %}<tr>
<td class="n dim">{{ item.position }}</td>
<td class="text">{{ expense.type }}
{%- if expense.sub_type %} <span class="dim">{{ expense.sub_type }}</span>{% endif %}
{% if expense.supplier %}<br><bdi>{{ expense.supplier }}</bdi>{% endif %}
<br><code class="dim">{{ item.accounting_entry_id }}</code></td>
<td class="n nowrap">{{ expense.amount }}</td><td class="nowrap">{{ status(item.status) }}</td>
<td class="text">{% if item.external_url and item.external_url.startswith(('https://', 'http://')) -%}
<a href="{{ item.external_url }}" rel="noreferrer">{{ item.external_id or item.external_url }}</a>
{%- else %}{{ item.external_id or '' }}{% if item.external_url %}<br>{{ item.external_url }}{% endif %}{% endif %}</td>
<td class="text">{{ failure(item) }}</td>
</tr>{% endfor %}
</table></div>{{ turn() }}{% else %}<p>No items here.</p>{% endif %}
{% endblock %}
"""

_CONSENT = """{% extends 'base' %}
{% block title %}Allow access? · Pleo sandbox{% endblock %}
{% block body %}
<h1>Allow access to Pleo?</h1>
<p><code>{{ asked.client_id }}</code> asks for</p>
<ul>{% for scope in asked.scopes %}<li><code>{{ scope }}</code></li>{% endfor %}</ul>
<p class="dim">of {% for company in asked.companies %}company {{ company }}{% if not loop.last %}, {% endif %}
{%- endfor %}. The answer goes to {{ asked.redirect_uri }}.</p>
<form method="post" action="/oauth/authorize" class="bar">
<input type="hidden" name="page" value="{{ number }}">
<button name="decision" value="allow" id="allow">Allow</button>
<button name="decision" value="deny" id="deny">Deny</button>
</form>
{% endblock %}
"""

_MESSAGE = """{% extends 'base' %}
{% block body %}<h1>Pleo sandbox</h1><p class="bar">{{ text }}</p>{% endblock %}
"""

_TEMPLATES = {
    "base": _BASE,
    "macros": _MACROS,
    "overview": _OVERVIEW,
    "job": _JOB,
    "consent": _CONSENT,
    "message": _MESSAGE,
}

_PAGES = Environment(loader=DictLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
_PAGES.filters["moment"] = _moment


def overview(jobs: Sequence[tuple[Job, dict[str, int]]], received: Received, api_key: str) -> str:
    """The page at `/`: jobs with their outcomes, and what was received."""
    return _PAGES.get_template("overview").render(
        jobs=jobs,
        received=received,
        requests=received.requests[-SHOWN_REQUESTS:],
        shown_events=SHOWN_EVENTS,
        open=OPEN,
        key=api_key,
    )


def job(shown: Job, rows: Sequence[tuple[Item, Json]], start: int, size: int) -> str:
    """The page of a job: items from a position on, each with its expense."""
    return _PAGES.get_template("job").render(
        job=shown, rows=[(item, _expense(expense)) for item, expense in rows], start=start, size=size
    )


def consent(asked: AuthorizationRequest, number: str) -> str:
    """The page that asks a user whether a client may have what it asks for; `number` comes back with the answer."""
    return _PAGES.get_template("consent").render(asked=asked, number=number)


def message(text: str) -> str:
    """A page that says one thing."""
    return _PAGES.get_template("message").render(text=text)
