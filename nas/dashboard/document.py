"""The document of a study, whole, or what is new in it; see nas.dashboard.form."""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nas.dashboard import form
from nas.dashboard.columns import (
    architecture_columns,
    curve_columns,
    exact_short,
    seconds_since_1970,
    trial_columns,
)
from nas.dashboard.findings import findings, unproven
from nas.dashboard.form import Document, Why
from nas.dashboard.why import why_document
from nas.views.trust import trust_findings
from studies.analysis import Standing, standing
from studies.confirmed import Confirmation, read_confirmation
from studies.following import Followed
from studies.records import RepeatRun, Trial
from studies.reference import paired_reference
from studies.scores import is_timed
from studies.spec import asked_scores
from studies.storage.store import Store


class StudyDocuments:
    """What pages ask for of one study, one after another: not for several threads at a time.

    It remembers what it has read, and reads on from there.
    """

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._study = study
        self._followed: Followed | None = None
        self._epoch = ""
        self._step = 0
        self._changed_at: dict[int, int] = {}  # the step at which each trial was last new
        self._whole: _Whole | None = None
        self._repeats: tuple[RepeatRun, ...] = ()
        self._confirmation: Confirmation | None = None

    def document(self, since: str | None = None) -> Document:
        """An update, if `since` is a revision that can be gone on from; else the whole.

        ValueError for a study that there is not.
        """
        return self._since(self._catch_up(), since)

    def answer(self, since: str | None = None) -> bytes | None:
        """The document as JSON, for pages; None where nothing has changed.

        A whole one may be some trials old: pages go on from its revision anyway.
        """
        followed = self._catch_up()
        if since == self._revision:
            return None
        if self._step_of(since) is not None:
            return json_bytes(self._since(followed, since))
        if self._whole is None or self._count_after(self._whole.step) > _MOST_MISSING:
            text = json_bytes(self._since(followed, None))
            self._whole = _Whole(step=self._step, text=text)
        return self._whole.text

    def why(self) -> Why:
        """Takes a second or more."""
        return why_document(self.as_it_is())

    def as_it_is(self) -> Followed:
        """The study of this moment; it stays so, for another thread."""
        return self._catch_up().as_it_is()

    def _catch_up(self) -> Followed:
        followed = self._followed
        if followed is None or not followed.is_current():
            followed = self._followed = Followed(self._store, self._study)
            self._epoch, self._step, self._changed_at = secrets.token_hex(4), 0, {}
            self._whole, self._repeats, self._confirmation = None, (), None
        changed = followed.catch_up()
        if self._confirm(followed) or changed or not self._step:
            self._step += 1
            self._changed_at |= dict.fromkeys(changed, self._step)
        return followed

    def _confirm(self, followed: Followed) -> bool:
        """Whether more has been repeated since; then all that follows from it is new."""
        repeats = self._store.repeats(self._study)
        if repeats == self._repeats:
            return False
        self._repeats = repeats
        self._confirmation = read_confirmation(self._store, standing(followed).front)
        return True

    def _since(self, followed: Followed, since: str | None) -> Document:
        step = self._step_of(since)
        shown = [
            trial
            for key, trial in followed.trials.items()
            if trial.model is not None and (step is None or self._changed_at[key] > step)
        ]
        return _document(
            followed,
            shown,
            self._confirmation,
            revision=self._revision,
            since=None if step is None else since,
        )

    @property
    def _revision(self) -> str:
        return f"{self._epoch}.{self._step}"

    def _count_after(self, step: int) -> int:
        return sum(changed_at > step for changed_at in self._changed_at.values())

    def _step_of(self, revision: str | None) -> int | None:
        """None for a revision of another study, another server, or none."""
        epoch, _, step = (revision or "").partition(".")
        if epoch != self._epoch or not step.isdecimal():
            return None
        return int(step) if 0 < int(step) <= self._step else None


def json_bytes(document: Document | Why) -> bytes:
    """Compact JSON in UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """A whole document as it was at a step: of a long study it takes half a second to make."""

    step: int
    text: bytes


def _document(
    followed: Followed,
    shown: Sequence[Trial],
    confirmation: Confirmation | None,
    *,
    revision: str,
    since: str | None,
) -> Document:
    now = standing(followed)
    models = {trial.model.hash: trial.model for trial in shown if trial.model is not None}
    places = {digest: place for place, digest in enumerate(models)}
    parameters = {digest: model.parameters for digest, model in models.items()}
    return {
        "study": followed.study.name,
        "since": since,
        "revision": revision,
        "created_at": seconds_since_1970(followed.study.created_at),
        "spec": _settings(followed),
        "reference": paired_reference(followed.spec),
        "axes": list(_axes(followed)),
        "counts": _counts(followed, now),
        "running": list(_running(followed.trials.values())),
        "trials": trial_columns(followed, shown, places),
        "architectures": architecture_columns(models, followed.shapes, parameters),
        "curves": curve_columns(shown),
        "front": [trial.id for trial in now.front.members],
        "knee": None if now.front.knee is None else now.front.knee.id,
        "reference_point": list(now.front.reference_point),
        "hypervolume": _hypervolume(followed, now),
        "stages": list(_stages(followed.trials.values())),
        "drift": list(_drift(followed)),
        "environments": list(_environments(followed)),
        "findings": list(findings(followed, now)),
        "unproven": list(unproven(followed, now, confirmation)),
        "confirmation": None if confirmation is None else _confirmation(followed, confirmation),
    }


def _confirmation(followed: Followed, confirmation: Confirmation) -> form.Confirmation:
    repeated = {name for each in confirmation.candidates for name in each.again}
    anew = [each.name for each in followed.spec.objectives if each.name in repeated]
    seeds = sorted({seed for each in confirmation.candidates for seed in each.fresh})
    return {
        "short_tokens": confirmation.short_tokens,
        "inherited": confirmation.inherited,
        "long_tokens": confirmation.long_tokens,
        "seeds": seeds,
        "anew": anew,
        "candidates": [
            {
                "trial": each.trial.id,
                "on_front": each.on_front,
                "short": each.trial.values["loss"],
                "fresh": [each.fresh.get(seed) for seed in seeds],
                "long": each.long,
                "again": [each.again[name].value if name in each.again else None for name in anew],
                "probability": each.probability,
            }
            for each in confirmation.candidates
        ],
        "findings": list(trust_findings(confirmation)),
    }


def _settings(followed: Followed) -> dict[str, form.Json]:
    """Without the database's address, which may hold a password."""
    settings: dict[str, form.Json] = json.loads(followed.study.spec)
    settings.pop("storage", None)
    return settings


def _axes(followed: Followed) -> Iterator[form.Axis]:
    spec = followed.spec
    units = {score.name: score.unit for trial in followed.trials.values() for score in trial.scores}
    objectives = {objective.name: objective.max for objective in spec.objectives}
    budgets = objectives | {constraint.name: constraint.max for constraint in spec.constraints}
    for name in dict.fromkeys([*asked_scores(spec), *units]):
        yield {
            "name": name,
            "unit": units.get(name, ""),
            "objective": name in objectives,
            "max": budgets.get(name),
            "timed": is_timed(name),
        }


def _counts(followed: Followed, now: Standing) -> form.Counts:
    counts = now.counts
    return {
        "wanted": followed.spec.trials,
        "complete": counts.complete,
        "infeasible": counts.infeasible,
        "stopped": counts.stopped,
        "failed": counts.failed,
        "running": counts.running,
        "interrupted": counts.interrupted,
        "duplicates": counts.duplicates,
        "rejected": dict(followed.rejections),
    }


def _running(trials: Iterable[Trial]) -> Iterator[form.Running]:
    for trial in trials:
        if trial.state != "running" or trial.owner is None:
            continue
        progress = trial.progress
        yield {
            "trial": None if trial.model is None else trial.id,
            "title": trial.title,
            "host": trial.owner.host,
            "pid": trial.owner.pid,
            "stage": trial.stage,
            "done": None if progress is None else progress.done,
            "text": "" if progress is None else progress.text,
            "since": seconds_since_1970(trial.started_at),
        }


def _hypervolume(followed: Followed, now: Standing) -> form.Hypervolume:
    begun = followed.study.created_at
    return {
        "trial": [advance.trial.id for advance in now.advances],
        "ended": [advance.ended for advance in now.advances],
        "seconds": [round((advance.at - begun).total_seconds(), 1) for advance in now.advances],
        "volume": [exact_short(advance.hypervolume) for advance in now.advances],
    }


def _stages(trials: Iterable[Trial]) -> Iterator[form.StageTime]:
    counts: Counter[tuple[str, form.State]] = Counter()
    seconds: dict[tuple[str, form.State], float] = defaultdict(float)
    for trial in trials:
        for run in trial.stages:
            counts[run.stage, trial.state] += 1
            seconds[run.stage, trial.state] += run.seconds
    for (stage, state), count in counts.items():
        spent = exact_short(seconds[stage, state])
        yield {"stage": stage, "state": state, "trials": count, "seconds": spent}


def _drift(followed: Followed) -> Iterator[form.Drift]:
    """So many that a chart tells them apart."""
    times = followed.reference_times
    for workload in dict.fromkeys(time.workload for time in times):
        those = [time for time in times if time.workload == workload]
        those = those[:: -(-len(those) // _MOST_DRIFT_POINTS)]
        yield {
            "workload": workload,
            "trial": [time.trial for time in those],
            "at": [seconds_since_1970(time.at) for time in those],
            "ms": [exact_short(time.median_ms) for time in those],
        }


def _environments(followed: Followed) -> Iterator[form.EnvironmentSeen]:
    """By what stays as it is on one machine; load, clock and temperature do not."""
    seen: Counter[tuple[str, str, str, int, int, str, str | None]] = Counter()
    for evidence in followed.evidence.values():
        each = evidence.environment
        machine = (each.host, each.system, each.cpu, each.cores, each.memory_bytes)
        seen[*machine, each.runtime_version, each.governor] += 1
    for (host, system, cpu, cores, memory, runtime, governor), count in seen.most_common():
        yield {
            "host": host,
            "system": system,
            "cpu": cpu,
            "cores": cores,
            "memory_bytes": memory,
            "runtime": runtime,
            "governor": governor,
            "trials": count,
        }


_MOST_DRIFT_POINTS = 400
# An update of so many is made in less time than it takes to see.
_MOST_MISSING = 100
