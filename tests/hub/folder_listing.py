def files_in(folder):
    """Every file under a folder, as paths within it."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
