"""Waits until it is known whether the other processes that work on a study are alive."""

import time

from studies.owner import Owner, this_process
from studies.records import Trial
from studies.search.events import Listener, Remark
from studies.search.interrupts import Interrupts
from studies.storage.store import Store

_LOOK_EVERY_S = 1.0


def await_others(study: str, store: Store, listener: Listener, interrupts: Interrupts) -> bool:
    """Wait until it is known of every process with a running trial whether it is alive.

    This takes at most the lease of a process, and no time if all of them can be looked up.

    Args:
        study: The name of the study.
        store: The database.
        listener: Receives what this process waits for, and which trials others still evaluate.
        interrupts: Ends the wait at a Ctrl-C.

    Returns:
        Whether a process is lost, so that its trial can be claimed.
    """
    announced: set[int] = set()  # ids of trials
    while True:
        running = _running_elsewhere(study, store)
        verdicts = {trial.id: store.judge(owner) for trial, owner in running}
        if "lost" in verdicts.values():
            return True
        if "unknown" not in verdicts.values():
            for trial, owner in running:
                listener(Remark(text=f"{trial.title} is still evaluated by {owner}"))
            return False
        for trial, owner in running:
            if verdicts[trial.id] == "unknown" and trial.id not in announced:
                announced.add(trial.id)
                text = (
                    f"{trial.title} belongs to {owner}, which this process cannot look up; "
                    f"waiting for up to {owner.lease_s:.0f} s for a sign of life before taking "
                    "the trial over"
                )
                listener(Remark(text=text))
        interrupts.check()
        time.sleep(_LOOK_EVERY_S)


def _running_elsewhere(study: str, store: Store) -> list[tuple[Trial, Owner]]:
    """Return the running trials of other processes, each with its process."""
    numbers = store.numbers(study, ["running"])
    candidates = store.trials(study, numbers=numbers) if numbers else ()
    here = this_process()
    return [
        (trial, trial.owner)
        for trial in (*store.trials(study, "reference"), *candidates)
        if trial.state == "running" and trial.owner is not None and trial.owner != here
    ]
