"""The reference model against tables worked out by hand.

The engine is compared with the model, so the model itself is compared with the published numbers
(docs/semantics.md), at one block for each GiB of the examples.
"""

import itertools

import pytest

from ebsim.testing.model import ReferenceModel, as_ranges
from ebsim.units import BLOCK_SIZE

DISK = "disk"


def volume_of(blocks: int, name: str = DISK) -> ReferenceModel:
    model = ReferenceModel()
    model.add_volume(name, blocks * BLOCK_SIZE)
    return model


def write_each(model: ReferenceModel, indices: range, generation: str, name: str = DISK) -> None:
    """Give each of the blocks a content of its own."""
    for index in indices:
        model.write(name, index, f"{generation}{index}".encode())


def documentation_example() -> ReferenceModel:
    """E1: 15 blocks; A holds 10, B changes 4 of them, C adds 2."""
    model = volume_of(15)
    write_each(model, range(10), "a")
    model.snapshot(DISK, "A")
    write_each(model, range(3, 7), "b")
    model.snapshot(DISK, "B")
    write_each(model, range(10, 12), "c")
    model.snapshot(DISK, "C")
    return model


def charges(model: ReferenceModel) -> dict[str, int]:
    return {snapshot_id: model.charged_blocks(snapshot_id) for snapshot_id in model.snapshots}


def images(model: ReferenceModel) -> dict[str, bytes]:
    return {snapshot_id: model.image(snapshot_id) for snapshot_id in model.snapshots}


def test_e1_charges_10_4_2() -> None:
    model = documentation_example()

    assert charges(model) == {"A": 10, "B": 4, "C": 2}
    assert [model.full_blocks(name) for name in "ABC"] == [10, 10, 12]
    assert [model.incremental_blocks(name) for name in "ABC"] == [10, 4, 2]
    assert len(model.live_versions()) == 16


def test_e2_deleting_a_frees_4_and_moves_6_to_b() -> None:
    model = documentation_example()
    model.delete(["C"])

    (deletion,) = model.delete(["A"])

    assert (deletion.freed_blocks, deletion.moved_to) == (4, (("B", 6),))
    assert charges(model) == {"B": 10}


def test_e3_charges_50_then_30() -> None:
    model = volume_of(200)
    write_each(model, range(50), "a")
    model.snapshot(DISK, "A")
    write_each(model, range(20, 40), "b")
    write_each(model, range(50, 60), "b")
    model.snapshot(DISK, "B")

    assert charges(model) == {"A": 50, "B": 30}


def test_e4_branch_charges_10_then_4() -> None:
    model = volume_of(14, "vol1")
    write_each(model, range(10), "a", "vol1")
    model.snapshot("vol1", "A")
    model.add_volume("vol2", 14 * BLOCK_SIZE, "A")
    write_each(model, range(10, 14), "b", "vol2")
    branch = model.snapshot("vol2", "B")

    assert branch.parent_id == "A"
    assert charges(model) == {"A": 10, "B": 4}
    assert model.full_blocks("B") == 14
    assert model.related("A", "B")


def test_e6_branch_of_a_is_incremental_on_a_and_not_on_b_or_c() -> None:
    model = volume_of(4)
    write_each(model, range(4), "a")
    model.snapshot(DISK, "A")
    write_each(model, range(2), "b")
    model.snapshot(DISK, "B")
    write_each(model, range(1, 3), "c")
    model.snapshot(DISK, "C")
    model.add_volume("volume 1", 4 * BLOCK_SIZE, "A")
    write_each(model, range(3, 4), "d", "volume 1")
    branch = model.snapshot("volume 1", "D")

    assert branch.parent_id == "A"
    assert charges(model) == {"A": 4, "B": 2, "C": 2, "D": 1}
    assert model.changed_blocks("A", "D") == [3]
    assert model.changed_blocks("C", "D") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("order", "freed", "left"),
    [
        pytest.param("A", [4], {"B": 10, "C": 2}, id="delete-A"),
        pytest.param("B", [0], {"A": 10, "C": 6}, id="delete-B"),
        pytest.param("C", [2], {"A": 10, "B": 4}, id="delete-C"),
        pytest.param("AB", [4, 0], {"C": 12}, id="delete-A-then-B"),
    ],
)
def test_deletion_table(order: str, freed: list[int], left: dict[str, int]) -> None:
    model = documentation_example()

    deletions = model.delete(order)

    assert [deletion.freed_blocks for deletion in deletions] == freed
    assert charges(model) == left


@pytest.mark.parametrize("order", ["".join(names) for names in itertools.permutations("ABC")])
def test_any_order_of_deletion_frees_all_and_hurts_nobody(order: str) -> None:
    model = documentation_example()
    before = images(model)
    freed = 0

    for snapshot_id in order:
        (deletion,) = model.delete([snapshot_id])
        freed += deletion.freed_blocks
        assert images(model).items() <= before.items()
        if len(model.snapshots) == 1:
            (last,) = model.snapshots
            assert model.charged_blocks(last) == model.full_blocks(last)

    assert freed == 16
    assert model.live_versions() == set()


def test_a_set_moves_charges_through_its_own_members() -> None:
    model = documentation_example()

    first, second = model.delete(["A", "B"])

    assert first.moved_to == (("B", 6),)
    assert second.moved_to == (("C", 10),)
    assert (first.freed_blocks, second.freed_blocks) == (4, 0)


def test_deletion_moves_to_the_oldest_of_two_branches() -> None:
    model = volume_of(3, "vol1")
    write_each(model, range(3), "a", "vol1")
    model.snapshot("vol1", "A")
    for branch, changed in (("vol2", 0), ("vol3", 1)):
        model.add_volume(branch, 3 * BLOCK_SIZE, "A")
        write_each(model, range(changed, changed + 1), branch, branch)
        model.snapshot(branch, f"of {branch}")

    (deletion,) = model.delete(["A"])

    # Block 2 is in both branches, 1 in the older one, 0 in the younger one.
    assert deletion.moved_to == (("of vol2", 2), ("of vol3", 1))
    assert deletion.freed_blocks == 0
    assert charges(model) == {"of vol2": 3, "of vol3": 2}


def test_returning_content_is_a_new_version() -> None:
    model = volume_of(1)
    for snapshot_id, content in (("A", b"x"), ("B", b"y"), ("C", b"x")):
        model.write(DISK, 0, content)
        model.snapshot(DISK, snapshot_id)

    assert charges(model) == {"A": 1, "B": 1, "C": 1}
    assert model.changed_blocks("A", "C") == []
    assert model.stored_contents() == {("", b"x"), ("", b"y")}


def test_zeros_over_data_are_charged_and_stored_nowhere() -> None:
    model = volume_of(2)
    model.write(DISK, 0, b"x")
    model.snapshot(DISK, "A")
    model.write(DISK, 0, b"\0" * 10)
    model.snapshot(DISK, "B")
    model.snapshot(DISK, "C")

    assert charges(model) == {"A": 1, "B": 1, "C": 0}
    assert model.full_blocks("C") == 1
    assert model.stored_contents() == {("", b"x")}


def test_zeros_that_were_never_data_are_unwritten() -> None:
    model = volume_of(2)
    model.write(DISK, 1, b"\0\0")
    model.snapshot(DISK, "A")

    assert model.full_blocks("A") == 0
    assert model.image("A") == bytes(2 * BLOCK_SIZE)


def test_zero_version_differs_from_unwritten_in_a_diff() -> None:
    model = volume_of(1)
    model.snapshot(DISK, "A")
    model.write(DISK, 0, b"x")
    model.snapshot(DISK, "B")
    model.write(DISK, 0, b"")
    model.snapshot(DISK, "C")

    assert model.changed_blocks("A", "C") == [0]


def test_deleting_the_newest_makes_the_one_before_the_parent() -> None:
    model = volume_of(1)
    for snapshot_id, content in (("A", b"x"), ("B", b"y")):
        model.write(DISK, 0, content)
        model.snapshot(DISK, snapshot_id)
    model.delete(["B"])

    again = model.snapshot(DISK, "C")

    assert again.parent_id == "A"
    assert charges(model) == {"A": 1, "C": 1}


def test_with_no_live_snapshot_the_next_is_full() -> None:
    model = volume_of(1)
    model.write(DISK, 0, b"x")
    model.snapshot(DISK, "A")
    model.delete(["A"])

    again = model.snapshot(DISK, "B")

    assert (again.parent_id, again.incremental_blocks) == (None, 1)


def test_growth_keeps_the_lineage_and_the_padded_last_block() -> None:
    model = ReferenceModel()
    model.add_volume(DISK, BLOCK_SIZE + 1)
    model.write(DISK, 0, b"x")
    model.write(DISK, 1, b"y")
    model.snapshot(DISK, "A")
    model.grow(DISK, 3 * BLOCK_SIZE - 7)
    model.snapshot(DISK, "B")
    model.write(DISK, 2, b"z")
    model.snapshot(DISK, "C")

    assert charges(model) == {"A": 2, "B": 0, "C": 1}
    assert [len(model.image(name)) for name in "ABC"] == [
        BLOCK_SIZE + 1,
        3 * BLOCK_SIZE - 7,
        3 * BLOCK_SIZE - 7,
    ]


def test_volumes_share_no_versions_though_they_share_contents() -> None:
    model = volume_of(1, "vol1")
    model.add_volume("vol2", BLOCK_SIZE)
    for name in ("vol1", "vol2"):
        model.write(name, 0, b"x")
        model.snapshot(name, f"of {name}")

    assert charges(model) == {"of vol1": 1, "of vol2": 1}
    assert model.stored_contents() == {("", b"x")}
    assert not model.related("of vol1", "of vol2")


def test_ranges_are_half_open_and_do_not_touch() -> None:
    assert as_ranges([]) == ()
    assert as_ranges([0, 1, 2, 5, 7, 8]) == ((0, 3), (5, 6), (7, 9))


def test_encrypted_contents_are_stored_once_in_each_family() -> None:
    model = ReferenceModel(encrypted=True)
    model.add_volume("a", BLOCK_SIZE)
    model.write("a", 0, b"x")
    model.snapshot("a", "snap-a")
    model.add_managed("b", BLOCK_SIZE, "snap-a")  # of the same family
    model.write_bytes("b", 0, b"y")
    model.begin("b", "snap-b")
    model.complete("snap-b")
    model.add_volume("c", 2 * BLOCK_SIZE)
    for index, content in enumerate((b"x", b"y")):
        model.write("c", index, content)
    model.snapshot("c", "snap-c")
    assert model.stored_contents() == {("a", b"x"), ("a", b"y"), ("c", b"x"), ("c", b"y")}
