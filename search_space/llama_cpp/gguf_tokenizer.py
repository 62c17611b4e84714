"""A byte-level BPE of the library `tokenizers` as llama.cpp has it, the same ids or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import tokenizers
from gguf import GGUFWriter, TokenType

# What the library writes of itself; each access below is to a field that it always writes.
_Part: TypeAlias = Mapping[str, Any]


class InexpressibleTokenizer(ValueError):
    """Its text is a clause that reads alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTokenizer:
    """What a GGUF file says of its tokenizer.

    pre: llama.cpp's name for how text is split before merges.
    tokens, types: by id, as many as the model has.
    begin, end: ids. adds_begin: whether every text begins with the former.
    ignored_normalizer: what the tokenizer does to text first and llama.cpp does not; None if
        nothing.
    """

    pre: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    begin: int
    end: int
    adds_begin: bool
    ignored_normalizer: str | None


def read_tokenizer(path: Path, vocab_size: int, end_token: int | None) -> GgufTokenizer:
    """The tokenizer of a file of the library `tokenizers`, for a model of `vocab_size` tokens.

    end_token: at which generation stops. InexpressibleTokenizer where llama.cpp would split,
    merge or frame a text differently.
    """
    whole = _read(path)
    model, added = whole["model"], whole["added_tokens"]
    if model["type"] != "BPE":
        raise InexpressibleTokenizer(f"llama.cpp has no {model['type']} as `tokenizers` has it")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model[option]:
            raise InexpressibleTokenizer(f"llama.cpp has no {option} in byte-level BPE")
    for token in added:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise InexpressibleTokenizer(
                f"llama.cpp finds the token {token['content']!r} wherever it stands"
            )
    spellings = _by_id(model["vocab"] | {token["content"]: token["id"] for token in added})
    if max(spellings) >= vocab_size:
        raise InexpressibleTokenizer(
            f"the tokenizer has the id {max(spellings)}, and the model {vocab_size:,} tokens"
        )
    kinds = {
        token["id"]: TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        for token in added
    }
    # With a space in them, which no byte-level token has, they are no other token.
    spare = {id_: f"no token {id_}" for id_ in range(vocab_size) if id_ not in spellings}
    begin = _begin(whole["post_processor"])
    end = _never_written(spellings, spare) if end_token is None else end_token
    return GgufTokenizer(
        pre=_pre(whole["pre_tokenizer"], ignore_merges=bool(model["ignore_merges"])),
        tokens=tuple((spellings | spare)[id_] for id_ in range(vocab_size)),
        types=tuple(
            TokenType.UNUSED if id_ in spare else kinds.get(id_, TokenType.NORMAL)
            for id_ in range(vocab_size)
        ),
        merges=tuple(" ".join(pair) for pair in model["merges"]),
        begin=end if begin is None else begin,
        end=end,
        adds_begin=begin is not None,
        ignored_normalizer=_normalizer(whole["normalizer"]),
    )


def add_tokenizer(writer: GGUFWriter, tokenizer: GgufTokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(tokenizer.types)
    writer.add_token_merges(tokenizer.merges)
    writer.add_bos_token_id(tokenizer.begin)
    writer.add_eos_token_id(tokenizer.end)
    writer.add_add_bos_token(tokenizer.adds_begin)
    writer.add_add_eos_token(False)


# Regular expressions that split text, as the library writes them.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT = r"\p{N}"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# llama.cpp's names, by the expressions in order and by whether a whole word that is a token is
# taken before its merges.
_PRES: Mapping[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGIT, _GPT2), False): "smollm",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_QWEN2,), False): "qwen2",
}

# The byte 255, as byte-level tokens spell it, which is in no text of UTF-8.
_NO_BYTE_OF_TEXT = "ÿ"


def _read(path: Path) -> _Part:
    try:
        whole: _Part = json.loads(tokenizers.Tokenizer.from_file(str(path)).to_str())
    except Exception as error:  # the library raises no other
        raise InexpressibleTokenizer(f"{path} is no tokenizer: {error}") from None
    return whole


def _by_id(ids: Mapping[str, int]) -> dict[int, str]:
    spellings = {id_: spelling for spelling, id_ in ids.items()}
    if len(spellings) < len(ids) or not spellings:
        raise InexpressibleTokenizer("the tokenizer gives one id to two tokens, or has none")
    return spellings


def _normalizer(normalizer: _Part | None) -> str | None:
    if normalizer is None:
        return None
    if normalizer["type"] == "NFC":  # as most text is already
        return "NFC"
    raise InexpressibleTokenizer(f"llama.cpp has no normalizer {normalizer['type']}")


def _pre(pre_tokenizer: _Part | None, *, ignore_merges: bool) -> str:
    *steps, last = _sequence(pre_tokenizer, "pretokenizers")
    splits = [_split(step) for step in steps]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        raise InexpressibleTokenizer("llama.cpp has no splitting as the tokenizer's")
    if last["use_regex"]:
        splits.append(_GPT2)
    name = _PRES.get((tuple(splits), ignore_merges))
    if name is None:
        raise InexpressibleTokenizer("llama.cpp has no splitting as the tokenizer's")
    return name


def _sequence(part: _Part | None, members: str) -> Sequence[_Part]:
    parts = [part] if part is None or part["type"] != "Sequence" else part[members]
    return [{"type": "none"} if part is None else part for part in parts or [None]]


def _split(step: _Part) -> str:
    match step:
        case {"type": "Digits", "individual_digits": True}:
            return _DIGIT
        case {
            "type": "Split",
            "pattern": {"Regex": str(pattern)},
            "behavior": "Isolated",
            "invert": False,
        }:
            return pattern
        case _:
            return str(step["type"])


def _begin(processor: _Part | None) -> int | None:
    """The token that every text begins with."""
    templates = [
        part
        for part in _sequence(processor, "processors")
        if part["type"] not in ("none", "ByteLevel")  # which changes offsets only
    ]
    match templates:
        case [] | [{"type": "TemplateProcessing", "single": [{"Sequence": _}]}]:
            return None
        case [
            {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": name}}, {"Sequence": _}],
                "special_tokens": special,
            }
        ] if len(special[name]["ids"]) == 1:
            return int(special[name]["ids"][0])
        case _:
            raise InexpressibleTokenizer("llama.cpp has no framing as the tokenizer's")


def _never_written(spellings: Mapping[int, str], spare: Mapping[int, str]) -> int:
    """A token that a model which has learnt from text does not write.

    llama.cpp ends a text at token 11 where no other is named.
    """
    for id_, spelling in spellings.items():
        if spelling == _NO_BYTE_OF_TEXT:
            return id_
    if spare:
        return min(spare)
    raise InexpressibleTokenizer("llama.cpp ends a text at a token, and the tokenizer has none")
