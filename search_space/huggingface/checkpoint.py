"""Trained weights out of a folder's safetensors, in one file or several; never out of a pickle."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

# Its import teaches numpy the bfloat16 in which most models are published.
import ml_dtypes  # noqa: F401
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from search_space.architecture import Architecture, architecture_hash
from search_space.huggingface.configuration import architecture_of, model_type_of
from search_space.huggingface.folder import read_config
from search_space.huggingface.weights import from_huggingface
from search_space.mistakes import shown
from search_space.strict import parse_json, read_text

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def read_weights(folder: Path, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
    """The weights of a folder that transformers saved, by the torch model's names, in float32.

    ValueError, one sentence, where the folder holds another Architecture, no safetensors, or
    tensors that do not fit its own configuration.
    """
    config = read_config(folder)
    found = architecture_of(config, str(folder))
    if found != architecture:
        raise ValueError(
            f"{folder}: config.json: its architecture is {architecture_hash(found)}, and the one "
            f"asked for is {architecture_hash(architecture)}"
        )
    with _open_tensors(folder) as tensors:
        return from_huggingface(
            architecture,
            model_type_of(config, str(folder)),
            tensors.read,
            tensors.file_of.keys(),
            str(folder),
        )


# float64 too: who trains with it has no other file.
_FLOATS = ("F64", "F32", "F16", "BF16")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    folder: Path
    handles: Mapping[str, safe_open]
    file_of: Mapping[str, str]

    def read(self, name: str) -> NDArray[np.float32]:
        handle, place = self.handles[self.file_of[name]], f"{self.folder}: {name}"
        kind = handle.get_slice(name).get_dtype()
        if kind not in _FLOATS:
            raise ValueError(f"{place}: its type {kind} is not one of {', '.join(_FLOATS)}")
        return np.asarray(handle.get_tensor(name)).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "ignore", "strict": True}
    weight_map: dict[str, str]


@contextmanager
def _open_tensors(folder: Path) -> Iterator[_Tensors]:
    with ExitStack() as open_files:
        if (folder / INDEX_FILE).is_file():
            file_of = _indexed(folder)
            handles = {
                file: open_files.enter_context(_opened(folder / file))
                for file in sorted(set(file_of.values()))
            }
            for name, file in file_of.items():
                if name not in handles[file].keys():  # noqa: SIM118 - the handle is no mapping
                    raise ValueError(f"{folder / INDEX_FILE}: {name} is not in {file}")
        else:
            handle = open_files.enter_context(_opened(_only_file(folder)))
            handles, file_of = {WEIGHTS_FILE: handle}, dict.fromkeys(handle.keys(), WEIGHTS_FILE)
        yield _Tensors(folder=folder, handles=handles, file_of=file_of)


def _indexed(folder: Path) -> dict[str, str]:
    source = folder / INDEX_FILE
    index = parse_json(_Index, read_text(source), str(source))
    for name, file in index.weight_map.items():
        if Path(file).name != file or Path(file).suffix != ".safetensors":
            raise ValueError(
                f"{source}: weight_map.{name}: {shown(file)} is not the name of a safetensors file "
                "in the same folder"
            )
    return index.weight_map


def _only_file(folder: Path) -> Path:
    path = folder / WEIGHTS_FILE
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
    if not path.is_file() and pickles:
        raise ValueError(
            f"{folder}: {pickles[0]} is a pickle, which may run any program when it is read; "
            "convert it where you trust it: AutoModelForCausalLM.from_pretrained(FOLDER)"
            ".save_pretrained(NEW_FOLDER) writes safetensors"
        )
    if not path.is_file():
        raise ValueError(f"{folder}: {WEIGHTS_FILE} is missing")
    return path


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is no safetensors file: {str(error).lower()}") from None
