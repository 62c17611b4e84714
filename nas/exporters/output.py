"""Writes exports completely or not at all, even if the disk is full or Ctrl-C is pressed."""

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from search_space.huggingface.configuration import CONFIG_FILE
from search_space.input_files import exists, is_file, is_folder, reason_of
from search_space.preset_models import PRESETS

# Every exported folder contains this file. A folder without it is not an export and is never
# replaced, nor is a folder that contains files other than these.
MARK = "architecture.json"
_EXPORTED_FILES = {
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
# Commands take files with these suffixes for other models, or for a study.
_OTHER_SUFFIXES = (".gguf", ".onnx", ".toml")


class OutputExists(ValueError):
    """The output exists already, and was not to be replaced."""

    def __init__(self, target: Path, field: str = "output") -> None:
        super().__init__(f"{field}: '{target}' already exists; --force overwrites it")
        self.target = target


def file_name(name: str) -> str:
    """Check that a name can be used as a file name, and return it.

    Names of studies are read from a database, which is not trusted.

    Raises:
        ValueError: The name would leave the folder or be hidden in it.
    """
    if not re.fullmatch(r"\w[\w.+ -]{0,100}", name):
        raise ValueError(f"output: {name[:100]!r} cannot be used as a file name; specify --output")
    return name


def check_architecture_path(path: Path) -> None:
    """Check that commands read a file at this path as an architecture file.

    Raises:
        ValueError: They take a file of this name for something else.
    """
    is_other = path.name == CONFIG_FILE or path.suffix in _OTHER_SUFFIXES
    if is_other or str(path) in PRESETS:
        raise ValueError(
            f"output: commands do not read '{path}' as an architecture file; choose a name that "
            f"ends in .json, other than {CONFIG_FILE}"
        )


@contextlib.contextmanager
def writing_file(target: Path, *, overwrite: bool, field: str = "output") -> Iterator[Path]:
    """Provide a temporary path that is moved to `target` at the end.

    After any exception, `target` is unchanged and nothing else is left.

    Args:
        target: The file to write. A link is replaced, and what it refers to is unchanged.
        overwrite: Whether an existing file may be replaced.
        field: The name of the option, with which error messages begin.

    Yields:
        The temporary path, to which the caller writes.

    Raises:
        OutputExists: `target` exists and must not be replaced.
        ValueError: `target` cannot be written, or is something else than a file, such as a device.
    """
    check = functools.partial(check_output_file, field=field)
    with _temporary_folder(target, check, overwrite=overwrite, field=field) as temporary:
        yield temporary / target.name
        # The target may have been created in the meantime.
        check(target)
        if not overwrite and os.path.lexists(target):
            raise OutputExists(target, field)
        (temporary / target.name).replace(target)


def check_output_file(target: Path, field: str = "output") -> None:
    """Check that a path is free or a regular file, or a link to one, so that it may be replaced.

    Raises:
        ValueError: It is something else, such as a folder or a device, or is not a possible path.
    """
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"{field}: '{target}' cannot be written: {reason_of(error)}") from None
    if is_folder(target):
        raise ValueError(f"{field}: '{target}' is a folder, not a file")
    if exists(target) and not is_file(target) and not target.is_symlink():
        raise ValueError(f"{field}: '{target}' is not a regular file and is not overwritten")


@contextlib.contextmanager
def writing_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Provide an empty temporary folder that is moved to `target` at the end.

    After any exception, `target` is unchanged and nothing else is left. A folder is replaced only
    if it is empty, or if it is an export to which no files were added.

    Args:
        target: The folder to write.
        overwrite: Whether an existing export may be replaced.

    Yields:
        The temporary folder, into which the caller writes.

    Raises:
        OutputExists: `target` is an export and must not be replaced.
        ValueError: `target` is something else, or cannot be written.
    """
    overwrite = overwrite or _is_empty(target)
    with _temporary_folder(target, _check_export, overwrite=overwrite) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        old = temporary / "old"
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


@contextlib.contextmanager
def _temporary_folder(
    target: Path,
    check: Callable[[Path], None],
    *,
    overwrite: bool,
    field: str = "output",
) -> Iterator[Path]:
    """Provide a temporary folder on the same disk as `target`, so that a rename completes the work.

    `check` raises ValueError if `target` must not be replaced in any case. OSErrors, including
    those of the caller, become ValueErrors.
    """
    try:
        check(target)
        # A dangling link also counts as existing output.
        if os.path.lexists(target) and not overwrite:
            raise OutputExists(target, field)
        with tempfile.TemporaryDirectory(prefix=".nas-export-", dir=target.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise ValueError(f"{field}: '{target}' cannot be written: {reason_of(error)}") from error


def _check_export(target: Path) -> None:
    if not target.exists() or _is_empty(target):
        return
    if not (target / MARK).is_file():
        raise ValueError(f"output: '{target}' is not an export (no {MARK}) and is not overwritten")
    added = sorted({path.name for path in target.iterdir()} - _EXPORTED_FILES)
    if added:
        raise ValueError(
            f"output: '{target}' contains '{added[0]}', which is not part of an export, and is not "
            "overwritten"
        )


def _is_empty(target: Path) -> bool:
    with contextlib.suppress(OSError):
        return target.is_dir() and not any(target.iterdir())
    return False
