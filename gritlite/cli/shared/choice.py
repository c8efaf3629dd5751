"""Options with a few possible values, of which a mistyped one gets a suggestion."""

from typing import Any

import click


class Choice(click.Choice[str]):
    """`click.Choice`, as which it is used."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Click's message, and the value that was probably meant."""
        from difflib import get_close_matches

        found = get_close_matches(str(value), self.choices, n=1)
        meant = f" Did you mean {found[0]!r}?" if found else ""
        return super().get_invalid_choice_message(value, ctx) + meant
