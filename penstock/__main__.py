"""Entry point of the `penstock` command, also in an environment where only the client is installed."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; exit code 1, and the extra to install, when the server's packages are missing."""
    try:
        from penstock.cli.__main__ import main as run_command  # noqa: PLC0415 - may need the server's packages

        return run_command()
    except KeyboardInterrupt:  # during the imports
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"penstock", "services"}:
            raise
        sys.stderr.write(
            f"penstock: this command needs the server's packages ({error.name} is not installed); "
            "run: pip install 'PATH[server]', where PATH is a clone of Penstock; once the package is published: "
            "pip install 'penstock[server]'\n"
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
