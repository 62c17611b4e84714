"""Tests of the findings and limitations of a study with trials of known scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Evaluation, Score
from nas.findings.study_findings import study_findings
from nas.findings.study_limitations import study_limitations
from search_space.architecture import Architecture, Layer, ShortConv
from search_space.preset_models import preset
from search_space.space.matching import MatchedLatency
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.summaries import study_summary
from studies.records import Outcome, StageRun
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, to_json
from studies.spec.study_tables import DeviceSettings, Objective
from studies.storage.store import Store
from tests.nas.calibrated import DECODE, calibrated, calibration


class _Written:
    """A study of loss and decode, with a limit of 20 ms per token."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/study.db"
        objectives = (Objective(name="loss"), Objective(name="decode", max=20.0))
        changes = {
            "objectives": objectives,
            "storage": url,
            "constraints": (),
            "device": DeviceSettings(reference="lfm2.5-230m", precision=0.02),
        }
        self.spec: StudySpec = read_spec("edge-350m").model_copy(update=changes)
        self.store = Store.open(url)
        self.store.add_study(self.spec.name, to_json(self.spec))
        self.store.add_timings({DECODE: calibration().timings[0]})

    def timed(self, loss: float, decode: float, **how: Any) -> None:
        """Add a trial of this release; see `calibrated`."""
        score = Score(name="decode", value=decode, unit="ms/token")
        self._trial(loss, calibrated(score, **how), None)

    def trial(
        self,
        loss: float,
        decode: float,
        half: float = 0.1,
        name: str | None = None,
        predicted: float | None = None,
    ) -> None:
        """Add a trial of an earlier release, in which decode has an interval of ±`half`."""
        score = Score(
            name="decode", value=decode, unit="ms/token", low=decode - half, high=decode + half
        )
        self._trial(loss, score, name, predicted)

    def _trial(
        self, loss: float, decode: Score, name: str | None, predicted: float | None = None
    ) -> None:
        study = self.spec.name
        claimed = (
            self.store.claim(study, total=99)
            if name is None
            else self.store.claim_reference(study, name)
        )
        assert claimed is not None
        layer = Layer(mixer=ShortConv(kernel=1), feed_forward_width=claimed.number + 1)
        architecture = preset(name) if name else None
        architecture = architecture or Architecture(
            vocab_size=256, width=64, embedding_width=64, layers=(layer,)
        )
        trial = self.store.begin(claimed, architecture, predicted_latency=predicted)
        scores = (Score(name="loss", value=loss, unit="bits/byte"), decode)
        self.store.save_evaluation("1", architecture, Evaluation(scores=scores, seconds=90.0))
        run = StageRun(stage="all", fingerprint="1", seconds=90.0)
        self.store.leave(trial, run, finished=True)
        self.store.end(trial, Outcome(state="complete"))

    def findings(self) -> str:
        return "\n".join(study_findings(*self._read()))

    def limitations(self) -> str:
        return "\n".join(study_limitations(*self._read()))

    def _read(self):
        followed = FollowedStudy(self.store, self.spec.name)
        followed.catch_up()
        return followed, study_summary(followed)


@pytest.fixture
def written(tmp_path: Path) -> _Written:
    return _Written(tmp_path)


def test_differences_within_the_noise_are_ties(written: _Written) -> None:
    written.trial(1.50, 10.0)
    written.trial(1.51, 9.9)  # within the margin of 0.02, and the intervals overlap
    written.trial(1.60, 5.0)
    findings = written.findings()
    assert (
        "Neighbours on the front that differ by more than the noise: 1 of 2 pairs in loss and "
        in findings
    )
    assert "Ties in every objective: trial 0 and trial 1." in findings


def test_scores_are_quoted_with_their_intervals(written: _Written) -> None:
    written.trial(1.5, 10.0)
    written.trial(1.9, 5.0)
    findings = written.findings()
    assert "Lowest loss: trial 0 (c, " in findings
    assert "loss 1.500 bits/byte and decode 10.00 ms/token (9.900 to 10.10)." in findings
    assert "All evaluations together took 3 min: 100 % for all." in findings


def test_reference_models_are_compared_with_the_front(written: _Written) -> None:
    written.trial(1.5, 10.0)
    written.trial(1.9, 5.0)
    written.trial(1.7, 12.0, name="lfm2-350m")
    written.trial(1.91, 6.0, name="smollm2-360m")
    written.trial(1.0, 1.0, name="lfm2.5-230m")
    findings = written.findings()
    assert "with loss 1.500 bits/byte, below the reference model's 1.700 bits/byte." in findings
    assert (
        "with loss 1.900 bits/byte, a tie with the reference model's 1.910 bits/byte." in findings
    )
    assert "No candidate on the front is at least as good as lfm2.5-230m in decode." in findings


def test_limitations_are_listed(written: _Written) -> None:
    written.trial(1.5, 10.0, half=3.0)
    limitations = written.limitations()
    assert "Only 1 of 200 candidates are complete; the front may change" in limitations
    assert "one seed" in limitations
    assert "No member of the front has been confirmed by longer training." in limitations
    assert (
        "The confidence intervals of some times of trial 0 are wider than the requested ±2 %."
        in limitations
    )
    assert "from earlier releases are those of the measured ratio to lfm2.5-230m only" in (
        limitations
    )
    assert "provisional" not in limitations


def test_times_are_compared_by_their_ratios(written: _Written) -> None:
    # The intervals of the ratios are ±1 % and do not overlap.
    written.timed(1.5, 10.3)
    written.timed(1.8, 10.0)
    slow, fast = (trial.scores[1] for trial in written.store.trials(written.spec.name))
    assert slow.low is not None
    assert fast.high is not None
    assert fast.high > slow.low
    assert "1 of 1 pair in loss and 1 of 1 pair in decode." in written.findings()


def test_provisional_times_decide_nothing_and_are_named(written: _Written) -> None:
    written.timed(1.5, 10.3)
    written.timed(1.8, 10.0)
    written.timed(1.9, 5.0, half_width=0.4, provisional=True)
    findings, limitations = written.findings(), written.limitations()
    assert "Lowest decode: trial 1 " in findings
    assert "1 of 2 pairs in decode." in findings
    assert (
        "Some times of trial 2 are provisional: they are too uncertain to decide anything, and "
        "`nas run` measures them again when the machine is quieter.\n"
        "1 of 3 members is on the front only provisionally."
    ) in limitations
    assert "wider than the requested" not in limitations
    assert "cover the errors of both and the scatter between repeats" in limitations
    assert "earlier releases" not in limitations


def test_candidates_that_may_exceed_a_limit_are_counted(written: _Written) -> None:
    written.timed(1.5, 19.9)
    written.timed(1.4, 20.1)
    written.timed(1.6, 15.0)
    assert (
        "2 complete candidates may exceed the limit of decode. They were kept, as that is not "
        "certain."
    ) in written.limitations()


class TestMatchedLatency:
    """A study whose candidates are matched to 10 ms per token."""

    @pytest.fixture
    def matched(self, tmp_path: Path) -> _Written:
        written = _Written(tmp_path)
        space = replace(
            written.spec.space, feed_forward=(1.0, 6.0), matched=MatchedLatency(latency=10.0)
        )
        written.spec = written.spec.model_copy(update={"space": space})
        written.store.update_spec(written.spec.name, to_json(written.spec))
        return written

    def test_the_distance_from_the_target_is_stated(self, matched: _Written) -> None:
        for decode, predicted in ((4.0, None), (30.0, None), (9.0, 9.98), (10.5, 10.02)):
            matched.trial(1.5, decode, predicted=predicted)
        matched.trial(1.4, 11.0, predicted=10.0)
        matched.trial(1.6, 20.0, half=15.0, predicted=10.0)  # provisional
        assert (
            "The measured latency of 3 matched candidates is 0.9000 to 1.100 times the target of "
            "decode of 10 ms/token (median 1.050); 2 others were not matched."
        ) in matched.findings()

    def test_nothing_is_stated_about_candidates_that_were_not_matched(
        self, matched: _Written
    ) -> None:
        matched.trial(1.5, 4.0)
        assert (
            "No candidate that was matched to the target of decode of 10 ms/token has been "
            "measured yet."
        ) in matched.findings()

    def test_other_studies_have_no_target(self, written: _Written) -> None:
        written.trial(1.5, 4.0)
        assert "matched" not in written.findings()
