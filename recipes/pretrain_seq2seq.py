"""Pretrain an encoder-decoder on text by denoising (T5's or BART's), evaluate it beside baselines, and report.

accelerate launch recipes/pretrain_seq2seq.py
accelerate launch recipes/pretrain_seq2seq.py --model.preset bart-tiny --denoising.method text_infilling
accelerate launch recipes/pretrain_seq2seq.py --model.name ENCODER_FOLDER --model.decoder_name OTHER_ENCODER_FOLDER \
    --denoising.method text_infilling
"""

from dataclasses import dataclass, field, replace

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import (
    DenoisingConfig,
    DenoisingEvaluationConfig,
    OldDomainConfig,
    PretrainingConfig,
    ProofConfig,
    RowDataConfig,
    RunConfig,
    Seq2SeqModelConfig,
    TokenizerConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: RowDataConfig = field(default_factory=RowDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: Seq2SeqModelConfig = field(default_factory=Seq2SeqModelConfig)
    old_domain: OldDomainConfig = field(default_factory=OldDomainConfig)
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    evaluation: DenoisingEvaluationConfig = field(default_factory=DenoisingEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.data.denoising import make_denoising, special_tokens
    from pipelines.data.document_rows import DocumentRows, Seq2SeqCollator, cut_rows
    from pipelines.data.receipt import padding_receipt
    from pipelines.data.streaming.opening import open_text
    from pipelines.data.streaming.receipt import run_receipt
    from pipelines.data.tokenization import tokenize_old_domain
    from pipelines.evaluation.denoising import FixedDamage
    from pipelines.models.encoder_decoder import build_encoder_decoder, check_encoder_decoder
    from pipelines.proofs.running import prove
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.training import steps
    from pipelines.training.arguments import training_arguments
    from pipelines.training.objectives import SequenceToSequence
    from pipelines.training.saving import save_model

    if (folder := open_run(config, __file__)) is None:
        return

    state = steps.start_processes(config.run, config.training)
    block_size, special = config.data.block_size, special_tokens(config.denoising, config.data.block_size)
    with state.main_process_first():  # the others read its cache
        text = open_text(config.data, config.tokenizer, config.model, block_size, special)
        old = tokenize_old_domain(config.old_domain, text.tokenizer, block_size)
    denoising = make_denoising(config.denoising, text.tokenizer, block_size)
    text = cut_rows(text, denoising)
    model = build_encoder_decoder(config.model, text.tokenizer, block_size, text.new_tokens)
    check_encoder_decoder(model)
    plan = steps.make_plan(config.training, text.train, text.validation, model, state)
    arguments = training_arguments(config.training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    checkpoint = steps.start_run(folder, config, plan, text.receipt, text.hashes, state)

    objective = SequenceToSequence(bf16=plan.precision == "bf16")
    collator = Seq2SeqCollator(text.train.pad_token_id, model.config.decoder_start_token_id)
    exact = SequenceToSequence(bf16=False)
    batch_size = config.training.per_device_eval_batch_size
    scorer = FixedDamage(text.validation, denoising, objective, collator, batch_size, config.evaluation)
    prove(folder, config, state, model, text, collator, lambda copy: exact, denoising, scorer.evaluate_few)
    evaluations = {"": scorer.evaluate}
    if old:
        evaluations["old_"] = replace(scorer, documents=DocumentRows.of(old, denoising)).evaluate
    start = steps.score_start(model, config.model, evaluations)
    trainer = steps.train_model(
        config=config,
        arguments=arguments,
        plan=plan,
        folder=folder,
        checkpoint=checkpoint,
        model=model,
        text=text,
        collator=collator,
        objective=objective,
        evaluate_model=scorer.evaluate,
        rows=denoising,
    )
    metrics = trainer.evaluate() | steps.train_metrics(trainer, plan) | start
    metrics |= steps.score_old(trainer.model, evaluations)
    steps.assemble_model(trainer)
    if not state.is_main_process:
        return

    save_model(trainer, text.tokenizer, folder)
    receipt = run_receipt(text, trainer.blocks, trainer.account.targets)
    receipt["training"] |= padding_receipt(trainer.blocks, trainer.account.positions)
    folder.write_json("receipt.json", receipt)
    baseline, ngram = scorer.baselines(trainer.blocks, plan.vocab_size)
    metrics |= baseline
    folder.write_json("samples.json", scorer.samples(trainer.model, text.tokenizer, ngram))
    finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
