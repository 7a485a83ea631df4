"""Account moves as records of Pleo's expenses, and the calls that the export makes. License: MIT."""

from trytond.pool import PoolMeta
from trytond.rpc import RPC

from .document import PleoDocumentMixin
from .recorder import record
from .upgrade import adopt

INTERFACE = 1


class Move(PleoDocumentMixin, metaclass=PoolMeta):
    __name__ = "account.move"

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__rpc__.update(
            pleo_version=RPC(),
            pleo_record=RPC(readonly=False, fresh_session=True),
        )

    @classmethod
    def __register__(cls, module_name):
        super().__register__(module_name)
        adopt(cls)

    @classmethod
    def pleo_version(cls):
        """Which version of these calls the server answers."""
        return INTERFACE

    @classmethod
    def pleo_record(cls, entries):
        """Records expenses, each once: see `recorder.record`."""
        return record(entries)
