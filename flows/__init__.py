"""Pleo's seven-step export: the order of the steps, the steps, bookkeeping, and what people see of a run."""

import os

# Read by Prefect when it is imported. Nothing about somebody's expenses calls out on its own account, a temporary
# server on a slow machine gets the time that it needs, what is logged outside of a run of Prefect's is not for its
# server, and an empty address means none.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,blocks")
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
if not os.environ.get("PREFECT_API_URL", "set"):
    del os.environ["PREFECT_API_URL"]
