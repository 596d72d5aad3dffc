"""The Python snippets of the README and the guides run as they stand, each page from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinygrad_mlsp.op import registry

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md", "docs/checking.md", "docs/data.md", "docs/energy.md", "docs/models.md", "docs/optimizers.md",
    "docs/own_operations.md", "docs/training.md",
    *(f"docs/seeing/{page.name}" for page in sorted((ROOT / "docs" / "seeing").glob("*.md"))),
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    before, scope = set(registry), {"__name__": "__main__"}
    snippets = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    assert snippets
    try:
        for number, snippet in enumerate(snippets):
            exec(compile(snippet, f"{page}, snippet {number}", "exec"), scope)
    finally:
        for name in set(registry) - before:
            del registry[name]
