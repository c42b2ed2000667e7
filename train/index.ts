// Exports everything for training. A run is begun (run/begin.ts) or resumed (run/resume.ts) and then trained (run/loop.ts).
export { Adam, type AdamOptions, type Moments } from "./adam.ts";
export { clipGradients } from "./clip.ts";
export { WeightAverages } from "./ema.ts";
export { type CodebookStart, initializeCodebook } from "./codebook/kmeans.ts";
export type { CodeLearning } from "./codebook/learning.ts";
export { type CodebookOptions, type CodebookTraining, defaultCodebook } from "./codebook/options.ts";
export { DeadCodeRestart, type RestartOptions } from "./codebook/restart.ts";
export { CodeUsage, type RecentUsage } from "./codebook/usage.ts";
export { RankLostError } from "./distributed/mpi.ts";
export { type OpenRanks, openRanks, type RanksOptions } from "./distributed/open.ts";
export { oneRank, type Ranks } from "./distributed/ranks.ts";
export { RankFailedError, RankStoppedError } from "./distributed/together.ts";
export {
  DivergedError,
  GuardError,
  MissingPerceptualError,
  MissingPicturesError,
  NotResumableError,
  NotSavedError,
  RunInUseError,
  RunTakenError,
  SettingError,
  type SettingInWords,
} from "./errors.ts";
export type { Logs } from "./logs.ts";
export type { Interval } from "./evaluate/bootstrap.ts";
export { evaluate, type EvaluateOptions, type NamedModel } from "./evaluate/evaluate.ts";
export type { Judges, Row } from "./evaluate/observe.ts";
export type { Evaluation, FaceResult, FrechetResult, ModelResult } from "./evaluate/results.ts";
export { evaluationFiles, writeEvaluation } from "./evaluate/report.ts";
export { type FeatureSpace, inceptionSpace, squeezeSpace } from "./evaluate/spaces.ts";
export type { WorstReconstruction } from "./evaluate/worst.ts";
export { loadFaceNetwork } from "./face_package.ts";
export { Gan } from "./gan/gan.ts";
export { defaultGan, type GanOptions, type GanTerms } from "./gan/options.ts";
export { Guard, type Smoothed } from "./gan/guard.ts";
export { LeCam } from "./gan/lecam.ts";
export { type DiscStart, Plateau } from "./gan/start.ts";
export { IdentityLoss, type IdentityTerm } from "./identity.ts";
export { psnr, ssim } from "./metrics.ts";
export { BatchTooLargeError } from "./advice.ts";
export type { StepMemory, StepShape } from "./count.ts";
export { estimateStep } from "./estimate.ts";
export { beginRun, type NewRun } from "./run/begin.ts";
export {
  continueTrainer,
  readProgress,
  readRunState,
  type RestoreOptions,
  restoreTrainer,
  saveCheckpoint,
  saveWeights,
  type TrainingProgress,
} from "./run/checkpoint.ts";
export { checkpointOf } from "./run/find.ts";
export { type Metrics, type MetricSeries } from "./report/metrics_file.ts";
export { renderPage } from "./report/page.ts";
export { defaultReport, type ReportOptions } from "./report/options.ts";
export type { RunEnding } from "./report/ending.ts";
export { ReportReader, type RunActivity, type RunReport, type ShownSheet } from "./report/report.ts";
export type { Sheet, SheetEntry, SheetKind } from "./report/sheets.ts";
export { type Reconstructed, WorstPictures } from "./report/worst.ts";
export { RunFolder } from "./run/folder.ts";
export { train, type TrainOptions, type TrainOutcome } from "./run/loop.ts";
export type { Failure, RunNote, SideWork, TrainMonitor } from "./run/notes.ts";
export type { PictureList, RunPicture } from "./run/pictures.ts";
export { type ResumeChanges, resumeRun } from "./run/resume.ts";
export { isFinished, type Loading, type Run } from "./run/run.ts";
export type { Patience, StopRule } from "./run/stopping.ts";
export { baseLearningRate, defaultOptions, type RunOptions, type RunSettings } from "./run/settings.ts";
export type { Best, FirstSamples, Measured, Progress, RunPictures, RunState } from "./run/state.ts";
export type { BestCheckpoint, Verdict } from "./run/verdict.ts";
export {
  defaultOptimizer,
  type OptimizerChanges,
  type OptimizerOptions,
  type UpdateOptions,
} from "./optimizer_options.ts";
export { applyGradients, makeOptimizers, type Network, type Optimizers } from "./optimizers.ts";
export { type PartName, type PartRates, trainOnly } from "./parts.ts";
export { fillPerceptual, findPerceptual, findPerceptuals, type PerceptualSource } from "./perceptual.ts";
export { learningRate, type Schedule } from "./schedule.ts";
export type { PerceptualChoice } from "./start.ts";
export {
  discriminatorStep,
  type GeneratorStep,
  generatorStep,
  type StepOptions,
  type StepResult,
  trainingStep,
  type TrainingStepOptions,
} from "./step.ts";
export { validationStep } from "./validation_step.ts";
export type { ReplacedLists, TamingConfig } from "./taming/config.ts";
export { readTamingConfig } from "./taming/read.ts";
export type { Json, TrainState } from "./train_state.ts";
export { Trainer, type TrainerOptions } from "./trainer.ts";
export { type Measurements, validate, type ValidateOptions, type WatchedWork } from "./validate.ts";
