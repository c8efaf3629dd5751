"""`gritlite completion`: the script with which a shell completes gritlite's commands by Tab.

The scripts are click's. The module knows where each shell looks for them.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from gritlite.cli.shared.choice import Choice
from gritlite.errors import FileError, UsageError
from gritlite.system.files import atomic_write

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_GRITLITE_COMPLETE"  # click's name for it, which its scripts set


@dataclass(frozen=True)
class Place:
    """Where a shell's script goes: `file`, and the `line` of the `startup` file that reads it."""

    file: Path
    startup: Path | None = None
    line: str = ""


@click.command()
@click.argument("shell", type=Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Set the shell up, and say which files were changed.")
def command(shell: str | None, install: bool) -> None:
    """Set up a shell to complete gritlite's commands by Tab.

    Options, names of pulled models and files are completed too. SHELL is bash, zsh or fish;
    by default the one that $SHELL names. Without --install the shell's script is printed.
    """
    shell = shell or _users_shell()
    if not install:
        click.echo(script(shell))
        return
    place = place_for(shell)
    for changed in install_script(script(shell), place):
        click.echo(changed)
    click.echo(f"New {shell} sessions complete gritlite.")


def script(shell: str) -> str:
    """The completion script for a shell."""
    from click.shell_completion import get_completion_class

    from gritlite.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, shell
    return kind(cli, {}, "gritlite", _VARIABLE).source()


def _users_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError(
            f"the shell is {name or 'unknown'}: name the one to set up ({', '.join(SHELLS)})"
        )
    return name


def place_for(shell: str) -> Place:
    """Where the script of a shell belongs in the user's home folder.

    fish reads it by itself, and bash where the package bash-completion is set up; a line of
    bash's and zsh's startup files reads it everywhere else. Raises FileError if there is no
    home folder.
    """
    try:
        home = Path.home()
    except RuntimeError as error:
        raise FileError("there is no home folder: set HOME") from error
    if shell == "fish":
        return Place(
            _folder("XDG_CONFIG_HOME", home / ".config") / "fish/completions/gritlite.fish"
        )
    data = _folder("XDG_DATA_HOME", home / ".local/share")
    if shell == "zsh":
        file = data / "zsh/site-functions/_gritlite"
        # compinit defines compdef, with which the script registers itself
        prepared = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }"
        line = f"[ -r {_quoted(file)} ] && {{ {prepared}; source {_quoted(file)}; }}"
        return Place(file, _folder("ZDOTDIR", home) / ".zshrc", line)
    file = data / "bash-completion/completions/gritlite"
    # a terminal of macOS starts login shells, which do not read .bashrc
    startup = home / (".bash_profile" if sys.platform == "darwin" else ".bashrc")
    return Place(file, startup, f"[ -r {_quoted(file)} ] && source {_quoted(file)}")


def _folder(variable: str, default: Path) -> Path:
    """The folder that an environment variable names; relative ones are ignored, as by XDG."""
    stated = Path(os.environ.get(variable, ""))
    return stated if stated.is_absolute() else default


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def install_script(text: str, place: Place) -> list[str]:
    """Write the script and the line that reads it, where they are missing. Says what it did.

    Raises FileError for a folder or file that cannot be written.
    """
    done = [_write(text, place.file)]
    if place.startup is not None:
        done.append(_add_line(f"{place.line}  # gritlite completion", place.startup))
    return done


def _write(text: str, file: Path) -> str:
    if file.exists() and file.read_text(encoding="utf-8", errors="replace") == text:
        return f"{file}: written before"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot create {file.parent}: {error.strerror}") from error
    with atomic_write(file, force=True) as output:
        output.write(text.encode())
    return f"{file}: written"


def _add_line(line: str, file: Path) -> str:
    """Append a line to a file that lacks it. The rest of the file is never rewritten."""
    try:
        before = file.read_bytes() if file.exists() else b""
        if line.encode() in before.splitlines():
            return f"{file}: reads it already"
        with file.open("ab") as output:
            gap = b"\n" if before and not before.endswith(b"\n") else b""
            output.write(gap + line.encode() + b"\n")
    except OSError as error:
        raise FileError(f"cannot write {file}: {error.strerror}") from error
    return f"{file}: a line added that reads it"
