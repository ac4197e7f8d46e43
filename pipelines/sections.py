"""The typed sections that configs are made of. The docstring under a field is its `--help` text.

`null` means off or "work it out"; no field uses -1 for that.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "polynomial",
]
TokenizerType = Literal["bpe", "unigram", "wordpiece", "char"]


@dataclass
class PlainRunConfig:
    """run: where the run goes, and what it may use of the machine."""

    dir: str | None = None
    """Run folder. Default: runs/<recipe>/<config file>, plus a hash of the flags that make another run."""
    overwrite: bool = False
    """Delete the run folder first and start anew."""
    threads: int | None = None
    """CPU threads of each process. Default: the machine's cores shared among its processes."""


@dataclass
class MeasuredRunConfig(PlainRunConfig):
    """run: where the run goes, and what it may use of the machine."""

    measure_energy: bool = False
    """Measure the energy of training with codecarbon (extra energy)."""
    country_iso_code: str | None = None
    """Country whose electricity mix turns energy into CO2, three letters such as FRA. Default: energy alone."""


@dataclass
class RunConfig(MeasuredRunConfig):
    """run: where the run goes, and what it may use of the machine."""

    stop_at_step: int | None = None
    """Stop with a checkpoint after this step, with exit code 130; without it, the same command goes on."""


@dataclass
class DataFiles:
    """data.files: local files, a path or several for each split."""

    train: str | list[str] | None = None
    """Path or paths, globs too: json, jsonl, csv, tsv, parquet, txt, arrow; also with .gz, .zst, .bz2 or .xz."""
    validation: str | list[str] | None = None
    """Path or paths of the validation split. Default: a share of train."""
    test: str | list[str] | None = None
    """Path or paths of the test split."""


@dataclass
class SourceConfig:
    """data: where the rows come from (docs/data_cards.md)."""

    card: str | None = None
    """Data card: the name of a folder in data_cards/, or the path of such a folder."""
    name: str | None = None
    """Dataset on the Hugging Face Hub, such as user/name."""
    config_name: str | None = None
    """Which config of a Hub dataset or card that has several."""
    revision: str | None = None
    """Branch, tag or commit of a Hub dataset."""
    files: DataFiles = field(default_factory=DataFiles)
    columns: dict[str, str] = field(default_factory=dict)
    """Column -> role, such as '{review: text}'. A column is never guessed."""


@dataclass
class CorpusConfig(SourceConfig):
    """data: the text and its splits (docs/data_cards.md)."""

    sample_by: Literal["document", "paragraph", "line"] = "document"
    """What one document of a text file is."""
    split_method: Literal["hash", "tail"] = "hash"
    """How a missing validation split is drawn: documents by a seeded hash of the text, or the last share of it."""
    validation_share: float = 0.01
    """Share of the documents (hash) or characters (tail) held out when there is no validation split."""
    split_seed: int = 0
    """Seed of the hash that draws the validation split."""
    decontaminate: str | list[str] | None = None
    """Evaluation sets whose texts training documents must not share: data cards (or card/config), paths or globs."""
    max_train_documents: int | None = None
    """Use only the first so many training documents."""


@dataclass
class MixedSource(SourceConfig):
    """data.sources.<name>: one source of a mixture; the keys of data, and its weight."""

    weight: float = 1.0
    """Share of the blocks that come from this source, relative to the weights of the others."""


@dataclass
class StreamableConfig(CorpusConfig):
    """data: the text and its splits, read whole or streamed (docs/data_cards.md, docs/streaming.md)."""

    streaming: bool = False
    """Read json lines, parquet or text from disk or the Hub piece by piece, as training comes to it."""
    sources: dict[str, MixedSource] | None = None
    """With streaming: several sources instead of one, such as '{web: {files: {train: a.jsonl}, weight: 3}, ...}'."""


@dataclass
class DataConfig(StreamableConfig):
    """data: the text, its splits and its blocks (docs/data_cards.md)."""

    block_size: int = 512
    """Tokens in one packed block."""
    isolate_documents: bool = True
    """Documents in one block do not see each other. Refused for a model where this does not hold."""


@dataclass
class TokenizerConfig:
    """tokenizer: one to load, or one to train on the training split."""

    name: str | None = None
    """Existing tokenizer: local folder or Hub id. Default: the checkpoint's own, if model.name is set."""
    revision: str | None = None
    """Branch, tag or commit of a Hub tokenizer."""
    new_tokens: int | list[str] | None = None
    """Add tokens to an existing tokenizer: these words, or so many words of the training split that shorten it most."""
    vocab_size: int | None = None
    """Train a tokenizer of this many entries on the training split (char: at most this many)."""
    type: TokenizerType = "bpe"
    """What to train: byte-level bpe or unigram (both know every text), BERT's wordpiece, or one entry per character."""


@dataclass
class OldDomainConfig:
    """old_domain: text of the domain a checkpoint comes from, scored before and after to show what is forgotten."""

    card: str | None = None
    """Data card whose validation split is scored."""
    name: str | None = None
    """Dataset on the Hugging Face Hub whose validation split is scored."""
    config_name: str | None = None
    """Which config of a Hub dataset or card that has several."""
    revision: str | None = None
    """Branch, tag or commit of a Hub dataset."""
    files: str | list[str] | None = None
    """Local files that are scored whole: a path or several, as in data.files."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column -> role, as in data.columns."""
    sample_by: Literal["document", "paragraph", "line"] = "document"
    """What one document of a text file is."""


@dataclass
class ModelConfig:
    """model: a size, a config or a checkpoint (docs/models.md)."""

    preset: str | None = None
    """Named size, from scratch: see pipelines/models/presets.py."""
    name: str | None = None
    """Checkpoint to go on from: run folder, model folder, Hub id or package://..."""
    revision: str | None = None
    """Branch, tag or commit of a Hub checkpoint."""
    new_head: bool = False
    """Draw the head of a checkpoint that has none for this objective anew, as a sentence encoder has none."""
    config: dict[str, Any] | str | None = None
    """Any transformers config, from scratch: a map with model_type, or the path of a config.json."""
    attn_implementation: str = "sdpa"
    """sdpa, or eager where transformers has no sdpa for an architecture."""


@dataclass
class TrainingConfig:
    """training: names, units and meanings of transformers.TrainingArguments."""

    max_steps: int | None = None
    """Optimizer steps. Default: as many as num_train_epochs asks for."""
    num_train_epochs: float = 1.0
    """Passes over the training blocks, if max_steps is not set."""
    per_device_train_batch_size: int = 8
    """Rows (blocks) that one process computes at once."""
    per_device_eval_batch_size: int = 8
    """Rows (blocks) that one process evaluates at once. Changes no figure."""
    gradient_accumulation_steps: int = 1
    """Micro-batches of one optimizer step."""
    learning_rate: float = 5e-5
    """Peak learning rate."""
    lr_scheduler_type: Schedule = "linear"
    """Learning-rate schedule."""
    lr_scheduler_kwargs: dict[str, Any] | None = None
    """Arguments of the schedule. warmup_stable_decay: num_decay_steps, below 1 a share of all steps; default 0.2."""
    warmup_steps: float = 0.0
    """Warm-up steps; below 1: share of all steps."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "adafactor", "sgd", "muon"] = "adamw_torch_fused"
    """Optimizer. muon (not in TrainingArguments): torch.optim.Muon for hidden matrices, AdamW for all else."""
    weight_decay: float = 0.0
    """Weight decay, not for biases and norms."""
    adam_beta1: float = 0.9
    """AdamW beta1."""
    adam_beta2: float = 0.999
    """AdamW beta2."""
    adam_epsilon: float = 1e-8
    """AdamW epsilon."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    max_loss_spike: float | None = 3.0
    """Stop when a step's loss exceeds this many times the median of the last 50 (not in TrainingArguments)."""
    bf16: bool | None = None
    """bfloat16 autocast over fp32 weights. Default: where the hardware computes it."""
    torch_compile: bool = False
    """Compile the model. Pays after some ten minutes on a CPU."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    seed: int = 42
    """Seed of initialisation, order and dropout."""
    logging_steps: float = 10
    """Log the training loss every so many steps; below 1: share of all steps."""
    eval_strategy: Literal["no", "steps"] = "steps"
    """Evaluate while training every eval_steps. The end of training is always evaluated."""
    eval_steps: float = 0.25
    """Steps between evaluations; below 1: share of all steps."""
    save_steps: float = 0.25
    """Steps between checkpoints; below 1: share of all steps."""
    save_total_limit: int | None = 2
    """Checkpoints to keep."""
    report_to: str | list[str] = "none"
    """Trackers: tensorboard, trackio, wandb, mlflow."""
    run_name: str | None = None
    """Name of the run in the trackers."""
    push_to_hub: bool = False
    """Push the model to the Hub when the run is done: to hub_model_id, or a repository named like the run folder."""
    hub_model_id: str | None = None
    """Another name of publish.repo_id."""
    dataloader_num_workers: int = 0
    """Worker processes that read data."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Any other field of transformers.TrainingArguments."""


@dataclass
class PretrainingConfig(TrainingConfig):
    """training: names, units and meanings of transformers.TrainingArguments, with defaults for pretraining."""

    learning_rate: float = 1e-3
    """Peak learning rate."""
    lr_scheduler_type: Schedule = "cosine"
    """Learning-rate schedule."""
    warmup_steps: float = 0.02
    """Warm-up steps; below 1: share of all steps."""
    weight_decay: float = 0.1
    """Weight decay, not for biases and norms."""
    adam_beta2: float = 0.95
    """AdamW beta2."""


@dataclass
class ProofConfig:
    """proof: what is shown of the run's arithmetic before its first step (docs/proofs.md)."""

    enabled: bool = True
    """Prove on a small copy of the model that accumulation, padding, packing, saving and resuming change nothing."""


@dataclass
class LanguageModelEvaluationConfig:
    """evaluation: what is measured at the end, and the baseline beside it."""

    max_blocks: int | None = None
    """Evaluate on the first so many blocks of the validation split. Default: all."""
    ngram_order: int | None = 5
    """Order of the Kneser-Ney baseline trained on the same tokens; null: no baseline."""
    samples: int = 4
    """Held-out prompts that are continued in the report."""
    sample_new_tokens: int = 64
    """Tokens of each continuation."""
    temperature: float = 0.8
    """Sampling temperature of the continuations."""


@dataclass
class MaskingConfig:
    """masking: what a masked language model is to predict; names of transformers' DataCollatorForLanguageModeling."""

    mlm_probability: float = 0.3
    """Share of the text tokens that are predicted."""
    mask_replace_prob: float = 0.8
    """Share of these that the mask token replaces; 1: all of them."""
    random_replace_prob: float = 0.1
    """Share of these that a random token replaces; the rest stays as it is."""
    whole_word_mask: bool = False
    """Choose whole words. For a tokenizer that joins several tokens to a word."""


@dataclass
class MaskedLanguageModelEvaluationConfig:
    """evaluation: what is measured at the end, and the baselines beside it."""

    max_blocks: int | None = None
    """Evaluate on the first so many blocks of the validation split. Default: all."""
    mlm_probability: float = 0.15
    """Share of the held-out tokens that are masked, by a mask that depends on nothing but the text and tokenizer."""
    baselines: bool = True
    """Score the commonest token and a bigram model of both neighbours on the same masks."""
    pseudo_perplexity_tokens: int | None = 512
    """Held-out tokens, spread evenly, that are masked one at a time; null: no pseudo-perplexity."""
    samples: int = 4
    """Held-out passages with masks whose fillings are shown in the report."""


@dataclass
class FastTextConfig:
    """embeddings.fasttext: the character n-grams of method fasttext."""

    ngram_min: int = 3
    """Characters of the shortest n-gram; the marks < and > at the ends of a word count."""
    ngram_max: int = 6
    """Characters of the longest n-gram."""
    buckets: int = 100_000
    """Vectors that all n-grams share by their hash. They are saved, so that unknown words get a vector."""


@dataclass
class GloveConfig:
    """embeddings.glove: the weights and steps of method glove."""

    x_max: float = 100.0
    """A pair of words that co-occurs at least this often has full weight."""
    alpha: float = 0.75
    """A pair that co-occurs x times, less than x_max, has weight (x / x_max) ** alpha."""
    batch_size: int = 16_384
    """Pairs of words in one step."""


@dataclass
class EmbeddingsConfig:
    """embeddings: which words get a vector, and how the vectors are learned."""

    method: str = "skipgram"
    """skipgram, cbow, fasttext (skip-gram over character n-grams) or glove."""
    vector_size: int = 100
    """Numbers in a vector."""
    window: int = 5
    """Words to each side that are a word's context. All methods but glove draw a number from 1 to this each time."""
    split: Literal["words", "blanks"] = "words"
    """words: runs of letters, digits and underscores, each Han character alone. blanks: for text segmented already."""
    lowercase: bool = True
    """Lower-case the text."""
    min_count: int = 5
    """Words that stand less often than this in the training split get no vector and are passed over."""
    max_vocabulary: int | None = None
    """Keep only so many words, the most frequent."""
    epochs: int | None = None
    """Passes over the words (glove: over the pairs of words). Default: 5; glove 25."""
    learning_rate: float | None = None
    """Learning rate at the start. Default: 0.025; glove 0.2."""
    negative_samples: int = 5
    """Random words that each pair is told from. Not for glove."""
    subsample: float | None = 1e-3
    """Occurrences of words that make up a larger share of the text than this are left out at random. Not for glove."""
    seed: int = 42
    """Seed of initialisation, order and sampling."""
    workers: int = 1
    """Threads of gensim. With more than one, no two runs are the same. Not for glove, which uses run.threads."""
    fasttext: FastTextConfig = field(default_factory=FastTextConfig)
    glove: GloveConfig = field(default_factory=GloveConfig)


@dataclass
class WordVectorEvaluationConfig:
    """evaluation: what the vectors are measured on, and the baselines beside them."""

    builtin_sets: bool = True
    """Score WordSim-353, SimLex-999 and the analogies of Mikolov et al. (2013), English, which come with gensim."""
    similarity_files: str | list[str] | None = None
    """Your own similarity sets: lines of word, word and score, parted by tabs (or blanks)."""
    analogy_files: str | list[str] | None = None
    """Your own analogies: lines of four words (king man queen woman) under lines such as ': royalty'."""
    baselines: bool = True
    """Score random vectors and a count model (PPMI and truncated SVD) of the same words beside."""
    samples: int = 12
    """Frequent words whose nearest neighbours are written to neighbours.json."""


@dataclass
class SentenceDataConfig(CorpusConfig):
    """data: the text, its splits and its sentences (docs/data_cards.md)."""

    block_size: int = 64
    """Tokens in a sentence at most, two of them its begin and end. Longer documents are cut into equal parts."""
    min_tokens: int = 8
    """Parts of documents with fewer tokens of text are left out."""


@dataclass
class ContrastiveConfig:
    """contrastive: what sentence embeddings are, and how they are learned (Gao, Yao and Chen 2021)."""

    pooling: Literal["cls", "mean"] = "mean"
    """The embedding of a sentence: the last state of its first token, or the mean of the states of all."""
    temperature: float = 0.05
    """Divides the cosine similarities of the softmax over all sentences of a step."""
    dropout: float | None = 0.1
    """Rate of all layers in training, which is all that tells the two views of a sentence apart; null: the model's."""


@dataclass
class SentenceSimilarityEvaluationConfig:
    """evaluation: what the embeddings are measured on, and the baselines beside them."""

    sts_files: str | list[str] | None = None
    """Files of one set of scored pairs: csv, tsv, json lines or parquet with columns sentence1, sentence2 and score."""
    sts_columns: dict[str, str] = field(default_factory=dict)
    """Column -> role for columns of these files that are called otherwise, such as '{label: score}'."""
    retrieval_documents: int = 1_000
    """Held-out documents, evenly spread, whose first halves are to find their second halves."""
    baselines: bool = True
    """Score the model before training, the mean of its token vectors, and TF-IDF, all on the same pairs."""
    samples: int = 6
    """Held-out sentences whose nearest neighbours are shown in the report."""


@dataclass
class RowDataConfig(StreamableConfig):
    """data: the text, its splits and its rows (docs/data_cards.md)."""

    block_size: int = 256
    """Tokens in a row at most, special ones among them. Longer documents are cut into equal parts."""


@dataclass
class Seq2SeqModelConfig(ModelConfig):
    """model: a size, a config, a checkpoint, or two checkpoints of encoders (docs/models.md)."""

    decoder_name: str | None = None
    """Checkpoint that becomes the decoder of the encoder model.name: its cross-attention is drawn at random."""


@dataclass
class DenoisingConfig:
    """denoising: what is hidden from the encoder, and what the decoder is to write."""

    method: Literal["span_corruption", "text_infilling"] = "span_corruption"
    """span_corruption: T5's, the hidden spans by their sentinels. text_infilling: BART's, the whole text."""
    noise_density: float | None = None
    """Share of the text tokens that are hidden. Default: 0.15; text_infilling 0.3."""
    mean_noise_span_length: float = 3.0
    """Tokens of a hidden span, on average."""


@dataclass
class DenoisingEvaluationConfig:
    """evaluation: what is measured at the end, and the baselines beside it."""

    max_blocks: int | None = None
    """Evaluate on the first so many rows of the validation split. Default: all."""
    ngram_order: int | None = 5
    """Order of the Kneser-Ney baseline trained on the targets of the same rows; null: no baselines."""
    samples: int = 4
    """Held-out passages with hidden spans whose targets the model writes in the report."""


@dataclass
class TokenizerTrainingConfig:
    """tokenizer: what is trained on the training split."""

    type: TokenizerType = "bpe"
    """Byte-level bpe or unigram (both know every text), BERT's wordpiece, or one entry per character."""
    vocab_size: int = 8192
    """Entries, special tokens among them; fewer if the text has no more to offer."""
    mask_token: bool = True
    """Add a mask token, which masked language models need."""
    sentinels: int = 0
    """Add so many tokens <extra_id_0>, <extra_id_1>, ..., which stand for masked spans in denoising."""


@dataclass
class TokenizerEvaluationConfig:
    """evaluation: what is measured on the tokenizer, and the tokenizers beside it."""

    max_documents: int | None = 2_000
    """Measure on so many documents of each split, evenly spread; null: on all."""
    compare_types: list[TokenizerType] = field(default_factory=list)
    """Train tokenizers of these types too, on the same text with the same vocab_size, and measure them beside it."""
