"""What the card of a pretrained language model says."""

from dataclasses import dataclass

from pipelines.publishing.description import Description
from pipelines.publishing.record import Record
from pipelines.reporting.scores import baselines_of
from pipelines.reporting.words import label_of


@dataclass(frozen=True)
class Kind:
    """What a card says of an objective."""

    title: str
    pipeline_tag: str
    columns: dict[str, str]
    """Metric -> heading of its column."""
    auto_class: str
    example: str
    limits: str


KINDS = {
    "causal": Kind(
        "Causal language model",
        "text-generation",
        {"loss": "nats per token", "bits_per_byte": "bits per byte"},
        "AutoModelForCausalLM",
        """prompt = tokenizer("Returns", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40, do_sample=True)[0]))""",
        "The model continues text in the manner of its training data. It states no facts and follows no instructions.",
    ),
    "masked": Kind(
        "Masked language model",
        "fill-mask",
        {"loss": "nats per masked token", "accuracy": "masked tokens found"},
        "AutoModelForMaskedLM",
        """text = tokenizer(f"Returns the{tokenizer.mask_token} of the array.", return_tensors="pt")
masked = text["input_ids"][0] == tokenizer.mask_token_id
print(tokenizer.decode(model(**text).logits[0, masked].argmax(-1)))""",
        "The model fills gaps in the manner of its training data. It is a start for fine-tuning, and states no facts.",
    ),
    "seq2seq": Kind(
        "Sequence-to-sequence model",
        "text2text-generation",
        {"loss": "nats per target token", "accuracy": "target tokens found"},
        "AutoModelForSeq2SeqLM",
        """text = tokenizer("Returns the sum of the array.", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**text, max_new_tokens=40)[0]))""",
        "The model restores damaged text. It is a start for fine-tuning, and does nothing useful by itself.",
    ),
}


def describe_pretraining(record: Record, source: str) -> Description:
    """What the card of a causal, masked or sequence-to-sequence language model says."""
    objective = {"masking": "masked", "denoising": "seq2seq"}
    kind = KINDS[next((objective[section] for section in objective if section in record.config), "causal")]
    metrics, plan = dict(record.metrics), record.plan
    rows = {"this model": {name: metrics[f"eval_{name}"] for name in kind.columns}}
    for name, figures in baselines_of(metrics).items():
        if figures.keys() >= kind.columns.keys():
            rows[f"{label_of(name)}, same data"] = figures
    table = [
        f"| on the {record.split} split | {' | '.join(kind.columns.values())} |",
        "|---|" + "---|" * len(kind.columns),
    ]
    for name, figures in rows.items():
        table.append(f"| {name} | {' | '.join(f'{figures[column]:.4f}' for column in kind.columns)} |")
    registration = (
        "import pipelines.models.recurrent  # a model type of Plumbline\n" if record.architecture == "recurrent" else ""
    )
    start = "from random weights" if record.base is None else f"going on from {record.base.shown}"
    return Description(
        title=f"{kind.title} trained on {record.source['name']}",
        about=f"{plan['parameters']['total']:,} parameters, trained with Plumbline {start} on "
        f"{plan['total_tokens']:,} positions ({plan['epochs']:.2f} epochs of {plan['train_tokens']:,} tokens) in "
        f"{plan['steps']:,} steps of {plan['tokens_per_step']:,} positions.",
        scores=table,
        scored=f"Scored on {metrics['eval_tokens']:,} tokens, each weighted alike.",
        code=f"""{registration}from transformers import {kind.auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{source}")
model = {kind.auto_class}.from_pretrained("{source}")
{kind.example}""",
        limits=kind.limits,
        pipeline_tag=kind.pipeline_tag,
    )
