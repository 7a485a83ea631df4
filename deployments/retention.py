"""Sets for how long a Prefect server keeps what runs leave: the runs with their logs and artifacts, and the events.

    python deployments/retention.py [--days DAYS] [--event-days DAYS]

Said once on the machine of the server, which has to be started anew afterwards. DAYS is 365 for runs, 7 for events, of
which each run makes dozens. Without this Prefect keeps runs, logs and artifacts for good. Runs of the export that found
nothing to do go after two days in any case: the export deletes them itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from prefect.settings import get_current_settings, update_current_profile
from prefect.settings.profiles import load_current_profile

MOST_DAYS = 36_500


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"retention: {message} (--help tells the usage)\n")


def settings_for(runs: timedelta, events: timedelta) -> dict[str, str]:
    """The settings of the server, by their names, that keep runs and events for so long."""
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(int(runs.total_seconds())),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{events.days}D",
    }


def _days(text: str) -> timedelta:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {MOST_DAYS}")
    return timedelta(days=int(text))


def main(arguments: Sequence[str]) -> None:
    """The command line. Ends with one line where the number is none, or the profile cannot be written."""
    parser = _Parser(prog="retention.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=_days, default=timedelta(days=365), help=argparse.SUPPRESS)
    parser.add_argument("--event-days", type=_days, default=timedelta(days=7), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    wanted = settings_for(options.days, options.event_days)
    profile = load_current_profile()
    try:
        update_current_profile(wanted)
    except OSError as error:
        sys.exit(f"retention: {get_current_settings().profiles_path}: {error.strerror}")
    for name, value in wanted.items():
        print(f"set {name}={value}")
    print(f"in the profile {profile.name} of {get_current_settings().profiles_path}: start the server anew")


if __name__ == "__main__":
    main(sys.argv[1:])
