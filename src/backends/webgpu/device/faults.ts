// Faults of the GPU are known late: from error scopes, from events, or from the loss of the device. They are gathered
// here, and the first one is thrown at the next wait and at every wait after that.

export class Faults {
  readonly #device: GPUDevice;
  /** The first fault that was watched for, and the first other one, which may follow from it. */
  #cause: Error | null = null;
  #consequence: Error | null = null;
  /** Answers of error scopes that have not come yet. */
  #checks: Promise<void>[] = [];
  /** Resolves when the device is lost. */
  readonly lost: Promise<void>;

  constructor(device: GPUDevice) {
    this.#device = device;
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

  /** Opens an error scope. The function that it returns closes the scope, and makes a fault of an error in it. */
  watch(filter: GPUErrorFilter): (describe: (message: string) => Error) => void {
    this.#device.pushErrorScope(filter);
    return (describe) => {
      const answer = this.#device.popErrorScope().then((error) => {
        if (error) this.#cause ??= describe(error.message);
      }, () => {}); // the device is lost, which `lost` reports
      this.#checks.push(answer);
    };
  }

  /** @throws the first fault, if one is known */
  check(): void {
    const fault = this.#cause ?? this.#consequence;
    if (fault) throw fault;
  }

  /** Waits until every fault of what was recorded is known. @throws the first one */
  async settle(): Promise<void> {
    while (this.#checks.length > 0) await Promise.all(this.#checks.splice(0));
    this.check();
  }
}
