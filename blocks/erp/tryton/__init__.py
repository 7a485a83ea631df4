"""Tryton as an ERP: a database of a Tryton 8.0 server, by REST with an application key, faster with a password too."""

from blocks.erp.tryton.tryton import Tryton

__all__ = ["Tryton"]
