"""Converts byte-level BPE tokenizers for llama.cpp, with identical token ids or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gguf import GGUFWriter, TokenType

from search_space.tokenizer_file import load_tokenizer

# A part of the JSON that the library `tokenizers` writes. The code below accesses only fields that
# it always writes.
_Part: TypeAlias = Mapping[str, Any]


class UnsupportedTokenizer(ValueError):
    """llama.cpp cannot reproduce a tokenizer; the message is a clause that states why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTokenizer:
    """The tokenizer of a GGUF file.

    Attributes:
        pre_tokenizer: llama.cpp's name for the way in which text is split before merges.
        tokens: The tokens by id, as many as the model has.
        types: The type of each token.
        merges: The merges, in order of priority.
        begin_token: The id of the begin-of-text token.
        end_token: The id of the token at which generation stops.
        adds_begin: Whether every text begins with `begin_token`.
        ignored_normalizer: The normalisation that the tokenizer applies to text and llama.cpp does
            not; None if there is none.
    """

    pre_tokenizer: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    begin_token: int
    end_token: int
    adds_begin: bool
    ignored_normalizer: str | None


def read_tokenizer(path: Path, vocab_size: int, end_token: int | None) -> GgufTokenizer:
    """Read a tokenizer that was saved by the library `tokenizers`.

    Args:
        path: The file.
        vocab_size: The number of tokens of the model.
        end_token: The id of the token at which generation stops; None selects a token that text
            never contains.

    Raises:
        UnsupportedTokenizer: The file is not a tokenizer, or llama.cpp would convert some text to
            different ids.
    """
    whole = _read(path)
    model, added = whole["model"], whole["added_tokens"]
    if model["type"] != "BPE":
        raise UnsupportedTokenizer(
            f"llama.cpp does not support tokenizers of the type {model['type']}"
        )
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model[option]:
            raise UnsupportedTokenizer(f"llama.cpp does not support {option} in byte-level BPE")
    for token in added:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise UnsupportedTokenizer(
                "llama.cpp does not support the options lstrip, rstrip and single_word of the "
                f"token {token['content']!r}"
            )
    spellings = _by_id(model["vocab"] | {token["content"]: token["id"] for token in added})
    if max(spellings) >= vocab_size:
        raise UnsupportedTokenizer(
            f"the tokenizer has the id {max(spellings)}, but the model has only {vocab_size:,} "
            "tokens"
        )
    kinds = {
        token["id"]: TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        for token in added
    }
    # Byte-level tokens contain no spaces, so these placeholders equal no other token.
    spare = {id_: f"no token {id_}" for id_ in range(vocab_size) if id_ not in spellings}
    begin = _begin_token(whole["post_processor"])
    end = _unused_token(spellings, spare) if end_token is None else end_token
    return GgufTokenizer(
        pre_tokenizer=_pre_tokenizer(
            whole["pre_tokenizer"], ignore_merges=bool(model["ignore_merges"])
        ),
        tokens=tuple((spellings | spare)[id_] for id_ in range(vocab_size)),
        types=tuple(
            TokenType.UNUSED if id_ in spare else kinds.get(id_, TokenType.NORMAL)
            for id_ in range(vocab_size)
        ),
        merges=tuple(" ".join(pair) for pair in model["merges"]),
        begin_token=end if begin is None else begin,
        end_token=end,
        adds_begin=begin is not None,
        ignored_normalizer=_normalizer(whole["normalizer"]),
    )


def add_tokenizer(writer: GGUFWriter, tokenizer: GgufTokenizer) -> None:
    """Add a tokenizer to the metadata of a GGUF file."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre_tokenizer)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(tokenizer.types)
    writer.add_token_merges(tokenizer.merges)
    writer.add_bos_token_id(tokenizer.begin_token)
    writer.add_eos_token_id(tokenizer.end_token)
    writer.add_add_bos_token(tokenizer.adds_begin)
    writer.add_add_eos_token(False)


# Regular expressions that split text, as the library `tokenizers` writes them.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT = r"\p{N}"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# llama.cpp's names of pre-tokenizers, by their expressions in order and by `ignore_merges`: whether
# a word that is a token is used without applying merges.
_PRE_TOKENIZERS: Mapping[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGIT, _GPT2), False): "smollm",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_QWEN2,), False): "qwen2",
}

# The spelling of byte 255 in byte-level tokens; no UTF-8 text contains this byte.
_BYTE_255 = "ÿ"


def _read(path: Path) -> _Part:
    try:
        whole: _Part = json.loads(load_tokenizer(path).to_str())
    except ValueError as error:
        raise UnsupportedTokenizer(str(error)) from None
    return whole


def _by_id(ids: Mapping[str, int]) -> dict[int, str]:
    spellings = {id_: spelling for spelling, id_ in ids.items()}
    if len(spellings) < len(ids) or not spellings:
        raise UnsupportedTokenizer("the tokenizer assigns one id to two tokens, or has no tokens")
    return spellings


def _normalizer(normalizer: _Part | None) -> str | None:
    if normalizer is None:
        return None
    if normalizer["type"] == "NFC":  # leaves most text unchanged
        return "NFC"
    raise UnsupportedTokenizer(f"llama.cpp does not support the normalizer {normalizer['type']}")


def _pre_tokenizer(pre_tokenizer: _Part | None, *, ignore_merges: bool) -> str:
    *steps, last = _sequence(pre_tokenizer, "pretokenizers")
    splits = [_split(step) for step in steps]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        raise UnsupportedTokenizer("llama.cpp splits text differently from the tokenizer")
    if last["use_regex"]:
        splits.append(_GPT2)
    name = _PRE_TOKENIZERS.get((tuple(splits), ignore_merges))
    if name is None:
        raise UnsupportedTokenizer("llama.cpp splits text differently from the tokenizer")
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


def _begin_token(processor: _Part | None) -> int | None:
    """Return the id of the token that every text begins with, if any."""
    templates = [
        part
        for part in _sequence(processor, "processors")
        if part["type"] not in ("none", "ByteLevel")  # ByteLevel changes offsets only
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
            raise UnsupportedTokenizer(
                "llama.cpp adds special tokens to a text differently from the tokenizer"
            )


def _unused_token(spellings: Mapping[int, str], spare: Mapping[int, str]) -> int:
    """Return the id of a token that no text contains, so that a trained model never generates it.

    llama.cpp requires an end-of-text token: if a file names none, it stops at token 11.
    """
    for id_, spelling in spellings.items():
        if spelling == _BYTE_255:
            return id_
    if spare:
        return min(spare)
    raise UnsupportedTokenizer(
        "llama.cpp requires an end-of-text token, but every token of the tokenizer can occur in "
        "text"
    )
