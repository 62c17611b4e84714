"""llama.cpp's own tokenizer, told by a GGUF file, against the library that the file is made from."""

import json
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

from search_space.gguf import write_gguf
from search_space.gguf_tokenizer import InexpressibleTokenizer, read_tokenizer
from tests.hardware.llama_programs import llama_program
from tests.search_space.strategies import ATTENTION, stack

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
SIZE = 700

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), BYTES])


SPLITTINGS = {
    "gpt-2": GPT2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    "smaug-bpe": split(LLAMA3),
    "qwen2": split(QWEN2),
}
SENTENCES = (
    "def area(self, width=3.14):\n\treturn self.width * width  # 'tis\n\n\n    pass\n",
    "I'll say it's we've they'RE 'S  'd 1234567 12 3²½Ⅷ٣৪  end \n \r\n\t \n x",
    "Größe, naïve façade — “quotes” … €5 ½ kg; e\u0301 é; \u00a0\u2003\u3000wide",
    "漢字とかなカナ、한국어 텍스트, हिन्दी में, ภาษาไทย, العربية שלום",
    "🙂🙂👩‍👩‍👧‍👦 🇩🇪 \U0001f9ff z\u0336a\u0337 \u200b\u200d\ufeff 𝕏𝒴 ÿ þ ÀÿÿÁ",
    "   leading, trailing   ",
    "a",
    " ",
    "\n",
    "\n\n  \n",
)


def texts() -> list[str]:
    """The sentences, pieces of them shuffled, and characters from all over Unicode."""
    generator = random.Random(7)
    pieces = [piece for text in SENTENCES for piece in text.split(" ")]
    shuffled = [" ".join(generator.choices(pieces, k=8)) for _ in range(200)]
    strange = [
        "".join(generator.choices([*range(1, 0xD800), *range(0xE000, 0x30000)], k=0) or map(chr, codes))
        for codes in (
            generator.choices([*range(1, 0xD800), *range(0xE000, 0x1FBF0)], k=24)
            for _ in range(200)
        )
    ]
    return [*SENTENCES, *shuffled, *strange]


def trained(pre_tokenizer: pre_tokenizers.PreTokenizer, *, ignore_merges: bool = False) -> Tokenizer:
    bpe = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    bpe.pre_tokenizer = pre_tokenizer
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - 50, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([*SENTENCES, *SENTENCES], trainer)
    return bpe


def embed(bpe: Tokenizer, folder: Path, end_token: int | None = None) -> Path:
    bpe.save(str(folder / "tokenizer.json"))
    return write_gguf(
        stack(ATTENTION, vocab_size=SIZE),
        folder / "model.gguf",
        quantization="fp16",
        context_length=64,
        tokenizer=read_tokenizer(folder / "tokenizer.json", SIZE, end_token),
    )


def llama_ids(path: Path, asked: Sequence[str]) -> list[list[int]]:
    given = b"".join(text.encode() + b"\0" for text in asked)
    ran = subprocess.run(
        [llama_program("llama-tokens"), path], input=given, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return [[int(id_) for id_ in line.split()] for line in ran.stdout.decode().splitlines()]


def assert_same_ids(bpe: Tokenizer, path: Path) -> None:
    asked = texts()
    for text, found in zip(asked, llama_ids(path, asked), strict=True):
        assert found == bpe.encode(text).ids, text


@pytest.mark.parametrize("name", SPLITTINGS)
def test_llama_cpp_gives_every_text_the_librarys_ids(name: str, tmp_path: Path) -> None:
    bpe = trained(SPLITTINGS[name])
    assert_same_ids(bpe, embed(bpe, tmp_path))
