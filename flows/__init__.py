"""Pleo's seven-step export: the order of the steps, the steps, bookkeeping, and what people see of a run."""

import os
import sys

from blocks.tls import CannotVerify, verifying_tls

# Read by Prefect when it is imported. Nothing about somebody's expenses calls out on its own account, a temporary
# server on a slow machine gets the time that it needs, and an empty address means none.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,blocks")
if not os.environ.get("PREFECT_API_URL", "set"):
    del os.environ["PREFECT_API_URL"]

if sys.argv[:1] == ["-m"]:  # a command is about to be run, for which Prefect is imported, which breaks over such a file
    try:
        verifying_tls()
    except CannotVerify as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
