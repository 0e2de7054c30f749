"""Cut the goldens of texts, frames and patches to a small committed file.

    python tests/golden_data.py ../shared

reads goldens/a/functions.json, goldens/a/captioning.io.safetensors and the BERT vocabulary, and
writes tests/golden/data.json. Token ids become pieces, so that no vocabulary needs committing.
"""

import json
import sys
from pathlib import Path

from safetensors.numpy import load_file

OUT = Path(__file__).parent / "golden" / "data.json"


def main(shared: Path) -> None:
    functions = json.loads((shared / "goldens/a/functions.json").read_text())
    pieces = (shared / "data/bert-base-uncased/vocab.txt").read_text().splitlines()
    captioning = load_file(shared / "goldens/a/captioning.io.safetensors")
    texts = [
        {
            "raw": row["raw"],
            "caption": row["caption"],
            "question": row["question"],
            "pieces": [pieces[i] for i in row["caption_token_ids"]],
        }
        for row in functions["text"]
    ]
    cut = {
        "text": texts,
        "frame_sampling": functions["frame_sampling"][::3],
        "patch_attention": functions["patch_attention"][:12],
        "captioning": {
            name: captioning[f"in.{name}"][0].tolist()
            for name in ("input_ids_masked", "position_ids", "masked_pos", "masked_ids")
        },
    }
    OUT.write_text(json.dumps(cut, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
