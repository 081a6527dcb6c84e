"""Loading volumes behind the scenes, while a store is open."""

import logging
import threading
from dataclasses import dataclass

from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.volume_records import managed_volumes
from ebsim.errors import EbsimError
from ebsim.ids import VolumeId
from ebsim.progress import SilentProgress
from ebsim.results import VolumeState
from ebsim.volumes.loading import Pace, load_all
from ebsim.volumes.registry import LiveVolumes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loader:
    thread: threading.Thread
    stopped: threading.Event


class BackgroundLoading:
    """The volumes that are being loaded by this store handle; a thread each."""

    def __init__(self, context: StoreContext, live: LiveVolumes) -> None:
        self._context = context
        self._live = live
        self._loaders: dict[VolumeId, _Loader] = {}
        self._mutex = threading.Lock()

    def start(self, volume_id: VolumeId, rate: int) -> None:
        """Begin to load a volume at so many MiB a second, unless it is being loaded."""
        with self._mutex:
            if volume_id in self._loaders:
                return
            stopped = threading.Event()
            thread = threading.Thread(
                target=self._run,
                args=(volume_id, rate, stopped),
                name=f"ebsim-load-{volume_id}",
                daemon=True,
            )
            self._loaders[volume_id] = _Loader(thread, stopped)
            thread.start()

    def resume(self) -> None:
        """Go on loading the volumes that were to be loaded at a rate, or are still `creating`."""
        with self._context.catalog.read() as reader:
            volumes = managed_volumes(reader)
        for volume in volumes:
            wanted = volume.initialization_rate or volume.state == VolumeState.CREATING
            if volume.recycled is None and volume.origin_hold and wanted:
                self.start(volume.volume_id, volume.initialization_rate)

    def stop(self, volume_id: VolumeId) -> None:
        """Break off the loading of a volume; what is loaded stays."""
        with self._mutex:
            loader = self._loaders.pop(volume_id, None)
        if loader is not None:
            loader.stopped.set()
            loader.thread.join()

    def close(self) -> None:
        """Break off all of them; the next who opens the store goes on."""
        for volume_id in list(self._loaders):
            self.stop(volume_id)

    def _run(self, volume_id: VolumeId, rate: int, stopped: threading.Event) -> None:
        try:
            with writing(self._context):
                pace = Pace(rate, stopped.wait)
                load_all(self._context, self._live, volume_id, pace, SilentProgress(), stopped)
        except (EbsimError, OSError) as error:
            _log.warning("volume %s could not be loaded: %s", volume_id, error)
        finally:
            with self._mutex:
                self._loaders.pop(volume_id, None)
