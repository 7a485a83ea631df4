"""What moves and invoices know of Pleo: two fields that nobody but the export sets. License: MIT."""

from sql import Null
from trytond.i18n import gettext
from trytond.model import Index, Unique, fields
from trytond.model.exceptions import AccessError

PLEO_FIELDS = frozenset({"pleo_entry_id", "pleo_belongs_to"})


class ExportValue(str):
    """A value that the export itself gives one of these fields, empty to clear it. No caller can send one, wherever in
    the values of a record it may put a text."""

    __slots__ = ()


class PleoDocumentMixin:
    """Pleo's fields of a model that has a company."""

    __slots__ = ()

    pleo_entry_id = fields.Char(
        "Pleo Expense", readonly=True, help="The accounting entry id of the expense in Pleo that this records."
    )
    pleo_belongs_to = fields.Char(
        "Belongs to Pleo Expense",
        readonly=True,
        help="The accounting entry id of the expense in Pleo whose further record (its payment, say) this is.",
    )

    @classmethod
    def __setup__(cls):
        cls.pleo_entry_id.search_unaccented = False
        cls.pleo_belongs_to.search_unaccented = False
        super().__setup__()
        table = cls.__table__()
        cls._sql_constraints.append(
            ("pleo_entry_id_unique", Unique(table, table.company, table.pleo_entry_id), "pleo_export.msg_one_document")
        )
        for column in (table.pleo_entry_id, table.pleo_belongs_to):
            cls._sql_indexes.add(Index(table, (column, Index.Range(cardinality="high")), where=column != Null))

    @classmethod
    def preprocess_values(cls, mode, values):
        values = super().preprocess_values(mode, values)
        for name in PLEO_FIELDS & values.keys():
            if isinstance(values[name], ExportValue):
                values[name] = str(values[name]) or None
            elif mode == "write" or values[name] is not None:
                raise AccessError(gettext("pleo_export.msg_set_by_export"))
        return values

    @classmethod
    def copy(cls, records, default=None):
        default = {} if default is None else default.copy()
        for name in PLEO_FIELDS:
            default.setdefault(name)
        return super().copy(records, default=default)
