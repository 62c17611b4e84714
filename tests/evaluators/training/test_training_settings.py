"""Settings of a training that are refused."""

import pytest

from evaluators.training.training_settings import TrainingSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [("context_length", 0), ("batch_size", 0), ("token_budget", -1), ("threads", 0)],
)
def test_settings_below_one_are_refused(field, value):
    with pytest.raises(ValueError, match=f"^{field}: {value} is not at least 1$"):
        TrainingSettings(**{field: value})


@pytest.mark.parametrize("rung", [0.0, 1.5])
def test_rungs_outside_the_budget_are_refused(rung):
    with pytest.raises(ValueError, match=f"^rungs: {rung} is not above 0 and at most 1$"):
        TrainingSettings(rungs=(0.5, rung))
