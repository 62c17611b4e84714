"""Where an export goes: all of it or nothing, also when the disk is full or Ctrl-C is pressed."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Every folder that an export writes holds one; a folder without it is somebody's.
MARK = "architecture.json"
# All else that exports write into folders; what holds more is somebody's too.
_WRITTEN = {
    MARK,
    "README.md",
    "chat_template.jinja",
    "config.json",
    "configuration_hybrid_lm.py",
    "genai.onnx",
    "genai_config.json",
    "generation_config.json",
    "model.json",
    "model.onnx",
    "model.onnx.data",
    "model.safetensors",
    "modeling_hybrid_lm.py",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


def file_name(name: str) -> str:
    """The name as part of a path, ValueError for one that would leave the folder or hide there.

    Names of studies come out of a database, which anybody may have written.
    """
    if not re.fullmatch(r"\w[\w.+ -]{0,100}", name):
        raise ValueError(
            f"output: no file is named after {name[:100]!r}; say where it goes with --output"
        )
    return name


@contextlib.contextmanager
def writing_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside `target` to be written, which becomes `target` at the end.

    Raises ValueError where `target` exists and may not be overwritten, or cannot be written; after
    any exception nothing is left behind.
    """
    with _beside(target, overwrite=overwrite) as place:
        if target.is_dir():
            raise ValueError(f"output: '{target}' is a folder, and one file is to be written")
        yield place / target.name
        (place / target.name).replace(target)


@contextlib.contextmanager
def writing_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `target`, which becomes `target` at the end; else as `writing_file`.

    Only a folder that an export wrote, to which nothing was added, or an empty one, is replaced.
    """
    with _beside(target, overwrite=overwrite or _is_empty(target)) as place:
        if target.exists() and not _is_empty(target):
            _check_export(target)
        fresh = place / "new"
        fresh.mkdir()
        yield fresh
        before = place / "old"
        if target.exists():
            target.rename(before)
        try:
            fresh.rename(target)
        except OSError:
            if before.exists():
                before.rename(target)
            raise


@contextlib.contextmanager
def _beside(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder on the same disk, so that one rename ends the work."""
    try:
        # A link that leads nowhere is somebody's as well.
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise ValueError(f"output: '{target}' exists already; --force overwrites it")
        with tempfile.TemporaryDirectory(prefix=".nas-export-", dir=target.parent) as place:
            yield Path(place)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"output: '{target}' cannot be written: {reason}") from error


def _check_export(target: Path) -> None:
    if not (target / MARK).is_file():
        raise ValueError(f"output: '{target}' holds no export ({MARK}) and is not overwritten")
    added = sorted({path.name for path in target.iterdir()} - _WRITTEN)
    if added:
        raise ValueError(
            f"output: '{target}' holds '{added[0]}', which no export wrote, and is not overwritten"
        )


def _is_empty(target: Path) -> bool:
    with contextlib.suppress(OSError):
        return target.is_dir() and not any(target.iterdir())
    return False
