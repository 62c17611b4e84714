"""The user's own task: the split by prompts, and the messages for malformed files."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.text.task import Example, _split, read_task


def write(path: Path, examples: list[tuple[str, str]]) -> str:
    lines = [json.dumps({"prompt": prompt, "completion": done}) for prompt, done in examples]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def numbered(count: int) -> list[tuple[str, str]]:
    return [(f"What follows {n}?", f"{n + 1}.") for n in range(count)]


class TestSplit:
    def test_a_fifth_of_the_prompts_is_held_out_and_nothing_is_lost(self, tmp_path):
        task = read_task(write(tmp_path / "task.jsonl", numbered(100)))
        assert len(task.held_out) == 20
        both = {(each.prompt, each.completion) for each in (*task.training, *task.held_out)}
        assert both == set(numbered(100))

    @given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.text(min_size=1, max_size=3))))
    def test_no_prompt_is_both_trained_on_and_held_out(self, pairs):
        examples = [Example(prompt=prompt, completion=done) for prompt, done in pairs]
        task = _split(examples)
        prompts = [{each.prompt for each in side} for side in (task.training, task.held_out)]
        assert not prompts[0] & prompts[1]
        assert len(task.training) + len(task.held_out) == len(set(pairs))

    def test_order_duplicates_and_blank_lines_do_not_matter(self, tmp_path):
        examples = numbered(60)
        before = read_task(write(tmp_path / "task.jsonl", examples))
        shuffled = examples + examples[:7]
        random.Random(0).shuffle(shuffled)
        path = tmp_path / "other.jsonl"
        write(path, shuffled)
        path.write_text("\n" + path.read_text() + "\n\n")
        assert read_task(str(path)) == before

    def test_most_held_out_prompts_remain_held_out_when_the_file_grows(self, tmp_path):
        """Only prompts whose hash is near the limit may move."""
        small = read_task(write(tmp_path / "small.jsonl", numbered(60)))
        large = read_task(write(tmp_path / "large.jsonl", numbered(600)))
        kept = {each.prompt for each in small.held_out} & {each.prompt for each in large.held_out}
        assert len(kept) > 0.5 * len(small.held_out)

    def test_a_large_file_has_a_limited_number_to_score(self, tmp_path):
        task = read_task(write(tmp_path / "task.jsonl", numbered(5_000)))
        assert len(task.held_out) == 400

    def test_the_identity_depends_on_the_examples(self, tmp_path):
        one = read_task(write(tmp_path / "one.jsonl", numbered(60)))
        other = read_task(write(tmp_path / "other.jsonl", [*numbered(59), ("prompt", "60.")]))
        assert one.identity != other.identity


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("{", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ('["prompt", "completion"]', "is not an object with exactly the fields"),
            ('{"prompt": "a"}', "is not an object with exactly the fields"),
            (
                '{"prompt": "a", "completion": "b", "more": "c"}',
                "is not an object with exactly the fields",
            ),
            ('{"prompt": 1, "completion": "b"}', 'has a "prompt" that is not a string'),
            ('{"prompt": "a", "completion": null}', 'has a "completion" that is not a string'),
            ('{"prompt": "a", "completion": ""}', 'has an empty "completion"'),
            ('{"prompt": "\\ud800", "completion": "b"}', 'has a "prompt" with an unpaired UTF-16'),
        ],
    )
    def test_the_message_has_the_number_of_the_line(self, tmp_path, line, sentence):
        path = tmp_path / "task.jsonl"
        write(path, numbered(60))
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:41], "", line, *lines[41:]]))
        with pytest.raises(ValueError, match=r"^task: line 43 of '.*task.jsonl' ") as error:
            read_task(str(path))
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)

    def test_invalid_utf8_is_reported_with_its_line(self, tmp_path):
        path = tmp_path / "task.jsonl"
        path.write_bytes(b'{"prompt": "a", "completion": "b"}\n\xff\n')
        with pytest.raises(ValueError, match=r"line 2 of '.*' is not UTF-8 text$"):
            read_task(str(path))

    def test_a_unicode_line_separator_does_not_end_a_line(self, tmp_path):
        examples = [(f"{n}\u2028\x85", "b\x0c") for n in range(60)]
        path = tmp_path / "task.jsonl"
        lines = [
            json.dumps({"prompt": prompt, "completion": done}, ensure_ascii=False)
            for prompt, done in examples
        ]
        path.write_text("\r\n".join(lines), newline="")
        task = read_task(str(path))
        assert len(task.training) + len(task.held_out) == 60

    @pytest.mark.parametrize("count", [0, 1, 49])
    def test_too_few_prompts_are_refused_with_their_number(self, tmp_path, count):
        name = write(tmp_path / "task.jsonl", numbered(count) * 2)
        with pytest.raises(
            ValueError, match=f"has {count} different prompts, but at least 50 are required$"
        ):
            read_task(name)

    @pytest.mark.parametrize("name", ["absent.jsonl", ".", "a\0b", "x" * 10_000, "~nobody/task"])
    def test_an_unreadable_file_is_reported_in_one_sentence(self, name):
        with pytest.raises(ValueError, match=r"^task: '") as error:
            read_task(name)
        assert "\n" not in str(error.value)
