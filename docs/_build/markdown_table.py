"""A table in Markdown."""


def table(*rows: tuple[str, ...]) -> str:
    """Markdown of a table, its head first."""
    head, *body = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
