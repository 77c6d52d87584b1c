"""Evidence: what an experiment returned, with the recipe that made it.

``recipe`` says what decides a result, ``blocks`` how the seeds of an experiment are computed in parts and joined, ``store``
where evidence lies, ``same`` when another text may be taken for the one that made it.
"""

from lib.evidence.blocks import fit, sizes
from lib.evidence.recipe import EvidenceError, Recipe, data_read, digest, plain, versions
from lib.evidence.store import (
    Evidence,
    arrays,
    find,
    folder,
    forget,
    keep,
    pack,
    read_record,
    record_file,
    recorded_pieces,
    to_bytes,
    together,
    unpack,
    write_file,
    write_folder,
    write_record,
)

__all__ = ["Evidence", "EvidenceError", "Recipe", "arrays", "data_read", "digest", "find", "fit", "folder", "forget", "keep",
           "pack", "plain", "read_record", "record_file", "recorded_pieces", "sizes", "to_bytes", "together", "unpack",
           "versions", "write_file", "write_folder", "write_record"]
