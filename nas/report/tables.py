"""The tables of a report as plain text, for HTML and for Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evaluators.scores import is_further_loss
from nas.dashboard.form import ConfirmationDocument, Document, Json
from nas.dashboard.trial_form import State
from nas.findings.confirmation_findings import probability_text
from nas.findings.time_wording import PROVISIONAL_LEGEND, UNSURE
from nas.findings.wording import PROVISIONAL, duration, joined, marked, number, value_text
from nas.views.terminal import interval_legend

_STATE_NAMES: dict[State, str] = {"stopped": "stopped early"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a title.

    Attributes:
        title: The heading of the table.
        columns: The headings of the columns.
        rows: The cells, row by row.
        numbers: The indices of the columns that hold numbers and are aligned to the right.
        notes: Explanations of the signs in the table, to be printed below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def tables(document: Document) -> Iterator[Table]:
    """Yield the tables of a report.

    They are the front, its confirmation, the numbers of candidates, the time spent, the time of the
    reference model, the machines and the settings. Tables without content are left out.

    Args:
        document: The whole document of the study.
    """
    if document["front"]:
        yield _front(document)
    if document["confirmation"] is not None:
        yield _confirmation(document, document["confirmation"])
    yield _counts(document)
    if document["stages"]:
        yield _times(document)
    if document["calibrations"]:
        yield _calibrations(document)
    if document["environments"]:
        yield _environments(document)
    rows = tuple(_settings(document["spec"]))
    yield Table(title="Settings", columns=("key", "value"), rows=rows)


def _front(document: Document) -> Table:
    trials, architectures = document["trials"], document["architectures"]
    places = {trial: row for row, trial in enumerate(trials["id"])}
    rows = [places[trial] for trial in document["front"]]
    rows += [row for row, kind in enumerate(trials["kind"]) if kind == "reference"]
    axes = [axis for axis in document["axes"] if axis["objective"]]
    knee = document["knee"]

    def cells(row: int) -> tuple[str, ...]:
        place = trials["architecture"][row]
        unsure = UNSURE if trials["unsure_limits"][row] else ""
        mark = " (knee)" if trials["id"][row] == knee else ""
        return (
            f"{trials['name'][row]}{unsure}{mark}",
            architectures["layout"][place],
            f"{architectures['parameters'][place] / 1e6:,.1f}",
            *(_value(document, axis["name"], row) for axis in axes),
        )

    titles = [f"{axis['name']}, {axis['unit']}".rstrip(", ") for axis in axes]
    columns = ("trial", "layout", "million parameters", *titles)
    lines = tuple(cells(row) for row in rows)
    values = [value for line in lines for value in line[3:]]
    has_marks = any(value.startswith(PROVISIONAL) for value in values)
    return Table(
        title="Front and reference models",
        columns=columns,
        rows=lines,
        numbers=frozenset(range(2, len(columns))),
        notes=(
            *interval_legend(values),
            *([PROVISIONAL_LEGEND] if has_marks else []),
            *_unsure_notes(document, rows),
        ),
    )


def _value(document: Document, name: str, row: int) -> str:
    """Return a score with its 95 % confidence interval, if it has one, and its mark."""
    column = document["trials"]["scores"].get(name)
    value = None if column is None else column["value"][row]
    if column is None or value is None:
        return ""
    low = None if column["low"] is None else column["low"][row]
    high = None if column["high"] is None else column["high"][row]
    is_provisional = column["provisional"] is not None and column["provisional"][row]
    return marked(value_text(value, low, high), is_provisional=is_provisional)


def _unsure_notes(document: Document, rows: Sequence[int]) -> Iterator[str]:
    trials = document["trials"]
    for axis in document["axes"]:
        names = [
            f"trial {trials['name'][row]}"
            for row in rows
            if axis["name"] in trials["unsure_limits"][row]
        ]
        if names:
            yield f"{UNSURE} {joined(names)} may exceed the limit of {axis['name']}"


def _confirmation(document: Document, confirmation: ConfirmationDocument) -> Table:
    columns = dict(_confirmation_columns(document, confirmation))
    return Table(
        title="Confirmation: losses with more seeds and tokens",
        columns=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        numbers=frozenset(range(2, len(columns))),
        notes=tuple(confirmation["notes"]),
    )


def _confirmation_columns(
    document: Document, confirmation: ConfirmationDocument
) -> Iterator[tuple[str, list[str]]]:
    """Yield headings and cells; a column without any value is left out."""
    trials, architectures = document["trials"], document["architectures"]
    places = {trial: row for row, trial in enumerate(trials["id"])}
    units = {axis["name"]: axis["unit"] for axis in document["axes"]}
    short, long = confirmation["short_tokens"], confirmation["long_tokens"]
    candidates = confirmation["candidates"]
    rows = [(places[each["trial"]], each) for each in candidates]
    yield (
        "trial",
        [
            f"{trials['name'][row]}{'' if each['on_front'] else ' (dominated)'}"
            for row, each in rows
        ],
    )
    yield "layout", [architectures["layout"][trials["architecture"][row]] for row, _ in rows]
    for place, name in enumerate(confirmation["remeasured"]):
        # The user's own task is scored by the longer training, not measured again.
        how = f"{long:,} tokens" if is_further_loss(name) else f"remeasured, {units[name]}"
        yield (
            f"{name}, {how}",
            [
                marked(
                    _text(each["remeasured_values"][place]),
                    is_provisional=name in each["provisional"],
                )
                for each in candidates
            ],
        )
    own = "inherited from the shared network" if confirmation["inherited"] else f"{short:,} tokens"
    yield f"loss, {own}", _texts(each["short_loss"] for each in candidates)
    for place, seed in enumerate(confirmation["seeds"]):
        losses = (each["seed_losses"][place] for each in candidates)
        yield f"loss, seed {seed}, {short:,} tokens", _texts(losses)
    if long is not None:
        yield f"loss, {long:,} tokens", _texts(each["long_loss"] for each in candidates)
    if any(each["probability"] is not None for each in candidates):
        yield (
            "probability on the front",
            [probability_text(each["probability"]) for each in candidates],
        )


def _texts(values: Iterable[float | None]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: float | None) -> str:
    return "" if value is None else number(value)


def _counts(document: Document) -> Table:
    counts = document["counts"]
    named = {
        "requested": counts["total"],
        "complete": counts["complete"],
        "infeasible": counts["infeasible"],
        "stopped early": counts["stopped"],
        "failed": counts["failed"],
        "running": counts["running"],
        "interrupted": counts["interrupted"],
        "duplicates": counts["duplicates"],
        **{f"proposals rejected by rule {rule}": n for rule, n in counts["rejected"].items()},
    }
    rows = tuple((name, f"{count:,}") for name, count in named.items() if count)
    return Table(title="Candidates", columns=("", "count"), rows=rows, numbers=frozenset({1}))


def _times(document: Document) -> Table:
    times = sorted(document["stages"], key=lambda each: -each["seconds"])
    total = sum(each["seconds"] for each in times) or 1.0
    return Table(
        title="Where the time went",
        columns=("stage", "state of the trials", "trials", "time", "proportion"),
        rows=tuple(
            (
                each["stage"],
                _STATE_NAMES.get(each["state"], each["state"]),
                f"{each['trials']:,}",
                duration(each["seconds"]),
                f"{100 * each['seconds'] / total:.0f} %",
            )
            for each in times
        ),
        numbers=frozenset({2, 3, 4}),
    )


def _calibrations(document: Document) -> Table:
    calibrations = document["calibrations"]
    return Table(
        title="Time of the reference model",
        columns=("workload", "ms", "timings", "latest timing"),
        rows=tuple(
            (
                each["workload"],
                value_text(each["ms"], each["low"], each["high"]),
                f"{each['timings']:,}",
                f"{datetime.fromtimestamp(each['latest_at'], UTC):%d %B %Y at %H:%M} UTC",
            )
            for each in calibrations
        ),
        numbers=frozenset({1, 2}),
        notes=tuple(
            f"The time at {each['workload']} is not certain enough to enforce limits in ms"
            for each in calibrations
            if not each["settled"]
        ),
    )


def _environments(document: Document) -> Table:
    return Table(
        title="Machines used for timing",
        columns=("host", "processor", "cores", "memory, GB", "system", "runtime", "trials"),
        rows=tuple(
            (
                each["host"],
                each["cpu"],
                str(each["cores"]),
                f"{each['memory_bytes'] / 1e9:,.1f}",
                each["system"],
                each["runtime"],
                f"{each['trials']:,}",
            )
            for each in document["environments"]
        ),
        numbers=frozenset({2, 3, 6}),
    )


def _settings(value: Json, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys that are set, as in the study file (`proxy.token_budget`), with values."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _settings(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, inner in enumerate(value):
            yield from _settings(inner, f"{key}[{index}]")
    elif value not in (None, [], {}):
        yield key, _shown(value)


def _shown(value: Json) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_shown, value))
    return str(value)
