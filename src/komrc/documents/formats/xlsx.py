"""Excel workbooks (XLSX): the values of each sheet as tables; a sheet's name is a heading."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from komrc.documents.builder import Builder, Extracted
from komrc.documents.limits import Limits
from komrc.documents.zips import check_zip
from komrc.errors import DataError


def read(path: Path, limits: Limits) -> Iterator[Extracted]:
    """The document of an XLSX file. Rows without values separate tables; of a formula, its last result."""
    import python_calamine

    check_zip(path, limits)
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(path)
    except python_calamine.PasswordError as error:
        raise DataError("is encrypted with a password", fix="save it without a password") from error
    builder = Builder(limits)
    for sheet in workbook.sheets_metadata:
        if sheet.typ != python_calamine.SheetTypeEnum.WorkSheet:
            continue
        rows = workbook.get_sheet_by_name(sheet.name)
        if rows.height * rows.width > limits.table_cells:
            raise DataError(
                f"has {rows.height * rows.width:,} cells in the sheet {sheet.name}",
                fix="raise the limit (table_cells)",
            )
        table: list[list[str]] = []
        named = False
        for row in rows.iter_rows():
            cells = [_shown(value) for value in row]
            if any(cells):
                if not named:
                    builder.heading(sheet.name, 1)
                    named = True
                table.append(cells)
            elif table:
                builder.table(table)
                table = []
        builder.table(table)
    yield builder.extracted(path.stem)


def _shown(value: object) -> str:
    """A cell's value as text. The number format of the cell is not applied."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d" if value.time() == datetime.time() else "%Y-%m-%d %H:%M:%S")
    return str(value)
