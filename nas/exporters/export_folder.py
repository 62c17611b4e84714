"""What the page's export button does: a trial becomes a file in the folder for exports."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from nas.exporters.export_model import export_model, next_steps
from nas.exporters.formats import ExportOptions, Format
from nas.exporters.output import file_name
from nas.inputs.model_argument import ResolvedModel
from search_space.input_errors import one_of
from studies.analysis import summaries
from studies.storage.store import Store

_CONTEXT_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenExport:
    """Where it is, what could not be written, and commands that go on from it."""

    path: Path
    remark: str | None
    next_commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFolder:
    """The one folder that exports go to; it is made with the first of them."""

    path: Path
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def export(self, store: Store, study: str, trial: str, file_format: str) -> WrittenExport:
        """Takes seconds where there are weights.

        ValueError for a trial or format that there is not, and for an export that exists.
        """
        formats = [each.value for each in Format]
        if file_format not in formats:
            raise ValueError(f"format: {file_format[:100]!r} is not {one_of(formats)}")
        detail = summaries.detail(store, study, trial)
        if detail.architecture is None:
            raise ValueError(f"trial: {trial} has no architecture yet")
        name = file_name(f"{study}-{trial}")
        options = ExportOptions(
            file_format=Format(file_format),
            output=self.path / _target(name, Format(file_format)),
            weights=None,
            quantization=None,
            seed=0,
            context_length=_CONTEXT_LENGTH,
            overwrite=False,
        )
        subject = ResolvedModel(name=name, architecture=detail.architecture, detail=detail)
        with self._one_at_a_time:
            self.path.mkdir(parents=True, exist_ok=True)
            exported = export_model(subject, options)
        return WrittenExport(
            path=exported.path,
            remark=exported.remark,
            next_commands=next_steps(exported, options.file_format),
        )


def _target(name: str, file_format: Format) -> str:
    match file_format:
        case Format.JSON:
            return f"{name}.json"
        case Format.TORCH:
            return f"{name}.py"
        case Format.GGUF:
            return f"{name}.gguf"
        case Format.HF | Format.ONNX:
            return f"{name}-{file_format}"
