"""Which images a query asks for: DescribeImages."""

from collections.abc import Callable, Iterable
from dataclasses import asdict

from ebsim import refusals
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering, flag, moment
from ebsim.core.images import list_images, own_image
from ebsim.core.paging import Pager, page_size
from ebsim.format.life_records import ImageRecord
from ebsim.ids import is_account, parse_image_id
from ebsim.images import ImagePage, ImageState
from ebsim.requests import ImageQuery
from ebsim.storage.catalog import CatalogReader


def _devices(member: str) -> Callable[[ImageRecord], Iterable[str]]:
    return lambda image: [str(device[member]) for device in image.devices]


def _flags(member: str) -> Callable[[ImageRecord], Iterable[str]]:
    return lambda image: [text for each in image.devices for text in flag(each.get(member))]


_NEVER = ("kernel-id", "owner-alias", "platform", "product-code", "product-code.type", "ramdisk-id")
"""What an image in ebsim never has: a filter by it finds none."""

_OWNERS = frozenset({"self", "amazon", "aws-marketplace", "aws-backup-vault"})
"""EC2's names of owners that are no accounts."""

FILTERS = Filtering[ImageRecord](
    {
        **{name: lambda _image: [] for name in _NEVER},
        "architecture": lambda image: [image.architecture],
        "block-device-mapping.delete-on-termination": _flags("delete_on_termination"),
        "block-device-mapping.device-name": _devices("device_name"),
        "block-device-mapping.encrypted": _flags("encrypted"),
        "block-device-mapping.snapshot-id": _devices("snapshot_id"),
        "block-device-mapping.volume-size": _devices("size_gib"),
        "block-device-mapping.volume-type": _devices("volume_type"),
        "creation-date": lambda image: moment(image.created_us),
        "description": lambda image: [image.description],
        "hypervisor": lambda _image: ["xen"],
        "image-id": lambda image: [image.image_id],
        "image-type": lambda _image: ["machine"],
        "is-public": lambda _image: flag(value=False),
        "manifest-location": lambda image: [f"{image.owner}/{image.name}"],
        "name": lambda image: [image.name],
        "owner-id": lambda image: [image.owner],
        "root-device-name": lambda image: [image.root_device_name],
        "root-device-type": lambda _image: ["ebs"],
        "source-instance-id": lambda image: (
            [image.source_instance] if image.source_instance else []
        ),
        "state": lambda image: [image.state],
        "virtualization-type": lambda _image: ["hvm"],
    },
    tags=lambda image: image.tags,
)
"""What DescribeImages can filter by, of all that EC2 knows."""


def describe_images(context: StoreContext, query: ImageQuery) -> ImagePage:
    """Return a page of the images that a query asks for.

    Raises:
        InvalidInputError: A filter, token or id is malformed.
        NotFoundError: An image that is named does not exist.
        LimitExceededError: Too many values in all filters.
    """
    passes = FILTERS.predicate(query.filters)
    size = page_size(query.max_results)
    now = context.clock.now_us()
    with context.catalog.read() as reader:
        found = [record for record in _chosen(context, reader, query, now) if passes(record)]
    asked = {**asdict(query), "max_results": None, "next_token": None}
    pager = Pager(context.hash_key, asked)
    page, token = pager.page(found, lambda record: record.number, size, query.next_token)
    return ImagePage(images=tuple(record.to_result(now) for record in page), next_token=token)


def _chosen(
    context: StoreContext, reader: CatalogReader, query: ImageQuery, now_us: int
) -> list[ImageRecord]:
    """Return the images that the query names; else those that it does not leave out."""
    if not _may_be_found(context, query):
        return []
    if query.image_ids:
        wanted = dict.fromkeys(parse_image_id(text) for text in query.image_ids)
        records = [own_image(context, reader, image_id) for image_id in wanted]
        return sorted(records, key=lambda record: record.number)

    def shown(record: ImageRecord) -> bool:
        if record.state == ImageState.DISABLED and not query.include_disabled:
            return False
        deprecated = record.deprecation_us is not None and record.deprecation_us <= now_us
        return query.include_deprecated or not deprecated

    return [record for record in list_images(reader, context.caller) if shown(record)]


def _may_be_found(context: StoreContext, query: ImageQuery) -> bool:
    """Return whether images of the caller's, which are all that it sees, are asked for.

    Raises:
        InvalidInputError: An owner or user is none.
    """
    for owner in query.owner_ids:
        if owner not in _OWNERS and not is_account(owner):
            raise refusals.user_id_malformed(owner)
    for user in query.executable_by:
        if user not in {"self", "all"} and not is_account(user):
            raise refusals.user_id_malformed(user)
    owned = {"self", context.acting.account} & set(query.owner_ids)
    return not query.executable_by and (not query.owner_ids or bool(owned))
