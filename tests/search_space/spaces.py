"""Small spaces for tests, and all architectures in them."""

import itertools
from collections.abc import Iterator

from hypothesis import strategies as st

from search_space.architecture import ATTENTION_LETTERS, MIXERS, Architecture
from search_space.space.design_point import DesignPoint, build
from search_space.space.rules import Rules, check_layout
from search_space.space.space_definition import Space


def all_architectures(space: Space) -> Iterator[Architecture]:
    """Yield all architectures of a space, by trying every value of every choice."""
    choices = [
        (space.width, space.feed_forward, space.vocab_size, space.kernel),
        (space.head_dim, space.kv_heads, space.window, space.embedding_share),
    ]
    for depth in space.depth:
        for letters in itertools.product(space.mixers, repeat=depth):
            layout = "".join(letters)
            if any(check.excess > 0 for check in check_layout(layout, space.rules)):
                continue
            for width, feed_forward, vocab_size, kernel, *rest in itertools.product(
                *choices[0], *choices[1]
            ):
                head_dim, kv_heads, window, share = rest
                yield build(
                    DesignPoint(
                        layout=layout,
                        width=width,
                        feed_forward=feed_forward,
                        vocab_size=vocab_size,
                        kernel=kernel,
                        head_dim=head_dim,
                        kv_heads=kv_heads,
                        window=window,
                        embedding_share=share,
                    )
                )


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    mixers = draw(st.lists(st.sampled_from(list(MIXERS)), min_size=1, max_size=3, unique=True))
    runs = [None, 1] if set(mixers) & set(ATTENTION_LETTERS) else [None, 2]
    return Space(
        depth=draw(st.sampled_from([(1,), (2,), (1, 2)])),
        width=draw(st.sampled_from([(64,), (64, 96)])),
        mixers=tuple(mixers),
        feed_forward=draw(st.sampled_from([(1.0,), (1.0, 1.2), (1.0, 2.5)])),
        vocab_size=draw(st.sampled_from([(512,), (512, 4096)])),
        kernel=draw(st.sampled_from([(1,), (1, 3)])),
        head_dim=draw(st.sampled_from([(16,), (32,), (16, 32)])),
        kv_heads=draw(st.sampled_from([(1,), (2, 3), (1, 2, 4)])),
        window=draw(st.sampled_from([(8,), (8, 16)])),
        embedding_share=draw(st.sampled_from([(1.0,), (0.5, 0.9, 1.0)])),
        rules=Rules(longest_run_without_attention=draw(st.sampled_from(runs))),
    )
