"""Accounting systems: what each must do (`base`), what travels to it (`entries`), and one room an ERP."""
