// Exports everything for training. A run is begun or resumed (run/run.ts) and then trained (run/loop.ts).
export { Adam, type AdamOptions, type Moments } from "./adam.ts";
export {
  continueTrainer,
  readProgress,
  readRunState,
  restoreTrainer,
  type RunState,
  saveCheckpoint,
  saveWeights,
  type TrainingProgress,
  type WeightsOptions,
} from "./run/checkpoint.ts";
export { DeadCodeRestart, initializeCodebook } from "./codebook.ts";
export { DivergedError, MissingPerceptualError, NotResumableError } from "./errors.ts";
export { train, type TrainMonitor, type TrainOptions, type TrainOutcome } from "./run/loop.ts";
export { psnr, ssim } from "./metrics.ts";
export { BatchTooLargeError, estimateStep, type StepMemory, type StepShape } from "./estimate.ts";
export { beginRun, type Loading, type NewRun, type ResumeChanges, resumeRun, type Run } from "./run/run.ts";
export { checkpointOf, type Metrics, RunFolder } from "./run/folder.ts";
export { learningRate, type Schedule } from "./schedule.ts";
export { baseLearningRate, defaultOptions, type RunOptions, type RunSettings } from "./run/settings.ts";
export { fillPerceptual, findPerceptual, type PerceptualChoice, type PerceptualSource } from "./start.ts";
export {
  applyGradients,
  discriminatorStep,
  type GeneratorStep,
  generatorStep,
  type Logs,
  makeOptimizers,
  type Network,
  type Optimizers,
  type StepOptions,
  type StepResult,
  trainingStep,
  type TrainingStepOptions,
  validationStep,
} from "./step.ts";
export type { TamingConfig } from "./taming/config.ts";
export { readTamingConfig } from "./taming/read.ts";
export { Trainer, type TrainerOptions } from "./trainer.ts";
export { type Measurements, validate } from "./validate.ts";
