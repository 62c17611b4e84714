"""Runs the example of docs/search.md."""

import re
from pathlib import Path

import optuna

PAGE = Path(__file__).parents[3] / "docs" / "search.md"


def test_the_example_runs_and_proposes_no_point_twice() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, PAGE.name, "exec"), names)
    study = names["study"]
    assert isinstance(study, optuna.Study)
    points = {tuple(sorted(trial.params.items())) for trial in study.trials}
    assert len(points) == len(study.trials) == 20
