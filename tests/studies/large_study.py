"""Writes a study of any size directly into the tables, with trials of every outcome."""

import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar

import numpy as np
import sqlalchemy as sa

from hardware.environment import Environment
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.costs import parameter_counts
from search_space.preset_models import preset
from search_space.space.design_point import DesignPoint, build
from search_space.space.rules import check_layout
from studies.owner import this_process
from studies.records import TrialState
from studies.spec.reference_models import with_reference
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_spec import to_json as spec_json
from studies.storage import schema
from studies.storage.database import open_database
from studies.storage.signs_of_life import own_token

Row: TypeAlias = dict[str, object]
Choice = TypeVar("Choice")

HOSTILE = """</script><script>alert("x")</script>'"`<img src=x onerror=alert(1)>|*_[a](b)"""
_BEGUN = datetime(2030, 1, 1, tzinfo=UTC)
_TRIAL = timedelta(seconds=90)
_CURVE_POINTS = 8
_STAGES = ("costs", "latency", "training")
_ENVIRONMENT = Environment(
    host="board",
    system="Linux 6.1 aarch64",
    cpu="Cortex-A76",
    cores=4,
    memory_bytes=8 * 2**30,
    python="3.11.9",
    runtime_version="onnxruntime 1.32.0",
    governor="performance",
    clock_mhz=2_400.0,
    temperature_c=50.0,
    load_1min=0.5,
)
# The frequency of each outcome; the last trials of a study may be running or interrupted.
_ENDS: dict[TrialState, float] = {
    "complete": 0.6,
    "stopped": 0.2,
    "infeasible": 0.16,
    "failed": 0.04,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeStudy:
    """A study to write, or an addition to one.

    Attributes:
        url: The database.
        trials: The number of candidates to add.
        name: The name of the study.
        references: Presets that are complete reference models.
        running: Whether the last trials are running or interrupted.
        hostile: Whether texts contain markup, which pages must escape.
        seed: The seed of everything random.
    """

    url: str
    trials: int
    name: str = "large"
    references: tuple[str, ...] = ("lfm2-350m", "lfm2.5-230m")
    running: bool = False
    hostile: bool = False
    seed: int = 0


def large_spec(study: LargeStudy) -> StudySpec:
    spec = read_spec("edge-350m")
    corpus = f"/{HOSTILE}.txt" if study.hostile else "python"
    return with_reference(
        spec.model_copy(
            update={
                "name": study.name,
                "storage": study.url,
                "trials": max(1, study.trials),
                "references": study.references,
                "proxy": spec.proxy.model_copy(update={"corpus": corpus}),
            }
        )
    )


def write_study(study: LargeStudy) -> None:
    """Create the study, or add to it."""
    database = open_database(study.url, create=True)
    try:
        with database.write() as connection:
            _write(connection, study)
    finally:
        database.close()


def _write(connection: sa.Connection, study: LargeStudy) -> None:
    studies, trials = schema.STUDIES, schema.TRIALS
    chosen = sa.select(studies.c.id).where(studies.c.name == study.name)
    key = connection.scalar(chosen)
    if key is None:
        row = {"name": study.name, "spec": spec_json(large_spec(study)), "created_at": _BEGUN}
        key = connection.execute(studies.insert().values(row).returning(studies.c.id)).scalar_one()
        connection.execute(schema.REJECTIONS.insert().values(study=key, rule="parameters", draws=7))
    last = connection.scalar(sa.select(sa.func.max(trials.c.id))) or 0
    before = connection.scalar(
        sa.select(sa.func.count()).where(trials.c.study == key, trials.c.kind == "candidate")
    )
    assert before is not None
    own_token(connection)  # this process owns the trials
    writer = _Writer(study, key, last, np.random.default_rng([study.seed, before]))
    if not before:
        for number, name in enumerate(study.references):
            writer.reference(number, name)
    for number in range(before, before + study.trials):
        left = before + study.trials - number
        if study.running and left <= 3:
            writer.unfinished(number, ("running", "interrupted", "running")[left - 1], left < 3)
        else:
            writer.ended(number)
    writer.insert(connection)


class _Writer:
    def __init__(self, study: LargeStudy, key: int, last: int, random: np.random.Generator) -> None:
        self._study, self._key, self._last, self._random = study, key, last, random
        self._spec = large_spec(study)
        self._rows: dict[sa.Table, list[Row]] = {
            table: []
            for table in (
                schema.ARCHITECTURES,
                schema.ENVIRONMENTS,
                schema.EVALUATIONS,
                schema.SCORES,
                schema.MEASUREMENTS,
                schema.TRIALS,
                schema.STAGES,
            )
        }
        self._first: tuple[Row, list[Row]] | None = None

    def insert(self, connection: sa.Connection) -> None:
        for table, rows in self._rows.items():
            if rows:
                insert = table.insert()
                if table in (schema.ARCHITECTURES, schema.ENVIRONMENTS):
                    known = set(connection.scalars(sa.select(table.c.hash)))
                    rows = list({row["hash"]: row for row in rows}.values())
                    rows = [row for row in rows if row["hash"] not in known]
                if rows:
                    connection.execute(insert, rows)

    def reference(self, number: int, name: str) -> None:
        architecture = preset(name)
        trial = self._trial(number, "complete", architecture)
        trial |= {"kind": "reference", "reference": name}
        self._stages(trial["id"], architecture, len(_STAGES), _BEGUN)

    def ended(self, number: int) -> None:
        if number % 50 == 49 and self._first is not None:
            self._duplicate(number)
            return
        architecture = self._draw()
        state = str(self._random.choice(list(_ENDS), p=list(_ENDS.values())))
        trial = self._trial(number, state, architecture)
        done = {"complete": 3, "stopped": 2, "failed": 1 + number % 2}.get(state, 2)
        self._stages(trial["id"], architecture, done, trial["ended_at"])
        if state == "complete":
            self._first = self._first or (trial, self._rows[schema.STAGES][-3:])
            return
        trial |= {
            "stage": _STAGES[min(done, 2)] if state != "infeasible" else "latency",
            "reason": {
                "stopped": "at 50 % of its training, the loss was 1.9 bits/byte; trial 0 had 1.8",
                "infeasible": "memory: 512.5 MB is above the limit of 500 MB",
                "failed": "the loss is not finite",
            }[state],
        }
        if self._study.hostile:
            trial["reason"] = HOSTILE
        if state == "failed":
            trial["failure"] = "diverged" if done == 2 else "build error"
        if state == "stopped":
            loss = self._loss(architecture)
            trial["curve"] = json.dumps(self._curve(loss)[: _CURVE_POINTS // 2])
            trial["estimated_loss"] = loss + 0.05
            run = {"position": 2, "stage": "training", "fingerprint": "training 1"}
            self._rows[schema.STAGES].append({"trial": trial["id"], "seconds": 40.0} | run)

    def unfinished(self, number: int, state: str, drawn: bool) -> None:
        """Add a trial of this process, which is alive; if not `drawn`, it has no architecture."""
        architecture = self._draw()
        trial = self._trial(number, state, architecture)
        trial |= {"ended_at": None, "stage": "training" if drawn else None}
        if not drawn:
            trial["architecture"] = None
        elif state == "running":
            trial |= {"progress": 0.25, "progress_text": "200,000 tokens"}
            self._stages(trial["id"], architecture, 2, trial["started_at"])
        if state == "interrupted":
            trial |= {"process": None}

    def _draw(self) -> Architecture:
        """Draw an architecture within the rules; this is much faster than repairing layouts."""
        space, one = self._spec.space, self._one
        least, most = space.rules.parameters or (0, 1 << 40)
        while True:
            letters = self._random.choice(list(space.mixers), size=one(space.depth))
            layout = "".join(letters)
            if any(check.excess > 0 for check in check_layout(layout, space.rules)):
                continue
            architecture = build(
                DesignPoint(
                    layout=layout,
                    width=one(space.width),
                    feed_forward=one(space.feed_forward),
                    vocab_size=one(space.vocab_size),
                    kernel=one(space.kernel),
                    head_dim=one(space.head_dim),
                    kv_heads=one(space.kv_heads),
                    window=one(space.window),
                    embedding_share=one(space.embedding_share),
                )
            )
            if least <= _facts(architecture).parameters <= most:
                return architecture

    def _one(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self._random.integers(len(choices)))]

    def _duplicate(self, number: int) -> None:
        assert self._first is not None
        earlier_duplicate, stages = self._first
        trial = self._trial(number, "complete", None)
        trial |= {
            "architecture": earlier_duplicate["architecture"],
            "duplicate_of": earlier_duplicate["number"],
        }
        for row in stages:
            self._rows[schema.STAGES].append(row | {"trial": trial["id"], "seconds": 0.0})

    def _trial(self, number: int, state: str, architecture: Architecture | None) -> Row:
        owner = this_process()
        ended_at = _BEGUN + _TRIAL * (number + 1)
        row: Row = {
            "id": self._last + len(self._rows[schema.TRIALS]) + 1,
            "study": self._key,
            "kind": "candidate",
            "number": number,
            "reference": None,
            "architecture": None if architecture is None else self._keep(architecture),
            "optuna_number": number,
            "state": state,
            "stage": None,
            "failure": None,
            "reason": None,
            "duplicate_of": None,
            "estimated_loss": None,
            "curve": "[]",
            "deaths": 0,
            "kills": 0,
            "progress": None,
            "progress_text": None,
            "process": owner.token,
            "started_at": ended_at - _TRIAL,
            "ended_at": ended_at,
        }
        self._rows[schema.TRIALS].append(row)
        return row

    def _keep(self, architecture: Architecture) -> str:
        facts = _facts(architecture)
        self._rows[schema.ARCHITECTURES].append(
            {
                "hash": facts.digest,
                "layout": architecture.layout,
                "parameters": facts.parameters,
                "json": facts.text,
            }
        )
        return facts.digest

    def _stages(self, trial: object, architecture: Architecture, count: int, at: object) -> None:
        """Add the first stages with their scores and evidence."""
        digest = _facts(architecture).digest
        found: dict[str, float] = {}
        for position, stage in enumerate(_STAGES[:count]):
            fingerprint, seconds = f"{stage} 1", (0.01, 22.0, 64.0)[position]
            run = {"position": position, "stage": stage, "fingerprint": fingerprint}
            self._rows[schema.STAGES].append({"trial": trial, "seconds": seconds} | run)
            scores = list(self._scores(stage, architecture))
            found |= {str(row["name"]): float(str(row["value"])) for row in scores}
            key = {"fingerprint": fingerprint, "architecture": digest}
            if any(
                row["architecture"] == digest and row["fingerprint"] == fingerprint
                for row in self._rows[schema.EVALUATIONS][-4:]
            ):
                continue
            curve = self._curve(found["loss"]) if stage == "training" else []
            evaluation = {"seconds": seconds, "curve": json.dumps(curve), "evaluated_at": at}
            self._rows[schema.EVALUATIONS].append(key | evaluation)
            self._rows[schema.SCORES] += [
                key | {"position": index} | score for index, score in enumerate(scores)
            ]
            if stage == "latency":
                self._measure(key, found)

    def _scores(self, stage: str, architecture: Architecture) -> Iterator[Row]:
        def score(name: str, value: float, unit: str, margin: float = 0.0) -> Row:
            low, high = (value * (1 - margin), value * (1 + margin)) if margin else (None, None)
            return {"name": name, "value": value, "unit": unit, "low": low, "high": high}

        parameters = _facts(architecture).parameters
        if stage == "costs":
            yield score("parameters", float(parameters), "parameters")
        elif stage == "latency":
            price = {"c": 0.12, "a": 0.3, "s": 0.2, "l": 0.25, "-": 0.0}
            mixers = sum(price[letter] for letter in architecture.layout)
            decode = (parameters / 5e7 + mixers) * self._noise(0.01)
            prefill = 200 * decode * self._noise(0.05)
            half = float(self._random.choice((0.008, 0.015, 0.04), p=(0.5, 0.4, 0.1)))
            for name, value, unit in (("decode", decode, "ms/token"), ("prefill", prefill, "ms")):
                yield score(name, value, unit, half)
                yield score(f"{name}_p95", value * 1.1, unit, 2 * half)
            yield score("memory", parameters / 1.2e6, "MB")
            yield score("decode_memory", parameters / 2e7, "MB")
            yield score("prefill_memory", parameters / 6e6, "MB")
            yield score("size", parameters / 1.8e6, "MB")
        else:
            yield score("loss", self._loss(architecture), "bits/byte")

    def _loss(self, architecture: Architecture) -> float:
        """Return a loss that falls with parameters and with attention in the upper half."""
        layout = architecture.layout
        upper = sum(letter in "as" for letter in layout[len(layout) // 2 :])
        size = math.log(_facts(architecture).parameters / 1e8)
        return (2.0 - 0.12 * size - 0.02 * min(upper, 4)) * self._noise(0.004)

    def _curve(self, loss: float) -> list[list[float]]:
        budget = self._spec.proxy.token_budget
        return [
            [budget * step // _CURVE_POINTS, loss + 0.6 * (_CURVE_POINTS - step) / _CURVE_POINTS]
            for step in range(1, _CURVE_POINTS + 1)
        ]

    def _noise(self, sd: float) -> float:
        return float(np.exp(sd * self._random.standard_normal()))

    def _measure(self, key: dict[str, str], scores: dict[str, float]) -> None:
        """Add the measurement of each workload, then those of the reference model."""
        drift = 1.0 + 0.02 * math.sin(len(self._rows[schema.EVALUATIONS]) / 300)
        cpu = HOSTILE if self._study.hostile else _ENVIRONMENT.cpu
        load = float(self._random.random())
        environment = json.dumps(asdict(replace(_ENVIRONMENT, cpu=cpu, load_1min=load)))
        name = f"{len(self._rows[schema.ENVIRONMENTS]):x}-{load}"
        self._rows[schema.ENVIRONMENTS].append({"hash": name, "json": environment})
        row = key | {"runtime": "onnxruntime", "threads": 1, "cores": "[0]", "load_ns": 10**9}
        row |= {"warmup_ns": "[1]", "peak_memory_bytes": 10**8, "environment": name}
        disturbed = {"steal": 0.001, "beside": 0.2 * load**8, "elsewhere": 0.1}
        disturbed["waited_s"] = 30 * load if load > 0.95 else 0.0
        timed = [("tg64@1024", scores["decode"], 256), ("pp512", scores["prefill"], 6)]
        for position, (workload, milliseconds, count) in enumerate(2 * timed):
            is_reference = position >= len(timed)
            typical = (7.5 if count > 6 else 1_400.0) if is_reference else milliseconds
            samples = typical * drift * 1e6 * (1 + 0.05 * self._random.random(count))
            self._rows[schema.MEASUREMENTS].append(
                row
                | {
                    "position": position,
                    "workload": workload,
                    "samples_ns": json.dumps([int(sample) for sample in samples]),
                    "window": 8 if count > 8 else 1,
                    "empty_memory_bytes": 10**7,
                    "loaded_memory_bytes": 9 * 10**7,
                    "model_bytes": 10**8,
                    "environment_after": name,
                    "disturbance": json.dumps(disturbed),
                    "reference_of": position - len(timed) if is_reference else None,
                }
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    digest: str
    text: str
    parameters: int


@functools.lru_cache(maxsize=16)
def _facts(architecture: Architecture) -> _Facts:
    return _Facts(
        digest=architecture_hash(architecture),
        text=to_json(architecture),
        parameters=parameter_counts(architecture).total,
    )
