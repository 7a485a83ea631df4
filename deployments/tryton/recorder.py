"""Records expenses, each once, in the one transaction that the call has. License: MIT.

Why once: a call that has something to create first updates its company's row. Of two such calls the second waits there
until the first has ended. If the first has committed, PostgreSQL refuses the second the row, because its view of the
database is older than that (Tryton's transactions are *repeatable read*), and it begins anew with a view that shows
what the first one wrote. So whoever gets past the row has seen every entry of the company, and no other can be written
until it commits. The unique constraint of each model stands behind that.
"""

from collections import defaultdict

from trytond.i18n import gettext
from trytond.model.exceptions import AccessError
from trytond.pool import Pool
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from .calls import read_entries
from .columns import with_same_columns
from .document import ExportValue
from .exceptions import RecordingError
from .locks import lock_company, lock_records, lock_table
from .settlement import settle

MOVE, INVOICE = "account.move", "account.invoice"
PORTION = 50
"""How many entries are made at a time: Tryton's work grows faster than the number of records that it is given."""


def record(entries):
    """Records the entries that do not stand yet. Returns for each, in their order, what stands now.

    Raises RecordingError or another UserError where one of them is refused, and AccessError where the user may not
    record at all. Nothing is written then.
    """
    models = [name for name in (MOVE, INVOICE) if name in dict(Pool().iterobject())]
    wanted = read_entries(entries, models)
    if not wanted:
        return []
    _check_rights(wanted[0].company, {document.model for entry in wanted for document in entry.documents})
    with Transaction().set_context(company=wanted[0].company):
        try:
            made, standing = _record(wanted, models)
        except AccessError as error:  # which Tryton's REST would answer without its text
            raise RecordingError(error.message, error.description, error.domain) from error
    answers = []
    for entry in wanted:
        found = entry.id not in made
        records = standing[entry.id] if found else made[entry.id]
        if not found:
            standing[entry.id] = made.pop(entry.id)
        answers.append({"pleo_entry_id": entry.id, "found": found, "records": [str(one) for one in records]})
    return answers


def _check_rights(company, models):
    """Whether the user may record at all. What a record may hold is Tryton's to check when it is made."""
    if Transaction().check_access and company not in Pool().get("res.user").get_companies():
        raise AccessError(gettext("pleo_export.msg_company", company=company))
    for model in sorted(models):
        for mode in ("read", "create", "write"):
            Pool().get("ir.model.access").check(model, mode)


def _record(wanted, models):
    company = wanted[0].company
    standing, further, cancelled = _look_up(models, company, sorted({entry.id for entry in wanted}))
    missing = {}
    for entry in wanted:
        if entry.id not in standing:
            missing.setdefault(entry.id, entry)
    if not missing:
        return {}, standing
    lock_company(company)
    for id_ in missing:
        if id_ in further:
            raise RecordingError(gettext("pleo_export.msg_further_stands", entry=id_, record=further[id_][0].rec_name))
    _hand_on([cancelled[id_] for id_ in missing if id_ in cancelled])
    _lock_what_is_needed(company, missing.values())
    documents = {}
    for portion in grouped_slice(list(missing.values()), PORTION):
        made = _create(list(portion))
        _post([one for id_, ones in made.items() if missing[id_].post for one in ones])
        settle([ones for id_, ones in made.items() if missing[id_].settle])
        documents.update(made)
    return documents, standing


@without_check_access  # what a rule hides from this user stands nevertheless
def _look_up(models, company, ids):
    """What stands for the expenses (first document first), further documents whose first is gone, and cancelled first
    documents, which do not stand. Each by the expense's id."""
    first, further, cancelled = {}, defaultdict(list), {}
    for name in models:
        Model = Pool().get(name)
        rows = Model.search_read(
            [("company", "=", company), ["OR", ("pleo_entry_id", "in", ids), ("pleo_belongs_to", "in", ids)]],
            order=[("id", "ASC")],
            fields_names=["pleo_entry_id", "pleo_belongs_to", "state"],
        )
        for row in rows:
            if row["state"] == "cancelled":
                if row["pleo_entry_id"]:
                    cancelled[row["pleo_entry_id"]] = Model(row["id"])
            elif row["pleo_entry_id"]:
                first[row["pleo_entry_id"]] = Model(row["id"])
            else:
                further[row["pleo_belongs_to"]].append(Model(row["id"]))
    return {id_: [one, *further.pop(id_, [])] for id_, one in first.items()}, further, cancelled


def _hand_on(invoices):
    """Takes the expense from a cancelled invoice, for the record that follows it."""
    if invoices:
        Pool().get(INVOICE).write(invoices, {"pleo_entry_id": ExportValue()})


@without_check_access
def _lock_what_is_needed(company, entries):
    """Locks the sequences that will number, and the periods of journals where one will be opened."""
    JournalPeriod = Pool().get("account.journal.period")
    numbered, opened = set(), set()
    for entry in entries:
        for document in entry.documents:
            period = _period(company, document)
            opened.add((document.values.get("journal"), period))
            if entry.post:
                numbered.add((period, document.values.get("type") if document.model == INVOICE else None))
    lock_records("ir.sequence.strict", {int(one) for pair in numbered for one in _sequences(*pair) if one})
    known = JournalPeriod.search(["OR", *([("journal", "=", one), ("period", "=", two)] for one, two in opened)])
    if len(known) < len(opened):
        lock_table("account.journal.period")


def _period(company, document):
    if document.model == MOVE:
        return document.values.get("period")
    day = document.values.get("accounting_date") or document.values.get("invoice_date")
    return int(Pool().get("account.period").find(company, date=day, test_state=False))


def _sequences(period_id, invoice_type):
    """The sequences that number moves in a period, and its invoices of a type if one is given."""
    if period_id is None:  # Tryton's default: it locks by itself
        return
    period = Pool().get("account.period")(period_id)
    yield period.move_sequence_used
    if invoice_type in {"in", "out"}:
        for sequences in period.fiscalyear.invoice_sequences:
            yield getattr(sequences, f"{invoice_type}_invoice_sequence")
            yield getattr(sequences, f"{invoice_type}_credit_note_sequence")


def _create(entries):
    """Makes all documents of the entries, one `create` a model. Returns them by the expense's id, the first first."""
    values, owners = defaultdict(list), defaultdict(list)
    for entry in entries:
        for document in entry.documents:
            is_first = document is entry.documents[0]
            pleo_fields = {
                "pleo_entry_id": ExportValue(entry.id) if is_first else None,
                "pleo_belongs_to": None if is_first else ExportValue(entry.id),
            }
            values[document.model].append({**document.values, **pleo_fields})
            owners[document.model].append((entry.id, is_first))
    first, further = {}, defaultdict(list)
    for name in (MOVE, INVOICE):
        if name in values:
            records = Pool().get(name).create(with_same_columns(Pool().get(name), values[name]))
            for (id_, is_first), one in zip(owners[name], records, strict=True):
                if is_first:
                    first[id_] = one
                else:
                    further[id_].append(one)
    return {id_: [one, *further[id_]] for id_, one in first.items()}


def _post(documents):
    by_model = defaultdict(list)
    for one in documents:
        by_model[one.__name__].append(one)
    if invoices := by_model[INVOICE]:
        Invoice = Pool().get(INVOICE)
        Invoice.validate_invoice(invoices)
        Invoice.post(Invoice.browse(invoices))
    if moves := by_model[MOVE]:
        Move = Pool().get(MOVE)
        Move.post(Move.browse(moves))
