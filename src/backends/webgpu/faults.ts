// Faults of the GPU come late, as answers to error scopes, as events, or as the loss of the device. They are gathered here and
// thrown at the next wait, each time from then on.

export class Faults {
  readonly device: GPUDevice;

  /** The first fault that was watched for, and the first other one, which may follow from it. */
  #cause: Error | null = null;
  #consequence: Error | null = null;
  /** Answers of error scopes that are still on their way. */
  #checks: Promise<void>[] = [];
  /** Resolves when the device is lost. */
  readonly lost: Promise<void>;

  constructor(device: GPUDevice) {
    this.device = device;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#consequence ??= new Error(`WebGPU: ${(event as GPUUncapturedErrorEvent).error.message}`);
    });
    this.lost = device.lost.then(({ message }) => {
      this.#cause ??= new Error(
        `the GPU was lost (${message || "no reason given"}): what was not saved is gone; start again`,
      );
    });
  }

  /** Opens an error scope; the answer closes it and turns an error into the fault. */
  watch(filter: GPUErrorFilter): (describe: (message: string) => Error) => void {
    this.device.pushErrorScope(filter);
    return (describe) => {
      const answer = this.device.popErrorScope().then((error) => {
        if (error) this.#cause ??= describe(error.message);
      }, () => {}); // the device is lost, which is told elsewhere
      this.#checks.push(answer);
    };
  }

  /** Throws the first fault that is known. */
  check(): void {
    const fault = this.#cause ?? this.#consequence;
    if (fault) throw fault;
  }

  /** Waits for the answers of error scopes. @throws the first fault */
  async settle(): Promise<void> {
    while (this.#checks.length > 0) await Promise.all(this.#checks.splice(0));
    this.check();
  }
}
