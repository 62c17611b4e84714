"""Whether an architecture lies in a space, and if not, why."""

from search_space.architecture import MIXER_CHOICES, MIXERS, Architecture, layout_letters
from search_space.quantization import Quantization
from search_space.space.design_point import choice_indices, embedding_width, feed_forward_width
from search_space.space.encoding import encode
from search_space.space.space_definition import Space, broken_rule


def why_outside(architecture: Architecture, space: Space, quantization: Quantization) -> str | None:
    """Return why an architecture is outside a space; None if it is inside and obeys all rules.

    Args:
        architecture: The architecture.
        space: The space.
        quantization: The target's quantisation, which the rule about weights depends on.
    """
    rule = broken_rule(architecture, space, quantization)
    if encode(space, architecture) is not None:
        return rule
    return _missing_choice(architecture, space) or rule or "no choices of the space lead to it"


def _missing_choice(architecture: Architecture, space: Space) -> str | None:
    """Return a clause about the first property that is no choice of the space."""
    letters, width = layout_letters(architecture.layout), architecture.width
    for letter in letters:
        if letter not in space.mixers:
            return f"mixers: '{letter}' is not one of {', '.join(space.mixers)}"
    embedding_widths = [embedding_width(width, share) for share in space.embedding_share]
    choices = {
        "depth": (len(letters), space.depth),
        "width": (width, space.width),
        "vocab_size": (architecture.vocab_size, space.vocab_size),
        "embedding_width": (architecture.embedding_width, embedding_widths),
    }
    for name, (value, values) in choices.items():
        if value not in values:
            return f"{name}: {value} is not one of {', '.join(map(str, values))}"
    multiples = [feed_forward_width(width, multiple) for multiple in space.feed_forward]
    mixer_choices = {choice: getattr(space, choice) for choice in MIXER_CHOICES}
    for index, layer in enumerate(architecture.layers):
        hidden = layer.feed_forward_width
        if space.matched is None and hidden not in multiples:
            return (
                f"layers[{index}].feed_forward_width: {hidden} is not one of "
                f"{', '.join(map(str, multiples))}, which follow from feed_forward"
            )
        try:
            choice_indices(layer.mixer, mixer_choices)
        except ValueError:
            names = " and ".join(sorted(MIXERS[letters[index]].choices))
            return f"layers[{index}].mixer: no value of {names} leads to it"
    return None
