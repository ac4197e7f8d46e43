"""Pretrain a causal language model on text, evaluate it beside an n-gram baseline, and report.

accelerate launch recipes/pretrain_clm.py
accelerate launch recipes/pretrain_clm.py --data.files.train my.txt --training.max_steps 1000
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.sections import (
    DataConfig,
    LanguageModelEvaluationConfig,
    ModelConfig,
    PretrainingConfig,
    RunConfig,
    TokenizerConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    evaluation: LanguageModelEvaluationConfig = field(default_factory=LanguageModelEvaluationConfig)


def main(config: Config) -> None:
    from pipelines.run import find_run_folder, print_result, report_if_finished

    folder = find_run_folder(config, __file__)
    if report_if_finished(folder, config):
        return

    from pipelines.data.collation import BlockCollator
    from pipelines.data.loading import load_corpus
    from pipelines.data.receipt import training_receipt
    from pipelines.data.tokenization import get_tokenizer, tokenize_corpus, tokenizer_hash
    from pipelines.evaluation.language_modeling import evaluate_language_model, ngram_baseline, sample_continuations
    from pipelines.models.build import build_causal_lm, require_isolation
    from pipelines.publishing.model_card import write_model_card
    from pipelines.report import write_report
    from pipelines.training.arguments import training_arguments
    from pipelines.training.objectives import CausalLanguageModeling
    from pipelines.training.pretraining import (
        make_plan,
        save_model,
        start_processes,
        start_run,
        train_metrics,
        train_model,
    )

    state = start_processes(config.run, config.training)
    with state.main_process_first():  # the others read its cache
        corpus = load_corpus(config.data)
        tokenizer = get_tokenizer(config.tokenizer, config.model.name, corpus.splits["train"], corpus.fingerprint)
        documents, receipt = tokenize_corpus(corpus, tokenizer, config.data.block_size)
    model = build_causal_lm(config.model, tokenizer, config.data.block_size)
    if config.data.isolate_documents:
        require_isolation(model)
    plan = make_plan(config.training, documents["train"], documents["validation"], model, state)
    arguments = training_arguments(config.training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    hashes = {"corpus": corpus.fingerprint, "tokenizer": tokenizer_hash(tokenizer)}
    start_run(folder, config, plan, receipt, hashes, state)

    objective = CausalLanguageModeling(bf16=plan.precision == "bf16")
    collator = BlockCollator(config.data.isolate_documents)
    trainer = train_model(
        training=config.training,
        arguments=arguments,
        plan=plan,
        folder=folder,
        state=state,
        model=model,
        tokenizer=tokenizer,
        documents=documents["train"],
        collator=collator,
        objective=objective,
        evaluate_model=lambda trained: evaluate_language_model(
            trained,
            documents["validation"],
            objective,
            collator,
            batch_size=config.training.per_device_eval_batch_size,
            max_blocks=config.evaluation.max_blocks,
        ),
    )
    metrics = trainer.evaluate() | train_metrics(trainer, plan)

    if state.is_main_process:
        order = trainer.blocks.order
        receipt["training"] = training_receipt(documents["train"], order, plan.rows, trainer.account.targets)
        folder.write_json("receipt.json", receipt)
        ngram = None
        if config.evaluation.ngram_order is not None:
            baseline, ngram = ngram_baseline(
                documents["train"],
                order.consumed(plan.rows).nonzero()[0],
                documents["validation"],
                vocab_size=len(tokenizer),
                order=config.evaluation.ngram_order,
                max_blocks=config.evaluation.max_blocks,
            )
            metrics |= baseline
        samples = sample_continuations(
            trainer.model, tokenizer, documents["validation"], config.evaluation, config.training.seed, ngram
        )
        folder.write_json("samples.json", samples)
        save_model(trainer, tokenizer, folder, config.data.block_size)
        licence = corpus.card.license if corpus.card else None
        write_model_card(folder.model, plan.as_dict(), metrics, corpus.name, licence)
        write_report(folder.path, metrics)
        folder.write_json("metrics.json", metrics)
        print_result(folder, metrics)
        folder.unlock()


if __name__ == "__main__":
    launch(main, Config, __file__)
