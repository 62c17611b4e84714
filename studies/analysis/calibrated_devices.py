"""Which named devices the times of the reference model belong to."""

from collections.abc import Iterable, Mapping

from evaluators.calibration import CalibrationKey
from evaluators.scores import device_of_stage
from studies.records import Trial
from studies.storage.store import Store


def calibrated_devices(
    store: Store, trials: Iterable[Trial]
) -> Mapping[CalibrationKey, tuple[str, ...]]:
    """Return the names of the devices that each calibration applies to.

    Two names may stand for the same device. Calibrations of this machine are left out.

    Args:
        store: The database.
        trials: The trials whose scores depend on the calibrations.
    """
    fingerprints: dict[str, set[str]] = {}
    for run in (run for trial in trials for run in trial.stages):
        device = device_of_stage(run.stage)
        if device is not None:
            fingerprints.setdefault(device, set()).add(run.fingerprint)
    found: dict[CalibrationKey, tuple[str, ...]] = {}
    for device, of_device in fingerprints.items():
        for calibration in store.calibrations(of_device):
            found[calibration.key] = (*found.get(calibration.key, ()), device)
    return found
