"""llama.cpp's own tokenizer, told by a GGUF file, against the library that the file is from."""

import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from gguf import GGUFReader
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from search_space.llama_cpp.gguf_file import write_gguf
from search_space.llama_cpp.gguf_tokenizer import InexpressibleTokenizer, read_tokenizer
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
    characters = [*map(chr, [*range(1, 0xD800), *range(0xE000, 0x1FBF0)])]
    strange = ["".join(generator.choices(characters, k=24)) for _ in range(200)]
    return [*SENTENCES, *shuffled, *strange]


def trained(
    pre_tokenizer: pre_tokenizers.PreTokenizer, *, ignore_merges: bool = False
) -> Tokenizer:
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


def test_words_before_merges_and_tokens_with_a_meaning(tmp_path: Path) -> None:
    bpe = trained(split(LLAMA3), ignore_merges=True)
    bpe.add_special_tokens(["<|begin|>", "<|end|>"])
    bpe.add_tokens([AddedToken("<tool>", normalized=False)])
    begin, end = bpe.token_to_id("<|begin|>"), bpe.token_to_id("<|end|>")
    bpe.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    path = embed(bpe, tmp_path, end_token=end)
    assert_same_ids(bpe, path)
    asked = "one<|end|> <tool>two"
    assert llama_ids(path, [asked]) == [bpe.encode(asked).ids]
    fields = {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    assert fields["tokenizer.ggml.bos_token_id"] == begin
    assert fields["tokenizer.ggml.eos_token_id"] == end
    assert fields["tokenizer.ggml.add_bos_token"] is True
    assert fields["tokenizer.ggml.add_eos_token"] is False


def test_without_an_end_generation_stops_at_nothing_that_text_holds(tmp_path: Path) -> None:
    bpe = trained(GPT2)
    bpe.save(str(tmp_path / "tokenizer.json"))
    told = read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)
    assert not told.adds_begin
    assert told.tokens[told.end] == "ÿ"
    assert not any(told.end in bpe.encode(text).ids for text in texts())


def test_what_text_goes_through_first_is_told(tmp_path: Path) -> None:
    bpe = trained(split(QWEN2))
    bpe.normalizer = normalizers.NFC()
    bpe.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path / "tokenizer.json", SIZE, None).ignored_normalizer == "NFC"


def wordpiece() -> Tokenizer:
    return Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))


def spaced() -> Tokenizer:
    return trained(pre_tokenizers.ByteLevel(add_prefix_space=True))


def lower_case() -> Tokenizer:
    bpe = trained(GPT2)
    bpe.normalizer = normalizers.Lowercase()
    return bpe


def ended() -> Tokenizer:
    bpe = trained(GPT2)
    bpe.add_special_tokens(["<end>"])
    bpe.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", bpe.token_to_id("<end>"))]
    )
    return bpe


def greedy_token() -> Tokenizer:
    bpe = trained(GPT2)
    bpe.add_tokens([AddedToken("<mask>", lstrip=True)])
    return bpe


def large() -> Tokenizer:
    bpe = trained(GPT2)
    bpe.add_tokens([f"token {number}" for number in range(SIZE)])
    return bpe


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (wordpiece, "llama.cpp has no WordPiece"),
        (spaced, "llama.cpp has no splitting"),
        (lower_case, "llama.cpp has no normalizer Lowercase"),
        (ended, "llama.cpp has no framing"),
        (greedy_token, "llama.cpp finds the token '<mask>' wherever it stands"),
        (large, "the model 700 tokens"),
        (lambda: trained(pre_tokenizers.Whitespace()), "llama.cpp has no splitting"),
        (lambda: trained(split("[a-z]+")), "llama.cpp has no splitting"),
        (lambda: trained(pre_tokenizers.Sequence([])), "llama.cpp has no splitting"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(
    make: Callable[[], Tokenizer], reason: str, tmp_path: Path
) -> None:
    make().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InexpressibleTokenizer, match=reason):
        read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InexpressibleTokenizer, match="is no tokenizer"):
        read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)
