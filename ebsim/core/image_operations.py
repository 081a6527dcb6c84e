"""`Store.images`: what a program does with images."""

from collections.abc import Callable, Mapping, Sequence

from ebsim import refusals
from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.delete import delete_snapshots
from ebsim.core.image_links import still_needed
from ebsim.core.image_queries import describe_images
from ebsim.core.images import (
    OfInstance,
    check_image,
    deregister_image,
    ensure_name_free,
    own_image,
    register_image,
    set_deprecation,
    set_state,
)
from ebsim.errors import ConflictError, EbsimError, NotFoundError, StoreError
from ebsim.format.life_records import ImageRecord
from ebsim.ids import SnapshotId, parse_image_id
from ebsim.images import Deregistration, Image, ImagePage, ImageState, SnapshotReturnCode
from ebsim.requests import BlockDevice, ImageOptions, ImageQuery


class ImageOperations:
    """The operations on images of one open store. May be called from several threads."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def register(
        self,
        name: str,
        devices: Mapping[str, str | BlockDevice],
        options: ImageOptions | None = None,
    ) -> Image:
        """Register an image of snapshots, which cannot be deleted from then on.

        Args:
            name: 3 to 128 characters of EC2's set; no other registered image has it.
            devices: From a device's name, such as `/dev/xvda`, to its snapshot, or to a
                `BlockDevice` that says more. The first is the root device if none is named.
            options: Description, architecture, root device, tags.

        Raises:
            InvalidInputError: InvalidAMIName.Malformed, InvalidBlockDeviceMapping, or a bad tag.
            NotFoundError: A snapshot does not exist.
            ConflictError: InvalidAMIName.Duplicate, or a snapshot is not completed.
        """
        wanted = {
            device_name: BlockDevice(device) if isinstance(device, str) else device
            for device_name, device in devices.items()
        }
        return self._change(
            lambda: register_image(self._context, name, wanted, options or ImageOptions())
        )

    def register_made(
        self,
        name: str,
        devices: Mapping[str, BlockDevice],
        options: ImageOptions,
        made: OfInstance,
    ) -> Image:
        """Register an image that is made of an instance: pending, as long as its snapshots are.

        Raises:
            InvalidInputError, NotFoundError, ConflictError: As `register`.
        """
        return self._change(lambda: register_image(self._context, name, devices, options, made))

    def ensure_possible(
        self, name: str, devices: Mapping[str, BlockDevice], options: ImageOptions
    ) -> None:
        """Refuse what `register` would refuse whatever the snapshots of the devices are.

        Raises:
            InvalidInputError, ConflictError: As `register`.
        """
        check_image(name, devices, options)
        with self._context.catalog.read() as reader:
            ensure_name_free(self._context, reader, name)

    def get(self, image_id: str) -> Image:
        """Return one image.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: It is not registered.
        """
        with self._context.catalog.read() as reader:
            record = own_image(self._context, reader, parse_image_id(image_id))
        return record.to_result(self._context.clock.now_us())

    def list(self, query: ImageQuery | None = None) -> tuple[Image, ...]:
        """Return all images that a query asks for, in the order of registration.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `describe`.
        """
        return describe_images(self._context, query or ImageQuery()).images

    def describe(self, query: ImageQuery | None = None) -> ImagePage:
        """Return a page of the images that a query asks for.

        Raises:
            InvalidInputError: A filter, token or id is malformed.
            NotFoundError: An image that is named does not exist.
            LimitExceededError: Too many values in all filters.
        """
        return describe_images(self._context, query or ImageQuery())

    def disable(self, image_id: str) -> Image:
        """Disable an image. Its snapshots cannot be deleted all the same.

        Raises:
            InvalidInputError, NotFoundError: As `get`.
            ConflictError: It is pending, or failed.
        """
        wanted = parse_image_id(image_id)
        return self._change(lambda: set_state(self._context, wanted, ImageState.DISABLED))

    def enable(self, image_id: str) -> Image:
        """Enable a disabled image again.

        Raises:
            InvalidInputError, NotFoundError: As `get`.
        """
        wanted = parse_image_id(image_id)
        return self._change(lambda: set_state(self._context, wanted, ImageState.AVAILABLE))

    def deprecate(self, image_id: str, time_us: int | None) -> Image:
        """Have an image deprecated from a time on; None cancels it.

        Args:
            image_id: The image.
            time_us: Microseconds since the epoch, not in the past; rounded up to a whole minute.

        Raises:
            InvalidInputError: The id is malformed, or the time past or more than 10 years away.
            NotFoundError: It is not registered.
        """
        wanted = parse_image_id(image_id)
        return self._change(lambda: set_deprecation(self._context, wanted, time_us))

    def deregister(
        self, image_id: str, *, delete_associated_snapshots: bool = False
    ) -> Deregistration:
        """Deregister an image.

        Args:
            image_id: The image.
            delete_associated_snapshots: Also delete its snapshots, but for those behind another
                image; what became of each is told, and no failure there undoes the rest.

        Raises:
            InvalidInputError, NotFoundError: As `get`; nothing was changed.
            StoreError: A write failed.
        """
        wanted = parse_image_id(image_id)
        with writing(self._context):
            record = deregister_image(self._context, wanted)
            codes = self._delete(record.snapshot_ids) if delete_associated_snapshots else ()
        exit_us = None if record.recycled is None else int(record.recycled["exits_us"])
        return Deregistration(image_id=wanted, snapshots=codes, recycle_bin_exit_us=exit_us)

    def _delete(
        self, snapshot_ids: Sequence[SnapshotId]
    ) -> tuple[tuple[SnapshotId, SnapshotReturnCode], ...]:
        with self._context.catalog.read() as reader:
            needed = still_needed(reader, snapshot_ids)
        skipped = SnapshotReturnCode.SKIPPED
        return tuple(
            (snapshot_id, skipped if snapshot_id in needed else self._delete_one(snapshot_id))
            for snapshot_id in snapshot_ids
        )

    def _delete_one(self, snapshot_id: SnapshotId) -> SnapshotReturnCode:
        try:
            delete_snapshots(self._context, [snapshot_id], dry_run=False)
        except ConflictError as error:
            in_use = error.code == refusals.snapshot_in_use("", "").code  # registered just now
            return SnapshotReturnCode.SKIPPED if in_use else SnapshotReturnCode.CLIENT_ERROR
        except NotFoundError:
            return SnapshotReturnCode.CLIENT_ERROR
        except StoreError:
            raise
        except EbsimError:
            return SnapshotReturnCode.INTERNAL_ERROR
        return SnapshotReturnCode.SUCCESS

    def _change(self, change: Callable[[], ImageRecord]) -> Image:
        with writing(self._context):
            record = change()
        return record.to_result(self._context.clock.now_us())
