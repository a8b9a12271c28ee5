"""The sections of a recipe: every setting with its default, what it means, and the values that it may have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

NonNegative = Annotated[float, Field(ge=0)]
NUMBER, LIST = "a number", "a list"
ByRound = Annotated[
    Annotated[NonNegative, Tag(NUMBER)] | Annotated[tuple[NonNegative, ...], Field(min_length=1), Tag(LIST)],
    Discriminator(lambda value: LIST if isinstance(value, list | tuple) else NUMBER),
]
"""A number, or one for each round."""
Draw = Literal["uniform", "adaptive", "adaptive_no_curriculum", "adaptive_no_win_rate", "adaptive_reversed"]


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _off_is_a_word(cls, content: Any) -> Any:
        """YAML 1.1 reads a bare `off` as False."""
        if not isinstance(content, dict):
            return content
        words = {name for name, each in cls.model_fields.items() if "off" in get_args(each.annotation)}
        return {key: "off" if value is False and key in words else value for key, value in content.items()}


class GrowSettings(Section):
    """addition: longer sums join the pool as the last length is solved."""

    to: int | None = Field(None, ge=2, le=15)
    """The longest sums; null: the pool stays as `task.digits` says."""
    threshold: float = Field(0.9, gt=0, le=1)
    """Selection accuracy on the longest sums of the pool from which on the next length joins."""


TaskName = Literal["addition", "gsm8k", "commonsense_qa", "records"]
"""Tasks: files in `star/tasks/`."""


class TaskSettings(Section):
    """Which problems."""

    name: TaskName = "addition"
    """addition | gsm8k | commonsense_qa | records (your own question/answer rows)."""
    path: str | None = None
    """Local training file (.jsonl, .json, .csv, .tsv, .parquet; text also as .gz); None loads the task's data set from the Hub."""
    test_path: str | None = None
    """Local test file. None with `path` set: the task's usual neighbour file if there is one, else a fixed share of `path`."""
    dataset: str | None = None
    """Hub data set id (records), or another id than the task's own."""
    dataset_config: str | None = None
    """Configuration of the Hub data set."""
    train_split: str = "train"
    """Name of the training split on the Hub."""
    test_split: str = "test"
    """Name of the test split on the Hub."""
    question: str = "question"
    """records: column of the question."""
    answer: str = "answer"
    """records: column of the reference answer."""
    choices: str | None = None
    """records: column of the options ({label: text}, or a list), or one column for each, A+B+C+D, for answer_type choice."""
    answer_type: Literal["number", "choice", "text", "math"] = "number"
    """records: how answers are compared."""
    examples: str | None = None
    """File of your own few-shot examples: rows like those of `path`, with one more column `rationale`. A relative path that
    starts with seeds/ is looked up in the project too. Not for addition."""
    instructions: str | None = None
    """What chat models are told instead of the task's own instructions; say there how to state the answer."""
    limit: int | None = Field(None, ge=1)
    """Use at most this many training problems (drawn with the recipe's seed)."""
    test_limit: int | None = Field(None, ge=1)
    """Use at most this many test problems."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Share of the rows that becomes the test split when there is no test file."""
    digits: tuple[Annotated[int, Field(ge=1, le=15)], ...] = Field((1, 2, 3, 4, 5), min_length=1)
    """addition: digit lengths in the pool."""
    grow: GrowSettings = GrowSettings()
    """addition: a pool that grows."""
    index_hints: bool = False
    """addition: every digit carries a letter for its place (Zhou et al. 2023); only for a base that was pretrained so."""
    pool: int = Field(50_000, ge=1)
    """addition: training problems in the pool (the paper: 50,000)."""
    test_size: int = Field(1_000, ge=1)
    """addition: test problems, spread evenly over the digit lengths."""


class ModelSettings(Section):
    """Which model STaR starts from."""

    path: str = "seeds/models/addition-0.2m"
    """A `from_pretrained` directory, a .gguf file (converted once) or a Hub id, which is looked up in the folder STAR_MODELS first.
    A relative path that starts with seeds/ is looked up in the project too."""
    revision: str | None = None
    """Branch, tag or commit of a model on the Hub; None takes its main branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on a GPU, float32 on a CPU."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for models you trust, and only on the command line: a recipe file that asks
    for it is refused."""


class PromptingSettings(Section):
    """How a problem becomes a prompt: one function for sampling, training and evaluation."""

    mode: Literal["auto", "few_shot", "chat"] = "auto"
    """few_shot: plain text; chat: the model's chat template; auto: chat if the tokenizer has a template."""
    shots: int = Field(10, ge=0)
    """Few-shot examples in front of the question."""
    keep_shots: bool = True
    """Keep the few-shot examples while sampling from round 2 on (the paper does; the first round always has them)."""
    shots_in_training: bool = False
    """Put the few-shot examples in front of every training row too."""
    shots_as: Literal["turns", "instruction"] = "turns"
    """Chat models: few-shot examples as earlier turns, or as text at the end of the instruction."""
    answer_only: bool = False
    """No rationale: the model answers directly (the paper's direct baselines). Always so with loop.method direct."""


class SamplingSettings(Section):
    """How completions are drawn."""

    backend: Literal["auto", "vllm", "transformers"] = "auto"
    """auto: vLLM on a GPU; on a CPU whichever is faster for the model's size (see star/sampling)."""
    temperature: ByRound = 0.01
    """The paper's near-greedy 0.01; 0 is greedy. A list gives one to each round, the last one to all that follow."""
    try_temperatures: tuple[NonNegative, ...] = ()
    """Temperatures that are tried on `probe` problems each round; the one with the best balance score is taken (B-STaR)."""
    probe: int = Field(200, ge=1)
    """Problems on which they are tried."""
    top_k: int | None = Field(None, ge=1)
    """Sample from this many likeliest tokens only."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus of the paper."""
    samples: int = Field(1, ge=1)
    """Completions per problem."""
    max_new_tokens: int = Field(256, ge=1)
    """Length limit of a completion in tokens."""
    batch_size: int = Field(512, ge=1)
    """transformers backend: prompts per batch."""
    gpu_memory: float = Field(0.6, gt=0, le=1)
    """vLLM on a GPU: share of its memory."""
    shard: int = Field(4_096, ge=1)
    """Completions sampled in one call with a seed of their own: what a worker takes, and at most what a kill loses."""
    workers: int = Field(0, ge=0)
    """Ray actors that sample; 0: this process. Not part of the digest."""
    gpus_per_worker: int = Field(1, ge=1)
    """GPUs of one sampler, all on one machine: vLLM's tensor parallelism. Not part of the digest."""

    def temperature_of(self, round_number: int) -> float:
        """That of round n, counted from 1."""
        given = self.temperature
        return given[min(round_number, len(given)) - 1] if isinstance(given, tuple) else given


class LoopSettings(Section):
    """Algorithm 1."""

    method: Literal["star", "few_shot", "direct"] = "star"
    """star; few_shot: evaluate the base model only; direct: fine-tune once on gold answers without rationales."""
    rounds: int = Field(16, ge=1, le=500)
    """Outer loops."""
    problems: int | None = Field(None, ge=1)
    """Problems drawn per round; None uses all."""
    start: Literal["restart", "continue"] = "restart"
    """Fine-tune the base model each round (the paper), or continue from the round before."""
    draw: Draw = "uniform"
    """uniform; adaptive: longest ago drawn first, then the least often solved (AdaSTaR); the others leave out a part of that."""
    enough: bool = False
    """Stop sampling, shard by shard, as soon as the kept rows fill the round's optimizer steps."""
    first_pass: bool = True
    """Ask without a hint first; false: rationalize every problem (PPS)."""
    retries: int = Field(0, ge=0)
    """More samples, without a hint, of each problem that none of `sampling.samples` solved."""
    rationalize: bool = True
    """Retry failed problems with the answer as a hint."""
    rationalizer: Literal["current", "base"] = "current"
    """Which model rationalizes. A fine-tuned model forgets how to use hints, so `base` keeps the rows coming."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many rounds without a better selection accuracy; None runs all rounds."""
    target: float | None = Field(None, gt=0, le=1)
    """Stop as soon as selection accuracy reaches this."""
    gate: Literal["warn", "stop", "off"] = "warn"
    """What to do when first-pass accuracy is not above chance: the loop has nothing to bootstrap from."""


class CurationSettings(Section):
    """Which rationales become training rows."""

    accept: Literal["auto", "strict", "lenient"] = "auto"
    """Which answers count as right, here, in the gate, in `loop.target` and in every accuracy. strict: those in the form that was
    asked for. lenient: those in any form; what is kept is trained on in the form that was asked for. auto: lenient where prompts
    go through a chat template, else strict (run.json says which). Every table has both."""
    require: Literal["answer", "sound"] = "answer"
    """answer: the paper. sound: no rationale either that `scorer` calls unsound. What cannot be judged is kept and counted."""
    scorer: str | None = None
    """Who judges for require sound: a scorer of `python -m analysis.score --scorer`, such as prm:DIRECTORY. null: the task's exact
    check or, where there is none, what is proven unsound or flagged by the shipped score."""
    max_unsound: float | None = Field(None, ge=0, le=1)
    """p_unsound from which on a score is a flag; null: the threshold of the analysis. Exact checks have none."""
    problems: Literal["all", "mixed"] = "all"
    """mixed: only problems that the first pass got right in some attempts and wrong in others (Reinforce-Rej)."""
    gold: bool = False
    """Also train on the solutions that come with the problems, where the task has some (gsm8k)."""
    cap: int | None = Field(None, ge=1)
    """Rationales kept per problem and round."""
    deduplicate: Literal["off", "exact", "equations"] = "exact"
    """Drop repeated rationales of the same problem: same text, or same list of equations."""
    hint_share: float = Field(0.0, ge=0, le=1)
    """Share of rationalized rows whose training prompt keeps the hint. The paper: 0."""
    replay: int = Field(0, ge=0)
    """Also train on the rows of this many earlier rounds."""


class StepSchedule(Section):
    """Optimizer steps of round n (counted from 1): min(cap, first * growth^(n-1) + add * (n-1)), or epochs over the rows."""

    first: int = Field(40, ge=1, le=10**9)
    """Steps of the first round."""
    growth: float = Field(1.2, ge=1, le=3)
    """Factor from round to round."""
    add: int = Field(0, ge=0, le=10**9)
    """Steps added from round to round."""
    cap: int | None = Field(7_912, ge=1)
    """At most this many."""
    epochs: float | None = Field(None, gt=0)
    """When set, this many passes over the rows instead."""

    def uncapped(self, round_number: int) -> float:
        """Steps of round n without `cap` and `epochs`."""
        return self.first * self.growth ** (round_number - 1) + self.add * (round_number - 1)


class LoraSettings(Section):
    """Low-rank adapters (peft); merged into a full model after each round."""

    rank: int = Field(16, ge=1)
    """Rank of the update."""
    alpha: int = Field(32, ge=1)
    """Scale."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter input."""
    targets: str | tuple[str, ...] = "all-linear"
    """Module names, or all-linear."""


class PreferenceSettings(Section):
    """Training on pairs of a right and a wrong attempt, see star/training/dpo.py."""

    beta: float = Field(0.1, gt=0)
    """How far the model may move from the one that it starts from: less lets it move further."""
    nll: float = Field(1.0, ge=0)
    """Weight of the winner's negative log-likelihood; 0 is plain DPO."""
    pairs: int = Field(10, ge=1)
    """Pairs of a problem and round at most."""


class VerifierSettings(Section):
    """A model that ranks answers (V-STaR), trained once after the last round on pairs of all rounds."""

    kind: Literal["off", "dpo"] = "off"
    """dpo: the likelihood under a model trained on pairs, from the first round's model on."""
    beta: float = Field(0.1, gt=0)
    """As `training.preference.beta`."""
    pairs: int = Field(32, ge=1)
    """Pairs of a problem at most, all rounds together."""
    steps: int = Field(200, ge=1)
    """Optimizer steps."""
    learning_rate: float = Field(1e-6, gt=0)
    """Its highest value."""


class TrainingSettings(Section):
    """How a model is fine-tuned on the kept rationales (TRL SFTTrainer)."""

    method: Literal["full", "lora"] = "full"
    """All weights, or LoRA."""
    objective: Literal["sft", "rpo"] = "sft"
    """sft: the kept rationales; rpo: pairs of a kept and a wrong attempt (iterative RPO)."""
    preference: PreferenceSettings = PreferenceSettings()
    """How pairs are trained on."""
    steps: StepSchedule = StepSchedule()
    """Steps per round."""
    learning_rate: float = Field(1e-6, gt=0)
    """Its highest value (the paper's GPT-J 6B: 1e-6)."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up of each round: constant (the paper), or down to 0 at its end."""
    warmup_steps: int = Field(100, ge=0)
    """Linear warm-up; at most a third of a round's steps."""
    batch_size: int = Field(8, ge=1)
    """Rows per optimizer step, all devices and accumulation steps together."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rows per forward pass on one device; None: the whole batch at once."""
    max_length: int = Field(1_024, ge=8)
    """Tokens per row; longer rows are cut and counted, and left out and counted where the prompt alone is as long."""
    loss_on: Literal["completion", "all"] = "completion"
    """Tokens that carry loss."""
    packing: bool = False
    """Pack rows into sequences of max_length (the paper does, on its 8 x 1,024 batch)."""
    weight_decay: float = Field(0.0, ge=0)
    """The paper: none."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradient clipping."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    lora: LoraSettings = LoraSettings()
    """Adapter settings."""
    accelerate_config: str | None = None
    """Configuration file for `accelerate launch` (several GPUs, see seeds/accelerate); None trains in this process."""
    launcher: str | None = None
    """Command that runs what follows it once on each machine, such as "srun --ntasks-per-node=1": puts `accelerate launch` on
    the num_machines of accelerate_config. Not part of the digest."""
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = "none"
    """Where TRL's curves and each round's metrics go besides the run directory."""


class EvaluationSettings(Section):
    """The protocol: choose on a selection split cut from train, evaluate test once."""

    selection_size: int = Field(500, ge=1)
    """Problems cut from train to choose the round."""
    select_on: Literal["selection", "test"] = "selection"
    """`test` is against the protocol and marked in every report."""
    samples: int = Field(0, ge=0)
    """Additional samples per test problem for pass@k and maj@k; 0: greedy only."""
    temperature: float = Field(0.7, gt=0)
    """Temperature of those samples."""
