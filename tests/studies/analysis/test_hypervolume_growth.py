"""Growth, against the hypervolume of everything up to each point."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies.analysis.hypervolume_growth import growth

from studies.analysis.summaries import pareto_front

_POINTS = st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=30)


@given(_POINTS)
def test_each_entry_is_the_volume_of_all_points_before(points: list[tuple[int, ...]]) -> None:
    corner = (8, 8, 8)
    volumes = [pareto_front.hypervolume(points[: n + 1], corner) for n in range(len(points))]
    larger = [
        n for n, volume in enumerate(volumes) if volume > (volumes[n - 1] if n else 0.0) + 1e-9
    ]
    found = growth(points, corner)
    assert [each.index for each in found] == larger
    assert [each.hypervolume for each in found] == pytest.approx([volumes[n] for n in larger])


def test_nothing_grows_out_of_nothing() -> None:
    assert growth([], ()) == ()
