// How much memory tensors hold, counted where it is allocated and freed. This is a file of its own, so that a backend's
// error about too little memory can say how many tensors there are.

/** Bytes and tensors alive now, and the most bytes there were at a time. */
export const counters = { liveBytes: 0, peakBytes: 0, liveTensors: 0 };
