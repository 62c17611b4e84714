"""Plan a study without running it: the size of its space and models, and the time it will take."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evaluators.speed.built_model import unsupported_by_format
from evaluators.speed.device_file import channel_of
from evaluators.text.corpus import Corpus, corpus_note
from evaluators.text.tokenizer import encode, train_tokenizer
from hardware.progress import Say
from hardware.runner import ModelFormat
from nas.assembly import study_corpus
from nas.inputs.device_argument import NamedDevice
from nas.training_slots import crowding_remark, parallel_trainings, trainings_by_cores
from nas.workflows.planned_start import planned_start
from nas.workflows.space_samples import (
    RefusedShares,
    SpaceSample,
    measure_samples,
    refused_shares,
    space_samples,
)
from nas.workflows.stage_times import StageTimes, time_stages
from search_space.architecture import Architecture
from search_space.costs import prefill_flops
from search_space.proxy import proxy_of
from search_space.space.design_point import DesignPoint, build
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import broken_rule, parameter_range, weight_range
from search_space.space.space_size import space_size
from studies.search.warm_start import WarmStart
from studies.spec.reference_models import model_of, paired_reference
from studies.spec.study_spec import StudySpec, is_measured_here

_DRAWS = 200
# A quarter of a megabyte is enough text to estimate the mean number of bytes per token.
_BLOCKS_ENCODED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusUsage:
    """How much text a corpus contains, and how much of it one training run reads.

    Attributes:
        training_bytes: Size of the text to train on.
        held_out_bytes: Size of the text to score on.
        read_bytes: Text that one training run reads; more than `training_bytes` if it reads the
            corpus several times.
        note: What was left out because it is in both parts; None if nothing was.
    """

    training_bytes: int
    held_out_bytes: int
    read_bytes: float
    note: str | None

    @property
    def passes(self) -> float:
        """How often one training run reads the text to train on; below 1 if it reads a part."""
        return self.read_bytes / self.training_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study file asks for, and how long it will take.

    Attributes:
        spec: The study.
        architectures: Number of different architectures that the choices and the layout rules
            allow.
        parameters_least: Fewest parameters that the choices allow.
        parameters_most: Most parameters that the choices allow.
        weight_bytes_least: Smallest weights that the choices allow, at the study's quantisation.
        weight_bytes_most: Largest weights that the choices allow.
        legal_share: Fraction of random draws that also keep the rules about sizes.
        expressible_share: Fraction of these legal draws that the runtimes of all devices can
            express.
        inexpressible: Mixers of the space that one of them can never express, and why.
        reference: Name of the model that every candidate is timed interleaved with.
        samples: Measured architectures of the space, from small to large.
        refused: The fractions of random architectures that the limits refuse.
        drawn: The sample of median size, whose stages were timed.
        corpus_usage: How much text the proxy of `drawn` reads.
        times: How long the stages of `drawn` take.
        parallel: How many candidates are trained at the same time.
        crowding: A sentence if these are more than this machine supports; None if they are not.
        start: What the study starts from; None if that was not asked for.
        channels: How each named device is reached, by its name.
    """

    spec: StudySpec
    architectures: int
    parameters_least: int
    parameters_most: int
    weight_bytes_least: int
    weight_bytes_most: int
    legal_share: float
    expressible_share: float
    inexpressible: Mapping[str, str]
    reference: str
    samples: tuple[SpaceSample, ...]
    refused: RefusedShares
    drawn: Architecture
    corpus_usage: CorpusUsage
    times: StageTimes
    parallel: int = 1
    crowding: str | None = None
    start: WarmStart | None = None
    channels: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """The time of the whole study on a quiet machine, if no candidate is stopped early.

        Candidates that the limits refuse are not trained. The training time of a reference model is
        estimated from that of `drawn`, in proportion to their FLOPs. Trainings wait while
        something is measured on this machine, but not for named devices, which measure at the same
        time. None if a stage of `drawn` failed.
        """
        times, spec = self.times, self.spec
        if times.latency_seconds is None or times.training_seconds is None:
            return None
        timings = spec.trials * (1.0 - self.refused.untimed) + len(spec.references)
        runs = spec.trials * (1.0 - self.refused.untrained) + sum(
            _training_flops(spec, model_of(spec, name)) / _training_flops(spec, self.drawn)
            for name in spec.references
        )
        here = (
            timings * times.latency_seconds
            + runs * (times.training_seconds + times.recall_seconds) / self._effective_parallel
        )
        return (
            max([here, *(timings * each for each in times.device_seconds.values())])
            + len(spec.space.vocab_size) * times.preparation_seconds
            + times.network_seconds
        )

    @property
    def _effective_parallel(self) -> int:
        """How many trainings advance at full speed: no more than there are cores and trials."""
        return min(self.parallel, self.spec.trials, trainings_by_cores(self.spec))


def plan_study(spec: StudySpec, devices: Sequence[NamedDevice], say: Say) -> StudyPlan:
    """Draw random architectures, measure three of them, and time the stages of one.

    The stages are those of a trial, but the training is only a few steps long.

    Args:
        spec: The study; `check_machine` and `check_models` have accepted it.
        devices: The devices that it names.
        say: Receives what is being done, because some of it may take minutes.

    Raises:
        ValueError: No random draw keeps the rules about sizes, the runtime can express none of
            them, or this machine lacks something that the study needs.
    """
    space, quantization = spec.space, spec.target.quantization
    suggester = RandomSuggester(np.random.default_rng(spec.seed))
    draws = [draw(space, suggester) for _ in range(_DRAWS)]
    legal = [each for each in draws if broken_rule(each, space, quantization) is None]
    if not legal:
        raise ValueError(
            f"space.rules: none of {_DRAWS} random architectures obeys them; "
            f"the first violates: {broken_rule(draws[0], space, quantization)}"
        )
    possible = legal
    for model_format, where in _model_formats(spec, devices).items():
        possible = [each for each in possible if unsupported_by_format(each, model_format) is None]
        if not possible:
            raise ValueError(
                f"{where} cannot express any of {len(legal)} random architectures; for the first, "
                f"{unsupported_by_format(legal[0], model_format)}"
            )
    parameters, weights = parameter_range(space), weight_range(space, quantization)
    corpus = study_corpus(spec, say)
    start = planned_start(spec, corpus, devices)
    samples = measure_samples(spec, space_samples(possible), say, devices)
    (drawn,) = [sample for sample in samples if sample.size == "median"]
    times = time_stages(spec, drawn, corpus, say)
    return StudyPlan(
        spec=spec,
        architectures=space_size(space),
        parameters_least=parameters.least,
        parameters_most=parameters.most,
        weight_bytes_least=weights.least,
        weight_bytes_most=weights.most,
        legal_share=len(legal) / len(draws),
        expressible_share=len(possible) / len(legal),
        inexpressible=inexpressible_mixers(spec, devices),
        reference=paired_reference(spec),
        samples=samples,
        refused=refused_shares(spec, possible, samples),
        drawn=drawn.architecture,
        corpus_usage=corpus_usage(spec, drawn.architecture, corpus, say),
        times=times,
        parallel=parallel_trainings(spec),
        crowding=crowding_remark(spec),
        start=start,
        channels={each.name: channel_of(each.definition).name for each in devices},
    )


def corpus_usage(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> CorpusUsage:
    """Estimate how much text the training of an architecture's proxy reads.

    The mean number of bytes per token is that of the first 8 blocks of text, encoded with the
    proxy's tokenizer.

    Args:
        spec: The study.
        architecture: The architecture whose proxy is trained.
        corpus: The study's corpus.
        say: Receives what is being done.
    """
    proxy = spec.proxy
    vocab_size = proxy_of(architecture, proxy.width_share).vocab_size
    tokenizer = train_tokenizer(corpus.training, vocab_size, say)
    ids = encode(tokenizer, corpus.training[:_BLOCKS_ENCODED], say)
    corpus_share = 1.0 if proxy.task is None else 1.0 - proxy.task_share
    return CorpusUsage(
        training_bytes=sum(len(block.encode()) for block in corpus.training),
        held_out_bytes=sum(len(block.encode()) for block in corpus.held_out),
        read_bytes=corpus_share * proxy.training_tokens * float(tokenizer.token_bytes[ids].mean()),
        note=corpus_note(corpus),
    )


def inexpressible_mixers(spec: StudySpec, devices: Sequence[NamedDevice] = ()) -> dict[str, str]:
    """Return the mixers of a space that the runtime of a device can never express, and why.

    Each mixer is tried alone and in combination with the others, in models that are as simple as
    possible in all other respects.
    """
    space = spec.space
    simple = DesignPoint(
        layout="",
        width=space.width[0],
        feed_forward=space.feed_forward[0],
        vocab_size=space.vocab_size[0],
        kernel=space.kernel[-1],
        head_dim=space.head_dim[0],
        kv_heads=space.kv_heads[0],
        window=space.window[0],
        embedding_share=1.0,
    )
    reasons = {
        "".join(letters): _unsupported(
            build(replace(simple, layout="".join(letters))), _model_formats(spec, devices)
        )
        for count in range(1, len(space.mixers) + 1)
        for letters in itertools.combinations(space.mixers, count)
    }
    return {
        letter: reason
        for letter in space.mixers
        if (reason := reasons[letter]) is not None
        and all(reasons[layout] is not None for layout in reasons if letter in layout)
    }


def _model_formats(spec: StudySpec, devices: Sequence[NamedDevice]) -> dict[ModelFormat, str]:
    """Return the formats of the model files that are measured, with the first user of each."""
    found: dict[ModelFormat, str] = {}
    if is_measured_here(spec):
        found[spec.device.model_format] = f"device.runner: '{spec.device.runner}'"
    for each in devices:
        found.setdefault(each.definition.model_format, f"target.devices: '{each.name}'")
    return found


def _unsupported(architecture: Architecture, formats: Iterable[ModelFormat]) -> str | None:
    reasons = (unsupported_by_format(architecture, each) for each in formats)
    return next((reason for reason in reasons if reason is not None), None)


def _training_flops(spec: StudySpec, architecture: Architecture) -> int:
    """Return the FLOPs of one forward pass of the architecture's proxy over one sequence."""
    proxy = proxy_of(architecture, spec.proxy.width_share)
    return prefill_flops(proxy, spec.proxy.context_length)
