"""The folder that the dashboard exports trials to."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from nas.exporters.export_model import export_model, next_steps
from nas.exporters.formats import FORMATS, RANDOM, ExportOptions, Format
from nas.exporters.output import OutputExists, file_name
from nas.inputs.model_argument import ResolvedModel
from search_space.input_errors import one_of
from search_space.input_files import reason_of
from studies.analysis import trial_detail
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenExport:
    """An export in the folder.

    Attributes:
        path: The file or folder that was written.
        remark: What could not be written, as a clause, if anything.
        next_commands: Shell commands that use the export.
    """

    path: Path
    remark: str | None
    next_commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFolder:
    """A folder for exports, which is created when the first one is written.

    Attributes:
        path: The path of the folder.
    """

    path: Path
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def export(self, store: Store, study: str, trial: str, file_format: str) -> WrittenExport:
        """Export a trial. Formats with weights take seconds; the weights are random.

        Args:
            store: The store that contains the study.
            study: The name of the study.
            trial: The trial's number, or the name of a reference model.
            file_format: The name of the format.

        Raises:
            ValueError: The trial or the format does not exist, the export exists already, or the
                folder cannot be created.
        """
        formats = [str(name) for name in Format]
        if file_format not in formats:
            raise ValueError(f"format: {file_format[:100]!r} is not {one_of(formats)}")
        detail = trial_detail.detail(store, study, trial)
        if detail.architecture is None:
            raise ValueError(f"trial: {trial} has no architecture yet")
        model = ResolvedModel(
            name=file_name(f"{study}-{trial}"), architecture=detail.architecture, detail=detail
        )
        chosen = Format(file_format)
        options = ExportOptions(
            file_format=chosen, weights=RANDOM if FORMATS[chosen].has_weights else None
        )
        with self._one_at_a_time:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(
                    f"output: '{self.path}' cannot be created as a folder: {reason_of(error)}"
                ) from None
            try:
                exported = export_model(model, options, folder=self.path)
            except OutputExists as error:
                raise ValueError(
                    f"output: '{error.target}' already exists; move it to export the trial again"
                ) from None
        return WrittenExport(
            path=exported.path,
            remark=exported.remark,
            next_commands=next_steps(exported, options.file_format),
        )
