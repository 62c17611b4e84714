"""The error for a damaged database, and a table of scores that raises it for a missing score."""

from collections.abc import Mapping


class DamagedDatabase(ValueError):
    """The database contradicts itself, or contains what this program never writes."""


class StoredScores(dict[str, float]):
    """The values of a trial's scores by name, which raises DamagedDatabase for a missing score.

    Use `in` or `get` for a score that the trial may lack.
    """

    def __init__(self, title: str, values: Mapping[str, float]) -> None:
        """Name the trial, such as `trial 7`, for the error."""
        super().__init__(values)
        self._title = title

    def __or__(self, other: Mapping[str, float]) -> "StoredScores":  # type: ignore[override]
        return StoredScores(self._title, {**self, **other})

    def __missing__(self, name: str) -> float:
        """Report the missing score.

        Raises:
            DamagedDatabase: Always.
        """
        raise DamagedDatabase(
            f"storage: {self._title} has no score '{name}' in the database, although its stages "
            "have ended; `nas db check` lists what is damaged"
        )
