"""ShareGPT4V: LLaVA's mixture of instructions with GPT-4V's captions in it; rounds of questions about pictures.

Files: ShareGPT4Omni/ShareGPT4V docs/Data.md; Hugging Face `Lin-Chen/ShareGPT4V`. One JSON list per file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepsight.data.sources.conversations import conversation
from stepsight.data.sources.json_stream import scan_list
from stepsight.data.sources.reading import count_rows, locate, numbered, read_rows
from stepsight.data.sources.source import Found, SetAside, Sourced

MIXTURE = "sharegpt4v_mix665k_cap23k_coco-ap9k_lcs3k_sam9k_div2k.json"
"""The form of the rows in LLaVA-CoT-100k, by the pictures and rounds that are in it."""


@dataclass(frozen=True)
class ShareGPT4V:
    """Rows of one of the published files; pictures lie in a folder per dataset directly below the root."""

    file: str = MIXTURE
    name: str = "sharegpt4v"
    licence: str = "CC BY-NC 4.0"
    homepage: str = "https://huggingface.co/datasets/Lin-Chen/ShareGPT4V"
    paper_count: int | None = 31_300

    @property
    def layout(self) -> str:
        """Which files are expected."""
        return (
            f"sharegpt4v/{self.file}; its pictures below the root: coco/train2017, gqa/images, ocr_vqa/images, "
            "textvqa/train_images, vg/VG_100K, vg/VG_100K_2, sam/images, llava/llava_pretrain/images, ..."
        )

    def find(self, root: Path) -> Found:
        """Count the rows of the file."""
        path = locate(root / self.name, self.file)
        if not path.is_file():
            return Found(missing=(f"{self.name}/{self.file}",))
        return Found((count_rows(path, scan_list(path)),))

    def read(self, root: Path) -> Iterator[Sourced | SetAside]:
        """Each row that has a picture; ids are `sharegpt4v-{row}`."""
        path = locate(root / self.name, self.file)
        yield from read_rows(
            self.name,
            path,
            numbered(scan_list(path)),
            lambda raw: conversation(raw.value, identity=f"{self.name}-{raw.row}", source=self.name, images=root),
        )
