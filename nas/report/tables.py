"""What a report says in tables: plain texts, for HTML and for Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nas.dashboard.form import Confirmation, Document, Json
from nas.views.terminal import duration, number
from nas.views.trust import probability_text

_SHARE = ".0%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of `numbers` are set to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


def tables(document: Document) -> Iterator[Table]:
    """The front, what confirmed it, where the time went, the machines, and the settings."""
    if document["front"]:
        yield _front(document)
    if document["confirmation"] is not None:
        yield _confirmation(document, document["confirmation"])
    yield _counts(document)
    if document["stages"]:
        yield _times(document)
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
        mark = " (knee)" if trials["id"][row] == knee else ""
        return (
            f"{trials['name'][row]}{mark}",
            architectures["layout"][place],
            f"{architectures['parameters'][place] / 1e6:,.1f}",
            *(_value(document, axis["name"], row) for axis in axes),
        )

    titles = [f"{axis['name']}, {axis['unit']}".rstrip(", ") for axis in axes]
    columns = ("trial", "layout", "million parameters", *titles)
    return Table(
        title="The front, and published models beside it",
        columns=columns,
        rows=tuple(cells(row) for row in rows),
        numbers=frozenset(range(2, len(columns))),
    )


def _value(document: Document, name: str, row: int) -> str:
    """With half its 95 % interval, where there is one."""
    column = document["trials"]["scores"].get(name)
    value = None if column is None else column["value"][row]
    if column is None or value is None:
        return ""
    low = None if column["low"] is None else column["low"][row]
    high = None if column["high"] is None else column["high"][row]
    if low is None or high is None:
        return number(value)
    return f"{number(value)} ±{(high - low) / 2:.2g}"


def _confirmation(document: Document, confirmation: Confirmation) -> Table:
    columns = dict(_confirmed_columns(document, confirmation))
    return Table(
        title="Trained again, and for longer",
        columns=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        numbers=frozenset(range(2, len(columns))),
    )


def _confirmed_columns(
    document: Document, confirmation: Confirmation
) -> Iterator[tuple[str, list[str]]]:
    """Titles and cells; what nothing is known of for any candidate has no column."""
    trials, architectures = document["trials"], document["architectures"]
    places = {trial: row for row, trial in enumerate(trials["id"])}
    units = {axis["name"]: axis["unit"] for axis in document["axes"]}
    short, long = confirmation["short_tokens"], confirmation["long_tokens"]
    candidates = confirmation["candidates"]
    rows = [(places[each["trial"]], each) for each in candidates]
    yield (
        "trial",
        [f"{trials['name'][row]}{'' if each['on_front'] else ' (behind)'}" for row, each in rows],
    )
    yield "layout", [architectures["layout"][trials["architecture"][row]] for row, _ in rows]
    for place, name in enumerate(confirmation["anew"]):
        how = f", {long:,} tokens" if name == "task" else f" anew, {units[name]}"
        yield f"{name}{how}", _known(each["again"][place] for each in candidates)
    own = "inherited from the shared network" if confirmation["inherited"] else f"{short:,} tokens"
    yield f"loss, {own}", _known(each["short"] for each in candidates)
    for place, seed in enumerate(confirmation["seeds"]):
        yield f"seed {seed}, {short:,} tokens", _known(each["fresh"][place] for each in candidates)
    if long is not None:
        yield f"{long:,} tokens", _known(each["long"] for each in candidates)
    if any(each["probability"] is not None for each in candidates):
        yield "on the front", [probability_text(each["probability"]) for each in candidates]


def _known(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else number(value) for value in values]


def _counts(document: Document) -> Table:
    counts = document["counts"]
    named = {
        "wanted": counts["wanted"],
        "complete": counts["complete"],
        "infeasible": counts["infeasible"],
        "stopped early": counts["stopped"],
        "failed": counts["failed"],
        "running": counts["running"],
        "interrupted": counts["interrupted"],
        "drawn before": counts["duplicates"],
        **{f"draws that rule {rule} refused": n for rule, n in counts["rejected"].items()},
    }
    rows = tuple((name, f"{count:,}") for name, count in named.items() if count)
    return Table(title="Candidates", columns=("", "count"), rows=rows, numbers=frozenset({1}))


def _times(document: Document) -> Table:
    times = sorted(document["stages"], key=lambda each: -each["seconds"])
    total = sum(each["seconds"] for each in times) or 1.0
    return Table(
        title="Where the time went",
        columns=("stage", "of trials that are", "trials", "time", "share"),
        rows=tuple(
            (
                each["stage"],
                each["state"],
                f"{each['trials']:,}",
                duration(each["seconds"]),
                f"{each['seconds'] / total:{_SHARE}}",
            )
            for each in times
        ),
        numbers=frozenset({2, 3, 4}),
    )


def _environments(document: Document) -> Table:
    return Table(
        title="Machines that timed",
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
    """Those that are set, each by its key in the study file: `proxy.token_budget`."""
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
