"""What this process does about trials that other processes have not ended."""

import time

from studies.owner import this_process
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
        listener: Is told what this process waits for, and what others still work on.
        interrupts: Ends the wait at a Ctrl-C.

    Returns:
        Whether a process is lost, so that its trial can be claimed.
    """
    waits_for: set[int] = set()
    while True:
        running = _running_elsewhere(study, store)
        verdicts = {trial.id: store.judge(trial.owner) for trial in running if trial.owner}
        if "lost" in verdicts.values():
            return True
        unknown = [trial for trial in running if verdicts.get(trial.id) == "unknown"]
        if not unknown:
            for trial in running:
                listener(Remark(text=f"{trial.title} is still evaluated by {trial.owner}"))
            return False
        for trial in unknown:
            if trial.id not in waits_for and trial.owner is not None:
                waits_for.add(trial.id)
                listener(
                    Remark(
                        text=f"{trial.title} belongs to {trial.owner}, which this process cannot "
                        f"look up; waiting for up to {trial.owner.lease_s:.0f} s for a sign of "
                        "life before taking the trial over"
                    )
                )
        interrupts.check()
        time.sleep(_LOOK_EVERY_S)


def _running_elsewhere(study: str, store: Store) -> list[Trial]:
    numbers = store.numbers(study, ["running"])
    candidates = store.trials(study, numbers=numbers) if numbers else ()
    trials = (*store.trials(study, "reference"), *candidates)
    here = this_process()
    return [trial for trial in trials if trial.state == "running" and trial.owner != here]
