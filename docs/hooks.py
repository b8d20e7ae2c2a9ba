"""MkDocs hooks: files of the repository as pages, and links that work there and in the site.

A page of docs/ links to other files of the repository by relative paths, which work where the
repository is browsed. In the site such a link leads to the page that the file has become, and is
plain text if it has become none.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

# Files outside of docs/ -> what they are called in the site.
FROM_THE_REPOSITORY = {
    "datasets/README.md": "datasets.md",
    "srn_d2/weights/README.md": "model_card.md",
    "tools/readme/faces.jpg": "images/faces.jpg",
}
URI_OF_FILE = {ROOT / path: uri for path, uri in FROM_THE_REPOSITORY.items()}
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, uri in URI_OF_FILE.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    folder = Path(page.file.abs_src_path).parent
    page_folder = os.path.dirname(page.file.src_uri)

    def in_site(link: re.Match) -> str:
        target = (folder / link["path"]).resolve()
        if target.is_relative_to(DOCS):
            uri = target.relative_to(DOCS).as_posix()
        elif target in URI_OF_FILE:
            uri = URI_OF_FILE[target]
        else:  # a missing file stays a link, which MkDocs complains about
            return link["text"] if target.exists() else link[0]
        path = os.path.relpath(uri, page_folder or ".")
        return f"{link['image']}[{link['text']}]({path}{link['anchor'] or ''})"

    return LINK.sub(in_site, markdown)
