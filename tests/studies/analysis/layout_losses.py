"""Random layouts, and losses that follow from them."""

import numpy as np

from search_space.architecture import Architecture, architecture_hash
from search_space.costs import parameter_counts
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import Space

SPACE = Space(
    depth=(4, 6),
    width=(128, 192, 256),
    mixers=("c", "a", "s", "-"),
    feed_forward=(1.0, 2.0),
    vocab_size=(1024, 2048, 4096),
)


def random_layouts(count: int, seed: int = 0) -> dict[str, Architecture]:
    """Return different architectures by hash."""
    suggester = RandomSuggester(np.random.default_rng(seed))
    found: dict[str, Architecture] = {}
    while len(found) < count:
        architecture = draw(SPACE, suggester)
        found[architecture_hash(architecture)] = architecture
    return found


def layout_loss(architecture: Architecture) -> float:
    """Return a loss that falls with the parameters and with the proportion of attention."""
    attention = sum(letter in "as" for letter in architecture.layout) / len(architecture.layout)
    return 3.0 - 0.1 * float(np.log(parameter_counts(architecture).total)) - 0.2 * attention


def noisy_losses(layouts: dict[str, Architecture], noise: float, seed: int = 1) -> dict[str, float]:
    """Return the loss of each layout with normal noise of this standard deviation, by hash."""
    generator = np.random.default_rng(seed)
    return {
        key: layout_loss(each) + noise * float(generator.standard_normal())
        for key, each in layouts.items()
    }
