"""Odoo 16 to 19 as an accounting system, over its web interfaces alone."""
