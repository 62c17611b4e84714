"""Spaces whose architectures differ only in their layouts, as a shared network requires."""

from dataclasses import fields

from search_space.space.space_definition import Space


def check_layouts_only(space: Space) -> None:
    """Check that the architectures of a space differ only in their layouts, at a single depth.

    Raises:
        ValueError: A choice other than the mixers has several values. (`feed_forward` may have
            two if the space has a matched size or latency.)
    """
    no_choice = {"mixers", "matched", "rules"}
    if space.matched is not None:
        no_choice.add("feed_forward")
    names = [choice.name for choice in fields(Space) if choice.name not in no_choice]
    several = [
        f"{name}: {list(getattr(space, name))}" for name in names if len(getattr(space, name)) > 1
    ]
    if several:
        *others, last = several
        subject = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        value = "single values" if others else "a single value"
        raise ValueError(f"{subject} not {value}; only the layout may vary")
