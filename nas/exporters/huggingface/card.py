"""The model card: what stands in the README.md of a folder for transformers."""

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
    """Markdown, with the front matter that the Hugging Face hub reads.

    needs_code: the folder holds code of its own, which transformers runs when it is told to.
    reads_text: it holds a tokenizer.
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
            ("**all**", counts.total),
        )
    )
    trust = ", trust_remote_code=True" if needs_code else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

`{architecture.layout}`

One letter a layer, from the first: {legend}.
Width {architecture.width:,}, vocabulary {architecture.vocab_size:,}, architecture
`{architecture_hash(architecture)}`.

| parameters | |
|---|---:|
{rows}

{provenance.strip()}

```python
{_USE.format(trust=trust)}{_WRITE.format(trust=trust) if reads_text else ""}```
"""


_USE = """\
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("."{trust})
"""
_WRITE = """\

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{trust})
prompt = tokenizer("def ", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=32)[0]))
"""
