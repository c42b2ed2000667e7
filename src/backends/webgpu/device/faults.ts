// Errors of the GPU are reported late: by error scopes, by events, or by the loss of the device. They are collected here.
// The first one is thrown at the next wait, and at every wait after that.

export class Faults {
  readonly #device: GPUDevice;
  /** The first error from an error scope, and the first other error, which may be a consequence of it. */
  #cause: Error | null = null;
  #consequence: Error | null = null;
  /** The error scopes whose results are not known yet. */
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

  /** Opens an error scope. Returns a function that closes the scope and collects an error in it. */
  watch(filter: GPUErrorFilter): (describe: (message: string) => Error) => void {
    this.#device.pushErrorScope(filter);
    return (describe) => {
      const answer = this.#device.popErrorScope().then((error) => {
        if (error) this.#cause ??= describe(error.message);
      }, () => {}); // rejected because the device is lost, which `lost` reports
      this.#checks.push(answer);
    };
  }

  /** @throws the first error, if one is known */
  check(): void {
    const fault = this.#cause ?? this.#consequence;
    if (fault) throw fault;
  }

  /** Waits for the results of all error scopes. @throws the first error */
  async settle(): Promise<void> {
    while (this.#checks.length > 0) await Promise.all(this.#checks.splice(0));
    this.check();
  }
}
