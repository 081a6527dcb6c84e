"""From the demo's report to its JSON document."""

from ebsim.cli import json_views
from ebsim.cli.output import Json
from ebsim.demo.report import DemoReport, ExampleState, Holding, ImageReport
from ebsim.units import BLOCK_SIZE


def demo(report: DemoReport) -> Json:
    """Return the document of `demo`: all figures of both parts."""
    return {
        "Image": _image(report.image),
        "Example": {
            "BlockSize": BLOCK_SIZE,
            "States": [_state(state) for state in report.example],
        },
    }


def _image(report: ImageReport) -> Json:
    return {
        "SizeInBytes": report.image_size_bytes,
        "Files": len(report.tree.paths),
        "FilesSizeInBytes": report.tree.size_bytes,
        "ReplacedFiles": report.changes.replaced,
        "RemovedFiles": report.changes.removed,
        "AddedSizeInBytes": report.changes.added_size_bytes,
        "First": json_views.snapshot(report.first),
        "Second": json_views.snapshot(report.second),
        "Difference": json_views.changed_blocks(report.changed),
        "Deletion": json_views.deleted_snapshot(report.deletion),
        "SecondAfterDeletion": json_views.snapshot(report.survivor),
        "Restoration": json_views.restoration(report.restoration),
        "ComparedSizeInBytes": report.compared_bytes,
        "Check": json_views.check(report.checked),
        "Stats": json_views.stats(report.stats),
    }


def _state(state: ExampleState) -> Json:
    return {
        "Title": state.title,
        "Snapshots": [_holding(holding) for holding in state.holdings],
        "ChargedBlocks": state.charged_blocks,
        "ChargedSizeInBytes": state.charged_blocks * BLOCK_SIZE,
        "StoredSizeInBytes": state.stored_size_bytes,
        "Moved": [
            {
                "From": move.from_name,
                "To": move.to_name,
                "Blocks": move.blocks,
                "SizeInBytes": move.blocks * BLOCK_SIZE,
            }
            for move in state.moves
        ],
        "FreedBlocks": state.freed_blocks,
        "FreedSizeInBytes": state.freed_blocks * BLOCK_SIZE,
    }


def _holding(holding: Holding) -> Json:
    return {
        "Name": holding.name,
        "SnapshotId": holding.snapshot_id,
        "ChargedBlocks": holding.charged_blocks,
        "ChargedSizeInBytes": holding.charged_blocks * BLOCK_SIZE,
        "RefersTo": [
            {
                "Name": reference.name,
                "Blocks": reference.blocks,
                "SizeInBytes": reference.blocks * BLOCK_SIZE,
            }
            for reference in holding.refers_to
        ],
        "FullBlocks": holding.full_blocks,
        "FullSnapshotSizeInBytes": holding.full_blocks * BLOCK_SIZE,
    }
