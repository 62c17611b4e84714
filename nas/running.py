"""Running a study while someone watches, and showing the front that it ends with."""

from evaluators.text.corpus import read_corpus
from nas.assembly import evaluators_of
from nas.views.front import print_front
from nas.views.live import watching
from nas.views.terminal import notices
from studies import analysis
from studies.loop import run_study
from studies.reference import check_models, with_known_models, with_known_reference
from studies.spec import StudySpec, check_machine, from_json
from studies.storage.store import Store


def run_and_show(spec: StudySpec, trials: int | None, typed: str, *, anew: bool) -> None:
    """Resumes the study, or begins it.

    trials: wanted in all, None for the file's. typed: what the user calls the study by.
    anew: forgets the trials of a study of that name; what was measured stays remembered.
    """
    check_machine(spec)
    with Store.open(spec.storage) as store:
        if _is_begun(spec, store):
            begun = from_json(store.study(spec.name).spec)
            spec = with_known_models(spec, begun)
            if not anew:
                spec = with_known_reference(spec, begun)
            _tell_of_others(spec, store, anew=anew)
        check_models(spec)
        with notices().status("reading the corpus"):
            corpus = read_corpus(spec.proxy.corpus)
        with evaluators_of(spec, store, corpus) as evaluators:
            if anew and _is_begun(spec, store):
                store.forget_study(spec.name)
            try:
                with watching(spec, store) as listener:
                    run_study(
                        spec, evaluators=evaluators, store=store, listener=listener, trials=trials
                    )
            except KeyboardInterrupt:
                done = (
                    analysis.status(store, spec.name).counts.ended if _is_begun(spec, store) else 0
                )
                notices().print(
                    f"stopped after {done} of {trials or spec.trials} trials; "
                    "the same command goes on where it was"
                )
                raise
        print_front(store, spec.name, typed)


def _tell_of_others(spec: StudySpec, store: Store, *, anew: bool) -> None:
    """ValueError where their trials would be forgotten."""
    running = analysis.status(store, spec.name).running
    owners = dict.fromkeys(trial.owner for trial in running if trial.owner is not None)
    if not owners:
        return
    named = " and ".join(f"process {owner.pid} on {owner.host}" for owner in owners)
    if anew:
        raise ValueError(
            f"study: '{spec.name}' is being run by {named}; begin it anew once that has ended"
        )
    notices().print(
        f"{spec.name}: {named} {'works' if len(owners) == 1 else 'work'} on it too; they share the "
        "trials, each of which is run once",
        soft_wrap=True,
    )


def _is_begun(spec: StudySpec, store: Store) -> bool:
    return spec.name in [study.name for study in store.studies()]
