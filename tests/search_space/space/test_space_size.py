from hypothesis import given, settings

from search_space.space.space_definition import Space
from search_space.space.space_size import space_size
from tests.search_space.spaces import all_architectures, spaces


@settings(max_examples=60)
@given(spaces())
def test_the_size_equals_that_of_a_list_of_all_architectures(space):
    assert space_size(space) == len(set(all_architectures(space)))


def test_width_need_not_be_divisible_by_heads_if_no_mixer_has_heads():
    choices = {"depth": (4, 6), "feed_forward": (2.0,), "vocab_size": (512,)}
    assert space_size(Space(**choices, width=(96,), mixers=("c", "-"))) == 16 + 64
