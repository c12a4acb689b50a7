"""Lays the site out for mkdocs: `python docs/pages.py FOLDER` writes FOLDER/mkdocs.yml and FOLDER/pages.

What stands under docs/ is copied; README, changelog and others of the root become pages; examples, studies,
benchmarks, commands and the reference are made of the code. Links follow, and a file that a page names is a
link. A link to nothing ends it with a line and exit code 1.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS, SOURCE, EXAMPLES = ROOT / "docs", ROOT / "src" / "plait", ROOT / "examples"
PAGES = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "src/plait": "reference/index.md",
    "examples": "examples.md",
    "studies": "reference/studies.md",
    "benchmarks": "reference/benchmarks.md",
}
GATHERED = {  # pages that show files: what stands above them, and which
    "examples.md": (
        "# Examples\n\nEach is one file outside the package, named in a study by its path `module:Name`.\n",
        ("examples/*.py", "examples/*.toml"),
    ),
    "reference/studies.md": (
        "# Studies\n\nPlait's own: `plait run NAME --data DIR --out RUN` takes any of them, and a study of "
        'yours builds upon one by `extends = "studies/NAME.toml"`.\n',
        ("studies/*.toml",),
    ),
    "reference/benchmarks.md": (
        "# Benchmarks\n\nWhat measured the numbers of these pages, from a checkout.\n",
        ("benchmarks/*.py", "benchmarks/*.sh"),
    ),
    "reference/files.md": (
        "# Other files\n\nWhat these pages point at besides.\n",
        (
            "CITATION.cff",
            "LICENSE",
            "Makefile",
            "pyproject.toml",
            "constraints.txt",
            "docs/*.py",
            "docs/*.yml",
        ),
    ),
}
KINDS = {".py": "python", ".yml": "yaml", ".toml": "toml", ".sh": "sh", ".cff": "yaml"}
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^#.*$|\[[^\]]*\]\([^)]*\)|(?<!`)`([^`]+)`(?!`)", re.MULTILINE)  # not in headings, links
NAMED = re.compile(r"(?<![\w./:-])(?:studies|benchmarks|examples|docs|src/plait)/[\w./-]*\w")


@cache
def gathered(page: str) -> list[Path]:
    """The files that a page shows, in order."""
    return sorted(file for pattern in GATHERED[page][1] for file in ROOT.glob(pattern))


def place(file: Path) -> tuple[str, str]:
    """Where a file of the repository stands on the site: its page, and the place on that page.

    Raises:
        KeyError: it stands nowhere.
        FileNotFoundError: there is none.
    """
    for page in GATHERED:
        if file in gathered(page):
            return page, "#" + re.sub(r"[^\w-]", "", file.name.lower())
    if file.is_relative_to(DOCS) and file.suffix in (".md", ".svg", ".jpg"):
        file.stat()
        return file.relative_to(DOCS).as_posix(), ""
    if file.is_relative_to(SOURCE) and file != SOURCE and file.exists():
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        return ("reference/index.md" if room.startswith("_") else f"reference/{room}.md"), ""
    return PAGES[file.relative_to(ROOT).as_posix()], ""


def linked(text: str, file: Path, page: str) -> str:
    """The text of `file`, with its links as they lead from `page`."""

    def lead(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        try:
            there, spot = place((file.parent / target).resolve())
        except (KeyError, ValueError, FileNotFoundError):
            raise SystemExit(
                f"{file.relative_to(ROOT)}: {target}: a link to nothing that is on the site"
            ) from None
        return before + os.path.relpath(there, Path(page).parent) + (anchor or spot) + after

    def name(found: re.Match[str]) -> str:
        named = NAMED.search(found[1] or "")
        try:
            there, spot = place(ROOT / named[0]) if named else ("", "")
        except (KeyError, FileNotFoundError):
            if re.fullmatch(
                r"(studies|benchmarks|examples|docs)/[\w-]+\.(toml|py|sh|md)", named[0] if named else ""
            ):
                raise SystemExit(f"{file.relative_to(ROOT)}: {found[0]}: there is no such file") from None
            return found[0]
        return f"[{found[0]}]({os.path.relpath(there, Path(page).parent)}{spot})" if there else found[0]

    parts = FENCE.split(text)  # code in fences stays
    return "".join(part if n % 2 else CODE.sub(name, LINK.sub(lead, part)) for n, part in enumerate(parts))


def shown(page: str) -> str:
    """A page of files, each under its name."""
    text = "---\nsearch: {exclude: true}\n---\n" + GATHERED[page][0]
    for file in gathered(page):
        code = file.read_text(encoding="utf-8").rstrip()
        text += f"\n## {file.name}\n\n```{KINDS.get(file.suffix, 'text')}\n{code}\n```\n"
    return text


def version() -> str:
    """Which plait these pages are of: its version, and the commit where they lie in plait's own checkout."""
    source = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    (number,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    git = ["git", "-C", str(ROOT)]
    ours = subprocess.run([*git, "ls-files", "--error-unmatch", "docs/pages.py"], capture_output=True)
    if ours.returncode:  # none, or somebody else's around these files
        return number
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return f"{number}, commit {commit.stdout.strip()}"


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
    members = own_members(SOURCE / "__init__.py")
    pages = {"plait": f"---\ntitle: plait\n---\n\n::: plait\n    options:\n      members: {members}\n"}
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
        "| [studies](studies.md), [benchmarks](benchmarks.md) | Plait's own, as they stand. |\n"
    )
    for name in pages:
        folder = SOURCE.parent / name if name == "plait" else SOURCE / name
        file = folder / "__init__.py" if folder.is_dir() else SOURCE / f"{name}.py"
        text += f"| [{name}]({name}.md) | {' '.join(said_first(file).split())} |\n"
    return text


def lay_out(out: Path) -> None:
    """Write `out/pages` and `out/mkdocs.yml`; what stood there is gone."""
    pages = out / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    made = rooms()
    texts = {page: shown(page) for page in GATHERED} | {"reference/index.md": reference(made)}
    texts |= {"reference/commands.md": commands()}
    texts |= {f"reference/{name}.md": text for name, text in made.items()}
    for file in [*DOCS.rglob("*.md"), *(ROOT / name for name in PAGES if name.endswith(".md"))]:
        page, _ = place(file)
        texts[page] = linked(file.read_text(encoding="utf-8"), file, page)
    for page, text in texts.items():
        (pages / page).parent.mkdir(parents=True, exist_ok=True)
        (pages / page).write_text(text, encoding="utf-8")
    for folder in ("images", "assets"):
        shutil.copytree(DOCS / folder, pages / folder)
    settings = yaml.safe_load((DOCS / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = ("index", "commands", "studies", "benchmarks", "files", *made)
    settings["nav"].append({"Reference": [f"reference/{name}.md" for name in listed]})
    settings["site_name"] += f" {version().partition(',')[0]}"
    settings["copyright"] = f"plait {version()} · Apache-2.0"
    settings |= {"docs_dir": str(pages.resolve()), "site_dir": str(ROOT / "site")}
    (out / "mkdocs.yml").write_text(
        yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
