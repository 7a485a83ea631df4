"""The real servers in whose databases tests look what becomes of expenses, each in the ways in which it is used."""

from __future__ import annotations

from tests.support.erp.contract.writers import Watched
from tests.support.erp.odoo import harness as odoo
from tests.support.erp.tryton import harness as tryton

_UNION = " union all ".join
_TRYTONS = ("account_move", "account_invoice")
_BY_MODULE = """
    select coalesce(pleo_entry_id, pleo_belongs_to), case when pleo_entry_id is null then 'payment' else 'main' end
    from {} where coalesce(pleo_entry_id, pleo_belongs_to) = any(%(ids)s)
"""
_BY_DESCRIPTION = """
    select substr(description, 6, 36), case when description like '%% payment%%' then 'payment' else 'main' end
    from {} where description like 'pleo:%%' and substr(description, 6, 36) = any(%(ids)s)
"""
_TRYTONS_STRAYS = """
    select id, resource from ir_attachment
    where resource like 'account.%' and resource not in (
        select 'account.move,' || id from account_move union select 'account.invoice,' || id from account_invoice)
"""
_ODOOS_RECORDS = """
    select substr(m.invoice_origin, 6), case when d.name like '%%_payment' then 'payment' else 'main' end
    from account_move m left join ir_model_data d
        on d.module = '__pleo__' and d.model = 'account.move' and d.res_id = m.id
    where m.invoice_origin like 'pleo:%%' and substr(m.invoice_origin, 6) = any(%(ids)s)
"""
_ODOOS_STRAYS = """
    select 'file', id from ir_attachment
    where res_model = 'account.move' and res_id not in (select id from account_move)
    union all select name, res_id from ir_model_data
    where module = '__pleo__' and model = 'account.move' and res_id not in (select id from account_move)
"""


def _tryton(harness: type[tryton.TrytonHarness], records: str, server: str = "tryton") -> Watched:
    return Watched(
        harness=harness,
        names=tryton.NAMES,
        server=server,
        written=(*_TRYTONS, "ir_attachment", "account_move_reconciliation"),
        records=_UNION(records.format(table) for table in _TRYTONS),
        strays=_TRYTONS_STRAYS,
        waits="blocks.erp.tryton.stock_recorder.WAIT_S",
    )


def _odoo(harness: type[odoo.OdooHarness]) -> Watched:
    written = ("account_move", "ir_attachment", "account_partial_reconcile")
    return Watched(harness, odoo.NAMES, "odoo", written, _ODOOS_RECORDS, _ODOOS_STRAYS)


WATCHED = {
    "tryton password": _tryton(tryton.TrytonHarness, _BY_DESCRIPTION),
    "tryton key": _tryton(tryton.TrytonKeyHarness, _BY_DESCRIPTION),
    "tryton module": _tryton(tryton.TrytonModuleHarness, _BY_MODULE, "tryton_with_module"),
    "odoo": _odoo(odoo.OdooHarness),
    "odoo by xml-rpc": _odoo(odoo.OdooXmlHarness),
}
