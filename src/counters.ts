// How much memory tensors hold, counted where it is made and freed. A file of its own, so that the error about too little
// memory can name the number of tensors.

/** Bytes and tensors alive now, and the most bytes there were at a time. */
export const counters = { liveBytes: 0, peakBytes: 0, liveTensors: 0 };
