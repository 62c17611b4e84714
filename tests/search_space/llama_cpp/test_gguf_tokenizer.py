"""llama.cpp's tokenizer, configured by a GGUF file, against the library `tokenizers`."""

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
from search_space.llama_cpp.gguf_tokenizer import UnsupportedTokenizer, read_tokenizer
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
    """Return the sentences, shuffled pieces of them, and characters from all of Unicode."""
    generator = random.Random(7)
    pieces = [piece for text in SENTENCES for piece in text.split(" ")]
    shuffled = [" ".join(generator.choices(pieces, k=8)) for _ in range(200)]
    characters = [*map(chr, [*range(1, 0xD800), *range(0xE000, 0x1FBF0)])]
    random_characters = ["".join(generator.choices(characters, k=24)) for _ in range(200)]
    return [*SENTENCES, *shuffled, *random_characters]


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
def test_llama_cpp_and_the_library_convert_every_text_to_the_same_ids(
    name: str, tmp_path: Path
) -> None:
    bpe = trained(SPLITTINGS[name])
    assert_same_ids(bpe, embed(bpe, tmp_path))


def test_ignored_merges_and_special_tokens(tmp_path: Path) -> None:
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


def test_without_an_end_token_generation_stops_at_a_token_that_text_never_contains(
    tmp_path: Path,
) -> None:
    bpe = trained(GPT2)
    bpe.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)
    assert not tokenizer.adds_begin
    assert tokenizer.tokens[tokenizer.end_token] == "ÿ"
    assert not any(tokenizer.end_token in bpe.encode(text).ids for text in texts())


def test_a_normalisation_that_llama_cpp_lacks_is_reported(tmp_path: Path) -> None:
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
        (wordpiece, "llama.cpp does not support tokenizers of the type WordPiece"),
        (spaced, "llama.cpp splits text differently"),
        (lower_case, "llama.cpp does not support the normalizer Lowercase"),
        (ended, "llama.cpp adds special tokens to a text differently"),
        (greedy_token, "single_word of the token '<mask>'"),
        (large, "the model has only 700 tokens"),
        (lambda: trained(pre_tokenizers.Whitespace()), "llama.cpp splits text differently"),
        (lambda: trained(split("[a-z]+")), "llama.cpp splits text differently"),
        (lambda: trained(pre_tokenizers.Sequence([])), "llama.cpp splits text differently"),
    ],
)
def test_an_unsupported_tokenizer_is_refused(
    make: Callable[[], Tokenizer], reason: str, tmp_path: Path
) -> None:
    make().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedTokenizer, match=reason):
        read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)


def test_a_file_that_is_not_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnsupportedTokenizer, match="is not a tokenizer file"):
        read_tokenizer(tmp_path / "tokenizer.json", SIZE, None)
