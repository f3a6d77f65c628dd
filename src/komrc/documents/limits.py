"""How much of a file is read: every bound, with its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for each file. A file that exceeds one is reported as Unread; the other files are read.

    Args:
        file_bytes: the size of a file. JSON Lines, CSV and Parquet files are read piece by piece and may be
            larger.
        characters: the code points of one document's text.
        unpacked_bytes: the sum of the sizes of the files in a DOCX, PPTX, XLSX or HWPX file, or of the
            sections of an HWP file, when they are unpacked.
        unpacked_ratio: how many times larger than the file that sum may be; sums below 16 MiB are always
            allowed.
        archive_members: the number of files in a DOCX, PPTX, XLSX or HWPX file.
        table_cells: the cells of a sheet's table, the empty ones in its rectangle included.
        seconds: the time for one document. HTML, Markdown, PDF, office and HWP files are read in a process
            of their own, which is ended after that time.
        memory_bytes: the address space of that process (Linux only).
        folder_depth: how deep below the given folder files are looked for.
    """

    file_bytes: int = 512 << 20
    characters: int = 20_000_000
    unpacked_bytes: int = 1 << 30
    unpacked_ratio: int = 200
    archive_members: int = 20_000
    table_cells: int = 20_000_000
    seconds: float = 120.0
    memory_bytes: int = 4 << 30
    folder_depth: int = 64
