"""The records of pretended instances, and which volumes are attached to them.

Instances are kept with what their account has set for the Region; a volume's record says where it
is attached. A terminated instance is forgotten when another one is made or terminated an hour
later, as EC2 stops telling of it about then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ebsim import instance_refusals, refusals
from ebsim.caller import zone_id
from ebsim.core.account_changes import change_settings
from ebsim.core.account_settings import load_settings
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering, flag, moment
from ebsim.core.paging import Pager, page_size
from ebsim.core.volume_records import attachment_of, managed_volumes, own_volume, put_managed
from ebsim.format.account_records import AccountSettings, encode_settings, settings_key
from ebsim.format.catalog_values import Table
from ebsim.format.records import VolumeRecord
from ebsim.ids import InstanceId, VolumeId, parse_instance_id
from ebsim.instances import Attachment, Instance, InstancePage, InstanceQuery, InstanceState
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

REMEMBERED_US = 3600 * 1_000_000
"""How long a terminated instance is told of."""

DEVICE_LENGTH_MAX = 255

TOKEN_LENGTH_MAX = 64
"""Characters of a client token, as EC2 has it."""

FILTERS = Filtering[Instance](
    {
        "availability-zone": lambda each: [each.zone],
        "availability-zone-id": lambda each: [zone_id(each.zone)],
        "block-device-mapping.attach-time": lambda each: [
            text for one in each.attachments for text in moment(one.attach_time_us)
        ],
        "block-device-mapping.delete-on-termination": lambda each: [
            text for one in each.attachments for text in flag(one.delete_on_termination)
        ],
        "block-device-mapping.device-name": lambda each: [one.device for one in each.attachments],
        "block-device-mapping.status": lambda each: ["attached" for _ in each.attachments],
        "block-device-mapping.volume-id": lambda each: [one.volume_id for one in each.attachments],
        "hypervisor": lambda _each: ["xen"],
        "image-id": lambda each: [each.image_id],
        "instance-id": lambda each: [each.instance_id],
        "instance-state-code": lambda each: [str(each.state.code)],
        "instance-state-name": lambda each: [each.state.value],
        "instance-type": lambda each: [each.instance_type],
        "launch-index": lambda each: [str(each.launch_index)],
        "launch-time": lambda each: moment(each.launch_time_us),
        "owner-id": lambda each: [each.owner],
        "reservation-id": lambda each: [each.reservation_id],
        "root-device-name": lambda each: [each.root_device_name],
        "root-device-type": lambda _each: ["ebs"],
        "tenancy": lambda _each: ["default"],
        "virtualization-type": lambda _each: ["hvm"],
    },
    lambda each: each.tags,
)
"""What DescribeInstances can filter by, of all that EC2 knows."""


def made_by(context: StoreContext, token: str, digest: str) -> list[InstanceId]:
    """Return the instances that a request with a client token has made.

    Args:
        context: The store.
        token: The client token.
        digest: What else the request says.

    Raises:
        InvalidInputError: The token is too long, or not ASCII.
        ConflictError: IdempotentParameterMismatch: another request has used it.
    """
    if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
        expected = f"Expected at most {TOKEN_LENGTH_MAX} ASCII characters"
        raise refusals.invalid_value(token[:80], "clientToken", expected)
    with context.catalog.read() as reader:
        settings = load_settings(reader, context.acting)
    made = [each for each in _remembered(context, settings) if each.get("client_token") == token]
    for each in made:
        if each["client_request"] != digest:
            raise instance_refusals.token_of_another_request(token, each["instance_id"])
    return [InstanceId(each["instance_id"]) for each in made]


def add_instance(
    context: StoreContext, instance: Instance, token: str = "", digest: str = ""
) -> None:
    """Keep a new instance, without volumes, and with the request that made it if it has a token."""
    kept = {
        "instance_id": instance.instance_id,
        "zone": instance.zone,
        "image_id": instance.image_id,
        "instance_type": instance.instance_type,
        "root_device_name": instance.root_device_name,
        "launch_time_us": instance.launch_time_us,
        "terminated_us": None,
        "reservation_id": instance.reservation_id,
        "launch_index": instance.launch_index,
        "tags": dict(instance.tags),
        **({"client_token": token, "client_request": digest} if token else {}),
    }

    def change(now: AccountSettings) -> AccountSettings:
        number = now.next_instance
        left = [*_remembered(context, now), {**kept, "number": number}]
        return replace(now, instances=left, next_instance=number + 1)

    change_settings(context, change)


def mark_terminated(context: StoreContext, instance_ids: Sequence[InstanceId]) -> None:
    """Remember that instances are terminated; those that are stay as they are.

    Raises:
        NotFoundError: One is not there; none was changed.
    """
    now_us = context.clock.now_us()

    def change(now: AccountSettings) -> AccountSettings:
        for instance_id in instance_ids:
            _find(now, instance_id)
        left = [
            {**each, "terminated_us": now_us}
            if each["instance_id"] in instance_ids and each["terminated_us"] is None
            else each
            for each in _remembered(context, now)
        ]
        return replace(now, instances=left)

    change_settings(context, change)


def describe_instances(context: StoreContext, query: InstanceQuery) -> InstancePage:
    """Return a page of the caller's instances.

    Raises:
        InvalidInputError: An id, filter, page size or token is none, or ids and a page size are
            given.
        NotFoundError: One that the query names is not there.
        LimitExceededError: The filters have too many values.
    """
    if query.instance_ids and query.max_results is not None:
        raise refusals.invalid_combination(
            "The parameter instancesSet cannot be used with the parameter maxResults"
        )
    passes = FILTERS.predicate(query.filters)
    size = page_size(query.max_results)
    wanted = {parse_instance_id(text) for text in query.instance_ids}
    with context.catalog.read() as reader:
        settings = load_settings(reader, context.acting)
        volumes = managed_volumes(reader, context.acting)
    for instance_id in sorted(wanted):
        _find(settings, instance_id)
    found = [
        (int(kept["number"]), _show(context, kept, volumes))
        for kept in _remembered(context, settings)
        if not wanted or kept["instance_id"] in wanted
    ]
    filters = [[each.name, sorted(each.values)] for each in query.filters]
    pager = Pager(context.hash_key, ["instances", sorted(wanted), filters])
    chosen = [each for each in found if passes(each[1])]
    page, token = pager.page(chosen, lambda each: each[0], size, query.next_token)
    return InstancePage(instances=tuple(each for _, each in page), next_token=token)


def tags_of_instances(context: StoreContext, reader: CatalogReader) -> dict[str, dict[str, str]]:
    """Return the tags of the caller's instances, by their ids, in the order of their making."""
    settings = load_settings(reader, context.acting)
    return {each["instance_id"]: each.get("tags", {}) for each in _remembered(context, settings)}


def put_instance_tags(
    context: StoreContext, writer: CatalogWriter, instance_id: str, tags: Mapping[str, str]
) -> None:
    """Keep the tags of an instance; the caller journals them."""
    caller = context.acting
    changed = with_instance_tags(load_settings(writer, caller), instance_id, tags)
    writer.put(Table.ACCOUNTS, settings_key(caller), encode_settings(changed))


def with_instance_tags(
    settings: AccountSettings, instance_id: str, tags: Mapping[str, str]
) -> AccountSettings:
    """Return what an account has set, with these tags of an instance instead of those it had."""
    kept = [
        {**each, "tags": dict(tags)} if each["instance_id"] == instance_id else each
        for each in settings.instances
    ]
    return replace(settings, instances=kept)


def attach(context: StoreContext, attachment: Attachment) -> Attachment:
    """Attach a volume to an instance, and return how.

    Raises:
        NotFoundError: There is no such volume or instance.
        ConflictError: The volume is attached, in a wrong state or in another zone; or the instance
            is terminated.
        InvalidInputError: The device has a volume, or its name is none.
    """
    if not 1 <= len(attachment.device) <= DEVICE_LENGTH_MAX:
        raise refusals.invalid_value(attachment.device[:80], "unixDevice", "Expected a name")

    def change(reader: CatalogReader, record: VolumeRecord) -> VolumeRecord:
        kept = _find(load_settings(reader, context.acting), attachment.instance_id)
        if kept["terminated_us"] is not None:
            raise instance_refusals.instance_terminated(attachment.instance_id)
        if record.attachment is not None:
            raise refusals.volume_in_use(record.volume_id, record.attachment["instance_id"])
        if record.state != VolumeState.AVAILABLE:
            raise refusals.volume_state(record.volume_id, record.state, [VolumeState.AVAILABLE])
        if record.zone != kept["zone"]:
            raise instance_refusals.zone_mismatch(record.volume_id, record.zone, kept["zone"])
        for other in managed_volumes(reader, context.acting):
            taken = attachment_of(other)
            if taken and (taken.instance_id, taken.device) == (
                kept["instance_id"],
                attachment.device,
            ):
                raise instance_refusals.device_in_use(attachment.device)
        facts = {name: value for name, value in asdict(attachment).items() if name != "volume_id"}
        return replace(record, state=VolumeState.IN_USE, attachment=facts)

    _change_volume(context, attachment.volume_id, change)
    return attachment


def detach(
    context: StoreContext, volume_id: VolumeId, instance_id: str | None, device: str | None
) -> Attachment:
    """Detach a volume, and return how it was attached.

    Raises:
        NotFoundError: There is no such volume; or it is not attached to that instance, or there.
        ConflictError: It is attached to none.
    """
    was: list[Attachment] = []

    def change(_reader: CatalogReader, record: VolumeRecord) -> VolumeRecord:
        now = attachment_of(record)
        if now is None:
            raise refusals.volume_state(volume_id, record.state, [VolumeState.IN_USE])
        if instance_id not in {None, now.instance_id} or device not in {None, now.device}:
            raise instance_refusals.attachment_not_found(volume_id, now.instance_id, now.device)
        was[:] = [now]
        return replace(record, state=VolumeState.AVAILABLE, attachment=None)

    _change_volume(context, volume_id, change)
    return was[0]


def _change_volume(
    context: StoreContext,
    volume_id: VolumeId,
    change: Callable[[CatalogReader, VolumeRecord], VolumeRecord],
) -> None:
    def run(commit: JournaledCommit) -> None:
        changed = change(commit.writer, own_volume(context, commit.writer, volume_id))
        put_managed(commit.writer, changed)
        commit.journal("modify-volume", {"volume": asdict(changed)})

    with writing(context):
        with context.catalog.read() as reader:  # refused before anything is written
            change(reader, own_volume(context, reader, volume_id))
        commit_journaled(context, run)


def _find(settings: AccountSettings, instance_id: str) -> dict[str, Any]:
    for kept in settings.instances:
        if kept["instance_id"] == instance_id:
            return kept
    raise instance_refusals.instance_not_found(instance_id)


def _remembered(context: StoreContext, settings: AccountSettings) -> list[dict[str, Any]]:
    oldest = context.clock.now_us() - REMEMBERED_US
    return [
        each
        for each in settings.instances
        if each["terminated_us"] is None or each["terminated_us"] > oldest
    ]


def _show(context: StoreContext, kept: dict[str, Any], volumes: Sequence[VolumeRecord]) -> Instance:
    root = kept["root_device_name"]
    attached = [
        each
        for each in map(attachment_of, volumes)
        if each is not None and each.instance_id == kept["instance_id"]
    ]
    attached.sort(key=lambda each: (each.device != root, each.device))
    terminated = kept["terminated_us"] is not None
    return Instance(
        instance_id=kept["instance_id"],
        owner=context.acting.account,
        state=InstanceState.TERMINATED if terminated else InstanceState.RUNNING,
        zone=kept["zone"],
        image_id=kept["image_id"],
        instance_type=kept["instance_type"],
        root_device_name=root,
        launch_time_us=kept["launch_time_us"],
        attachments=tuple(attached),
        reservation_id=kept.get("reservation_id") or f"r-{kept['instance_id'].removeprefix('i-')}",
        launch_index=kept.get("launch_index", 0),
        tags=dict(kept.get("tags", {})),
    )
