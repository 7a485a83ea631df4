"""Batches of entries as files that other accounting programs import: DATEV, SIE 4 and CSV."""
