"""Checking invariant I-4: whoever shares a version, or a page, hangs together in the lineage.

Deleting looks at neighbours only, and frees what none of them has. If two maps that share a version
were connected by none that has it too, deleting one would take it from the other.
"""

from array import array
from collections.abc import Iterator

import numpy as np

from ebsim.core.block_maps import load_page, walk_unshared
from ebsim.core.lineage import Lineage
from ebsim.format.catalog_values import NodeKind, NodeRecord, Table, parse_number_key
from ebsim.format.map_page import own_places
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader


def check_sharing(reader: CatalogReader) -> Iterator[Finding]:
    """Look that of all maps with a version exactly one has it from no older neighbour.

    That is so for each version if and only if the nodes that have it form an unbroken subtree, and
    likewise for each page. Costs as many look-ups as there are pages in which neighbours differ,
    and 8 bytes for each version and page.
    """
    lineage = Lineage(reader)
    versions, pages = array("Q"), array("Q")
    for key, value in reader.items(Table.NODES):
        number, node = parse_number_key(key), NodeRecord.decode(value)
        if node.kind is NodeKind.NAMELESS:
            continue
        older = [each for each in lineage.neighbours(number) if each < number]
        roots = [lineage.node(each).root for each in older]
        for visit in walk_unshared(reader, node.root, roots, len(roots)):
            pages.append(visit.page_id)
            if visit.level == 0:
                page = load_page(reader, visit.page_id)
                others = [load_page(reader, other) for other in visit.others]
                versions.extend(page[place] for place in own_places(page, others))
    for what, found in (("versions", versions), ("pages", pages)):
        numbers, counts = np.unique(np.frombuffer(found, dtype="<u8"), return_counts=True)
        torn = numbers[counts > 1]
        if len(torn):
            yield Finding(
                kind="wrong-lineage",
                message=f"{len(torn)} {what} (the first is {int(torn[0])}) are in maps that do not "
                "hang together in the lineage: deleting a snapshot could take them from another",
            )
