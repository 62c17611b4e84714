"""The lines and the document about what a study starts from."""

import numpy as np

from nas.views.start_view import start_document, start_lines
from search_space.architecture import architecture_hash
from search_space.space.encoding import RandomSuggester, draw
from studies.search.warm_start import WarmStart
from tests.studies.fakes import small_spec


def warm_start_of(count: int, file: str = "mine.jsonl") -> WarmStart:
    spec = small_spec("sqlite:///nas.db")
    suggester = RandomSuggester(np.random.default_rng(0))
    drawn = dict.fromkeys(draw(spec.space, suggester) for _ in range(2 * count))
    sampler = spec.sampler.model_copy(update={"start_from": (file,)})
    starts = {file: tuple(drawn)[:count]}
    spec = spec.model_copy(update={"sampler": sampler, "starts": starts})
    return WarmStart(spec=spec, remarks=("a remark",))


def test_ten_layouts_of_each_source_are_shown() -> None:
    start = warm_start_of(12)
    lines = [line.plain for line in start_lines(start)]
    known = start.spec.starts["mine.jsonl"]
    assert not isinstance(known, str)
    assert lines[0] == "a remark"
    for line, architecture in zip(lines[1:11], known[:10], strict=True):
        assert line.startswith(f"  {architecture.layout}  ")
        assert line.endswith(" million parameters, from mine.jsonl")
    assert lines[11:] == ["  2 more from mine.jsonl", ""]


def test_the_document_lists_all_of_them() -> None:
    start = warm_start_of(12)
    known = start.spec.starts["mine.jsonl"]
    assert not isinstance(known, str)
    document = start_document(start)
    assert document is not None
    found = [(each["from"], each["hash"]) for each in document["first_candidates"]]
    assert found == [("mine.jsonl", architecture_hash(each)) for each in known]
    assert (document["remarks"], document["informing"]) == (["a remark"], [])


def test_nothing_is_shown_of_a_study_that_starts_from_nothing() -> None:
    spec = small_spec("sqlite:///nas.db")
    assert list(start_lines(None)) == list(start_lines(WarmStart(spec=spec))) == []
    assert start_document(None) is None


def test_the_name_of_a_file_takes_one_line() -> None:
    lines = [line.plain for line in start_lines(warm_start_of(11, "a\nb\x1b.json"))]
    assert lines[1].endswith(" million parameters, from a\\nb\\x1b.json")
    assert lines[-2] == "  1 more from a\\nb\\x1b.json"
