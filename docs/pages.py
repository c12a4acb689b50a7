"""Lays the site out for mkdocs: `python docs/pages.py FOLDER` writes FOLDER/mkdocs.yml and FOLDER/pages.

What stands under docs/ is copied; README, changelog and other files of the root become pages; examples,
commands and the reference are made of the code. Links follow. A link to nothing ends it with a line and exit
code 1.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS, SOURCE, EXAMPLES = ROOT / "docs", ROOT / "src" / "plait", ROOT / "examples"
PAGES = {
    name: name.lower()
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    if (ROOT / name).is_file()
} | {"README.md": "overview.md", "examples": "examples.md", "src/plait": "reference/index.md"}
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def place(file: Path) -> tuple[str, str]:
    """Where a file of the repository stands on the site: its page, and the place on that page.

    Raises:
        KeyError: it stands nowhere.
    """
    if file.is_relative_to(DOCS) and file.is_file():
        return file.relative_to(DOCS).as_posix(), ""
    if file.parent == EXAMPLES and file.is_file():
        return PAGES["examples"], "#" + file.name.replace(".", "")
    return PAGES[file.relative_to(ROOT).as_posix()], ""


def linked(text: str, file: Path, page: str) -> str:
    """The text of `file`, with its links as they lead from `page`."""

    def lead(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        try:
            there, spot = place((file.parent / target).resolve())
        except (KeyError, ValueError):
            raise SystemExit(
                f"{file.relative_to(ROOT)}: {target}: a link to nothing that is on the site"
            ) from None
        return before + os.path.relpath(there, Path(page).parent) + (anchor or spot) + after

    parts = FENCE.split(text)  # code in fences stays
    return "".join(part if n % 2 else LINK.sub(lead, part) for n, part in enumerate(parts))


def examples() -> str:
    """All examples, on one page."""
    text = "# Examples\n\nEach is one file outside the package, named in a study by its path `module:Name`.\n"
    for file in sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.toml")]):
        kind = {".py": "python", ".toml": "toml"}[file.suffix]
        text += f"\n## {file.name}\n\n```{kind}\n{file.read_text(encoding='utf-8')}```\n"
    return text


def commands() -> str:
    """Every verb and its options, as typer says them."""
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "typer",
            "plait.cli",
            "utils",
            "docs",
            "--name",
            "plait",
            "--title",
            "Commands",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    return said.stdout


def said_first(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]


def own_members(file: Path) -> list[str]:
    """Public functions and classes that a module defines itself, in its order."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def rooms() -> dict[str, str]:
    """A page for each room of the package, and for the modules beside them: name to text."""
    pages = {}
    for path in sorted(SOURCE.iterdir()):
        modules = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if path.name.startswith("_") or path.suffix not in ("", ".py") or not modules:
            continue
        text = f"---\ntitle: {path.stem}\n---\n"
        for file in modules:
            within = file.relative_to(SOURCE.parent).with_suffix("").parts
            package = within[-1] == "__init__"
            members = own_members(file)
            if within[-1].startswith("__") and not package:
                continue
            text += f"\n::: {'.'.join(within[:-1] if package else within)}\n    options:\n"
            text += f"      heading_level: {1 if file is modules[0] else 2}\n"
            if package:  # what it passes on is described where it is
                text += f"      members: {members or 'false'}\n"
        pages[path.stem] = text
    return pages


def reference(pages: dict[str, str]) -> str:
    """What the reference begins with: the rooms, and what each is for."""
    text = (
        "# Reference\n\nMade of the docstrings, one page for each room of the package. Shapes stand in "
        "signatures, units in names (`start_s`, `rate_hz`).\n\n| room | |\n| --- | --- |\n"
        "| [commands](commands.md) | Every verb of `plait` and its options. |\n"
    )
    for name in pages:
        file = SOURCE / name / "__init__.py" if (SOURCE / name).is_dir() else SOURCE / f"{name}.py"
        text += f"| [{name}]({name}.md) | {' '.join(said_first(file).split())} |\n"
    return text


def lay_out(out: Path) -> None:
    """Write `out/pages` and `out/mkdocs.yml`; what stood there is gone."""
    pages = out / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    made = rooms()
    texts = {PAGES["examples"]: examples(), "reference/index.md": reference(made)}
    texts |= {"reference/commands.md": commands()} | {
        f"reference/{name}.md": text for name, text in made.items()
    }
    for file in [*DOCS.rglob("*.md"), *(ROOT / name for name in PAGES if name.endswith(".md"))]:
        page, _ = place(file)
        texts[page] = linked(file.read_text(encoding="utf-8"), file, page)
    for page, text in texts.items():
        (pages / page).parent.mkdir(parents=True, exist_ok=True)
        (pages / page).write_text(text, encoding="utf-8")
    for folder in ("images", "assets"):
        shutil.copytree(DOCS / folder, pages / folder)
    settings = yaml.safe_load((DOCS / "mkdocs.yml").read_text(encoding="utf-8"))
    for section in settings["nav"]:  # a page that was left out of the list ends mkdocs
        ((name, listed),) = section.items()
        there = [
            one for one in listed if (next(iter(one.values())) if isinstance(one, dict) else one) in texts
        ]
        section[name] = there or [f"reference/{room}.md" for room in ("index", "commands", *made)]
    settings |= {"docs_dir": str(pages.resolve()), "site_dir": str(ROOT / "site")}
    (out / "mkdocs.yml").write_text(
        yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
