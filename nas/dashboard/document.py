"""Builds the JSON documents of a study; `nas.dashboard.form` is their schema."""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.calibration import Calibration, CalibrationKey
from evaluators.scores import is_timed
from nas.dashboard import form
from nas.dashboard.columns import (
    architecture_columns,
    curve_columns,
    exact_short,
    seconds_since_1970,
    trial_columns,
)
from nas.dashboard.confirmation_facts import confirmation_facts
from nas.dashboard.device_facts import calibration_document, drift, environments
from nas.dashboard.form import Document
from nas.dashboard.trial_form import State
from nas.dashboard.why import why_document
from nas.dashboard.why_form import Why
from nas.exporters.formats import FORMATS
from nas.findings.study_findings import study_findings
from nas.findings.study_limitations import study_limitations
from nas.findings.time_wording import provisional_among
from search_space.architecture import MIXERS
from studies.analysis.calibrated_devices import calibrated_devices
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.summaries import StudySummary, study_summary
from studies.confirmation.confirmation_results import Confirmation, read_confirmation
from studies.records import ConfirmationRun, Trial
from studies.spec.limits import limits
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import asked_scores
from studies.storage.store import Store


class StudyDocuments:
    """The documents of one study.

    An instance caches what it has read and reads only what is new. It is not thread-safe.
    """

    def __init__(self, store: Store, study: str) -> None:
        """Prepare to read a study; nothing is read yet.

        Args:
            store: The store that holds the study.
            study: The name of the study.
        """
        self._store = store
        self._study = study
        self._followed: FollowedStudy | None = None
        self._epoch = ""
        self._step = 0
        self._changed_at: dict[int, int] = {}  # the step of each trial's last change, by id
        self._whole: _WholeDocument | None = None
        self._confirmation_runs: tuple[ConfirmationRun, ...] = ()
        self._confirmation: Confirmation | None = None

    def document(self, since: str | None = None) -> Document:
        """Return the current document of the study.

        Args:
            since: The revision of an earlier document. An unknown revision is ignored.

        Returns:
            An update if `since` is a known revision, else a whole document.

        Raises:
            ValueError: The study does not exist.
        """
        return self._since(self._catch_up(), since)

    def answer(self, since: str | None = None) -> bytes | None:
        """Return the current document as JSON, for a page that polls.

        A whole document may be cached and lack the latest trials; the page receives them with its
        next request, which starts from the revision of that document.

        Args:
            since: The revision that the page has. An unknown revision is ignored.

        Returns:
            The JSON text in UTF-8, or None if nothing has changed since `since`.

        Raises:
            ValueError: The study does not exist.
        """
        followed = self._catch_up()
        if since == self._revision:
            return None
        if self._step_of(since) is not None:
            return json_bytes(self._since(followed, since))
        if self._whole is None or self._count_after(self._whole.step) > _MAX_MISSING_TRIALS:
            text = json_bytes(self._since(followed, None))
            self._whole = _WholeDocument(step=self._step, text=text)
        return self._whole.text

    def why(self) -> Why:
        """Return which choices matter; this takes a second or more."""
        return why_document(self.frozen_copy())

    def frozen_copy(self) -> FollowedStudy:
        """Return a copy of the current state that another thread can read."""
        return self._catch_up().frozen_copy()

    def _catch_up(self) -> FollowedStudy:
        followed = self._followed
        if followed is None or not followed.is_current():
            followed = self._followed = FollowedStudy(self._store, self._study)
            self._epoch, self._step, self._changed_at = secrets.token_hex(4), 0, {}
            self._whole, self._confirmation_runs, self._confirmation = None, (), None
        changed = followed.catch_up()
        if self._read_confirmation(followed) or changed or not self._step:
            self._step += 1
            self._changed_at |= dict.fromkeys(changed, self._step)
        return followed

    def _read_confirmation(self, followed: FollowedStudy) -> bool:
        """Read the confirmation again if its runs have changed; return whether they have."""
        runs = self._store.confirmation_runs(self._study)
        if runs == self._confirmation_runs:
            return False
        self._confirmation_runs = runs
        self._confirmation = read_confirmation(self._store, study_summary(followed).front)
        return True

    def _since(self, followed: FollowedStudy, since: str | None) -> Document:
        step = self._step_of(since)
        shown = [
            trial
            for key, trial in followed.trials.items()
            if trial.model is not None and (step is None or self._changed_at[key] > step)
        ]
        fingerprints = {run.fingerprint for t in followed.trials.values() for run in t.stages}
        return _document(
            followed,
            shown,
            self._confirmation,
            self._store.calibrations(fingerprints),
            calibrated_devices(self._store, followed.trials.values()),
            revision=self._revision,
            since=None if step is None else since,
        )

    @property
    def _revision(self) -> str:
        return f"{self._epoch}.{self._step}"

    def _count_after(self, step: int) -> int:
        return sum(changed_at > step for changed_at in self._changed_at.values())

    def _step_of(self, revision: str | None) -> int | None:
        """Return None for a revision of another study or another server, or for no revision."""
        epoch, _, step = (revision or "").partition(".")
        if epoch != self._epoch or not step.isdecimal():
            return None
        return int(step) if 0 < int(step) <= self._step else None


def json_bytes(document: Document | Why) -> bytes:
    """Return a document as compact JSON in UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeDocument:
    """A cached whole document, because building one takes half a second for a long study."""

    step: int
    text: bytes


def _document(
    followed: FollowedStudy,
    shown: Sequence[Trial],
    confirmation: Confirmation | None,
    calibrations: Sequence[Calibration],
    devices: Mapping[CalibrationKey, Sequence[str]],
    *,
    revision: str,
    since: str | None,
) -> Document:
    now = study_summary(followed)
    models = {trial.model.hash: trial.model for trial in shown if trial.model is not None}
    places = {digest: place for place, digest in enumerate(models)}
    parameters = {digest: model.parameters for digest, model in models.items()}
    return {
        "study": followed.study.name,
        "since": since,
        "revision": revision,
        "created_at": seconds_since_1970(followed.study.created_at),
        "spec": _settings(followed),
        "mixers": list(_mixers()),
        "export_formats": [
            {"name": name, "summary": definition.summary} for name, definition in FORMATS.items()
        ],
        "reference": paired_reference(followed.spec),
        "axes": list(_axes(followed)),
        "counts": _counts(followed, now),
        "running": list(_running(followed.trials.values())),
        "trials": trial_columns(followed, shown, places),
        "architectures": architecture_columns(models, followed.shapes, parameters),
        "curves": curve_columns(shown),
        "front": [trial.id for trial in now.front.members],
        "provisional_front": [
            trial.id for trial in provisional_among(now.front.members, now.front.axes)
        ],
        "knee": None if now.front.knee is None else now.front.knee.id,
        "reference_point": list(now.front.reference_point),
        "hypervolume": _hypervolume(followed, now),
        "stages": list(_stages(followed.trials.values())),
        "drift": list(drift(followed)),
        "calibrations": [
            calibration_document(each, devices.get(each.key, ())) for each in calibrations
        ],
        "environments": list(environments(followed)),
        "findings": list(study_findings(followed, now)),
        "limitations": list(study_limitations(followed, now, confirmation)),
        "confirmation": None
        if confirmation is None
        else confirmation_facts(followed.spec, confirmation),
    }


def _mixers() -> Iterator[form.MixerDocument]:
    for mixer in MIXERS.values():
        yield {
            "letter": mixer.letter,
            "name": mixer.name,
            "colour": mixer.colour,
            "attention": mixer.is_softmax_attention,
        }


def _settings(followed: FollowedStudy) -> dict[str, form.Json]:
    """Return the study file without the database URL, which may contain a password."""
    settings: dict[str, form.Json] = json.loads(followed.study.spec)
    settings.pop("storage", None)
    return settings


def _axes(followed: FollowedStudy) -> Iterator[form.AxisDocument]:
    spec = followed.spec
    units = {score.name: score.unit for trial in followed.trials.values() for score in trial.scores}
    objectives = {objective.name for objective in spec.objectives}
    most = limits(spec)
    for name in dict.fromkeys([*asked_scores(spec), *units]):
        yield {
            "name": name,
            "unit": units.get(name, ""),
            "objective": name in objectives,
            "max": most.get(name),
            "timed": is_timed(name),
        }


def _counts(followed: FollowedStudy, now: StudySummary) -> form.CountsDocument:
    counts = now.counts
    return {
        "total": followed.spec.trials,
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


def _hypervolume(followed: FollowedStudy, now: StudySummary) -> form.Hypervolume:
    start = followed.study.created_at
    return {
        "trial": [advance.trial.id for advance in now.advances],
        "ended": [advance.ended for advance in now.advances],
        "seconds": [round((advance.at - start).total_seconds(), 1) for advance in now.advances],
        "volume": [exact_short(advance.hypervolume) for advance in now.advances],
    }


def _stages(trials: Iterable[Trial]) -> Iterator[form.StageTime]:
    counts: Counter[tuple[str, State]] = Counter()
    seconds: dict[tuple[str, State], float] = defaultdict(float)
    for trial in trials:
        for run in trial.stages:
            counts[run.stage, trial.state] += 1
            seconds[run.stage, trial.state] += run.seconds
    for (stage, state), count in counts.items():
        spent = exact_short(seconds[stage, state])
        yield {"stage": stage, "state": state, "trials": count, "seconds": spent}


# Building an update with this many trials takes less time than a person notices.
_MAX_MISSING_TRIALS = 100
