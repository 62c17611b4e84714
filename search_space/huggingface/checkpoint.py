"""Reads trained weights from one or several safetensors files; never from a pickle file."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

# Importing it adds bfloat16 to numpy, the data type in which most models are published.
import ml_dtypes  # noqa: F401
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from search_space.architecture import Architecture, architecture_hash
from search_space.huggingface.configuration import (
    CUSTOM,
    architecture_of,
    model_type_of,
    read_config,
)
from search_space.huggingface.weights import from_huggingface
from search_space.input_errors import format_value
from search_space.input_files import MODEL_BYTES, check_file, exists, read_text
from search_space.strict import parse_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_INDEX_SUFFIX = ".index.json"
# File name suffixes of torch, and of trainers that build on it, for pickle files.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# Some trainings save float64 only.
_FLOATS = ("F64", "F32", "F16", "BF16")


def read_weights(folder: Path, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a folder that transformers saved.

    Args:
        folder: The folder.
        architecture: The architecture that the folder must contain.

    Returns:
        The weights in float32, by their names in the torch model.

    Raises:
        ValueError: The folder contains a different architecture, no safetensors file, or tensors
            that do not fit its own configuration.
    """
    config = read_config(folder)
    found = architecture_of(config, str(folder))
    if found != architecture:
        raise ValueError(
            f"{folder}: config.json: its architecture is {architecture_hash(found)}, not the "
            f"requested {architecture_hash(architecture)}"
        )
    with _open_folder(folder) as tensors:
        return tensors.weights(architecture, model_type_of(config, str(folder)))


def read_weights_file(file: Path, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
    """Read the weights of one safetensors file whose tensors are named as in the torch model.

    Args:
        file: The file.
        architecture: The architecture that the weights are for.

    Returns:
        The weights in float32, by name.

    Raises:
        ValueError: The file cannot be read, or its tensors do not fit the architecture.
    """
    with _opened(file) as handle:
        tensors = _Tensors(source=file, handle_of=dict.fromkeys(handle.keys(), handle))
        return tensors.weights(architecture, CUSTOM)


def holds_weights(folder: Path) -> bool:
    """Return whether a folder contains weights, even in a form that `read_weights` refuses.

    An index counts, too: the files that it lists may be missing.
    """
    return any(
        file.suffix in (".safetensors", *PICKLES) or file.name.endswith(_INDEX_SUFFIX)
        for file in folder.iterdir()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensors:
    """Tensors in open files.

    Attributes:
        source: The folder or file that error messages name.
        handle_of: The open file of each tensor, by the tensor's name.
    """

    source: Path
    handle_of: Mapping[str, safe_open]

    def weights(
        self, architecture: Architecture, model_type: str
    ) -> dict[str, NDArray[np.float32]]:
        return from_huggingface(
            architecture, model_type, self._read, self.handle_of.keys(), str(self.source)
        )

    def _read(self, name: str) -> NDArray[np.float32]:
        handle, place = self.handle_of[name], f"{self.source}: {name}"
        kind = handle.get_slice(name).get_dtype()
        if kind not in _FLOATS:
            raise ValueError(f"{place}: its type {kind} is not one of {', '.join(_FLOATS)}")
        with np.errstate(over="ignore"):  # float64 values beyond the range of float32
            values = np.asarray(handle.get_tensor(name)).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(f"{place} contains a value that is not finite in float32")
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "ignore", "strict": True}
    weight_map: dict[str, str]


@contextmanager
def _open_folder(folder: Path) -> Iterator[_Tensors]:
    with ExitStack() as open_files:
        # Like transformers, prefer the single file: an earlier training may have left an index.
        if exists(folder / INDEX_FILE) and not exists(folder / WEIGHTS_FILE):
            file_of = _indexed(folder)
            handles = {
                file: open_files.enter_context(_opened(folder / file))
                for file in sorted(set(file_of.values()))
            }
            for name, file in file_of.items():
                if name not in handles[file].keys():  # noqa: SIM118 - the handle is no mapping
                    raise ValueError(f"{folder / INDEX_FILE}: {name} is not in {file}")
            handle_of = {name: handles[file] for name, file in file_of.items()}
        else:
            handle = open_files.enter_context(_opened(_only_file(folder)))
            handle_of = dict.fromkeys(handle.keys(), handle)
        yield _Tensors(source=folder, handle_of=handle_of)


def _indexed(folder: Path) -> dict[str, str]:
    source = folder / INDEX_FILE
    index = parse_json(_Index, read_text(source), str(source))
    for name, file in index.weight_map.items():
        if Path(file).name != file or Path(file).suffix != ".safetensors":
            raise ValueError(
                f"{source}: weight_map.{name}: {format_value(file)} is not the name of a "
                "safetensors file in the same folder"
            )
    return index.weight_map


def _only_file(folder: Path) -> Path:
    path = folder / WEIGHTS_FILE
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if not exists(path) and pickles:
        raise ValueError(
            f"{folder}: {pickles[0]} is a pickle file, which can run arbitrary code when it is "
            "loaded; if you trust it, convert it to safetensors with AutoModelForCausalLM"
            ".from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
        )
    if not exists(path):
        raise ValueError(f"{folder}: {WEIGHTS_FILE} is missing")
    return path


def _opened(path: Path) -> safe_open:
    check_file(path, MODEL_BYTES)
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file: {str(error).lower()}") from None
