"""Writes model cards: the README.md of a folder for transformers."""

from collections import Counter

from search_space.architecture import MIXERS, Architecture, architecture_hash, layout_letters
from search_space.costs import parameter_counts


def model_card(
    architecture: Architecture,
    name: str,
    provenance: str,
    *,
    needs_code: bool,
    reads_text: bool,
) -> str:
    """Return the model card in Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        architecture: The architecture of the model.
        name: The name of the model.
        provenance: Paragraphs on where model and weights come from, in Markdown.
        needs_code: Whether the folder contains its own code, which transformers runs only with
            `trust_remote_code=True`.
        reads_text: Whether the folder contains a tokenizer.
    """
    counts = parameter_counts(architecture)
    letters = Counter(layout_letters(architecture.layout))
    legend = ", ".join(f"`{kind}` {MIXERS[kind].name} ({letters[kind]})" for kind in letters)
    rows = "\n".join(
        f"| {part} | {count:,} |"
        for part, count in (
            ("embedding", counts.embedding),
            ("mixers", counts.mixers),
            ("feed-forward", counts.feed_forward),
            ("norms", counts.norms),
            ("**total**", counts.total),
        )
    )
    trust = ", trust_remote_code=True" if needs_code else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

`{architecture.layout}`

The layout has one letter per layer, starting with the first layer: {legend}.
Width {architecture.width:,}, vocabulary {architecture.vocab_size:,}, architecture
`{architecture_hash(architecture)}`.

| parameters | |
|---|---:|
{rows}

{provenance.strip()}

```python
{_LOAD.format(trust=trust)}{_GENERATE.format(trust=trust) if reads_text else ""}```
"""


_LOAD = """\
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("."{trust})
"""
_GENERATE = """\

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{trust})
prompt = tokenizer("def ", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=32)[0]))
"""
