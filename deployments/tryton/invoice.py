"""Supplier invoices as records of Pleo's expenses. License: MIT."""

from trytond.pool import PoolMeta

from .document import PLEO_FIELDS, PleoDocumentMixin
from .upgrade import adopt


class Invoice(PleoDocumentMixin, metaclass=PoolMeta):
    __name__ = "account.invoice"

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._check_modify_exclude |= (
            PLEO_FIELDS  # a cancelled invoice hands its id on; all else is kept from by the mixin
        )

    @classmethod
    def __register__(cls, module_name):
        super().__register__(module_name)
        adopt(cls)
