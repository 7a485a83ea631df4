"""How long a job still has, as far as can be told here. It warns and hastens; when a job is over, Pleo says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from blocks.pleo.models import ExportJob, JobStatus

USUAL_LIFE_S = 3600.0
"""How long a job lives after its last update, where Pleo does not say."""

_LONGEST_LIFE_S = 10**7
_SHARE = 4
"""Something is to reach Pleo at least so many times in a job's life."""


class Deadline:
    """The end of one job's life: `life_s` seconds after its last update, which a start is too.

    `clock` gives seconds that only grow, `now` the time of day at Pleo. Whether other calls than a start prolong a
    job's life is not known, so they are not counted on.
    """

    def __init__(self, job: ExportJob, clock: Callable[[], float], now: datetime) -> None:
        stated = job.expires_in or 0
        self.life_s = float(min(stated, _LONGEST_LIFE_S)) if stated > 0 else USUAL_LIFE_S
        self._clock = clock
        age_s = 0.0
        if job.status == JobStatus.IN_PROGRESS and job.last_updated_at is not None:
            age_s = min(max((now - job.last_updated_at).total_seconds(), 0.0), self.life_s)
        self._over_at = clock() + self.life_s - age_s

    def renew(self) -> None:
        """The job was updated just now."""
        self._over_at = self._clock() + self.life_s

    def left_s(self) -> float:
        """Seconds until the job's time is over, if nothing prolongs it."""
        return max(self._over_at - self._clock(), 0.0)

    def at_most(self, usual_s: float) -> float:
        """A time between two reports that the job can live with: as usual, shorter where its life is short."""
        return min(usual_s, self.life_s / _SHARE)
