"""Running a study while someone watches, and showing the front that it ends with."""

from collections.abc import Iterable

from evaluators.text.corpus import read_corpus
from nas.assembly import evaluators_of
from nas.views.front import print_front
from nas.views.live_study import watching
from nas.views.terminal import notices
from studies.analysis import summaries
from studies.analysis.followed_study import at_work
from studies.owner import Owner
from studies.search.loop import run_study
from studies.spec.reference_models import check_models, with_known_models, with_known_reference
from studies.spec.study_spec import StudySpec, check_machine, from_json
from studies.storage.store import Store


def run_and_show(spec: StudySpec, trials: int | None, study_argument: str, *, anew: bool) -> None:
    """Resumes the study, or begins it.

    trials: wanted in all, None for the file's. typed: what the user calls the study by.
    anew: forgets the trials of a study of that name; what was measured stays remembered. ValueError
        while another process works on them.
    """
    check_machine(spec)
    with Store.open(spec.storage) as store:
        if _is_begun(spec, store):
            begun = from_json(store.study(spec.name).spec)
            spec = with_known_models(spec, begun)
            if not anew:
                spec = with_known_reference(spec, begun)
                _tell_of_others(spec, store)
            else:
                _check_idle(spec, store)
        check_models(spec)
        with notices().status("reading the corpus"):
            corpus = read_corpus(spec.proxy.corpus)
        with evaluators_of(spec, store, corpus) as evaluators:
            if anew and _is_begun(spec, store):
                _check_idle(spec, store)  # once more: a large corpus takes minutes to read
                store.forget_study(spec.name)
            try:
                with watching(spec, store) as listener:
                    run_study(
                        spec, evaluators=evaluators, store=store, listener=listener, trials=trials
                    )
            except KeyboardInterrupt:
                done = (
                    summaries.status(store, spec.name).counts.ended if _is_begun(spec, store) else 0
                )
                how = "the same command without --anew" if anew else "the same command"
                notices().print(
                    f"stopped after {done} of {trials or spec.trials} trials; {how} goes on where "
                    "it was, with a training in hand from its beginning",
                    soft_wrap=True,
                )
                raise
        print_front(store, spec.name, study_argument)


def _tell_of_others(spec: StudySpec, store: Store) -> None:
    owners = _owners(spec, store)
    if owners:
        notices().print(
            f"{spec.name}: {_named(owners)} {'works' if len(owners) == 1 else 'work'} on it too; "
            "they share the trials, each of which is run once",
            soft_wrap=True,
        )


def _check_idle(spec: StudySpec, store: Store) -> None:
    """ValueError where the trials are being run, or confirmed."""
    repeated = at_work(store.repeats(spec.name))
    owners = {"run": _owners(spec, store), "confirmed": {run.owner: None for run in repeated}}
    for done, by in owners.items():
        if by:
            raise ValueError(
                f"study: '{spec.name}' is being {done} by {_named(by)}; begin it anew once that "
                "has ended"
            )


def _owners(spec: StudySpec, store: Store) -> dict[Owner, None]:
    """The processes that run it, each once."""
    running = summaries.status(store, spec.name).running
    return {trial.owner: None for trial in running if trial.owner is not None}


def _named(owners: Iterable[Owner]) -> str:
    return " and ".join(map(str, owners))


def _is_begun(spec: StudySpec, store: Store) -> bool:
    return spec.name in [study.name for study in store.studies()]
