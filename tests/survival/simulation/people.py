"""What people and other integrations do in the middle of an export."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.survival.simulation.pleo import OPEN, Job
from tests.survival.simulation.world import Money, World


class People:
    """Everybody who is not a run of the export; `choose` decides what they do."""

    def __init__(self, world: World, choose: random.Random) -> None:
        self.world, self.choose = world, choose

    def any(self) -> None:
        """Somebody does something, in the middle of it all."""
        acts: Sequence[Callable[[], None]] = (
            self._cancel,
            self._finish_elsewhere,
            self._export_again,
            self._lose_contra_accounts,
            self._take_an_item_out,
            self._hate_an_entry,
            self.another_job,
        )
        self.choose.choice(acts)()

    def _a_job(self) -> Job | None:
        jobs = self.world.open_jobs()
        return self.choose.choice(jobs) if jobs else None

    def _cancel(self) -> None:
        if (job := self._a_job()) is not None:
            self.world.note(f"the user cancels job {job.id[:8]}")
            self.world.contested.add(job.id)
            self.world.pleo.end(job, "failed", "canceled_by_user")

    def _finish_elsewhere(self) -> None:
        if (job := self._a_job()) is not None:
            self.world.note(f"another integration completes job {job.id[:8]}")
            self.world.contested.add(job.id)
            self.world.pleo.end(job, "completed")

    def _export_again(self) -> None:
        world, choose = self.world, self.choose
        free = [id_ for id_ in world.expenses if not world.is_locked(id_)]
        if not free:
            return
        chosen = choose.sample(free, choose.randint(1, len(free)))
        for id_ in chosen:
            if choose.random() < 0.2:
                expense = world.expenses[id_]
                expense.now = Money(choose.choice(["DKK", "EUR"]), choose.randrange(-500, 10**6))
                world.show(expense)
        world.press_export(chosen)

    def refuse_updates(self) -> None:
        if (job := self._a_job()) is not None and job.rows:
            id_ = self.choose.choice(list(job.rows))
            self.world.pleo.refuse[id_] = [self.choose.random() < 0.5 for _ in range(self.choose.choice([1, 2, 9]))]
            self.world.note(f"updates of {id_[:8]} are refused: {self.world.pleo.refuse[id_]}")

    def _lose_contra_accounts(self) -> None:
        if (job := self._a_job()) is not None:
            self.world.note(f"contra accounts of job {job.id[:8]} are missing")
            job.contra_missing = True

    def _take_an_item_out(self) -> None:
        job = self._a_job()
        waiting = [row.id for row in job.rows.values() if row.status in OPEN] if job is not None else []
        if job is not None and waiting:
            id_ = self.choose.choice(waiting)
            self.world.note(f"{id_[:8]} is taken out of job {job.id[:8]}")
            self.world.contested.add(job.id)
            self.world.pleo.drop_item(job, id_)

    def _hate_an_entry(self) -> None:
        if self.world.expenses:
            self.world.books.hated.add(self.choose.choice(list(self.world.expenses)))

    def another_job(self) -> None:
        self.world.press_export([self.world.new_expense().id for _ in range(self.choose.choice([1, 4, 9]))])
