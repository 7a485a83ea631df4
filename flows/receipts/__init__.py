"""Receipts on their way from Pleo to the accounting system: collected, merged, kept."""
