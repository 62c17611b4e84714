from hypothesis import given, settings

from search_space.space.space_definition import Space
from search_space.space.space_size import space_size
from tests.search_space.spaces import architectures, spaces


@settings(max_examples=60)
@given(spaces())
def test_it_is_the_number_of_architectures_listed_one_by_one(space):
    assert space_size(space) == len(set(architectures(space)))


def test_the_size_of_a_head_is_free_where_no_mixer_has_heads():
    choices = {"depth": (4, 6), "feed_forward": (2.0,), "vocab_size": (512,)}
    assert space_size(Space(**choices, width=(96,), mixers=("c", "-"))) == 16 + 64
