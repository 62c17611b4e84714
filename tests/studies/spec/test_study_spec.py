import json
import subprocess
import sys
import tomllib

import pytest
from pydantic import ValidationError

from search_space.architecture import MIXERS
from search_space.space.matching import Matched, MatchedLatency
from search_space.strict import parse_strict
from studies.spec.difference import difference
from studies.spec.study_spec import (
    StudySpec,
    asked_scores,
    check_machine,
    from_json,
    is_measured_here,
    to_json,
)
from studies.spec.study_tables import COST_AWARE_SAMPLERS, SamplerSettings

TEXT = """
name = "small"
trials = 5
[[objectives]]
name = "loss"
[[objectives]]
name = "decode"
max = 20
[[constraints]]
name = "memory"
max = 500
[space]
depth = [4, 6]
width = [64, 128]
mixers = ["c", "a"]
feed_forward = [2, 2.5]
vocab_size = [512]
"""


@pytest.fixture
def spec() -> StudySpec:
    return parse_strict(StudySpec, tomllib.loads(TEXT), "small.toml")


def changed(path: str, value: object) -> dict:
    """Return the data above with another value at a path such as `space.rules.first`."""
    data = tomllib.loads(TEXT)
    place = data
    *parents, name = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = value
    return data


def sentence(data: object) -> str:
    with pytest.raises(ValueError, match=r"^small\.toml: ") as caught:
        parse_strict(StudySpec, data, "small.toml")
    return str(caught.value).removeprefix("small.toml: ")


def test_defaults_are_filled_in(spec):
    assert spec.storage == "sqlite:///nas.db"
    assert spec.space.feed_forward == (2.0, 2.5)
    assert spec.objectives[1].max == 20.0
    assert spec.proxy.rungs == (0.25, 0.5)
    assert spec.sampler == SamplerSettings(kind="auto", startup_trials=10)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("trials", "many", "trials: 'many' is not a whole number"),
        ("trials", 0, "trials: 0 is not between 1 and 1,000,000"),
        ("trails", 5, "trails is not a known field; did you mean trials?"),
        ("seed", -1, "seed: -1 is not between 0 and 4,294,967,295"),
        (
            "name",
            "My study",
            "name: 'My study' is not 1 to 64 lower-case letters, digits, dots, dashes or "
            "underscores, starting with a letter or a digit",
        ),
        ("proxy.token_budget", "many", "proxy.token_budget: 'many' is not a whole number"),
        (
            "proxy.token_bugdet",
            5,
            "proxy.token_bugdet is not a known field; did you mean token_budget?",
        ),
        ("proxy.width_share", 0, "proxy.width_share: 0 is not above 0 and at most 1"),
        ("proxy.rung_margin", 11, "proxy.rung_margin: 11 is not between 0 and 10"),
        ("proxy.corpus", 5, "proxy.corpus: 5 is not a name or a list of names"),
        ("proxy.corpus", [], "proxy.corpus: [] is not a name or a list of names"),
        ("proxy.corpus", ["a.txt", 5], "proxy.corpus: 5 is not a name"),
        (
            "proxy.rungs",
            [0.5, 0.25],
            "proxy.rungs: [0.5, 0.25] is not in ascending order between 0 and 1 (exclusive)",
        ),
        (
            "proxy.rungs",
            [0.5, 1.0],
            "proxy.rungs: [0.5, 1.0] is not in ascending order between 0 and 1 (exclusive)",
        ),
        (
            "proxy",
            {"token_budget": 5_000, "batch_size": 8},
            "proxy.token_budget: 5,000 is not at least 10 batches of "
            "context_length * batch_size = 2,048 tokens",
        ),
        (
            "target.quantization",
            "fp16",
            "target.quantization: 'fp16' is not one of fp32, int8, int4, which the runner 'local' "
            "supports",
        ),
        (
            "sampler.kind",
            "bayes",
            "sampler.kind: 'bayes' is not one of auto, known-costs, tpe, nsga2, gp, random, "
            "evolution, front-mutation, screened-tpe",
        ),
        (
            "objectives",
            [{"name": "loss"}],
            "objectives: a Pareto front requires at least 2, not 1",
        ),
        ("objectives", [{"name": "loss"}] * 2, "objectives: loss is given twice"),
        (
            "objectives",
            [{"name": "loss"}, {"name": "decod"}],
            "objectives[1].name: 'decod' is not a score; did you mean decode?",
        ),
        (
            "constraints",
            [{"name": "decode@4096", "max": 9}],
            "constraints[0].name: 'decode@4096' is not a score; did you mean decode?",
        ),
        (
            "target.more_depths",
            [4096, 1024],
            "target.more_depths: [4096, 1024] is not in ascending order between 0 and 1,048,576",
        ),
        (
            "target.more_depths",
            [1024, 4096],
            "target.more_depths: 1024 is the context_depth, which the score 'decode' already "
            "covers",
        ),
        (
            "device.reference",
            "hybrid-20",
            "device.reference: 'hybrid-20' is neither a preset nor a file; "
            "did you mean hybrid-20m?",
        ),
        ("device.precision", 0, "device.precision: 0 is not above 0 and below 1"),
        ("device.seconds", 1e6, "device.seconds: 1000000.0 is not above 0 and at most 3,600"),
        (
            "device.llama_bench",
            "/opt/llama-bench",
            "device.llama_bench: '/opt/llama-bench' is not used by the runner 'local', "
            "only by 'llama.cpp'",
        ),
        (
            "device.runner",
            "llama",
            "device.runner: 'llama' is not one of local, llama.cpp, fake",
        ),
        ("constraints", [{"name": "memory"}], "constraints[0].max is missing"),
        (
            "constraints",
            [{"name": "memory", "max": 0}],
            "constraints[0].max: 0 is not above 0",
        ),
        (
            "constraints",
            [{"name": "memory", "max": 1}] * 2,
            "constraints: memory is given twice",
        ),
        (
            "constraints",
            [{"name": "memory", "max": 1}, {"name": "decode", "max": 5}],
            "constraints[1].name: decode is an objective; set objectives[1].max instead",
        ),
        (
            "references",
            ["lfm2-350"],
            "references[0]: 'lfm2-350' is neither a preset nor a file; did you mean lfm2-350m?",
        ),
        ("references", ["lfm2-350m"] * 2, "references: lfm2-350m is given twice"),
        ("space.width", [100], "space.width: 100 is not a multiple of 32"),
        (
            "space.matched",
            {"parameters": 150_000},
            "space.matched.parameters: 150,000 is out of reach; "
            "the choices allow 197,696 to 1,200,000",
        ),
        (
            "space.matched",
            {"parameters": 400_000, "count": "all"},
            "space.matched.count: 'all' is not one of total, non_embedding",
        ),
        ("space.matched", {"count": "total"}, "space.matched.parameters is missing"),
        ("space.matched", 400_000, "space.matched: 400000 is not a table of named fields"),
        (
            "space.matched",
            {"parameters": 400_000, "latency": 2.0},
            "space.matched: parameters and latency exclude each other; only one may be given",
        ),
        ("space.matched", {}, "space.matched: {} has no field parameters or latency"),
        ("space.matched", {"latency": 0}, "space.matched.latency: 0.0 is not above 0"),
        ("space.matched", {"score": "prefill"}, "space.matched.latency is missing"),
        (
            "space.matched",
            {"latency": 2.0, "scor": "prefill"},
            "space.matched.scor is not a known field; did you mean score?",
        ),
        (
            "space.matched",
            {"latency": 2.0, "score": "decod"},
            "space.matched.score: 'decod' is not a score; did you mean decode?",
        ),
        (
            "space.matched",
            {"latency": 2.0, "score": "decode@4096"},
            "space.matched.score: 'decode@4096' is not a score; did you mean decode?",
        ),
        (
            "space.matched",
            {"latency": 2.0, "score": "memory"},
            "space.matched.score: 'memory' is not one of decode, prefill, decode_p95, "
            "prefill_p95, which can be predicted",
        ),
        ("space.mixers", ["c", "x"], f"space.mixers[1]: 'x' is not one of {', '.join(MIXERS)}"),
        ("space.rules.first", ["l"], "space.rules.first: 'l' is not one of the mixers c, a"),
        (
            "space.rules.attention_layers",
            [3, 2],
            "space.rules.attention_layers: 3 to 2 is not an ascending range that starts at 0 or "
            "more",
        ),
        (
            "space.rules.weight_mb",
            [50, 60],
            "space.rules.weight_mb: 50 to 60 is out of reach; "
            "the choices allow 0.127232 to 0.763392",
        ),
        (
            "storage",
            "nas.db",
            "storage: a value without :// is not sqlite:///FILE or postgresql://USER@HOST/NAME",
        ),
        (
            "storage",
            "sqlite:///:memory:",
            "storage: 'sqlite:///:memory:' is not sqlite:///FILE; a study must be stored in a file",
        ),
    ],
)
def test_an_error_is_one_sentence_that_names_the_field(path, value, expected):
    assert sentence(changed(path, value)) == expected


@pytest.mark.parametrize(
    ("objectives", "kind"),
    [
        (["loss", "decode"], "known-costs"),
        (["decode", "loss", "memory"], "known-costs"),
        (["loss", "recall_error", "decode"], "tpe"),
        (["decode", "memory"], "tpe"),
    ],
)
def test_the_automatic_sampler_knows_the_costs_if_only_one_objective_is_uncertain(objectives, kind):
    data = changed("objectives", [{"name": name} for name in objectives])
    data["constraints"] = []
    spec = parse_strict(StudySpec, data, "small.toml")
    assert spec.sampler_kind == kind


def test_a_named_sampler_is_kept():
    spec = parse_strict(StudySpec, changed("sampler.kind", "evolution"), "small.toml")
    assert spec.sampler_kind == "evolution"


@pytest.mark.parametrize("kind", COST_AWARE_SAMPLERS)
@pytest.mark.parametrize(
    ("objectives", "found"),
    [(["loss", "recall_error", "decode"], "loss, recall_error"), (["decode", "memory"], "none")],
)
def test_a_sampler_that_knows_costs_requires_one_uncertain_objective(kind, objectives, found):
    data = changed("sampler.kind", kind)
    data["objectives"] = [{"name": name} for name in objectives]
    data["constraints"] = []
    assert sentence(data) == (
        f"sampler.kind: '{kind}' requires exactly one objective that cannot be estimated before a "
        f"candidate is evaluated, such as loss; here: {found}"
    )


def test_a_score_at_an_additional_depth_can_be_asked_for():
    data = changed("target.more_depths", [4_096])
    data["constraints"] = [{"name": "decode@4096", "max": 9}]
    spec = parse_strict(StudySpec, data, "small.toml")
    assert asked_scores(spec) == ("loss", "decode", "decode@4096")


@pytest.mark.parametrize("quantization", ["fp16", "int8", "int4"])
def test_llama_cpp_has_its_own_quantizations(quantization):
    data = changed("device", {"runner": "llama.cpp"}) | {"target": {"quantization": quantization}}
    assert parse_strict(StudySpec, data, "small.toml").device.model_format == "gguf"


def test_a_password_is_never_shown():
    assert "secret" not in sentence(changed("storage", "mysql://me:secret@host/nas"))


@pytest.mark.parametrize(
    "storage",
    ["sqlite:////data/nas.db", "postgresql://me@host/nas", "postgresql+psycopg://host/nas"],
)
def test_databases_that_can_hold_a_study(storage):
    assert parse_strict(StudySpec, changed("storage", storage), "small.toml").storage == storage


@pytest.mark.parametrize("field", ["name", "trials", "space", "objectives"])
def test_keys_without_a_default_are_required(field):
    data = tomllib.loads(TEXT)
    del data[field]
    assert sentence(data) == f"{field} is missing"


def test_it_is_stored_and_read_back_unchanged(spec):
    assert from_json(to_json(spec)) == spec
    assert json.loads(to_json(spec))["proxy"]["rung_margin"] == 0.02


def test_a_corpus_of_several_names_is_kept_in_their_order():
    spec = parse_strict(StudySpec, changed("proxy.corpus", ["b.txt", "python"]), "small.toml")
    assert spec.proxy.corpus == ("b.txt", "python")
    assert from_json(to_json(spec)) == spec
    plain = parse_strict(StudySpec, changed("proxy.corpus", "b.txt"), "small.toml")
    assert difference(plain, spec) == (
        'proxy.corpus: \'b.txt\' in the study, ["b.txt", "python"] in the file',
    )


class TestSharedNetwork:
    @staticmethod
    def layouts_only(**others: object) -> dict:
        data = changed("proxy.method", "shared")
        data["space"] |= {"depth": [4], "width": [64], "feed_forward": [2]}
        return data | others

    def test_layouts_of_one_size_may_share_a_network(self):
        spec = parse_strict(StudySpec, self.layouts_only(), "small.toml")
        assert spec.proxy.method == "shared"
        assert from_json(to_json(spec)) == spec

    def test_its_budget_is_at_least_ten_steps(self):
        data = self.layouts_only()
        data["proxy"]["shared_token_budget"] = 5_000
        assert sentence(data) == (
            "proxy.shared_token_budget: 5,000 is not at least 10 batches of "
            "context_length * batch_size = 1,024 tokens"
        )

    def test_a_choice_of_sizes_cannot_share_a_network(self):
        data = self.layouts_only()
        data["space"]["width"] = [64, 128]
        assert sentence(data) == (
            "space.width: [64, 128] is not a single value; only the layout may vary when "
            "proxy.method is 'shared'"
        )

    def test_choices_of_several_sizes_are_named_together(self):
        data = self.layouts_only()
        data["space"] |= {"width": [64, 128], "feed_forward": [1.0, 2.0], "kv_heads": [1, 2]}
        assert sentence(data) == (
            "space.width: [64, 128], feed_forward: [1.0, 2.0] and kv_heads: [1, 2] are not single "
            "values; only the layout may vary when proxy.method is 'shared'"
        )

    def test_a_reference_outside_the_space_cannot_share_it(self):
        assert sentence(self.layouts_only(references=["lfm2-350m"])) == (
            "references[0]: 'lfm2-350m' is not in the space, as proxy.method 'shared' requires"
        )


def test_a_matched_size_is_read_stored_and_compared(spec):
    data = changed("space.matched", {"parameters": 500_000, "count": "non_embedding"})
    matched = parse_strict(StudySpec, data, "small.toml")
    assert matched.space.matched == Matched(parameters=500_000, count="non_embedding")
    assert from_json(to_json(matched)) == matched
    assert difference(spec, matched) == (
        "space.matched: null in the study, nothing in the file",
        "space.matched.parameters: nothing in the study, 500000 in the file",
        "space.matched.count: nothing in the study, 'non_embedding' in the file",
    )


def test_a_matched_latency_is_read_stored_compared_and_measured(spec):
    data = changed("space.matched", {"latency": 12, "score": "prefill"})
    matched = parse_strict(StudySpec, data, "small.toml")
    assert matched.space.matched == MatchedLatency(latency=12.0, score="prefill")
    assert from_json(to_json(matched)) == matched
    assert asked_scores(matched) == (*asked_scores(spec), "prefill")
    assert difference(spec, matched) == (
        "space.matched: null in the study, nothing in the file",
        "space.matched.latency: nothing in the study, 12.0 in the file",
        "space.matched.score: nothing in the study, 'prefill' in the file",
    )
    decode = parse_strict(StudySpec, changed("space.matched", {"latency": 12}), "small.toml")
    assert decode.space.matched == MatchedLatency(latency=12.0, score="decode")
    assert asked_scores(decode) == asked_scores(spec)
    deep = changed("space.matched", {"latency": 12, "score": "decode@4096"})
    deep["target"] = {"more_depths": [4_096]}
    assert "decode@4096" in asked_scores(parse_strict(StudySpec, deep, "small.toml"))


def test_it_cannot_be_changed(spec):
    with pytest.raises(ValidationError, match="frozen"):
        spec.trials = 6


class TestMachine:
    def test_a_missing_corpus(self):
        data = changed("proxy.corpus", "/nowhere/text")
        spec = parse_strict(StudySpec, data, "small.toml")
        with pytest.raises(ValueError, match=r"^proxy\.corpus: '/nowhere/text' is not"):
            check_machine(spec)


def test_importing_it_loads_neither_torch_nor_optuna():
    code = "import sys, studies.spec.study_spec; print({'torch', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestDevices:
    def test_their_scores_may_be_asked_for(self):
        data = changed("target", {"devices": ["phone", "pi-5"], "more_depths": [4096]})
        data["objectives"] = [{"name": "loss"}, {"name": "decode@4096@phone"}]
        data["constraints"] = [{"name": "memory@pi-5", "max": 500}]
        spec = parse_strict(StudySpec, data, "small.toml")
        assert asked_scores(spec) == ("loss", "decode@4096@phone", "memory@pi-5")
        assert spec.sampler_kind == "known-costs"
        assert from_json(to_json(spec)) == spec
        assert not is_measured_here(spec)

    def test_a_latency_of_a_device_may_be_matched(self):
        data = changed("target", {"devices": ["phone"]})
        matched = {"latency": 12, "score": "decode@phone"}
        data["space"] |= {"feed_forward": [1, 2], "matched": matched}
        spec = parse_strict(StudySpec, data, "small.toml")
        assert asked_scores(spec)[-1] == "decode@phone"
        data["space"]["matched"]["score"] = "memory@phone"
        assert sentence(data).startswith("space.matched.score: 'memory@phone' is not one of decode")

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["Phone"], "target.devices: 'Phone' is not the name of a device: 1 to 32 lower-case"),
            (["a b"], "target.devices: 'a b' is not the name of a device"),
            ([""], "target.devices: '' is not the name of a device"),
            (["4096"], "target.devices: '4096' is not the name of a device"),
            (["a@b"], "target.devices: 'a@b' is not the name of a device"),
            ([33 * "a"], "is not the name of a device"),
            (["one", "two", "one"], "target.devices: 'one' is given twice"),
            ("phone", "target.devices"),
            ([1], "target.devices[0]"),
        ],
    )
    def test_names_that_are_none_are_refused(self, names, expected):
        assert expected in sentence(changed("target.devices", names))

    @pytest.mark.parametrize(
        "name", ["decode@pi5", "decode@Phone", "loss@phone", "decode@7@phone", "parameters@phone"]
    )
    def test_a_score_that_no_named_device_gives_is_refused(self, name):
        data = changed("target.devices", ["phone"])
        data["objectives"][1]["name"] = name
        assert sentence(data).startswith(f"objectives[1].name: '{name}' is not ")

    def test_the_runner_of_this_machine_does_not_restrict_devices(self):
        """The runtime of `phone` is unknown here, and may be llama.cpp."""
        data = changed("target", {"devices": ["phone"], "quantization": "fp16"})
        assert "target.quantization: 'fp16' is not one of" in sentence(data)
        data["objectives"][1]["name"], data["constraints"] = "decode@phone", []
        assert parse_strict(StudySpec, data, "small.toml").target.quantization == "fp16"

    @pytest.mark.parametrize(
        ("devices", "objective", "expected"),
        [
            ([], "parameters", True),
            (["phone"], "parameters", False),
            (["phone"], "decode@phone", False),
            (["phone"], "prefill_per_byte@phone", False),
            (["phone"], "decode", True),
            (["phone"], "size", True),
            (["phone"], "decode_per_byte", True),
        ],
    )
    def test_this_machine_is_measured_if_a_score_of_it_is_asked_for(
        self, devices, objective, expected
    ):
        data = changed("target.devices", devices)
        data["objectives"][1] = {"name": objective}
        data["constraints"] = []
        assert is_measured_here(parse_strict(StudySpec, data, "small.toml")) is expected
