"""How much text a study's trainings read, of how much there is."""

from dataclasses import dataclass

from evaluators.text.corpus import Corpus, overlap_note
from evaluators.text.tokenizer import Say, encode, train_tokenizer
from search_space.architecture import Architecture
from search_space.proxy import proxy_of
from studies.spec.study_spec import StudySpec

# A quarter of a megabyte tells how many bytes a token stands for.
_BLOCKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusUsage:
    """The two sides of a corpus, and what one training reads of the first.

    note: what was left out, being on both sides; None where nothing was.
    """

    training_bytes: int
    held_out_bytes: int
    read_bytes: float
    note: str | None

    def __str__(self) -> str:
        times = self.read_bytes / self.training_bytes
        share = f"{100 * times:.2g} % of it" if times < 1 else f"{times:.3g} times over"
        note = "" if self.note is None else f"; {self.note}"
        return (
            f"{self.training_bytes / 1e6:,.3g} MB to train on, {self.held_out_bytes / 1e6:,.3g} MB "
            f"held out; a training reads {share}{note}"
        )


def corpus_usage(
    spec: StudySpec, architecture: Architecture, corpus: Corpus, say: Say
) -> CorpusUsage:
    """By the tokens of the architecture's proxy, of which a large corpus's first text tells."""
    proxy = spec.proxy
    vocab_size = proxy_of(architecture, proxy.width_share).vocab_size
    tokenizer = train_tokenizer(corpus.training, vocab_size, say)
    ids = encode(tokenizer, corpus.training[:_BLOCKS], say)
    tokens = proxy.token_budget if proxy.method == "scratch" else proxy.shared_token_budget
    share = 1.0 if proxy.task is None else 1.0 - proxy.task_share
    return CorpusUsage(
        training_bytes=sum(len(block.encode()) for block in corpus.training),
        held_out_bytes=sum(len(block.encode()) for block in corpus.held_out),
        read_bytes=share * tokens * float(tokenizer.token_bytes[ids].mean()),
        note=overlap_note(corpus),
    )
