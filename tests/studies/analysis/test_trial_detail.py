"""Tests of what is shown of one trial."""

import pytest

from search_space.architecture import architecture_hash
from search_space.preset_models import preset
from studies.analysis import trial_detail
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import ENVIRONMENT, all_stages, small_spec


def test_everything_about_one_trial(sqlite_url: str) -> None:
    spec = small_spec(sqlite_url, trials=2, references=("lfm2-350m",))
    with Store.open(sqlite_url) as store:
        run_study(spec, evaluators=all_stages(), store=store)
        found = trial_detail.detail(store, "small", "1")
        assert found.trial == store.trials("small")[1]
        assert found.architecture is not None
        assert found.trial.model is not None
        assert architecture_hash(found.architecture) == found.trial.model.hash
        (measurement,) = found.evaluations["latency"].measurements
        assert measurement.environment == ENVIRONMENT
        assert len(measurement.samples_ns) == 3
        decode = next(score for score in found.trial.scores if score.name == "decode")
        assert decode.low is not None
        assert len(found.trial.curve) == 8
        assert [run.stage for run in found.trial.stages] == ["costs", "latency", "training"]
        assert trial_detail.detail(store, "small", "lfm2-350m").architecture == preset("lfm2-350m")
        for name in ("2", "lfm2-700m", "-1", "²", "9" * 30):
            with pytest.raises(ValueError, match=f"trial: '{name}' is neither a candidate number"):
                trial_detail.detail(store, "small", name)
