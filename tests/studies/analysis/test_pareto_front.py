"""Tests of fronts, hypervolumes and knees against brute force, closed forms and properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.analysis.pareto_front import hypervolume, hypervolume_growth, knee, non_dominated


def points_of(dimension: int, most: int = 12):
    # Few different values, so that ties and duplicates are common.
    return st.lists(
        st.lists(st.integers(0, 6).map(float), min_size=dimension, max_size=dimension),
        min_size=1,
        max_size=most,
    )


points = st.integers(1, 4).flatmap(points_of)


def dominates(one, other) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@given(points)
def test_the_front_holds_the_non_dominated_points(values):
    expected = [
        index
        for index, point in enumerate(values)
        if not any(dominates(other, point) for other in values)
    ]
    assert list(non_dominated(values)) == expected


@given(points, st.randoms(use_true_random=False))
def test_shuffling_and_duplicates_change_nothing(values, random):
    shuffled = [*values, *random.choices(values, k=3)]
    random.shuffle(shuffled)
    assert {tuple(values[n]) for n in non_dominated(values)} == {
        tuple(shuffled[n]) for n in non_dominated(shuffled)
    }
    corner = [7.0] * len(values[0])
    assert hypervolume(shuffled, corner) == pytest.approx(hypervolume(values, corner))
    assert values[knee(values)] == shuffled[knee(shuffled)]


def test_no_points_have_no_front_and_equal_points_share_one():
    assert non_dominated([]) == ()
    assert non_dominated([(1, 2), (0, 3), (1, 2), (2, 2)]) == (0, 1, 2)
    assert hypervolume([], (1, 1)) == 0


@given(points, st.data())
def test_a_provisional_point_dominates_none_and_is_dominated_by_settled_ones(values, data):
    flags = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    settled = [point for point, provisional in zip(values, flags, strict=True) if not provisional]
    expected = [
        index
        for index, point in enumerate(values)
        if not any(dominates(other, point) for other in settled)
    ]
    assert list(non_dominated(values, flags)) == expected


@pytest.mark.parametrize("values", [[], [(1.0, 2.0)], [(1.0, 2.0), (0.0, 3.0), (1.0, 2.0)]])
def test_provisional_points_alone_are_all_on_the_front(values):
    assert non_dominated(values, [True] * len(values)) == tuple(range(len(values)))


class TestHypervolume:
    def test_of_a_box(self):
        assert hypervolume([(1, 2, 3)], (4, 4, 4)) == 3 * 2 * 1

    def test_of_stairs(self):
        # n steps from (0, n - 1) to (n - 1, 0) below (n, n): n + ... + 1 squares
        for steps in range(1, 9):
            stairs = [(step, steps - 1 - step) for step in range(steps)]
            assert hypervolume(stairs, (steps, steps)) == steps * (steps + 1) / 2

    def test_of_a_circle_and_a_sphere(self):
        # Points on the part nearest to the origin dominate the unit box except for its inside.
        angles = np.linspace(0, np.pi / 2, 2_001)
        circle = np.column_stack([np.cos(angles), np.sin(angles)])
        assert hypervolume(circle, (1, 1)) == pytest.approx(1 - np.pi / 4, abs=1e-3)
        grid = list(itertools.product(np.linspace(0, np.pi / 2, 61), repeat=2))
        sphere = [(np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)) for p, a in grid]
        assert hypervolume(sphere, (1, 1, 1)) == pytest.approx(1 - np.pi / 6, abs=0.03)

    @given(st.integers(1, 3).flatmap(lambda dimension: points_of(dimension, most=6)))
    def test_is_the_number_of_dominated_unit_cells(self, values):
        edge = 5
        cells = itertools.product(range(edge), repeat=len(values[0]))
        dominated = sum(
            any(all(a <= b for a, b in zip(point, cell, strict=True)) for point in values)
            for cell in cells
        )
        assert hypervolume(values, [edge] * len(values[0])) == dominated

    def test_a_point_beyond_the_reference_adds_nothing(self):
        assert hypervolume([(1, 1), (0, 9)], (2, 2)) == 1
        assert hypervolume([(3, 3)], (2, 2)) == 0

    @given(points)
    def test_every_point_of_the_front_adds_to_it(self, values):
        corner = [7.0] * len(values[0])
        kept = {tuple(values[n]) for n in non_dominated(values)}
        whole = hypervolume(sorted(kept), corner)
        assert all(whole > hypervolume(sorted(kept - {point}), corner) for point in kept)


class TestKnee:
    def test_is_where_the_front_bends(self):
        assert knee([(0, 10), (1, 3), (2, 1), (6, 0.5), (10, 0)]) == 2

    def test_does_not_depend_on_units(self):
        values = np.array([(0, 10), (1, 3), (2, 1), (6, 0.5), (10, 0)])
        assert knee(values * (1e-6, 1e9) + (5, -7)) == knee(values)

    def test_of_two_ends_is_the_one_better_in_the_first_objective(self):
        assert knee([(5, 1), (1, 5)]) == 1

    def test_ignores_an_objective_in_which_all_are_equal(self):
        assert knee([(0, 7, 4), (1, 7, 1), (4, 7, 0)]) == 1

    @given(points_of(2))
    def test_is_on_the_front(self, values):
        assert knee(values) in non_dominated(values)

    def test_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="no knee"):
            knee([])


class TestHypervolumeGrowth:
    @given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=30))
    def test_each_entry_is_the_hypervolume_of_all_points_so_far(
        self, points: list[tuple[int, ...]]
    ) -> None:
        corner = (8, 8, 8)
        volumes = [hypervolume(points[: n + 1], corner) for n in range(len(points))]
        larger = [
            n for n, volume in enumerate(volumes) if volume > (volumes[n - 1] if n else 0.0) + 1e-9
        ]
        found = hypervolume_growth(points, corner)
        assert [each.index for each in found] == larger
        assert [each.hypervolume for each in found] == pytest.approx([volumes[n] for n in larger])

    def test_no_points_have_no_growth(self) -> None:
        assert hypervolume_growth([], ()) == ()
