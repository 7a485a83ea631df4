"""Receipts over the network: what an expense's links lead to."""
